//! Which reduce a key belongs to.
//!
//! The hash is published and fixed: XXH3-64 of the key bytes with seed 0 (<https://github.com/Cyan4973/xxHash>, stable
//! since 0.8.0), modulo the number of partitions. Every machine, version and language agrees on it, and so must every
//! future version of this file.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

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

#[cfg(test)]
mod tests {
    use super::*;

    /// The published values: a change of these is a change of everybody's results.
    #[test]
    fn the_hash_is_fixed() {
        assert_eq!(xxh3_64(b""), 0x2d06_8005_38d3_94c2);
        let of = |key: &str| Partitioner::Hash(7).partition(key.as_bytes());
        assert_eq!(
            ["", "a", "key", "Grüße"].map(of),
            ["", "a", "key", "Grüße"].map(|k| (xxh3_64(k.as_bytes()) % 7) as u32)
        );
    }

    #[test]
    fn ranges_include_their_lower_cut() {
        let ranges = Partitioner::Range(vec![b"b".to_vec(), b"d".to_vec()]);
        assert_eq!(ranges.partitions(), 3);
        let of = |key: &str| ranges.partition(key.as_bytes());
        assert_eq!(["a", "b", "c", "d", "e"].map(of), [0, 1, 1, 2, 2]);
    }
}
