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
    let rest = key.get(depth..).unwrap_or_default();
    match rest.first_chunk() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => {
            let mut bytes = [0; PREFIX_BYTES];
            bytes[..rest.len()].copy_from_slice(rest);
            u64::from_be_bytes(bytes)
        }
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
