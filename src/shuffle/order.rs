//! The order of keys, bytewise, eight bytes at a time.
//!
//! Sorting and merging first compare prefixes, which are plain numbers that lie beside each other in memory; the keys
//! themselves are looked at only where prefixes are equal.

use std::cmp::Ordering;

/// The bytes of a prefix.
pub(super) const PREFIX_BYTES: usize = 8;

/// The eight bytes of `key` from `depth` on, as a number that orders as they do; zeros stand in for those that it has
/// not.
pub(super) fn prefix(key: &[u8], depth: usize) -> u64 {
    padded(key.get(depth..).unwrap_or_default())
}

/// The first eight bytes as a number that orders as they do, with zeros for those that are missing. Short ones are taken
/// as two words that overlap: copied one by one, they would have to be waited for.
pub(super) fn padded(bytes: &[u8]) -> u64 {
    let word = |bytes: &[u8; 4]| u64::from(u32::from_be_bytes(*bytes));
    if let Some(bytes) = bytes.first_chunk() {
        return u64::from_be_bytes(*bytes);
    }
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => word(first) << 32 | word(last) << (8 * (PREFIX_BYTES - bytes.len())),
        (_, _) => bytes.iter().rev().fold(0, |number, byte| number >> 8 | u64::from(*byte) << 56),
    }
}

/// The order of two keys whose prefixes (at depth 0) are equal.
pub(super) fn compare_beyond_prefix(a: &[u8], b: &[u8]) -> Ordering {
    match (a.get(PREFIX_BYTES..), b.get(PREFIX_BYTES..)) {
        (Some(a), Some(b)) => a.cmp(b),
        // One is short: it is the other's beginning, or both differ in nothing but zeros that are there or not.
        (None, _) | (_, None) => a.len().cmp(&b.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prefixes_then_the_rest_order_as_bytes_do(
            a in prop::collection::vec(0u8..2, 0..12),
            b in prop::collection::vec(0u8..2, 0..12),
        ) {
            let order = prefix(&a, 0).cmp(&prefix(&b, 0)).then_with(|| compare_beyond_prefix(&a, &b));
            prop_assert_eq!(order, a.cmp(&b));
        }
    }
}
