//! Segments: the file that a map attempt writes, and the runs of its sorter.
//!
//! | bytes | what |
//! |---|---|
//! | blocks of partition 0, of partition 1, … | a block never spans partitions, so each is one range of the file, sent as it is |
//! | the index | a [`SegmentIndex`] in postcard |
//! | 24 bytes | length of the index, its XXH3-64 (little-endian), and the magic with the version |
//!
//! Nothing is synced to disk: a segment lost with its host is made again. Order within a partition is the writer's
//! business. Reading is in [`reader`](super::reader).

use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use fs_err::File;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

pub use super::block::Compression;
use super::block::{self, BLOCK_BYTES, Buffer};
use super::frame::{self, Frame};
use super::policy::{Block, Compressor};
use super::record::Record;
use crate::clock;

/// The last bytes of a segment; the number is the version of its form.
const MAGIC: [u8; 8] = *b"runseg02";

/// The bytes of the footer.
const FOOTER_BYTES: u64 = 24;

/// Where a partition lies in its segment, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionIndex {
    /// Where its first block starts.
    pub offset: u64,
    /// The bytes of its blocks in the file.
    pub stored: u64,
    /// The bytes of its records with their frames, before compression.
    pub raw: u64,
    /// How many records it has.
    pub records: u64,
    /// The XXH3-64 of its raw bytes in order, so independent of blocks and codec.
    pub hash: u64,
}

/// Where the partitions of a segment lie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentIndex {
    /// One entry a partition, from 0; they lie one after the other from the start of the file.
    pub partitions: Vec<PartitionIndex>,
}

impl SegmentIndex {
    /// The index at the end of a segment.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for a file that is no whole segment; those of the file system.
    pub fn read(path: impl AsRef<Path>) -> io::Result<SegmentIndex> {
        let mut file = File::open(path.as_ref())?;
        let len = file.metadata()?.len();
        let wrong = |what: &str| {
            io::Error::new(io::ErrorKind::InvalidData, format!("segment {}: {what}", path.as_ref().display()))
        };
        let footer_at = len.checked_sub(FOOTER_BYTES).ok_or_else(|| wrong("is too short to be one"))?;
        file.seek(SeekFrom::Start(footer_at))?;
        let mut footer = [[0; 8]; 3];
        file.read_exact(footer.as_flattened_mut())?;
        let [index_len, checksum, magic] = footer;
        if magic != MAGIC {
            return Err(wrong("is cut off, or of another version"));
        }
        let index_at = footer_at.checked_sub(u64::from_le_bytes(index_len));
        let index_at = index_at.ok_or_else(|| wrong("has a footer that cannot be"))?;
        file.seek(SeekFrom::Start(index_at))?;
        let mut bytes = vec![0; (footer_at - index_at) as usize];
        file.read_exact(&mut bytes)?;
        if xxh3_64(&bytes) != u64::from_le_bytes(checksum) {
            return Err(wrong("has an index that does not match its checksum"));
        }
        let index: SegmentIndex =
            postcard::from_bytes(&bytes).map_err(|_| wrong("has an index that cannot be decoded"))?;
        if index.end() != Some(index_at) {
            return Err(wrong("has an index that does not fit its length"));
        }
        Ok(index)
    }

    /// The identity of the output: equal where every partition holds the same records in the same order, however they
    /// are cut into blocks and compressed.
    pub fn hash(&self) -> u64 {
        let mut hash = Xxh3::new();
        for partition in &self.partitions {
            let words = [partition.raw, partition.records, partition.hash].map(u64::to_le_bytes);
            hash.update(words.as_flattened());
        }
        hash.digest()
    }

    /// How many records there are in all partitions.
    pub fn records(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.records).sum()
    }

    /// Where the last partition ends; none if they do not lie one after the other.
    fn end(&self) -> Option<u64> {
        self.partitions.iter().try_fold(0u64, |at, partition| {
            if partition.offset == at { at.checked_add(partition.stored) } else { None }
        })
    }
}

/// Writes a segment from records that come ordered by partition.
pub struct SegmentWriter {
    file: BufWriter<File>,
    partitions: u32,
    compressor: Compressor,
    /// The partitions that are complete.
    done: Vec<PartitionIndex>,
    /// The one that is being written.
    entry: PartitionIndex,
    hash: Xxh3,
    /// The block that is being filled.
    block: Vec<u8>,
    /// Its last record.
    last: Option<Last>,
    sealed: Buffer,
}

/// The last record of a block.
struct Last {
    at: usize,
    frame: Frame,
    /// How often it came once more. That is written when another one comes, so that the bytes are the same whether
    /// repeats came one by one or counted.
    repeats: u32,
}

