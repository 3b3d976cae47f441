//! A table of short words and how often each was seen: what counting words spends its time in.
//!
//! The words of a text hardly fit into a processor's own cache, so looking one up is waiting for memory. Two things keep
//! that short. The table is dense: a word, its length and its count lie side by side, and four of five places may be taken.
//! And words are looked up in batches, each at its first place and without a branch, so that many are waited for at once;
//! the few that are not there are probed for afterwards, one by one.

use std::mem;

use crate::shuffle::window;

/// Words that are looked up at once.
const BATCH: usize = 64;

/// Places of an empty table, as a power of two.
const FIRST_BITS: u32 = 8;

/// Counts by word, for words of 1 to 15 bytes.
pub struct ShortWords {
    /// A power of two of them; a word is at the place that its hash's first bits name, or at one of those behind it.
    places: Vec<Place>,
    bits: u32,
    taken: usize,
    /// Words that are not looked up yet.
    batch: [Word; BATCH],
    waiting: usize,
}

/// The bytes, zeros, and the length in the last byte, as [`window::halves`]. No word is all zeros, as it has a length.
type Word = [u64; 2];

#[derive(Clone, Copy, Default)]
struct Place {
    /// All zeros where no word is.
    word: Word,
    count: u64,
}

impl Default for ShortWords {
    fn default() -> Self {
        ShortWords {
            places: vec![Place::default(); 1 << FIRST_BITS],
            bits: FIRST_BITS,
            taken: 0,
            batch: [Word::default(); BATCH],
            waiting: 0,
        }
    }
}

impl ShortWords {
    /// Counts the word that is the first `len` bytes of a window; `len` is from 1 to 15.
    pub fn add(&mut self, window: u128, len: usize) {
        if self.waiting == BATCH {
            self.count_batch();
        }
        self.batch[self.waiting] = window::halves(window::first(window, len) | (len as u128) << 120);
        self.waiting += 1;
    }

    /// Bytes of the table.
    pub fn memory(&self) -> usize {
        self.places.len() * size_of::<Place>()
    }

    /// All words with their counts, in any order; the table is empty afterwards.
    ///
    /// # Errors
    /// Those of `say`.
    pub fn drain<E>(&mut self, mut say: impl FnMut(&[u8], u64) -> Result<(), E>) -> Result<(), E> {
        self.count_batch();
        let ShortWords { places, .. } = mem::take(self);
        for Place { word, count } in places.into_iter().filter(|place| place.count > 0) {
            let bytes = word.map(u64::to_le_bytes);
            if let [word @ .., len] = bytes.as_flattened() {
                say(&word[..usize::from(*len)], count)?;
            }
        }
        Ok(())
    }

    fn count_batch(&mut self) {
        let waiting = mem::take(&mut self.waiting);
        let (mut missed, mut misses) = ([Word::default(); BATCH], 0);
        let (bits, mask) = (self.bits, self.places.len() - 1);
        // Said in this way, no index needs a check.
        let places = &mut self.places[..=mask];
        for word in &self.batch[..waiting] {
            let place = &mut places[first_place(word, bits) & mask];
            let found = (place.word[0] == word[0]) & (place.word[1] == word[1]);
            place.count += u64::from(found);
            missed[misses % BATCH] = *word;
            misses += usize::from(!found);
        }
        for word in &missed[..misses] {
            self.probe(Place { word: *word, count: 1 });
        }
    }

    /// Adds a count where its word is, or to the first free place behind where it should be.
    fn probe(&mut self, counted: Place) {
        let mask = self.places.len() - 1;
        let mut at = first_place(&counted.word, self.bits);
        loop {
            let place = &mut self.places[at & mask];
            if place.word == counted.word {
                place.count += counted.count;
                return;
            }
            if place.count == 0 {
                *place = counted;
                break;
            }
            at += 1;
        }
        self.taken += 1;
        if self.taken * 5 > self.places.len() * 4 {
            self.grow();
        }
    }

    fn grow(&mut self) {
        self.bits += 1;
        self.taken = 0;
        let places = mem::replace(&mut self.places, vec![Place::default(); 1 << self.bits]);
        places.into_iter().filter(|place| place.count > 0).for_each(|place| self.probe(place));
    }
}

fn first_place(word: &Word, bits: u32) -> usize {
    (window::hash(*word) >> (64 - bits)) as usize
}
