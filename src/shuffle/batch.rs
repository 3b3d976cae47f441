//! Records in memory, and their sort.
//!
//! Lines lie in chunks, so that growth never copies what is there; what is sorted are small entries that know the
//! partition and the first bytes of the key. A record that is the same as the one before it of its key, as most are that a
//! mapper like `word<TAB>1` makes, is only counted: it is neither kept nor sorted nor merged once more.

use std::hint::black_box;
use std::io;

use super::entry::{self, CHUNKS_MAX, Entry, frame_of};
use super::frame::{self, Frame};
use super::known::{Image, Known};
use super::order::prefix;
use super::record::{Record, RecordStream};
use super::run::{PartitionedStream, Run};
use super::segment::SegmentWriter;

/// A chunk of lines, where the budget is not small. Large enough that there are few, small enough that the last one,
/// part empty, wastes little.
const CHUNK_BYTES_MAX: usize = 4 << 20;

/// What an entry takes: itself, and half of it again, which the stable sort wants.
const ENTRY_BYTES: usize = size_of::<Entry>() * 3 / 2;

/// How many records are fetched from memory at once: about as many misses as a processor can have under way.
pub const LOOK_AHEAD: usize = 16;

/// Keys of which the last record is looked for, in 3 MB at most. What is not found there costs many times as much as a wait
/// for the processor's outer cache.
const RECENT_MAX: usize = 1 << 17;

/// So many records are looked for before it is asked whether that is worth it.
const TRIED: usize = 1 << 14;

/// What a repeat adds to the chance of its key to stay among the recent ones, and the most that it comes to: with both,
/// a fifth fewer of words that are spread as Zipf has it are missed than if each new key took the place.
const CREDIT: u8 = 2;
const CREDIT_MAX: u8 = 15;

/// Of so many records one at least must be a repeat, or it is not worth looking for them.
const REPEATED_SHARE_MIN: usize = 16;

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
    /// The last record of each of some keys, at one of the two places of a pair, which the key's hash names. A record of a
    /// key that is there replaces it; so what is there of a key is the last of it.
    recent: Vec<[Recent; 2]>,
    /// How many records were only counted.
    repeated: usize,
}

/// A record that came not long ago, in 24 bytes: nothing else is touched for most of those that repeat it.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    image: Image,
    /// Its entry's place and one more; 0 for none.
    entry: u32,
    /// How often it came once more since that was written to its entry.
    repeats: u16,
    /// Some bits of its key's hash, not 0. Where they differ, so do the keys.
    tag: u8,
    /// How many other keys it withstands.
    credit: u8,
}

impl Recent {
    /// Whether it is this record, as far as its image tells.
    fn may_be(&self, known: &Known<'_>) -> bool {
        self.image == known.image && self.entry != 0
    }
}

impl Batch {
    /// Room for records and their entries of about so many bytes.
    pub fn new(memory: usize) -> Self {
        let pairs = (memory / 2048).next_power_of_two().min(RECENT_MAX / 2);
        Batch {
            memory,
            chunk_bytes: (memory / 32).clamp(1, CHUNK_BYTES_MAX),
            recent: vec![Default::default(); pairs],
            ..Batch::default()
        }
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
        let fits = self.held + more + (self.entries.len() + 1) * ENTRY_BYTES <= self.memory;
        self.is_empty() || (fits && self.chunks.len() < CHUNKS_MAX)
    }

    /// Reads where the last one of each of these records' keys would be known.
    pub fn look_ahead(&self, records: &[Known<'_>]) {
        let look = |sum: u32, known: &Known<'_>| {
            let pair = self.recent.get(self.pair_of(known));
            sum ^ pair.map_or(0, |[one, _]| one.entry)
        };
        black_box(records.iter().fold(0, look));
    }

    /// Counts a record that is the same as the last one of its key, if that is still known.
    #[inline]
    pub fn count_repeat(&mut self, known: &Known<'_>) -> bool {
        let pair = self.pair_of(known);
        let Some([one, other]) = self.recent.get_mut(pair) else { return false };
        let recent = if one.may_be(known) { one } else { other };
        if !recent.may_be(known) {
            return false;
        }
        if !known.image.is_whole() {
            let entry = &self.entries[recent.entry as usize - 1];
            let chunk = &self.chunks[entry.chunk()];
            if frame_of(entry, chunk).record(chunk) != known.record {
                return false;
            }
        }
        if recent.repeats == u16::MAX && !note_repeats(recent, &mut self.entries) {
            return false;
        }
        recent.repeats += 1;
        recent.credit = recent.credit.saturating_add(CREDIT).min(CREDIT_MAX);
        self.repeated += 1;
        true
    }

    /// Which pair of places a record's key has among the recent ones. Where hardly anything repeats, there is none.
    #[inline]
    fn pair_of(&self, known: &Known<'_>) -> usize {
        if self.repeated * REPEATED_SHARE_MIN + TRIED < self.entries.len() {
            return usize::MAX;
        }
        known.hash as usize & self.recent.len().wrapping_sub(1)
    }

