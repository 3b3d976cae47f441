//! Which reduce a key belongs to.
//!
//! The hash is published and fixed: XXH3-64 of the key bytes with seed 0 (<https://github.com/Cyan4973/xxHash>, stable
//! since 0.8.0), modulo the number of partitions. Every machine, version and language agrees on it, and so must every
//! future version of this file.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::order::prefix;

/// How keys are spread over partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Partitioner {
    /// By hash, over so many partitions (at least 1).
    Hash(u32),
    /// By range: partition `i` holds the keys from `cuts[i - 1]`, included, to `cuts[i]`, excluded. The cuts ascend.
    Range(Vec<Vec<u8>>),
}

impl Partitioner {
    /// How many partitions there are.
    pub fn partitions(&self) -> u32 {
        match self {
            Partitioner::Hash(partitions) => *partitions,
            Partitioner::Range(cuts) => u32::try_from(cuts.len()).unwrap_or(u32::MAX) + 1,
        }
    }

    /// The partition of a key, from 0.
    pub fn partition(&self, key: &[u8]) -> u32 {
        match self {
            Partitioner::Hash(1) => 0,
            // The remainder of a division by a u32 fits one.
            Partitioner::Hash(partitions) => (xxh3_64(key) % u64::from(*partitions)) as u32,
            Partitioner::Range(cuts) => cuts.partition_point(|cut| cut.as_slice() <= key) as u32,
        }
    }
}

/// A [`Partitioner`] made ready for many keys: cuts are found by their first eight bytes, which lie side by side.
#[derive(Clone, Debug)]
pub(super) struct Router {
    partitioner: Partitioner,
    prefixes: Vec<u64>,
}

impl Router {
    /// One that answers as `partitioner` does.
    pub fn new(partitioner: Partitioner) -> Self {
        let prefixes = match &partitioner {
            Partitioner::Hash(_) => Vec::new(),
            Partitioner::Range(cuts) => cuts.iter().map(|cut| prefix(cut, 0)).collect(),
        };
        Router { partitioner, prefixes }
    }

    /// The partition of a key, from 0.
    pub fn partition(&self, key: &[u8]) -> u32 {
        match &self.partitioner {
            Partitioner::Hash(_) => self.partitioner.partition(key),
            Partitioner::Range(cuts) => {
                let prefix = prefix(key, 0);
                let below = self.prefixes.partition_point(|cut| *cut < prefix);
                let equal = self.prefixes[below..].iter().take_while(|cut| **cut == prefix).count();
                (below + cuts[below..below + equal].partition_point(|cut| cut.as_slice() <= key)) as u32
            }
        }
    }
}

/// Cuts that spread keys like the samples evenly over at most so many partitions: quantiles of the sorted samples.
///
/// The cuts ascend and differ, and none is the least sample, which would leave partition 0 without a key. So there are
/// fewer than asked for where samples are few or equal. The order of the samples changes nothing.
pub fn cuts(mut samples: Vec<Vec<u8>>, partitions: u32) -> Vec<Vec<u8>> {
    samples.sort_unstable();
    let count = samples.len() as u128;
    let quantile = |part: u32| (count * u128::from(part) / u128::from(partitions)) as usize;
    let mut cuts: Vec<Vec<u8>> = Vec::new();
    for part in 1..partitions {
        let Some(sample) = samples.get(quantile(part)) else { break };
        if cuts.last().or(samples.first()).is_some_and(|before| before < sample) {
            cuts.push(sample.clone());
        }
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A change of these is a change of everybody's results. They were computed by the reference implementation, not
    /// by this crate: `xxhash.xxh3_64_intdigest(key.encode())` of the PyPI package `xxhash` 4.1.0 (xxHash 0.8.4), then
    /// `% 7` and `% 1000`.
    #[test]
    fn the_hash_is_fixed() {
        let check = |key: &str, hash: u64, of_7: u32, of_1000: u32| {
            let key = key.as_bytes();
            assert_eq!(xxh3_64(key), hash, "{key:?}");
            assert_eq!([7, 1000].map(|n| Partitioner::Hash(n).partition(key)), [of_7, of_1000], "{key:?}");
        };
        check("", 0x2d06_8005_38d3_94c2, 4, 138);
        check("a", 0xe6c6_32b6_1e96_4e1f, 1, 719);
        check("key", 0xbbea_0d63_a051_65e3, 5, 987);
        check("Grüße", 0xb40c_17e2_196d_97d8, 1, 792);
        check("the quick brown fox jumps over the lazy dog", 0xe454_1a9c_acf5_45aa, 1, 170);
        check(&"x".repeat(300), 0xa5d1_b460_7dc8_3554, 5, 492);
    }

    #[test]
    fn ranges_include_their_lower_cut() {
        let ranges = Partitioner::Range(vec![b"b".to_vec(), b"d".to_vec()]);
        assert_eq!(ranges.partitions(), 3);
        let of = |key: &str| ranges.partition(key.as_bytes());
        assert_eq!(["a", "b", "c", "d", "e"].map(of), [0, 1, 1, 2, 2]);
    }

    #[test]
    fn cuts_are_quantiles() {
        let check = |samples: &str, partitions: u32, expected: &str| {
            let samples = samples.bytes().map(|b| vec![b]).collect();
            assert_eq!(cuts(samples, partitions).concat(), expected.as_bytes());
        };
        check("abcdefgh", 4, "ceg");
        check("hgfedcba", 4, "ceg");
        check("abcdefgh", 1, "");
        check("abc", 8, "bc");
        check("aaaaaaaa", 4, "");
        check("aaaaaabz", 4, "b");
        check("azzzzzzz", 4, "z");
        check("", 4, "");
    }

    proptest! {
        #[test]
        fn a_router_answers_as_its_partitioner(
            cuts in prop::collection::btree_set(prop::collection::vec(0u8..2, 0..12), 0..40),
            key in prop::collection::vec(0u8..2, 0..12),
        ) {
            for partitioner in [Partitioner::Hash(7), Partitioner::Range(cuts.into_iter().collect())] {
                let expected = partitioner.partition(&key);
                prop_assert_eq!(Router::new(partitioner).partition(&key), expected);
            }
        }

        #[test]
        fn cuts_ascend_and_spread_different_samples_evenly(
            samples in prop::collection::btree_set(prop::collection::vec(any::<u8>(), 0..4), 0..200),
            partitions in 1u32..20,
        ) {
            let samples: Vec<_> = samples.into_iter().collect();
            let cuts = cuts(samples.clone(), partitions);
            prop_assert!(cuts.is_sorted_by(|a, b| a < b));
            let ranges = Partitioner::Range(cuts);
            prop_assert!(ranges.partitions() <= partitions);
            let mut sizes = vec![0; ranges.partitions() as usize];
            samples.iter().for_each(|key| sizes[ranges.partition(key) as usize] += 1);
            let even = samples.len().div_ceil(partitions as usize);
            prop_assert!(sizes.iter().all(|size| *size <= even + 1), "{sizes:?}");
        }
    }
}
