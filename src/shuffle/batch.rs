//! Records in memory, and their sort.
//!
//! Lines lie in chunks, so that growth never copies what is there; what is sorted are small entries that know the
//! partition and the first bytes of the key.

use std::hint::black_box;
use std::io;

use super::frame::{self, Frame};
use super::order::{PREFIX_BYTES, prefix};
use super::record::{Record, RecordStream};
use super::run::PartitionedStream;

/// A chunk of lines, where the budget is not small. Large enough that there are few, small enough that the last one,
/// part empty, wastes little.
const CHUNK_BYTES_MAX: usize = 4 << 20;

/// What an entry takes: itself, and half of it again, which the stable sort wants.
const ENTRY_BYTES: usize = size_of::<Entry>() * 3 / 2;

/// How many bytes of keys that begin alike are sorted eight at a time before whole keys are compared. URLs and paths
/// differ before it; recursion ends with it.
const DEPTH_MAX: usize = 64;

/// How many records are fetched from memory at once: about as many misses as a processor can have under way.
const TOUCHED_AHEAD: usize = 16;

/// Records in the order of their arrival, within a budget of memory.
#[derive(Debug, Default)]
pub(super) struct Batch {
    memory: usize,
    chunk_bytes: usize,
    /// Frames one after the other. A record that is large for a chunk has one of its own.
    chunks: Vec<Vec<u8>>,
    /// The chunk that is being filled.
    open: Option<usize>,
    /// Empty chunks of the usual size, kept from the last round.
    spare: Vec<Vec<u8>>,
    /// What the chunks in use take.
    held: usize,
    entries: Vec<Entry>,
}

/// A record, as far as sorting needs to know it at once: 24 bytes.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The bytes of the key that are being sorted by.
    prefix: u64,
    partition: u32,
    key_len: u32,
    chunk: u32,
    /// Where its frame starts in the chunk.
    at: u32,
}

impl Entry {
    /// Orders entries by partition, by the eight bytes of the key at `depth`, and keys that end there before longer
    /// ones. Entries of equal rank have equal keys if these end there.
    fn rank(&self, depth: usize) -> u128 {
        let len = self.key_len.min((depth + PREFIX_BYTES + 1) as u32);
        u128::from(self.partition) << 96 | u128::from(self.prefix) << 32 | u128::from(len)
    }
}

impl Batch {
    /// Room for records and their entries of about so many bytes.
    pub fn new(memory: usize) -> Self {
        Batch { memory, chunk_bytes: (memory / 32).clamp(1, CHUNK_BYTES_MAX), ..Batch::default() }
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the record fits the budget. A lone record always does.
    pub fn takes(&self, record: Record<'_>) -> bool {
        let size = frame::size(record);
        let more = match self.place(size) {
            Place::Open(_) => 0,
            Place::NewChunk => self.chunk_bytes,
            Place::OwnChunk => size,
        };
        self.is_empty() || self.held + more + (self.entries.len() + 1) * ENTRY_BYTES <= self.memory
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a line of 4 GiB or more.
    pub fn push(&mut self, partition: u32, record: Record<'_>) -> io::Result<()> {
        let size = frame::size(record);
        let index = match self.place(size) {
            Place::Open(index) => index,
            Place::NewChunk => {
                let chunk = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(self.chunk_bytes));
                let index = self.add(chunk, self.chunk_bytes);
                *self.open.insert(index)
            }
            Place::OwnChunk => self.add(Vec::new(), size),
        };
        let chunk = &mut self.chunks[index];
        let at = chunk.len() as u32;
        frame::put(record, chunk)?;
        let (prefix, key_len) = (prefix(record.key(), 0), record.key_len as u32);
        self.entries.push(Entry { prefix, partition, key_len, chunk: index as u32, at });
        Ok(())
    }

    /// The records sorted by partition and key, equal keys in the order of their arrival.
    pub fn sorted(&mut self) -> Sorted<'_> {
        sort(&mut self.entries, &self.chunks, 0);
        Sorted { chunks: &self.chunks, entries: &self.entries, next: 0, frame: Frame::default() }
    }

