//! A block: a small header, and records in frames, compressed or not.
//!
//! The header is the codec (a byte: 0 none, 1 LZ4), the length raw and as stored (8 bytes each, little-endian), and the
//! XXH3-64 of the stored bytes. Lengths and codec are not under the checksum, since a wrong one cannot pass: bytes
//! without codec are as long as raw ones, LZ4 is kept only where it is shorter, and its length after decoding is checked.

use std::io;

use lz4_flex::block;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// The raw bytes after which a block is closed. Large enough for LZ4 to find its matches and for a system call a block
/// to cost nothing; small enough that a merge of many sources holds little.
pub(super) const BLOCK_BYTES: usize = 128 << 10;

/// The bytes of a block's header.
pub(super) const HEADER_BYTES: usize = 25;

/// LZ4's format ends at 2 GB of input; a longer line is stored as it is.
const LZ4_BYTES_MAX: usize = 1 << 30;

/// What blocks are compressed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4's block format; blocks that it does not make smaller are kept as they are.
    #[default]
    Lz4,
}

/// A block's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// How the payload was made; its two lengths belong to it.
    codec: Compression,
    /// The bytes after decoding.
    pub raw: u64,
    /// The bytes that follow the header.
    pub stored: u64,
    checksum: u64,
}

impl Header {
    /// The header in these bytes, or what is wrong with it.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Header, &'static str> {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let (raw, stored, checksum) = (word(1), word(9), word(17));
        let codec = match bytes[0] {
            0 if raw == stored => Compression::None,
            1 if raw > stored => Compression::Lz4,
            0 | 1 => return Err("has lengths that do not fit its codec"),
            _ => return Err("has an unknown codec"),
        };
        Ok(Header { codec, raw, stored, checksum })
    }

    fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = match self.codec {
            Compression::None => 0,
            Compression::Lz4 => 1,
        };
        bytes[1..9].copy_from_slice(&self.raw.to_le_bytes());
        bytes[9..17].copy_from_slice(&self.stored.to_le_bytes());
        bytes[17..].copy_from_slice(&self.checksum.to_le_bytes());
        bytes
    }
}

/// Bytes of a block, used again for the next one: they only grow, so that nothing is cleared twice, until [`fit`] drops
/// what one huge record left behind.
///
/// [`fit`]: Buffer::fit
#[derive(Debug, Default)]
pub(super) struct Buffer(Vec<u8>);

impl Buffer {
    /// Exactly `len` bytes, to be overwritten: what stands in them is of no meaning.
    pub fn fit(&mut self, len: usize) -> &mut [u8] {
        const KEPT_BYTES_MAX: usize = 8 * BLOCK_BYTES;
        if self.0.len() > KEPT_BYTES_MAX && len <= KEPT_BYTES_MAX {
            self.0 = Vec::new();
        }
        if self.0.len() < len {
            self.0.resize(len, 0);
        }
        &mut self.0[..len]
    }

    /// The bytes that were last asked for, and maybe more.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The raw bytes of a block as they are stored, header first.
pub(super) fn seal<'a>(raw: &[u8], compression: Compression, out: &'a mut Buffer) -> &'a [u8] {
    let compress = compression == Compression::Lz4 && raw.len() <= LZ4_BYTES_MAX;
    let room = if compress { block::get_maximum_output_size(raw.len()) } else { raw.len() };
    let (head, payload) = out.fit(HEADER_BYTES + room).split_at_mut(HEADER_BYTES);
    // Compression fails only where there is less room than asked for.
    let packed = if compress { block::compress_into(raw, payload).ok() } else { None };
    let (codec, stored) = match packed {
        Some(len) if len < raw.len() => (Compression::Lz4, len),
        Some(_) | None => (Compression::None, raw.len()),
    };
    if codec == Compression::None {
        payload[..stored].copy_from_slice(raw);
    }
    let checksum = xxh3_64(&payload[..stored]);
    let header = Header { codec, raw: raw.len() as u64, stored: stored as u64, checksum };
    head.copy_from_slice(&header.encode());
    &out.bytes()[..HEADER_BYTES + stored]
}

/// Reads the payload that belongs to `header` and decodes it into `raw`; `stored` is working space.
///
/// The caller has checked that both lengths are possible: that much memory is taken.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for bytes that do not match the header; those of the source.
pub(super) fn open(
    header: &Header,
    source: &mut impl io::Read,
    stored: &mut Buffer,
    raw: &mut Buffer,
) -> io::Result<()> {
    let wrong = |text| Err(io::Error::new(io::ErrorKind::InvalidData, text));
    let mut fetch = |payload: &mut [u8]| {
        source.read_exact(payload)?;
        if xxh3_64(payload) == header.checksum { Ok(()) } else { wrong("does not match its checksum") }
    };
    let raw = raw.fit(header.raw as usize);
    match header.codec {
        Compression::None => fetch(raw),
        Compression::Lz4 => {
            let payload = stored.fit(header.stored as usize);
            fetch(payload)?;
            match block::decompress_into(payload, raw) {
                Ok(len) if len == raw.len() => Ok(()),
                Ok(_) | Err(_) => wrong("does not decompress to its length"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &[u8], compression: Compression, stored_max: usize) {
        let (mut sealed, mut stored, mut out) = (Buffer::default(), Buffer::default(), Buffer::default());
        let block = seal(raw, compression, &mut sealed);
        let (head, mut payload) = block.split_first_chunk().expect("a header");
        assert!(payload.len() <= stored_max, "{} bytes", payload.len());
        let header = Header::parse(head).expect("parses");
        assert_eq!(header.stored, payload.len() as u64);
        open(&header, &mut payload, &mut stored, &mut out).expect("opens");
        assert_eq!(&out.bytes()[..raw.len()], raw);
    }

    #[test]
    fn blocks_come_back() {
        let noise: Vec<u8> = (0..5000u64).map(|i| xxh3_64(&i.to_le_bytes()) as u8).collect();
        for compression in [Compression::None, Compression::Lz4] {
            check(b"", compression, 0);
            check(b"a", compression, 1);
            check(&noise, compression, noise.len());
            check(&vec![7; 3 << 20], compression, 3 << 20);
        }
        check(&[7; 10_000], Compression::Lz4, 200);
    }
}
