//! A table of words and how often each was seen.

use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::map::Emit;

/// Counts by word. Words lie one after the other in an arena, in the order in which they were first seen.
#[derive(Default)]
pub struct Counts {
    table: HashTable<Word>,
    arena: Vec<u8>,
    hasher: FixedState,
}

struct Word {
    start: usize,
    len: usize,
    hash: u64,
    count: u64,
}

/// Which bytes end a word: those that Rust calls ASCII white space.
const SPACE: [bool; 256] = {
    let mut space = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        space[byte] = (byte as u8).is_ascii_whitespace();
        byte += 1;
    }
    space
};

impl Counts {
    /// Counts all words of `block`, which ends with white space.
    pub fn add_words(&mut self, block: &[u8]) {
        let mut start = 0;
        for (at, byte) in block.iter().enumerate() {
            if SPACE[*byte as usize] {
                if start < at {
                    self.add(&block[start..at]);
                }
                start = at + 1;
            }
        }
    }

    fn add(&mut self, word: &[u8]) {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(word);
        let hash = hasher.finish();
        let Counts { table, arena, .. } = self;
        let same = |entry: &Word| entry.hash == hash && arena[entry.start..entry.start + entry.len] == *word;
        if let Some(entry) = table.find_mut(hash, same) {
            entry.count += 1;
            return;
        }
        let start = arena.len();
        arena.extend_from_slice(word);
        table.insert_unique(hash, Word { start, len: word.len(), hash, count: 1 }, |entry| entry.hash);
    }

    /// Bytes in use.
    pub fn memory(&self) -> usize {
        self.arena.len() + self.table.len() * size_of::<Word>() * 2
    }

    /// Emits `word<TAB>count` for each word, in the order in which they were first seen, and forgets them.
    ///
    /// # Errors
    /// Those of `emit`.
    pub fn drain(&mut self, emit: &mut Emit) -> io::Result<()> {
        let mut words: Vec<Word> = self.table.drain().collect();
        words.sort_unstable_by_key(|word| word.start);
        let mut line = Vec::new();
        for word in words {
            line.clear();
            line.extend_from_slice(&self.arena[word.start..word.start + word.len]);
            write!(line, "\t{}", word.count)?;
            emit(&line)?;
        }
        self.arena.clear();
        Ok(())
    }
}
