//! Which bytes of a chunk are of some kind: 64 of them at once, a bit each, the first byte's being the lowest. Looked for one
//! after the other, each would wait for the one before it.

/// How many bytes are looked at at once.
pub const CHUNK: usize = 64;

const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGH: u64 = ONES * 0x80;

/// Those that are `byte`.
#[inline]
pub fn equal(chunk: &[u8; CHUNK], byte: u8) -> u64 {
    let wanted = ONES * u64::from(byte);
    mask(chunk, |word| {
        let difference = word ^ wanted;
        // No sum leaves its byte, so its high bit tells whether the other seven bits are all zero.
        !((difference & !HIGH) + !HIGH) & !difference & HIGH
    })
}

/// Those that are a space or a control character.
#[inline]
pub fn blanks(chunk: &[u8; CHUNK]) -> u64 {
    // Here the high bit tells whether the other seven bits are at least 0x21.
    mask(chunk, |word| !((word & !HIGH) + ONES * (0x80 - 0x21)) & !word & HIGH)
}

/// The bits of those bytes whose high bits `find` leaves, of eight bytes at once.
fn mask(chunk: &[u8; CHUNK], find: impl Fn(u64) -> u64) -> u64 {
    let (words, _none) = chunk.as_chunks::<8>();
    words.iter().rev().fold(0, |bits, word| {
        // A product moves the eight bits side by side.
        bits << 8 | (find(u64::from_le_bytes(*word)) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mask, byte by byte.
    fn naive(chunk: &[u8; CHUNK], is: impl Fn(u8) -> bool) -> u64 {
        (0..CHUNK).filter(|at| is(chunk[*at])).map(|at| 1 << at).sum()
    }

    #[test]
    fn every_byte_is_told_from_every_other_beside_every_other() {
        for first in 0..=u8::MAX {
            let chunk: [u8; CHUNK] = std::array::from_fn(|at| first.wrapping_add((at * at) as u8));
            for byte in 0..=u8::MAX {
                assert_eq!(equal(&chunk, byte), naive(&chunk, |other| other == byte), "{byte} in {chunk:?}");
            }
            assert_eq!(blanks(&chunk), naive(&chunk, |byte| byte <= b' '), "in {chunk:?}");
        }
    }
}
