//! The bytes of a journal: a header, then records.
//!
//! Header: 14 bytes of magic, and the version of the facts (u16). Record: length (u32), xxh3-64 of the payload (u64),
//! payload (postcard). All numbers are little-endian. A run of zeros, which some file systems leave behind a crash, is
//! no record, since the checksum of nothing is not 0.

use xxhash_rust::xxh3::xxh3_64;

use crate::facts::{Stamped, VERSION};

const MAGIC: &[u8; 14] = b"runner journal";

/// Bytes of the header.
pub const HEADER_LEN: usize = MAGIC.len() + size_of::<u16>();

/// Bytes of a record besides its payload.
pub const FRAME_LEN: usize = size_of::<u32>() + size_of::<u64>();

/// The header of a journal that this program writes.
pub fn header() -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..MAGIC.len()].copy_from_slice(MAGIC);
    header[MAGIC.len()..].copy_from_slice(&VERSION.to_le_bytes());
    header
}

/// Whether this is what remains of a journal whose creation was cut off.
pub fn is_torn_header(bytes: &[u8]) -> bool {
    bytes.len() < HEADER_LEN && header().starts_with(bytes)
}

/// The version in the header of `bytes`; none if they are no journal.
pub fn version(bytes: &[u8]) -> Option<u16> {
    bytes.strip_prefix(MAGIC)?.first_chunk().map(|version| u16::from_le_bytes(*version))
}

/// Adds a record to `bytes`; they stay as they were if the fact has no stored form.
pub fn push_record(bytes: &mut Vec<u8>, stamped: &Stamped) -> postcard::Result<()> {
    let payload = postcard::to_stdvec(stamped)?;
    let length = u32::try_from(payload.len()).map_err(|_| postcard::Error::SerializeBufferFull)?;
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&xxh3_64(&payload).to_le_bytes());
    bytes.extend_from_slice(&payload);
    Ok(())
}

/// The payload of the record at the start of `bytes`; none if there is no whole one with its checksum.
pub fn next_payload(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (checksum, rest) = rest.split_first_chunk()?;
    let payload = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    (xxh3_64(payload) == u64::from_le_bytes(*checksum)).then_some(payload)
}
