//! The limit for counting words: a thread a processor, blocks of whole files, a table of words, and nothing else: no
//! splits, no sorting, no checksums, no other process. What a program would do that is written for this one task.
//!
//! It knows the data: words are of letters, and a blank is any byte up to the space.

use std::collections::HashMap;
use std::io::{BufWriter, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use fs_err::File;
use hashbrown::HashTable;

/// How this program is asked to be the tight loop.
pub const SUBCOMMAND: &str = "tight-count";

const THREADS: usize = 2;
/// As much as stays in a core's cache.
const BLOCK: usize = 256 << 10;
/// Bytes that are looked at once.
const CHUNK: usize = 64;
/// Behind each block, so that a chunk and a word can be loaded whole.
const PADDING: usize = 2 * CHUNK;

/// Counts the words of all files and writes `word<TAB>count` lines to stdout.
///
/// # Errors
/// When a file cannot be read.
pub fn main(files: &[String]) -> anyhow::Result<()> {
    let next = AtomicUsize::new(0);
    let count = || -> anyhow::Result<Table> {
        let mut table = Table::default();
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            count_file(file, &mut table)?;
        }
        Ok(table)
    };
    let tables: anyhow::Result<Vec<Table>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(count)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| anyhow::bail!("a thread panicked"))).collect()
    });
    let mut total: HashMap<Vec<u8>, u64> = HashMap::new();
    for table in tables? {
        for entry in table.short {
            let bytes = entry.word.map(u64::to_le_bytes);
            let bytes = bytes.as_flattened();
            let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            *total.entry(bytes[..len].to_vec()).or_default() += entry.count;
        }
        for (word, count) in table.long {
            *total.entry(word).or_default() += count;
        }
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    for (word, count) in total {
        out.write_all(&word)?;
        writeln!(out, "\t{count}")?;
    }
    Ok(out.flush()?)
}

fn count_file(path: &str, table: &mut Table) -> anyhow::Result<()> {
    let mut file = File::open(path)?;
    let (mut buffer, mut kept) = (vec![b' '; BLOCK + PADDING], 0);
    loop {
        let read = file.read(&mut buffer[kept..BLOCK])?;
        let filled = kept + read;
        let end = match buffer[..filled].iter().rposition(|byte| *byte <= b' ') {
            Some(at) if read > 0 => at + 1,
            _ => filled,
        };
        count_block(&buffer, end, table);
        if read == 0 {
            return Ok(());
        }
        buffer.copy_within(end..filled, 0);
        kept = filled - end;
    }
}

/// Counts what stands before `end`; some bytes are to be read behind it.
fn count_block(buffer: &[u8], end: usize, table: &mut Table) {
    let mut start = 0;
    for (chunk, at) in buffer[..end.next_multiple_of(CHUNK)].as_chunks::<CHUNK>().0.iter().zip((0..).step_by(CHUNK)) {
        let mut blanks = blanks(chunk);
        while blanks != 0 {
            let blank = at + blanks.trailing_zeros() as usize;
            blanks &= blanks - 1;
            if start < blank {
                table.add(buffer, start, blank.min(end));
            }
            start = blank + 1;
            if start >= end {
                return;
            }
        }
    }
    if start < end {
        table.add(buffer, start, end);
    }
}

/// A bit for each byte up to the space, eight bytes at a time: what is at most a space has no high bit, and none comes when
/// 0x5f is added to it.
fn blanks(chunk: &[u8; CHUNK]) -> u64 {
    const LOW: u64 = u64::from_le_bytes([0x7f; 8]);
    let words = chunk.as_chunks::<8>().0.iter().zip((0..).step_by(8));
    words.fold(0, |blanks, (word, place)| {
        let word = u64::from_le_bytes(*word);
        let others = (((word & LOW) + u64::from_le_bytes([0x5f; 8])) | word) & !LOW;
        let eight = ((others ^ !LOW) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        blanks | eight << place
    })
}

/// Words of up to 16 bytes are two numbers.
#[derive(Default)]
struct Table {
    short: HashTable<Entry>,
    long: HashMap<Vec<u8>, u64>,
}

struct Entry {
    word: [u64; 2],
    count: u64,
}

impl Table {
    fn add(&mut self, buffer: &[u8], start: usize, end: usize) {
        let len = end - start;
        let Some(window) = buffer[start..].first_chunk().filter(|_| len <= 16) else {
            *self.long.entry(buffer[start..end].to_vec()).or_default() += 1;
            return;
        };
        let word = u128::from_le_bytes(*window) & (u128::MAX >> (8 * (16 - len)));
        let word = [word as u64, (word >> 64) as u64];
        match self.short.find_mut(hash(word), |entry| entry.word == word) {
            Some(entry) => entry.count += 1,
            None => {
                self.short.insert_unique(hash(word), Entry { word, count: 1 }, |entry| hash(entry.word));
            }
        }
    }
}

fn hash([low, high]: [u64; 2]) -> u64 {
    let product = u128::from(low ^ 0x9e37_79b9_7f4a_7c15) * u128::from(high ^ 0xbf58_476d_1ce4_e5b9);
    product as u64 ^ (product >> 64) as u64
}