    /// Forgets all records and keeps the memory for others.
    pub fn clear(&mut self) {
        self.entries.clear();
        (self.open, self.held) = (None, 0);
        let usual = |chunk: &Vec<u8>| chunk.capacity() == self.chunk_bytes;
        for mut chunk in self.chunks.drain(..).filter(usual) {
            chunk.clear();
            self.spare.push(chunk);
        }
    }

    fn place(&self, size: usize) -> Place {
        if size > self.chunk_bytes / 4 {
            return Place::OwnChunk;
        }
        match self.open {
            Some(open) if self.chunks[open].len() + size <= self.chunk_bytes => Place::Open(open),
            Some(_) | None => Place::NewChunk,
        }
    }

    fn add(&mut self, chunk: Vec<u8>, bytes: usize) -> usize {
        self.held += bytes;
        self.chunks.push(chunk);
        self.chunks.len() - 1
    }
}

/// Where a record goes.
enum Place {
    /// Into this chunk, which is open.
    Open(usize),
    NewChunk,
    OwnChunk,
}

/// Sorts entries whose keys are equal before `depth` and whose prefixes are those at `depth`.
fn sort(entries: &mut [Entry], chunks: &[Vec<u8>], depth: usize) {
    entries.sort_by_key(|entry| entry.rank(depth));
    let depth_next = depth + PREFIX_BYTES;
    for group in entries.chunk_by_mut(|a, b| a.rank(depth) == b.rank(depth)) {
        if group.len() == 1 || group[0].key_len as usize <= depth_next {
            continue;
        }
        if depth_next > DEPTH_MAX {
            group.sort_by(|a, b| key(a, chunks)[depth_next..].cmp(&key(b, chunks)[depth_next..]));
            continue;
        }
        for entry in group.iter_mut() {
            entry.prefix = prefix(key(entry, chunks), depth_next);
        }
        sort(group, chunks, depth_next);
    }
}

fn key<'a>(entry: &Entry, chunks: &'a [Vec<u8>]) -> &'a [u8] {
    let chunk = &chunks[entry.chunk as usize];
    frame_of(entry, chunk).record(chunk).key()
}

fn frame_of(entry: &Entry, chunk: &[u8]) -> Frame {
    match Frame::parse(chunk, entry.at as usize) {
        Some(frame) => frame,
        None => unreachable!("the frame was put there whole"),
    }
}

/// The records of a batch in order.
pub(super) struct Sorted<'a> {
    chunks: &'a [Vec<u8>],
    entries: &'a [Entry],
    /// How many records were gone to.
    next: usize,
    frame: Frame,
}

impl Sorted<'_> {
    /// The frame of the record, which [`RecordStream::record`] is in.
    pub fn frame(&self) -> &[u8] {
        let entry = &self.entries[self.next - 1];
        &self.chunks[entry.chunk as usize][entry.at as usize..self.frame.end]
    }
}

impl Sorted<'_> {
    /// Reads a byte of each of the records that come next. Sorted records lie anywhere, so each is a wait for memory;
    /// here the waits overlap.
    fn touch_ahead(&self) {
        let ahead = self.entries[self.next..].iter().take(TOUCHED_AHEAD);
        let touch = |sum: u8, entry: &Entry| sum ^ self.chunks[entry.chunk as usize][entry.at as usize];
        black_box(ahead.fold(0, touch));
    }
}

impl RecordStream for Sorted<'_> {
    fn advance(&mut self) -> io::Result<bool> {
        if self.next.is_multiple_of(TOUCHED_AHEAD) {
            self.touch_ahead();
        }
        let Some(entry) = self.entries.get(self.next) else { return Ok(false) };
        self.frame = frame_of(entry, &self.chunks[entry.chunk as usize]);
        self.next += 1;
        Ok(true)
    }

    fn record(&self) -> Record<'_> {
        self.frame.record(&self.chunks[self.entries[self.next - 1].chunk as usize])
    }
}

impl PartitionedStream for Sorted<'_> {
    fn partition(&self) -> u32 {
        self.entries[self.next - 1].partition
    }
}