impl SegmentWriter {
    /// A new file, instead of any that is there.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(
        path: impl AsRef<Path>,
        partitions: u32,
        compressor: impl Into<Compressor>,
    ) -> io::Result<SegmentWriter> {
        Ok(SegmentWriter {
            // A full block passes by this buffer; it gathers those of many tiny partitions.
            file: BufWriter::with_capacity(BLOCK_BYTES / 4, File::create(path.as_ref())?),
            partitions,
            compressor: compressor.into(),
            done: Vec::with_capacity(partitions as usize),
            entry: PartitionIndex::default(),
            hash: Xxh3::new(),
            block: Vec::new(),
            last: None,
            sealed: Buffer::default(),
        })
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        self.file.get_ref().path()
    }

    /// The next record.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a partition below the last one or beyond all, and for a line of 4 GiB or
    /// more; those of the file system.
    pub fn push(&mut self, partition: u32, record: Record<'_>) -> io::Result<()> {
        self.push_times(partition, record, 1)
    }

    /// The next record, so many times.
    pub(super) fn push_times(&mut self, partition: u32, record: Record<'_>, times: u64) -> io::Result<()> {
        let same = |last: &Last, block: &[u8]| last.frame.record(block) == record;
        self.push_with(partition, times, frame::size(record), same, |block| frame::put(record, block))
    }

    /// The next record, so many times, in its frame already.
    pub(super) fn push_frame(&mut self, partition: u32, frame: &[u8], times: u64) -> io::Result<()> {
        let same = |last: &Last, block: &[u8]| block[last.at..last.frame.end] == *frame;
        self.push_with(partition, times, frame.len(), same, |block| {
            block.extend_from_slice(frame);
            Ok(())
        })
    }

    /// Writes what is left, and the index.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn finish(mut self) -> io::Result<SegmentIndex> {
        while self.done.len() < self.partitions as usize {
            self.end_partition()?;
        }
        let index = SegmentIndex { partitions: self.done };
        let bytes = postcard::to_stdvec(&index).map_err(io::Error::other)?;
        self.file.write_all(&bytes)?;
        self.file.write_all(&(bytes.len() as u64).to_le_bytes())?;
        self.file.write_all(&xxh3_64(&bytes).to_le_bytes())?;
        self.file.write_all(&MAGIC)?;
        self.file.flush()?;
        Ok(index)
    }

    /// Adds a record, whose frame has `len` bytes and is put by `put`, unless it is the `same` as the last one.
    fn push_with(
        &mut self,
        partition: u32,
        mut times: u64,
        len: usize,
        same: impl Fn(&Last, &[u8]) -> bool,
        put: impl Fn(&mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        if partition as usize != self.done.len() || partition >= self.partitions {
            self.go_to(partition)?;
        }
        self.entry.records += times;
        if let Some(last) = &mut self.last
            && same(last, &self.block)
        {
            times -= last.repeat(times);
        }
        while times > 0 {
            self.make_room(len)?;
            let at = self.block.len();
            put(&mut self.block)?;
            let frame = Frame::parse(&self.block, at).unwrap_or_default();
            let last = self.last.insert(Last { at, frame, repeats: 0 });
            times -= 1 + last.repeat(times - 1);
        }
        Ok(())
    }

    /// Goes to a new block if the open one has no room for `len` bytes. A record larger than a block so gets one of its
    /// own.
    fn make_room(&mut self, len: usize) -> io::Result<()> {
        self.end_repeats();
        if self.block.len() + len > BLOCK_BYTES {
            self.end_block()?;
        }
        Ok(())
    }

    fn end_repeats(&mut self) {
        if let Some(Last { repeats: repeats @ 1.., .. }) = self.last.take() {
            frame::put_repeats(repeats, &mut self.block);
        }
    }

    fn go_to(&mut self, partition: u32) -> io::Result<()> {
        let open = self.done.len();
        if (partition as usize) < open || partition >= self.partitions {
            let text = format!("a record of partition {partition} of {} after one of {open}", self.partitions);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        while self.done.len() < partition as usize {
            self.end_partition()?;
        }
        Ok(())
    }

    fn end_partition(&mut self) -> io::Result<()> {
        self.end_block()?;
        self.entry.hash = self.hash.digest();
        self.hash.reset();
        let offset = self.entry.offset + self.entry.stored;
        self.done.push(std::mem::replace(&mut self.entry, PartitionIndex { offset, ..PartitionIndex::default() }));
        Ok(())
    }

    fn end_block(&mut self) -> io::Result<()> {
        self.end_repeats();
        if self.block.is_empty() {
            return Ok(());
        }
        let (compression, begun) = (self.compressor.next(), clock::now());
        let sealed = block::seal(&self.block, compression, &mut self.sealed);
        let made = clock::now();
        self.file.write_all(sealed)?;
        let (sealing, writing) = (made.since(begun), clock::now().since(made));
        let block = Block { raw: self.block.len(), stored: sealed.len(), sealing, writing };
        self.compressor.note_block(compression, block);
        self.hash.update(&self.block);
        self.entry.stored += sealed.len() as u64;
        self.entry.raw += self.block.len() as u64;
        self.block.clear();
        self.block.shrink_to(BLOCK_BYTES); // what one huge record needed
        Ok(())
    }
}

impl Last {
    /// Counts it as many times more as can be counted here, and gives that number.
    fn repeat(&mut self, times: u64) -> u64 {
        let more = times.min(u64::from(u32::MAX - self.repeats));
        self.repeats += more as u32; // no more than is missing to its largest value
        more
    }
}
