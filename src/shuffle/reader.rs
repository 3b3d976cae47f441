//! Reads one partition of a segment, from the file or from wherever its bytes were sent.
//!
//! The reader is told what the partition holds, so that a stream that ends early, even between two blocks, is found,
//! and no length that a damaged byte gives is believed: nothing is lent before its block's checksum is right.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use fs_err::File;
use xxhash_rust::xxh3::Xxh3;

use super::block::{self, Buffer, HEADER_BYTES, Header};
use super::frame::{self, Frame};
use super::record::{Record, RecordStream};
use super::segment::PartitionIndex;

/// The records of one partition, block by block.
///
/// It ends with [`io::ErrorKind::UnexpectedEof`] where the source has less than the whole partition, and with
/// [`io::ErrorKind::InvalidData`] where the bytes are not those that were written. The text names source and block.
pub struct PartitionReader<R> {
    source: R,
    name: String,
    /// What the whole partition holds.
    entry: PartitionIndex,
    /// What of it has not been read yet.
    left: PartitionIndex,
    blocks: u64,
    hash: Xxh3,
    stored: Buffer,
    raw: Buffer,
    /// How much of `raw` is the block.
    raw_len: usize,
    frame: Frame,
    /// Where the next frame starts.
    next_at: usize,
    /// How often the record comes once more.
    repeats: u32,
}

impl PartitionReader<File> {
    /// The partition of a segment file that `entry` describes.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(path: impl AsRef<Path>, entry: &PartitionIndex) -> io::Result<Self> {
        let mut file = File::open(path.as_ref())?;
        file.seek(SeekFrom::Start(entry.offset))?;
        Ok(PartitionReader::new(path.as_ref().display().to_string(), file, entry))
    }
}

impl<R: Read> PartitionReader<R> {
    /// The partition that `entry` describes, from a source that stands at its first byte. The name is for errors.
    pub fn new(name: String, source: R, entry: &PartitionIndex) -> Self {
        PartitionReader {
            source,
            name,
            entry: *entry,
            left: *entry,
            blocks: 0,
            hash: Xxh3::new(),
            stored: Buffer::default(),
            raw: Buffer::default(),
            raw_len: 0,
            frame: Frame::default(),
            next_at: 0,
            repeats: 0,
        }
    }

    /// Goes on with another partition, at whose first byte the source stands: where one was read to its end, that is
    /// the next of its segment.
    pub(super) fn begin(&mut self, entry: &PartitionIndex) {
        (self.entry, self.left) = (*entry, *entry);
        (self.blocks, self.raw_len, self.next_at, self.repeats) = (0, 0, 0, 0);
        self.hash.reset();
    }

    /// Reads the next block; false at the end, where the whole must be what it should.
    fn next_block(&mut self) -> io::Result<bool> {
        if self.left.stored == 0 {
            if (self.left.raw, self.left.records, self.hash.digest()) != (0, 0, self.entry.hash) {
                return Err(self.wrong("holds other records than its index says"));
            }
            return Ok(false);
        }
        let mut head = [0; HEADER_BYTES];
        self.source.read_exact(&mut head).map_err(|error| self.failed(error))?;
        let header = Header::parse(&head).map_err(|what| self.wrong(what))?;
        // Before memory is taken for it.
        let stored = self.left.stored.checked_sub(HEADER_BYTES as u64).and_then(|left| left.checked_sub(header.stored));
        let raw = self.left.raw.checked_sub(header.raw);
        let (Some(stored), Some(raw), 1..) = (stored, raw, header.raw) else {
            return Err(self.wrong("has a length that cannot be"));
        };
        block::open(&header, &mut self.source, &mut self.stored, &mut self.raw).map_err(|error| self.failed(error))?;
        (self.left.stored, self.left.raw) = (stored, raw);
        self.raw_len = header.raw as usize;
        self.next_at = 0;
        self.hash.update(&self.raw.bytes()[..self.raw_len]);
        self.blocks += 1;
        Ok(true)
    }

