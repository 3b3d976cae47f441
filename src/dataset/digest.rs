//! Digests: a hash for each block of a part, so that a range of it can be checked without the rest.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Bytes of a block. A reader checks whole blocks, so that a map task of 64 MiB reads at most one in sixteen too much;
/// and a terabyte has 2 MiB of hashes.
pub const BLOCK_BYTES: usize = 4 << 20;

/// What tells whether bytes are those of a part: their number, and XXH3-64 of each block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Bytes.
    pub bytes: u64,
    /// By block; the last may be shorter.
    pub blocks: Vec<u64>,
}

impl Digest {
    /// One number for all of it.
    pub fn hash(&self) -> u64 {
        hash_of(&self.blocks)
    }
}

/// XXH3-64 of block hashes, each as eight little-endian bytes.
pub fn hash_of(blocks: &[u64]) -> u64 {
    let bytes: Vec<u8> = blocks.iter().flat_map(|hash| hash.to_le_bytes()).collect();
    xxh3_64(&bytes)
}

/// Makes a digest of bytes as they pass.
#[derive(Default)]
pub struct Digester {
    /// Boxed, since its state is several hundred bytes.
    block: Box<Xxh3>,
    filled: usize,
    digest: Digest,
}

impl Digester {
    /// Takes in what comes next.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.digest.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.filled));
            self.block.update(now);
            self.filled += now.len();
            if self.filled == BLOCK_BYTES {
                self.end_block();
            }
            bytes = rest;
        }
    }

    /// The digest of all.
    pub fn finish(mut self) -> Digest {
        if self.filled > 0 {
            self.end_block();
        }
        self.digest
    }

    fn end_block(&mut self) {
        self.digest.blocks.push(self.block.digest());
        self.block.reset();
        self.filled = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_do_not_matter() {
        let bytes: Vec<u8> = (0..2 * BLOCK_BYTES + 5).map(|i| (i * 7 % 251) as u8).collect();
        let digest = |step: usize| {
            let mut digester = Digester::default();
            bytes.chunks(step).for_each(|chunk| digester.update(chunk));
            digester.finish()
        };
        let whole = digest(bytes.len());
        assert_eq!((whole.bytes, whole.blocks.len()), (bytes.len() as u64, 3));
        assert_eq!(whole.blocks[2], xxh3_64(&bytes[2 * BLOCK_BYTES..]));
        for step in [1000, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1] {
            assert_eq!(digest(step), whole, "{step}");
        }
        assert_eq!(Digester::default().finish(), Digest::default());
    }
}
