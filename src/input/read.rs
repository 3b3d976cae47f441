//! A split as bytes: of plain files whole records, of a compressed file what lies on the disk.
//!
//! A record belongs to the piece in which its first byte lies. So the reader of a piece that begins inside a record skips
//! that one, and reads on behind the piece's end to finish its own last one. Nobody reads a long record twice: whoever
//! skips it stops at the end of the piece. A last record without a newline gets one.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::vec;

use fs_err::File;
use fs_err::os::unix::fs::FileExt;
use memchr::memchr;

use super::BLOCK;
use super::split::{Codec, Piece, Split};
use super::verified::VerifiedFile;

/// The first look behind a border: most records are shorter.
const PEEK: usize = 4 << 10;

/// Reads a split. Bytes go straight from the file to the caller's buffer, so that should be large; a read crosses no
/// border between files.
#[derive(Debug)]
pub struct SplitReader {
    codec: Codec,
    piece: Option<PieceReader>,
    rest: vec::IntoIter<Piece>,
}

/// Where a piece is read from.
#[derive(Debug)]
enum Source {
    File(File),
    /// A part of a dataset: what is read of it was compared with its hash.
    Part(VerifiedFile),
}

impl Source {
    fn open(path: &Path) -> io::Result<Source> {
        File::open(path).map(Source::File)
    }

    fn bytes(&self) -> io::Result<u64> {
        match self {
            Source::File(file) => Ok(file.metadata()?.len()),
            Source::Part(part) => Ok(part.len()),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Source::File(file) => file.path(),
            Source::Part(part) => part.path(),
        }
    }

    fn read_at(&mut self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        match self {
            Source::File(file) => file.read_at(buffer, at),
            Source::Part(part) => part.read_at(buffer, at),
        }
    }
}

impl SplitReader {
    /// Opens the split's first file; each further one is opened when it is reached.
    ///
    /// # Errors
    /// When the file cannot be opened, or is shorter than it was when the split was planned
    /// ([`io::ErrorKind::UnexpectedEof`]). The error names the file. Reading fails likewise.
    pub fn open(split: &Split) -> io::Result<Self> {
        let mut reader = SplitReader { codec: split.codec, piece: None, rest: split.pieces.clone().into_iter() };
        reader.open_next()?;
        Ok(reader)
    }

    /// Reads a split that is a piece of a part, from that part.
    ///
    /// # Errors
    /// As for [`SplitReader::open`].
    pub fn of_part(split: &Split, part: VerifiedFile) -> io::Result<Self> {
        let [piece] = split.pieces.as_slice() else { return Err(io::Error::other("a part has one piece")) };
        let piece = PieceReader::new(Source::Part(part), piece, split.codec)?;
        Ok(SplitReader { codec: split.codec, piece: Some(piece), rest: Vec::new().into_iter() })
    }

    fn open_next(&mut self) -> io::Result<()> {
        self.piece = match self.rest.next() {
            Some(piece) => Some(PieceReader::new(Source::open(&piece.path)?, &piece, self.codec)?),
            None => None,
        };
        Ok(())
    }
}

impl Read for SplitReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(piece) = &mut self.piece {
            let bytes = piece.read(buffer)?;
            if bytes > 0 {
                return Ok(bytes);
            }
            self.open_next()?;
        }
        Ok(0)
    }
}

#[derive(Debug)]
struct PieceReader {
    source: Source,
    at: u64,
    end: u64,
    phase: Phase,
    codec: Codec,
}

#[derive(Debug)]
enum Phase {
    /// Within the piece.
    Body,
    /// Behind it, in its last record; so much is read at once.
    Tail { room: usize },
    /// All was given.
    Done,
}

impl PieceReader {
    fn new(mut source: Source, piece: &Piece, codec: Codec) -> io::Result<Self> {
        let bytes = source.bytes()?;
        if bytes < piece.end {
            return Err(shrunk(&piece.path, bytes));
        }
        let at = match codec {
            Codec::Plain => first_record(&mut source, piece.start, piece.end)?,
            Codec::Gzip | Codec::Zstd | Codec::Bzip2 | Codec::Xz => piece.start,
        };
        let phase = if at < piece.end { Phase::Body } else { Phase::Done };
        Ok(PieceReader { source, at, end: piece.end, phase, codec })
    }

