//! Taking partitions of segments off a stream, into a file, so that a stream that breaks can be gone on with.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err::File;

use super::control::Control;
use super::link::Link;
use crate::ids::AttemptId;
use crate::protocol::bulk::Piece;
use crate::protocol::frames;
use crate::shuffle::passes::Source;
use crate::shuffle::segment::PartitionIndex;

/// Bytes that are written at once.
const CHUNK: usize = 256 << 10;

/// Longer than any index entry.
const ENTRY_BYTES_MAX: usize = 1 << 10;

/// What comes from one holder: pieces of many maps, one after the other in one file.
pub struct Receiving {
    control: Arc<Control>,
    link: Arc<Link>,
    path: PathBuf,
    file: File,
    partition: u32,
    maps: Vec<AttemptId>,
    /// Those that are whole, in the order of `maps`.
    received: Vec<(AttemptId, Source)>,
    /// Where the next one begins in the file.
    end: u64,
    /// Of the next one: its entry, and how much is there.
    begun: Option<(PartitionIndex, u64)>,
}

/// Why a stream gave less than was asked for.
pub enum Stop {
    /// The connection is gone; another one can go on.
    Broken,
    /// The other end has not got it, or it changed on the way.
    Refused(io::Error),
    /// It could not be written here.
    Here(io::Error),
}

impl Stop {
    fn of_stream(error: io::Error) -> Stop {
        match error.kind() {
            io::ErrorKind::ConnectionAborted => Stop::Broken,
            _ => Stop::Refused(error),
        }
    }
}

