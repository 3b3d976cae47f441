//! Records as the sort knows them at a glance: by numbers that tell nearly all of them apart, without touching their bytes
//! once more. A block of lines is made into such records 64 bytes at a time.

use xxhash_rust::xxh3::xxh3_64;

use super::mask::{self, CHUNK};
use super::order::padded;
use super::record::{KeyRule, Record};
use super::window;

/// The second number of a long record: a short one would have no bytes but one that is 1.
const LONG: u64 = 1;

/// A record, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    pub record: Record<'a>,
    pub image: Image,
    /// A hash of the key.
    pub hash: u64,
}

/// A record as two numbers: the whole of it if it is short, else a hash. Equal where records are equal; see
/// [`is_whole`](Image::is_whole).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Image(u64, u64);

impl Image {
    /// Whether only equal records have it.
    pub fn is_whole(self) -> bool {
        self.1 != LONG
    }
}

impl<'a> From<Record<'a>> for Known<'a> {
    fn from(record: Record<'a>) -> Self {
        Known::with_window(record, window::of(record.line))
    }
}

impl<'a> Known<'a> {
    /// A record whose first 16 bytes are known, or those that it has and any others.
    #[inline]
    fn with_window(record: Record<'a>, window: u128) -> Self {
        let Record { line, key_len } = record;
        let image = match line.len() {
            // There is room for both lengths.
            len @ ..window::BYTES => {
                let [low, high] = window::halves(window::first(window, len));
                Image(low, high | ((len << 4 | key_len) as u64) << 56)
            }
            _ => Image(xxh3_64(line), LONG),
        };
        let ends = match key_len {
            ..window::BYTES => window::halves(window::first(window, key_len)),
            _ => [window as u64, padded(&line[key_len - 8..key_len])],
        };
        Known { record, image, hash: window::hash(ends) }
    }
}

/// The records of a block of lines, each of which ends with a newline.
pub(super) struct Lines<'a> {
    block: &'a [u8],
    rule: &'a KeyRule,
    /// What ends a key, where that is the first one of it in a line.
    separator: Option<u8>,
    /// The chunk that is looked at ends here.
    chunk_end: usize,
    /// Its newlines and its separators that were not come to yet.
    newlines: u64,
    separators: u64,
    /// Where the line begins that is not ended yet, and where its key ends if a chunk before this one tells.
    start: usize,
    key_end: Option<usize>,
}

impl<'a> Lines<'a> {
    /// Cuts keys by `rule`.
    pub fn new(block: &'a [u8], rule: &'a KeyRule) -> Self {
        let separator = match rule {
            KeyRule::Fields { separator, fields: 1 } => Some(*separator),
            KeyRule::Fields { .. } | KeyRule::Line => None,
        };
        Lines { block, rule, separator, chunk_end: 0, newlines: 0, separators: 0, start: 0, key_end: None }
    }

    /// Looks at the next chunk; false behind the last one.
    fn look_at_next(&mut self) -> bool {
        let rest = &self.block[self.chunk_end.min(self.block.len())..];
        if rest.is_empty() {
            return false;
        }
        if self.separators != 0 {
            self.key_end.get_or_insert(self.at(self.separators));
        }
        let mut padded = [0; CHUNK];
        let chunk = rest.first_chunk().unwrap_or_else(|| {
            padded[..rest.len()].copy_from_slice(rest);
            &padded
        });
        self.newlines = mask::equal(chunk, b'\n');
        self.separators = self.separator.map_or(0, |separator| mask::equal(chunk, separator));
        self.chunk_end += CHUNK;
        true
    }

    /// Where the first byte of a mask is.
    fn at(&self, mask: u64) -> usize {
        self.chunk_end - CHUNK + mask.trailing_zeros() as usize
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Known<'a>;

    #[inline]
    fn next(&mut self) -> Option<Known<'a>> {
        while self.newlines == 0 {
            if !self.look_at_next() {
                return None;
            }
        }
        let end = self.at(self.newlines);
        let line = &self.block[self.start..end];
        let key_len = match self.separator {
            None => self.rule.key_len(line),
            Some(_) => {
                let before = self.separators & (self.newlines - 1) & !self.newlines;
                let in_chunk = || if before == 0 { end } else { self.at(before) };
                self.key_end.unwrap_or_else(in_chunk) - self.start
            }
        };
        let window = window::of(&self.block[self.start..]);
        // The newline, and all before it.
        self.separators &= !(self.newlines ^ (self.newlines - 1));
        self.newlines &= self.newlines - 1;
        (self.start, self.key_end) = (end + 1, None);
        Some(Known::with_window(Record { line, key_len }, window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = (Vec<u8>, usize)> {
        let line = prop::collection::vec(prop::sample::select(&[0, 1, 0xff][..]), 0..20);
        line.prop_flat_map(|line| (0..=line.len()).prop_map(move |key_len| (line.clone(), key_len)))
    }

    fn rule() -> impl Strategy<Value = KeyRule> {
        let fields = (prop::sample::select(&b"\t\0,"[..]), 1u32..4);
        prop_oneof![Just(KeyRule::Line), fields.prop_map(|(separator, fields)| KeyRule::Fields { separator, fields })]
    }

    proptest! {
        #[test]
        fn whole_images_are_equal_where_records_are(a in record(), b in record()) {
            let [a, b] = [&a, &b].map(|(line, key_len)| Record { line, key_len: *key_len });
            let [x, y] = [a, b].map(Known::from);
            prop_assert_eq!(x.image.is_whole(), a.line.len() < window::BYTES);
            prop_assert!(a != b || x.image == y.image);
            prop_assert!(x.image != y.image || !x.image.is_whole() || a == b);
            prop_assert!(a.key() != b.key() || x.hash == y.hash);
        }

        #[test]
        fn lines_of_a_block_are_the_records_that_each_is_alone(
            block in prop::collection::vec(prop::sample::select(b"aaaaaaaaaaaaa\t,\0\n".to_vec()), 0..400), rule in rule(),
        ) {
            let block = [block, b"\n".to_vec()].concat();
            let alone = block[..block.len() - 1].split(|byte| *byte == b'\n');
            let alone: Vec<Known> = alone.map(|line| Record::new(line, &rule).into()).collect();
            let found: Vec<Known> = Lines::new(&block, &rule).collect();
            let told = |known: &Known| (known.record.line.to_vec(), known.record.key_len, known.image, known.hash);
            prop_assert_eq!(found.iter().map(told).collect::<Vec<_>>(), alone.iter().map(told).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_longest_short_record_is_whole() {
        let whole = |key_len: usize| Known::from(Record { line: &[0xff; 15], key_len }).image;
        assert!((0..=15).map(whole).all(Image::is_whole));
        assert_ne!(whole(14), whole(15));
    }
}