    /// The next bytes, none at the end. The buffer is not empty.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.phase {
            Phase::Body => self.read_body(buffer),
            Phase::Tail { room } => self.read_tail(buffer, room),
            Phase::Done => Ok(0),
        }
    }

    fn read_body(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = up_to(self.end - self.at, buffer.len());
        let bytes = self.source.read_at(&mut buffer[..room], self.at)?;
        if bytes == 0 {
            return Err(shrunk(self.source.path(), self.at));
        }
        self.at += bytes as u64;
        if self.at == self.end {
            let complete = self.codec != Codec::Plain || buffer[bytes - 1] == b'\n';
            self.phase = if complete { Phase::Done } else { Phase::Tail { room: PEEK } };
        }
        Ok(bytes)
    }

    fn read_tail(&mut self, buffer: &mut [u8], room: usize) -> io::Result<usize> {
        let room = room.min(buffer.len());
        let bytes = self.source.read_at(&mut buffer[..room], self.at)?;
        self.at += bytes as u64;
        self.phase = Phase::Done;
        if bytes == 0 {
            buffer[0] = b'\n';
            return Ok(1);
        }
        if let Some(newline) = memchr(b'\n', &buffer[..bytes]) {
            return Ok(newline + 1);
        }
        self.phase = Phase::Tail { room: BLOCK };
        Ok(bytes)
    }
}

/// Where the first record begins that begins within a range; `end` if none does.
fn first_record(source: &mut Source, start: u64, end: u64) -> io::Result<u64> {
    if start == 0 {
        return Ok(0);
    }
    // A record begins behind a newline, and that of the first one may lie just before the range.
    let mut at = start - 1;
    let mut chunk = vec![0; PEEK];
    while at + 1 < end {
        let room = up_to(end - 1 - at, chunk.len());
        let bytes = once(|| source.read_at(&mut chunk[..room], at))?;
        if bytes == 0 {
            return Err(shrunk(source.path(), at));
        }
        if let Some(newline) = memchr(b'\n', &chunk[..bytes]) {
            return Ok(at + newline as u64 + 1);
        }
        at += bytes as u64;
        chunk.resize(BLOCK, 0);
    }
    Ok(end)
}

/// Reads as the system does, except that a signal is no reason to give up.
pub(super) fn read_at_once(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    once(|| file.read_at(buffer, at))
}

fn once(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn up_to(bytes: u64, room: usize) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).min(room)
}

