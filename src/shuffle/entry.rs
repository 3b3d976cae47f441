//! What a batch sorts: an entry for each record, all of one size, that knows enough of the key for most comparisons.

use std::thread;

use super::frame::Frame;
use super::order::{PREFIX_BYTES, prefix};

/// How many chunks an entry can tell apart.
pub(super) const CHUNKS_MAX: usize = 1 << 24;

/// How many bytes of keys that begin alike are sorted eight at a time before whole keys are compared. URLs and paths
/// differ before it; recursion ends with it.
const DEPTH_MAX: usize = 64;

/// Fewer entries are sorted before a thread has begun.
const PARALLEL_MIN: usize = 1 << 15;

/// A record, as far as sorting needs to know it at once: 24 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// The bytes of the key that are being sorted by; before that, the first ones.
    pub prefix: u64,
    /// The partition of the key.
    pub partition: u32,
    /// The chunk (from the ninth bit on), and the length of the key where that is less than 255.
    chunk_and_key: u32,
    /// Where its frame starts in the chunk.
    pub at: u32,
    /// How often it comes once more.
    pub repeats: u32,
}

impl Entry {
    /// The entry of a record whose frame lies in `chunk`, of which there are [`CHUNKS_MAX`] at most, at `at`.
    pub fn new(partition: u32, prefix: u64, key_len: usize, chunk: usize, at: u32) -> Self {
        let chunk_and_key = (chunk as u32) << 8 | key_len.min(0xff) as u32;
        Entry { prefix, partition, chunk_and_key, at, repeats: 0 }
    }

    /// Which chunk its frame is in.
    pub fn chunk(&self) -> usize {
        (self.chunk_and_key >> 8) as usize
    }

    /// The length of the key, or some length beyond all depths for a longer one.
    fn key_len(&self) -> usize {
        (self.chunk_and_key & 0xff) as usize
    }

    /// Orders entries by partition, by the eight bytes of the key at `depth`, and keys that end there before longer
    /// ones. Entries of equal rank have equal keys if these end there.
    fn rank(&self, depth: usize) -> u128 {
        let len = self.key_len().min(depth + PREFIX_BYTES + 1);
        u128::from(self.partition) << 96 | u128::from(self.prefix) << 32 | len as u128
    }
}

/// Sorts entries by partition and key; equal keys stay in their order. Up to so many threads share the work.
pub(super) fn sort(entries: &mut [Entry], chunks: &[Vec<u8>], threads: usize) {
    sort_from(entries, chunks, 0, threads);
}

/// The frame of an entry, in the chunk that it names.
pub(super) fn frame_of(entry: &Entry, chunk: &[u8]) -> Frame {
    match Frame::parse(chunk, entry.at as usize) {
        Some(frame) => frame,
        None => unreachable!("the frame was put there whole"),
    }
}

/// Sorts entries whose keys are equal before `depth` and whose prefixes are those at `depth`.
fn sort_from(entries: &mut [Entry], chunks: &[Vec<u8>], depth: usize, threads: usize) {
    sort_by_rank(entries, depth, threads);
    let depth_next = depth + PREFIX_BYTES;
    for group in entries.chunk_by_mut(|a, b| a.rank(depth) == b.rank(depth)) {
        if group.len() == 1 || group[0].key_len() <= depth_next {
            continue;
        }
        if depth_next > DEPTH_MAX {
            group.sort_by(|a, b| key(a, chunks)[depth_next..].cmp(&key(b, chunks)[depth_next..]));
            continue;
        }
        for entry in group.iter_mut() {
            entry.prefix = prefix(key(entry, chunks), depth_next);
        }
        sort_from(group, chunks, depth_next, threads);
    }
}

/// Threads sort pieces; then all is sorted once more, which for the standard library's stable sort is a merge of the runs
/// that it finds. A thread that does not start is no loss but of time.
fn sort_by_rank(entries: &mut [Entry], depth: usize, threads: usize) {
    if threads > 1 && entries.len() >= PARALLEL_MIN {
        let piece_len = entries.len().div_ceil(threads).max(PARALLEL_MIN);
        thread::scope(|scope| {
            for piece in entries.chunks_mut(piece_len) {
                let sort = move || piece.sort_by_key(|entry| entry.rank(depth));
                let _no_thread = thread::Builder::new().spawn_scoped(scope, sort);
            }
        });
    }
    entries.sort_by_key(|entry| entry.rank(depth));
}

fn key<'a>(entry: &Entry, chunks: &'a [Vec<u8>]) -> &'a [u8] {
    let chunk = &chunks[entry.chunk()];
    frame_of(entry, chunk).record(chunk).key()
}