    /// Knows the last entry as the last one of its key from now on, unless both places are other keys', which keep them.
    fn remember(&mut self, known: &Known<'_>) {
        let (pair, tag) = (self.pair_of(known), (known.hash >> 56) as u8 | 1);
        let Some([one, other]) = self.recent.get_mut(pair) else { return };
        // Of each tag there is one at most, so that a key is never at both places.
        let is_others = other.tag == tag || (one.tag != tag && other.credit < one.credit);
        let recent = if is_others { other } else { one };
        if recent.tag != tag && recent.credit > 0 {
            recent.credit -= 1;
            return;
        }
        note_repeats(recent, &mut self.entries);
        *recent = Recent { image: known.image, entry: self.entries.len() as u32, repeats: 0, tag, credit: 0 };
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a line of 4 GiB or more.
    pub fn push(&mut self, partition: u32, known: &Known<'_>) -> io::Result<()> {
        let record = known.record;
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
        self.entries.push(Entry::new(partition, prefix(record.key(), 0), record.key_len, index, at));
        self.remember(known);
        Ok(())
    }

    /// The records sorted by partition and key, equal keys in the order of their arrival. So many threads may sort.
    pub fn sorted(&mut self, threads: usize) -> Sorted<'_> {
        for recent in self.recent.as_flattened_mut() {
            note_repeats(recent, &mut self.entries);
        }
        entry::sort(&mut self.entries, &self.chunks, threads);
        Sorted { chunks: &self.chunks, entries: &self.entries, next: 0, repeats: 0, frame: Frame::default() }
    }

    /// Makes a run of all records, which so many threads may sort, and forgets them.
    pub fn write(&mut self, mut writer: SegmentWriter, threads: usize) -> io::Result<Run> {
        let mut sorted = self.sorted(threads);
        while sorted.advance()? {
            let times = 1 + sorted.take_repeats();
            writer.push_frame(sorted.partition(), sorted.frame(), times)?;
        }
        self.clear();
        Run::finish(writer)
    }

    /// Forgets all records and keeps the memory for others.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.recent.fill(Default::default());
        (self.open, self.held, self.repeated) = (None, 0, 0);
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

/// Writes the repeats of a recent record where they are kept; false if there is no room for as many once more.
fn note_repeats(recent: &mut Recent, entries: &mut [Entry]) -> bool {
    if recent.repeats == 0 {
        return true;
    }
    let kept = &mut entries[recent.entry as usize - 1].repeats;
    *kept += u32::from(std::mem::take(&mut recent.repeats));
    *kept <= u32::MAX - 2 * u32::from(u16::MAX)
}

/// Where a record goes.
enum Place {
    /// Into this chunk, which is open.
    Open(usize),
    NewChunk,
    OwnChunk,
}

/// The records of a batch in order.
pub(super) struct Sorted<'a> {
    chunks: &'a [Vec<u8>],
    entries: &'a [Entry],
    /// How many entries were gone to.
    next: usize,
    /// How often the record of the last of them comes once more.
    repeats: u32,
    frame: Frame,
}

impl Sorted<'_> {
    /// The frame of the record, which [`RecordStream::record`] is in.
    fn frame(&self) -> &[u8] {
        let entry = &self.entries[self.next - 1];
        &self.chunks[entry.chunk()][entry.at as usize..self.frame.end]
    }
}

impl Sorted<'_> {
    /// Reads a byte of each of the records that come next. Sorted records lie anywhere, so each is a wait for memory;
    /// here the waits overlap.
    fn look_ahead_in_order(&self) {
        let ahead = self.entries[self.next..].iter().take(LOOK_AHEAD);
        let touch = |sum: u8, entry: &Entry| sum ^ self.chunks[entry.chunk()][entry.at as usize];
        black_box(ahead.fold(0, touch));
    }
}

impl RecordStream for Sorted<'_> {
    fn advance(&mut self) -> io::Result<bool> {
        if self.repeats > 0 {
            self.repeats -= 1;
            return Ok(true);
        }
        if self.next.is_multiple_of(LOOK_AHEAD) {
            self.look_ahead_in_order();
        }
        let Some(entry) = self.entries.get(self.next) else { return Ok(false) };
        self.frame = frame_of(entry, &self.chunks[entry.chunk()]);
        self.repeats = entry.repeats;
        self.next += 1;
        Ok(true)
    }

    fn record(&self) -> Record<'_> {
        self.frame.record(&self.chunks[self.entries[self.next - 1].chunk()])
    }

    fn take_repeats(&mut self) -> u64 {
        std::mem::take(&mut self.repeats).into()
    }
}

impl PartitionedStream for Sorted<'_> {
    fn partition(&self) -> u32 {
        self.entries[self.next - 1].partition
    }
}