fn shrunk(path: &Path, bytes: u64) -> io::Error {
    let path = PathBuf::from(path);
    let text = format!("`{}` became shorter while the job ran: it ends after {bytes} bytes", path.display());
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::super::list::InputFile;
    use super::super::plan::{PlanConfig, plan};
    use super::super::split::Home;
    use super::*;

    /// Files with these contents, in a folder that goes with the result.
    fn files(contents: &[&[u8]]) -> (TempDir, Vec<InputFile>) {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let write = |(index, content): (usize, &&[u8])| {
            let path = folder.path().join(index.to_string());
            fs_err::write(&path, content).expect("a file can be written");
            InputFile { path, bytes: content.len() as u64, codec: Codec::Plain, home: Home::Driver }
        };
        let files = contents.iter().enumerate().map(write).collect();
        (folder, files)
    }

    /// All that a split gives, read with a buffer of so many bytes.
    fn read(split: &Split, step: usize) -> io::Result<Vec<u8>> {
        let mut reader = SplitReader::open(split)?;
        let (mut all, mut buffer) = (Vec::new(), vec![0; step]);
        loop {
            match reader.read(&mut buffer)? {
                0 => return Ok(all),
                bytes => all.extend_from_slice(&buffer[..bytes]),
            }
        }
    }

    fn ended(content: &[u8]) -> Vec<u8> {
        let newline = content.last().is_some_and(|last| *last != b'\n').then_some(b'\n');
        content.iter().copied().chain(newline).collect()
    }

    #[test]
    fn a_record_belongs_to_where_it_begins() {
        let check = |content: &str, start, end, expected: &str| {
            let (_folder, files) = files(&[content.as_bytes()]);
            let piece = Piece { path: files[0].path.clone(), start, end };
            let split = Split { source: 0, codec: Codec::Plain, pieces: vec![piece], home: Home::Driver };
            let given = read(&split, 100).expect("the file is there");
            assert_eq!(String::from_utf8_lossy(&given), expected, "{content:?} {start}-{end}");
        };
        check("ab\ncd\nef", 0, 3, "ab\n");
        check("ab\ncd\nef", 0, 4, "ab\ncd\n");
        check("ab\ncd\nef", 3, 4, "cd\n");
        check("ab\ncd\nef", 4, 6, "");
        check("ab\ncd\nef", 4, 7, "ef\n");
        check("ab\ncd\nef", 7, 8, "");
        check("\n\n\n", 1, 2, "\n");
        check("", 0, 0, "");
    }

    #[test]
    fn a_compressed_file_is_given_as_it_lies() {
        let (_folder, files) = files(&[b"no newline"]);
        let files = files.into_iter().map(|file| InputFile { codec: Codec::Gzip, ..file }).collect();
        let splits = plan(&[files], PlanConfig { split_size: 2, combine: true });
        assert_eq!(splits.len(), 1);
        assert_eq!(read(&splits[0], 3).expect("the file is there"), b"no newline");
    }

    #[test]
    fn a_file_that_became_shorter_is_named() {
        let (_folder, files) = files(&[b"a\n", b"b\nc\n"]);
        let splits = plan(std::slice::from_ref(&files), PlanConfig { split_size: 9, combine: true });
        fs_err::write(&files[1].path, b"b\n").expect("a file can be written");
        let error = read(&splits[0], 100).expect_err("bytes are missing");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(error.to_string().contains(&*files[1].path.to_string_lossy()), "{error}");
        fs_err::remove_file(&files[0].path).expect("a file can be removed");
        let error = SplitReader::open(&splits[0]).expect_err("the file is gone");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_line_over_many_splits_is_read_once() {
        let line = [vec![b'x'; 40 * BLOCK + BLOCK / 2], b"\nshort\n".to_vec()].concat();
        let (_folder, files) = files(&[&line]);
        let splits = plan(&[files], PlanConfig { split_size: BLOCK as u64, combine: false });
        assert_eq!(splits.len(), 41);
        let lengths: Vec<_> = splits.iter().map(|split| read(split, BLOCK).expect("the file is there").len()).collect();
        assert_eq!((lengths[0], lengths[40]), (line.len() - 6, 6));
        assert!(lengths[1..40].iter().all(|length| *length == 0));
    }

    fn content() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(b"\n\n\nab\r\0\xff".to_vec()), 0..50)
    }

    proptest! {
        /// However it is cut, each split holds the records that begin in it, and all of them together are the input.
        #[test]
        fn splits_together_are_the_input(
            contents in prop::collection::vec(content(), 0..4),
            split_size in 1..30_u64,
            step in 1..20_usize,
            combine: bool,
        ) {
            let (_folder, files) = files(&contents.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let splits = plan(std::slice::from_ref(&files), PlanConfig { split_size, combine });
            let mut all = Vec::new();
            for split in &splits {
                let expected: Vec<u8> =
                    split.pieces.iter().flat_map(|piece| records_of(piece, &files, &contents)).collect();
                let given = read(split, step).expect("the files are there");
                prop_assert_eq!(&given, &expected);
                all.extend(given);
            }
            let expected: Vec<u8> = contents.iter().flat_map(|content| ended(content)).collect();
            prop_assert_eq!(all, expected);
        }
    }

    /// The naive model: all records of the file, of which those count that begin within the piece.
    fn records_of(piece: &Piece, files: &[InputFile], contents: &[Vec<u8>]) -> Vec<u8> {
        let file = files.iter().position(|file| file.path == piece.path).expect("a file of the input");
        let content = ended(&contents[file]);
        let mut begin = 0;
        let mut records = Vec::new();
        for record in content.split_inclusive(|byte| *byte == b'\n') {
            if (piece.start..piece.end).contains(&begin) {
                records.extend_from_slice(record);
            }
            begin += record.len() as u64;
        }
        records
    }
}