    fn failed(&self, error: io::Error) -> io::Error {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.error(error.kind(), "ends too early"),
            kind => self.error(kind, &error.to_string()),
        }
    }

    fn wrong(&self, what: &str) -> io::Error {
        self.error(io::ErrorKind::InvalidData, what)
    }

    fn error(&self, kind: io::ErrorKind, what: &str) -> io::Error {
        let (name, at) = (&self.name, self.entry.offset);
        io::Error::new(kind, format!("{name}, partition at byte {at}, block {}: {what}", self.blocks))
    }
}

impl<R: Read> RecordStream for PartitionReader<R> {
    fn advance(&mut self) -> io::Result<bool> {
        if self.repeats > 0 {
            self.repeats -= 1;
            return Ok(true);
        }
        if self.next_at == self.raw_len && !self.next_block()? {
            return Ok(false);
        }
        let block = &self.raw.bytes()[..self.raw_len];
        let frame = Frame::parse(block, self.next_at).and_then(|frame| {
            let (repeats, next_at) = frame::repeats(block, frame.end);
            let left = self.left.records.checked_sub(1 + u64::from(repeats))?;
            Some((frame, repeats, next_at, left))
        });
        let Some(read) = frame else { return Err(self.wrong("holds other records than its index says")) };
        (self.frame, self.repeats, self.next_at, self.left.records) = read;
        Ok(true)
    }

