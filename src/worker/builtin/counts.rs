//! A table of words and how often each was seen.
//!
//! Most words are short, and have a table of their own. Other words lie one after the other in an arena. The ends of words
//! are found 64 bytes at a time.

use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::Emit;
use super::short_words::ShortWords;
use crate::shuffle::mask::{CHUNK, blanks};
use crate::shuffle::window;

/// Counts by word.
#[derive(Default)]
pub struct Counts {
    short: ShortWords,
    long: HashTable<LongWord>,
    arena: Vec<u8>,
    hasher: FixedState,
}

struct LongWord {
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
        let (chunks, rest) = block.as_chunks::<CHUNK>();
        let (mut start, mut at) = (0, 0);
        for chunk in chunks {
            start = self.add_ended(block, start, at, blanks(chunk));
            at += CHUNK;
        }
        let mut last = [b'x'; CHUNK];
        last[..rest.len()].copy_from_slice(rest);
        self.add_ended(block, start, at, blanks(&last));
    }

    /// Counts the words that end in the chunk at `at`, whose blanks are known; the first one began at `start`. Gives where
    /// the next one begins.
    fn add_ended(&mut self, block: &[u8], mut start: usize, at: usize, mut blanks: u64) -> usize {
        while blanks != 0 {
            let end = at + blanks.trailing_zeros() as usize;
            blanks &= blanks - 1;
            // Control characters were taken for blanks.
            if SPACE[block[end] as usize] {
                self.add(block, start, end);
                start = end + 1;
            }
        }
        start
    }

    fn add(&mut self, block: &[u8], start: usize, end: usize) {
        match end - start {
            0 => {}
            len @ 1..window::BYTES => self.short.add(window::of(&block[start..]), len),
            window::BYTES.. => self.add_long(&block[start..end]),
        }
    }

    fn add_long(&mut self, word: &[u8]) {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(word);
        let hash = hasher.finish();
        let Counts { long, arena, .. } = self;
        let same = |entry: &LongWord| entry.hash == hash && arena[entry.start..entry.start + entry.len] == *word;
        if let Some(entry) = long.find_mut(hash, same) {
            entry.count += 1;
            return;
        }
        let start = arena.len();
        arena.extend_from_slice(word);
        long.insert_unique(hash, LongWord { start, len: word.len(), hash, count: 1 }, |entry| entry.hash);
    }

    /// Bytes in use.
    pub fn memory(&self) -> usize {
        self.short.memory() + self.arena.len() + self.long.len() * size_of::<LongWord>() * 2
    }

    /// Emits `word<TAB>count` for each word, in any order, and forgets them.
    ///
    /// # Errors
    /// Those of `emit`.
    pub fn drain(&mut self, emit: &mut Emit) -> io::Result<()> {
        let mut line = Vec::new();
        let mut say = |word: &[u8], count: u64| {
            line.clear();
            line.extend_from_slice(word);
            write!(line, "\t{count}")?;
            emit(&line)
        };
        self.short.drain(&mut say)?;
        for LongWord { start, len, count, .. } in self.long.drain() {
            say(&self.arena[start..start + len], count)?;
        }
        self.arena.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// The counts of blocks, as they are emitted.
    fn counted(blocks: &[Vec<u8>]) -> BTreeMap<Vec<u8>, String> {
        let mut counts = Counts::default();
        blocks.iter().for_each(|block| counts.add_words(block));
        let mut seen = BTreeMap::new();
        let mut emit = |line: &[u8]| {
            let tab = memchr::memrchr(b'\t', line).expect("a tab");
            let count = String::from_utf8_lossy(&line[tab + 1..]).into_owned();
            assert_eq!(seen.insert(line[..tab].to_vec(), count), None, "a word is emitted once");
            Ok(())
        };
        counts.drain(&mut emit).expect("no error");
        assert_eq!(counts.memory(), Counts::default().memory(), "nothing is kept");
        seen
    }

    fn naive(blocks: &[Vec<u8>]) -> BTreeMap<Vec<u8>, String> {
        let mut counts: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        for word in blocks.iter().flat_map(|block| block.split(u8::is_ascii_whitespace)).filter(|word| !word.is_empty())
        {
            *counts.entry(word.to_vec()).or_default() += 1;
        }
        counts.into_iter().map(|(word, count)| (word, count.to_string())).collect()
    }

    fn byte() -> impl Strategy<Value = u8> {
        // Letters, all white space, and what lies beside it or looks like it with a high bit or a borrow.
        prop::sample::select(b"aaaaaabbb  \n\t\r\x0c\x0b\0\x01\x1f!\x7f\x80\x89\xa0\xff".to_vec())
    }

    proptest! {
        #[test]
        fn words_are_runs_of_what_is_no_white_space(
            blocks in prop::collection::vec(prop::collection::vec(byte(), 0..80), 0..4),
        ) {
            let blocks: Vec<Vec<u8>> = blocks.into_iter().map(|block| [block, b"\n".to_vec()].concat()).collect();
            prop_assert_eq!(counted(&blocks), naive(&blocks));
        }
    }

    #[test]
    fn words_of_every_length_are_kept_apart() {
        let words = (1..50).flat_map(|len| [vec![b'x'; len], b" ".to_vec(), vec![b'y'; len], b"\n".to_vec()]);
        let block = words.collect::<Vec<_>>().concat();
        let blocks = [block.clone(), block];
        assert_eq!(counted(&blocks), naive(&blocks));
    }

    #[test]
    fn a_table_that_grew_has_lost_nothing() {
        let word = |number: u32| format!("{:x} ", number.wrapping_mul(0x9e37_79b9) >> 8).into_bytes();
        let blocks: Vec<Vec<u8>> = (1..4).map(|step| (0..6000).step_by(step).flat_map(word).collect()).collect();
        assert_eq!(counted(&blocks), naive(&blocks));
    }
}