impl Receiving {
    /// Nothing has come yet.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn new(
        path: &Path,
        partition: u32,
        maps: Vec<AttemptId>,
        control: Arc<Control>,
        link: Arc<Link>,
    ) -> io::Result<Self> {
        Ok(Receiving {
            control,
            link,
            path: path.to_owned(),
            file: File::create(path)?,
            partition,
            maps,
            received: Vec::new(),
            end: 0,
            begun: None,
        })
    }

    /// What is still to be asked for.
    pub fn rest(&self) -> Vec<Piece> {
        let begun = self.begun.map_or(0, |(_, bytes)| bytes);
        let rest = self.maps.iter().skip(self.received.len()).enumerate();
        let piece = |(place, map): (usize, &AttemptId)| Piece {
            map: *map,
            partition: self.partition,
            offset: if place == 0 { begun } else { 0 },
        };
        rest.map(piece).collect()
    }

    /// The map whose piece is the next to come, or else the last.
    pub fn current(&self) -> Option<AttemptId> {
        self.maps.get(self.received.len()).or(self.maps.last()).copied()
    }

    /// Bytes that have come.
    pub fn bytes(&self) -> u64 {
        self.end + self.begun.map_or(0, |(_, bytes)| bytes)
    }

    /// What has come, once all has.
    pub fn into_sources(self) -> Vec<(AttemptId, Source)> {
        self.received
    }

    /// Takes the rest off a stream that was asked for it.
    ///
    /// # Errors
    /// See [`Stop`].
    pub fn take(&mut self, stream: &mut impl Read) -> Result<(), Stop> {
        while let Some(map) = self.maps.get(self.received.len()).copied() {
            self.take_one(map, stream)?;
        }
        // The end of the stream confirms its hash.
        match self.read(stream, &mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(Stop::Refused(io::Error::other("more was sent than was asked for"))),
            Err(Stop::Refused(_)) => Err(Stop::Refused(io::Error::other("its bytes changed on the way"))),
            // Only the confirmation is missing; every block has a checksum of its own.
            Err(stop @ (Stop::Broken | Stop::Here(_))) => Err(stop),
        }
    }

    fn take_one(&mut self, map: AttemptId, stream: &mut impl Read) -> Result<(), Stop> {
        let entry = self.take_entry(stream)?;
        let (known, mut bytes) = *self.begun.get_or_insert((entry, 0));
        if known != entry {
            return Err(Stop::Refused(io::Error::other("it is another segment than before")));
        }
        let mut buffer = vec![0; CHUNK.min(usize::try_from(entry.stored - bytes).unwrap_or(CHUNK))];
        while bytes < entry.stored {
            let most = buffer.len().min(usize::try_from(entry.stored - bytes).unwrap_or(usize::MAX));
            let count = self.read(stream, &mut buffer[..most])?;
            if count == 0 {
                return Err(Stop::Refused(io::Error::other("the stream ended too early")));
            }
            self.file.write_all(&buffer[..count]).map_err(Stop::Here)?;
            bytes += count as u64;
            self.begun = Some((entry, bytes));
        }
        let source = Source { path: self.path.clone(), entry: PartitionIndex { offset: self.end, ..entry } };
        self.received.push((map, source));
        self.end += entry.stored;
        self.begun = None;
        Ok(())
    }

    fn take_entry(&self, stream: &mut impl Read) -> Result<PartitionIndex, Stop> {
        let mut length = [0; 4];
        self.read_exact(stream, &mut length)?;
        let mut entry = vec![0; (u32::from_le_bytes(length) as usize).min(ENTRY_BYTES_MAX)];
        self.read_exact(stream, &mut entry)?;
        frames::decode(&entry).map_err(Stop::Refused)
    }

    fn read_exact(&self, stream: &mut impl Read, mut buffer: &mut [u8]) -> Result<(), Stop> {
        while !buffer.is_empty() {
            match self.read(stream, buffer)? {
                0 => return Err(Stop::Refused(io::Error::other("the stream ended too early"))),
                count => buffer = &mut buffer[count..],
            }
        }
        Ok(())
    }

    fn read(&self, stream: &mut impl Read, buffer: &mut [u8]) -> Result<usize, Stop> {
        if self.control.has_ended() {
            return Err(Stop::Refused(io::Error::other("the attempt was ended")));
        }
        let read = || self.link.read(|| stream.read(buffer));
        let count = self.control.while_waiting(read).map_err(Stop::of_stream)?;
        self.control.advance(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Epoch, TaskId};

    fn map(index: u32) -> AttemptId {
        AttemptId { task: TaskId::map(index), epoch: Epoch(0), number: 0 }
    }

    fn segment(index: u32) -> Vec<u8> {
        vec![index as u8; 1000 * index as usize]
    }

    /// What a holder sends for these pieces.
    fn answer(pieces: &[Piece]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in pieces {
            let stored = segment(piece.map.task.index);
            let entry = PartitionIndex { offset: 7, stored: stored.len() as u64, raw: 1, records: 1, hash: 0 };
            let entry = frames::encode(&entry).expect("encodes");
            bytes.extend_from_slice(&(entry.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&entry);
            bytes.extend_from_slice(&stored[piece.offset as usize..]);
        }
        bytes
    }

    /// So many bytes, and then the connection is gone.
    struct Cut<'a>(&'a [u8]);

    impl Read for Cut<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::ErrorKind::ConnectionAborted.into()),
                count => Ok(count),
            }
        }
    }

    #[test]
    fn a_stream_that_breaks_anywhere_is_gone_on_with() {
        let folder = tempfile::tempdir().expect("a folder");
        let maps = vec![map(2), map(0), map(1)];
        let whole = answer(&[2, 0, 1].map(|index| Piece { map: map(index), partition: 5, offset: 0 })).len();
        for cut in 0..=whole {
            let path = folder.path().join("from");
            let mut receiving = Receiving::new(&path, 5, maps.clone(), Arc::default(), Arc::default()).expect("begins");
            let first = answer(&receiving.rest());
            assert!(matches!(receiving.take(&mut Cut(&first[..cut])), Err(Stop::Broken)), "cut at {cut}");
            let rest = answer(&receiving.rest());
            assert!(receiving.take(&mut &rest[..]).is_ok(), "cut at {cut}");
            assert_eq!(receiving.bytes(), 3000, "cut at {cut}");
            let sources = receiving.into_sources();
            assert_eq!(sources.iter().map(|(map, _)| *map).collect::<Vec<_>>(), maps, "cut at {cut}");
            assert_eq!(sources.iter().map(|(_, source)| source.entry.offset).collect::<Vec<_>>(), [0, 2000, 2000]);
            assert_eq!(fs_err::read(&path).expect("reads"), [segment(2), segment(1)].concat(), "cut at {cut}");
        }
    }

    #[test]
    fn what_else_goes_wrong_is_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let new = || {
            Receiving::new(&folder.path().join("f"), 0, vec![map(1)], Arc::default(), Arc::default()).expect("begins")
        };
        let check = |mut bytes: &[u8], words: &str| match new().take(&mut bytes) {
            Err(Stop::Refused(error)) => assert_eq!(error.to_string(), words),
            _ => panic!("{words}: it is refused"),
        };
        let whole = answer(&new().rest());
        check(&whole[..whole.len() - 1], "the stream ended too early");
        check(&[&whole[..], b"x"].concat(), "more was sent than was asked for");
        if Path::new("/dev/full").exists() {
            let mut receiving = new();
            receiving.file = fs_err::OpenOptions::new().write(true).open("/dev/full").expect("opens");
            assert!(matches!(receiving.take(&mut &whole[..]), Err(Stop::Here(_))));
        }
    }
}