    fn record(&self) -> Record<'_> {
        self.frame.record(self.raw.bytes())
    }

    fn take_repeats(&mut self) -> u64 {
        std::mem::take(&mut self.repeats).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shuffle::segment::{Compression, SegmentIndex, SegmentWriter};
    use proptest::prelude::*;

    type Written = Vec<(u32, Vec<u8>)>;

    fn write(path: &Path, records: &Written, compression: Compression) -> SegmentIndex {
        let mut writer = SegmentWriter::create(path, 4, compression).expect("a new file");
        for (partition, line) in records {
            writer.push(*partition, Record { line, key_len: line.len() / 2 }).expect("in order");
        }
        writer.finish().expect("written")
    }

    /// All records, and the error if there is one in the end.
    fn read(path: &Path) -> (Written, io::Result<()>) {
        let mut records = Vec::new();
        let mut all = || {
            for (partition, entry) in SegmentIndex::read(path)?.partitions.iter().enumerate() {
                let mut reader = PartitionReader::open(path, entry)?;
                while let Some(record) = reader.next_record()? {
                    assert_eq!(record.key_len, record.line.len() / 2);
                    records.push((partition as u32, record.line.to_vec()));
                }
                assert!(!reader.advance().expect("still at the end"));
            }
            Ok(())
        };
        let result = all();
        (records, result)
    }

    fn some_records() -> Written {
        let line = |i: u32| match i % 5 {
            0 => Vec::new(),
            1 => vec![0; i as usize],
            _ => format!("key {i}\tvalue").into_bytes(),
        };
        (0..30).map(|i| (i / 10 + u32::from(i > 15), line(i))).collect()
    }

    #[test]
    fn any_damage_is_found_and_no_wrong_record_is_lent() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("segment");
        for compression in [Compression::None, Compression::Lz4] {
            let records = some_records();
            write(&path, &records, compression);
            let whole = fs_err::read(&path).expect("written");
            let cuts = (0..whole.len()).map(|end| whole[..end].to_vec());
            let flips = (0..whole.len() * 8).map(|bit| {
                let mut bytes = whole.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                bytes
            });
            for damaged in cuts.chain(flips) {
                fs_err::remove_file(&path).expect("there"); // cutting an old file short can make ext4 wait for the disk
                fs_err::write(&path, damaged).expect("written");
                let (lent, result) = read(&path);
                let kind = result.expect_err("damage").kind();
                assert!(matches!(kind, io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof), "{kind}");
                assert!(lent.len() < records.len() && records.starts_with(&lent));
            }
        }
    }

    #[test]
    fn a_sent_partition_that_is_cut_or_not_the_one_expected_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("segment");
        // Several blocks a partition, so that cuts and swaps between blocks are among them.
        let records: Written = (0..3).map(|i| (1, vec![i; block::BLOCK_BYTES])).collect();
        let entry = write(&path, &records, Compression::Lz4).partitions[1];
        let whole = fs_err::read(&path).expect("written")[..entry.stored as usize].to_vec();
        let check = |bytes: &[u8], expected: io::ErrorKind| {
            let mut reader = PartitionReader::new("map-0.0".into(), bytes, &entry);
            let error = loop {
                match reader.advance() {
                    Ok(true) => {}
                    Ok(false) => panic!("damage was not found"),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), expected);
            assert!(error.to_string().starts_with("map-0.0, partition at byte 0, block "), "{error}");
        };
        for end in 0..whole.len() {
            check(&whole[..end], io::ErrorKind::UnexpectedEof);
        }
        let block = whole.len() / 3;
        let swapped = [&whole[block..2 * block], &whole[..block], &whole[2 * block..]].concat();
        check(&swapped, io::ErrorKind::InvalidData);
    }

    #[test]
    fn wrong_order_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut writer =
            SegmentWriter::create(folder.path().join("segment"), 3, Compression::None).expect("a new file");
        let record = Record { line: b"a", key_len: 1 };
        writer.push(1, record).expect("in order");
        for partition in [0, 3] {
            let error = writer.push(partition, record).expect_err("out of order");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn repeats_are_stored_once_however_they_come() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, records: &[(u32, &[u8], u64)]| {
            let path = folder.path().join(name);
            let mut writer = SegmentWriter::create(&path, 2, Compression::None).expect("a new file");
            for (partition, line, times) in records {
                writer.push_times(*partition, Record { line, key_len: 1 }, *times).expect("in order");
            }
            (writer.finish().expect("written"), path)
        };
        let (index, path) = write("counted", &[(0, b"a\t1", 3), (0, b"a\t2", 1), (0, b"a\t2", 4), (1, b"a\t2", 1)]);
        let mut ones: Vec<(u32, &[u8], u64)> = vec![(0, b"a\t1", 1); 3];
        ones.extend([(0, b"a\t2".as_slice(), 2), (0, b"a\t2", 2), (0, b"a\t2", 1), (1, b"a\t2", 1)]);
        let (same, other) = write("one by one", &ones);
        assert_eq!(fs_err::read(&path).expect("written"), fs_err::read(other).expect("written"));
        assert_eq!((&index, index.partitions[0].records, index.partitions[0].raw), (&same, 8, 2 * (5 + 2)));

        let mut reader = PartitionReader::open(&path, &index.partitions[0]).expect("opens");
        let mut lines = Vec::new();
        while reader.advance().expect("whole") {
            lines.push((reader.record().line.to_vec(), reader.take_repeats()));
        }
        assert_eq!(lines, [(b"a\t1".to_vec(), 2), (b"a\t2".to_vec(), 4)]);
    }

    #[test]
    fn more_repeats_than_can_be_counted_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("segment");
        let mut writer = SegmentWriter::create(&path, 1, Compression::None).expect("a new file");
        let times = [5, 3 << 32, 7];
        for times in times {
            writer.push_times(0, Record { line: b"a", key_len: 1 }, times).expect("in order");
        }
        let index = writer.finish().expect("written");
        let mut reader = PartitionReader::open(&path, &index.partitions[0]).expect("opens");
        let mut records = 0;
        while reader.advance().expect("whole") {
            records += 1 + reader.take_repeats();
        }
        assert_eq!((records, index.records()), (times.iter().sum(), times.iter().sum()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn what_was_written_is_read_and_has_one_identity(
            mut records in prop::collection::vec((0u32..4, prop::collection::vec(any::<u8>(), 0..40), 0usize..3), 0..60),
        ) {
            records.sort_by_key(|(partition, ..)| *partition);
            // Some lines are longer than a block, or nearly so.
            let records: Written = records
                .into_iter()
                .map(|(partition, line, size)| (partition, line.repeat([1, 1, 5000][size])))
                .collect();
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("segment");
            let plain = write(&path, &records, Compression::None);
            let (lent, result) = read(&path);
            prop_assert!(result.is_ok() && lent == records);
            let packed = write(&path, &records, Compression::Lz4);
            let (lent, result) = read(&path);
            prop_assert!(result.is_ok() && lent == records);
            prop_assert_eq!(plain.hash(), packed.hash());
            prop_assert_eq!(packed.records(), records.len() as u64);
            prop_assert_eq!(SegmentIndex::read(&path).expect("whole"), packed);
        }
    }
}
