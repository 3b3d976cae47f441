//! A record as two numbers: the whole of it if it is short, else a hash by which most others are told apart.

use xxhash_rust::xxh3::xxh3_64;

use super::order::padded;
use super::record::Record;

/// A short record has fewer bytes than these, so that there is room for its lengths.
const SHORT_BYTES: usize = 16;

/// The second number of a long record: a short one would have no bytes and a key of one.
const LONG: u64 = 1;

/// Equal where records are equal; see [`is_whole`](Image::is_whole).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Image(u64, u64);

impl Image {
    /// The image of a record.
    #[inline]
    pub fn of(record: Record<'_>) -> Self {
        let Record { line, key_len } = record;
        if line.len() >= SHORT_BYTES {
            return Image(xxh3_64(line), LONG);
        }
        let (head, tail) = line.split_at(line.len().min(8));
        // Of the tail's eight bytes the last one is none of the record: both lengths go there.
        Image(padded(head), padded(tail) | (line.len() as u64) << 4 | key_len as u64)
    }

    /// Whether only equal records have it.
    pub fn is_whole(self) -> bool {
        self.1 != LONG
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

    proptest! {
        #[test]
        fn whole_images_are_equal_where_records_are(a in record(), b in record()) {
            let [a, b] = [&a, &b].map(|(line, key_len)| Record { line, key_len: *key_len });
            let [x, y] = [a, b].map(Image::of);
            prop_assert_eq!(x.is_whole(), a.line.len() < SHORT_BYTES);
            prop_assert!(a != b || x == y);
            prop_assert!(x != y || !x.is_whole() || a == b);
        }
    }

    #[test]
    fn the_longest_short_record_is_whole() {
        let whole = |key_len: usize| Image::of(Record { line: &[0xff; 15], key_len });
        assert!((0..=15).map(whole).all(Image::is_whole));
        assert_ne!(whole(14), whole(15));
    }
}
