//! The limit for counting words: a thread a processor, blocks of whole files, a table of words, and nothing else: no
//! splits, no sorting, no checksums, no other process. What a program would do that is written for this one task.

use std::collections::HashMap;
use std::io::{BufWriter, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use fs_err::File;

/// How this program is asked to be the tight loop.
pub const SUBCOMMAND: &str = "tight-count";

const THREADS: usize = 2;
const BLOCK: usize = 1 << 20;
/// Places of a table at first; more than half full, it doubles.
const PLACES: usize = 1 << 17;

/// Counts the words of all files and writes `word<TAB>count` lines to stdout.
///
/// # Errors
/// When a file cannot be read.
pub fn main(files: &[String]) -> anyhow::Result<()> {
    let next = AtomicUsize::new(0);
    let count = || -> anyhow::Result<Table> {
        let mut table = Table::new(PLACES);
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            count_file(file, &mut table)?;
        }
        Ok(table)
    };
    let tables: anyhow::Result<Vec<Table>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(count)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| anyhow::bail!("a thread panicked"))).collect()
    });
    let tables = tables?;
    let mut total: HashMap<&[u8], u64> = HashMap::new();
    for table in &tables {
        for entry in table.entries.iter().filter(|entry| entry.count > 0) {
            *total.entry(table.word(entry)).or_default() += entry.count;
        }
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    for (word, count) in total {
        out.write_all(word)?;
        writeln!(out, "\t{count}")?;
    }
    Ok(out.flush()?)
}

fn count_file(path: &str, table: &mut Table) -> anyhow::Result<()> {
    let mut file = File::open(path)?;
    let (mut buffer, mut kept) = (vec![0; BLOCK], 0);
    loop {
        let read = file.read(&mut buffer[kept..])?;
        let filled = kept + read;
        let end = match buffer[..filled].iter().rposition(u8::is_ascii_whitespace) {
            Some(at) if read > 0 => at + 1,
            _ => filled,
        };
        count_block(&buffer[..end], table);
        if read == 0 {
            return Ok(());
        }
        buffer.copy_within(end..filled, 0);
        kept = filled - end;
    }
}

fn count_block(block: &[u8], table: &mut Table) {
    let mut start = 0;
    let mut hash = 0_u64;
    for (at, byte) in block.iter().enumerate() {
        if *byte > b' ' || !byte.is_ascii_whitespace() {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            continue;
        }
        if start < at {
            table.add(&block[start..at], hash);
        }
        (start, hash) = (at + 1, 0);
    }
    if start < block.len() {
        table.add(&block[start..], hash);
    }
}

/// Open addressing; the words lie one after the other.
struct Table {
    entries: Vec<Entry>,
    words: Vec<u8>,
    used: usize,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    hash: u64,
    start: u32,
    len: u32,
    count: u64,
}

impl Table {
    fn new(places: usize) -> Self {
        Table { entries: vec![Entry::default(); places], words: Vec::new(), used: 0 }
    }

    fn word(&self, entry: &Entry) -> &[u8] {
        &self.words[entry.start as usize..][..entry.len as usize]
    }

    fn add(&mut self, word: &[u8], hash: u64) {
        let mask = self.entries.len() - 1;
        let mut place = (hash >> 32) as usize & mask;
        loop {
            let entry = self.entries[place];
            if entry.count > 0 && entry.hash == hash && self.word(&entry) == word {
                self.entries[place].count += 1;
                return;
            }
            if entry.count == 0 {
                break;
            }
            place = (place + 1) & mask;
        }
        let start = self.words.len() as u32;
        self.words.extend_from_slice(word);
        self.entries[place] = Entry { hash, start, len: word.len() as u32, count: 1 };
        self.used += 1;
        if self.used * 2 > self.entries.len() {
            self.grow();
        }
    }

    fn grow(&mut self) {
        let mut entries = vec![Entry::default(); self.entries.len() * 2];
        let mask = entries.len() - 1;
        for entry in self.entries.iter().filter(|entry| entry.count > 0) {
            let mut place = (entry.hash >> 32) as usize & mask;
            while entries[place].count > 0 {
                place = (place + 1) & mask;
            }
            entries[place] = *entry;
        }
        self.entries = entries;
    }
}
