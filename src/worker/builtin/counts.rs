//! A table of words and how often each was seen.
//!
//! Most words are short: those of up to 15 bytes are held and compared as two numbers, with their length in the last
//! byte, so that the table entry is all that is touched. Their ends are found sixteen bytes at a time. Other words lie one
//! after the other in an arena.

use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::Emit;

/// Counts by word.
#[derive(Default)]
pub struct Counts {
    short: HashTable<ShortWord>,
    long: HashTable<LongWord>,
    arena: Vec<u8>,
    hasher: FixedState,
}

struct ShortWord {
    /// The bytes, zeros, and the length; two halves, as one number of 16 bytes would be aligned to 16.
    halves: [u64; 2],
    count: u64,
}

struct LongWord {
    start: usize,
    len: usize,
    hash: u64,
    count: u64,
}

/// How many bytes are looked at once. A short word has one less, so that its end is among them.
const WINDOW: usize = 16;

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
        let counted = self.add_whole_windows(block);
        let rest = &block[counted..];
        let mut padded = [b' '; 2 * WINDOW];
        // Only white space is left when the last window of these was looked at.
        padded[..rest.len()].copy_from_slice(rest);
        self.add_whole_windows(&padded);
    }

    /// Counts words as long as there is a window to look at; gives where it stopped, less than a window before the end.
    fn add_whole_windows(&mut self, block: &[u8]) -> usize {
        let mut at = 0;
        while let Some(window) = block.get(at..).and_then(|rest| rest.first_chunk()) {
            let window = u128::from_le_bytes(*window);
            let len = bytes_before_blank(window);
            if len > 0 && len < WINDOW && SPACE[block[at + len] as usize] {
                self.add_short(window, len);
            } else if len > 0 || !SPACE[block[at] as usize] {
                // A long word, or one with a control character in it.
                let rest = &block[at..];
                let len = rest.iter().position(|byte| SPACE[*byte as usize]).unwrap_or(rest.len());
                self.add_long(&rest[..len]);
                at += len;
                continue;
            }
            at += len + 1;
        }
        at.min(block.len())
    }

    fn add_short(&mut self, window: u128, len: usize) {
        let word = window & ((1 << (8 * len)) - 1) | (len as u128) << 120;
        let halves = [word as u64, (word >> 64) as u64];
        let hash = hash_of(&halves);
        match self.short.find_mut(hash, |entry| entry.halves == halves) {
            Some(entry) => entry.count += 1,
            None => {
                let word = ShortWord { halves, count: 1 };
                self.short.insert_unique(hash, word, |entry| hash_of(&entry.halves));
            }
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
        let (short, long) = (self.short.len() * size_of::<ShortWord>(), self.long.len() * size_of::<LongWord>());
        self.arena.len() + (short + long) * 2
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
        for ShortWord { halves, count } in self.short.drain() {
            let bytes = halves.map(u64::to_le_bytes);
            let [word @ .., len] = bytes.as_flattened() else { continue };
            say(&word[..usize::from(*len)], count)?;
        }
        for LongWord { start, len, count, .. } in self.long.drain() {
            say(&self.arena[start..start + len], count)?;
        }
        self.arena.clear();
        Ok(())
    }
}

/// How many bytes of a window stand before the first one that is a space or a control character; [`WINDOW`] if none is.
///
/// Subtracting sets the high bit of bytes that are less than 0x21, and of some behind the first of those (Anderson, Bit
/// Twiddling Hacks, "Determine if a word has a byte less than n").
fn bytes_before_blank(window: u128) -> usize {
    const ONES: u128 = u128::from_le_bytes([1; WINDOW]);
    let blank = window.wrapping_sub(ONES * 0x21) & !window & (ONES * 0x80);
    blank.trailing_zeros() as usize / 8
}

/// A product of both halves, folded, as wyhash and foldhash have it.
fn hash_of(halves: &[u64; 2]) -> u64 {
    let [low, high] = halves;
    // Digits of pi, which nobody chose.
    let product = u128::from(low ^ 0x243f_6a88_85a3_08d3) * u128::from(high ^ 0x1319_8a2e_0370_7344);
    product as u64 ^ (product >> 64) as u64
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
        assert_eq!(counts.memory(), 0);
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
}
