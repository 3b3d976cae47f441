//! The first 16 bytes of something as a number: short words and records are compared, cut and hashed in it, without a loop
//! over their bytes.

use super::order::padded;

/// The bytes of a window. What has fewer leaves room for a length.
pub const BYTES: usize = 16;

/// The first bytes, the first one lowest, with zeros for those that are missing.
#[inline]
pub fn of(bytes: &[u8]) -> u128 {
    match bytes.first_chunk() {
        Some(bytes) => u128::from_le_bytes(*bytes),
        None => {
            let (head, tail) = bytes.split_at(bytes.len().min(8));
            u128::from(padded(head).swap_bytes()) | u128::from(padded(tail).swap_bytes()) << 64
        }
    }
}

/// So many bytes of a window, fewer than all, and zeros behind them.
#[inline]
pub fn first(window: u128, count: usize) -> u128 {
    window & ((1 << (8 * count)) - 1)
}

/// A number as two: one of 16 bytes would be aligned to 16.
#[inline]
pub fn halves(number: u128) -> [u64; 2] {
    [number as u64, (number >> 64) as u64]
}

/// A product of both halves, folded, as wyhash and foldhash have it.
#[inline]
pub fn hash([low, high]: [u64; 2]) -> u64 {
    // Digits of pi, which nobody chose.
    let product = u128::from(low ^ 0x243f_6a88_85a3_08d3) * u128::from(high ^ 0x1319_8a2e_0370_7344);
    let [low, high] = halves(product);
    low ^ high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_behind_short_bytes_does_not_count() {
        let bytes: Vec<u8> = (1..=20).collect();
        for len in 0..BYTES {
            let alone = of(&bytes[..len]);
            assert_eq!(alone, first(of(&bytes), len), "{len}");
            assert_eq!(alone.to_le_bytes()[..len], bytes[..len]);
            assert!(alone.to_le_bytes()[len..].iter().all(|byte| *byte == 0));
        }
    }
}
