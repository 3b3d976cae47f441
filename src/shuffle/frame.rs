//! How a record lies in memory and in a block: length of the line, length of the key (both LEB128 varints of at most 32
//! bits), then the line.
//!
//! In a block, a record that comes many times in a row is written once. Behind it stand a zero and how often it comes once
//! more: as lengths these would be a line that is shorter than its key, which no record has.
//!
//! The sorter's arena and the blocks of a segment share this form, so a record is encoded once and copied from then on.

use std::io;

use super::record::Record;

/// Where a record lies in the bytes that hold its frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    /// Where the line starts.
    pub line_at: usize,
    /// Where the line, and with it the frame, ends.
    pub end: usize,
    /// How many of the line's bytes are the key.
    pub key_len: usize,
}

impl Frame {
    /// The frame that starts at `at`; none if the bytes from there on are none, or not all of one.
    pub fn parse(bytes: &[u8], at: usize) -> Option<Frame> {
        let (line_len, key_at) = varint(bytes, at)?;
        let (key_len, line_at) = varint(bytes, key_at)?;
        let end = line_at + line_len;
        (key_len <= line_len && end <= bytes.len()).then_some(Frame { line_at, end, key_len })
    }

    /// The record in this frame of `bytes`.
    pub fn record(self, bytes: &[u8]) -> Record<'_> {
        Record { line: &bytes[self.line_at..self.end], key_len: self.key_len }
    }
}

/// How often the record that ends at `at` comes once more, and where that is said to its end; 0 where nothing is said.
pub(super) fn repeats(bytes: &[u8], at: usize) -> (u32, usize) {
    match bytes.get(at) {
        Some(0) => match varint(bytes, at + 1) {
            Some((repeats @ 1.., end)) => (repeats as u32, end),
            Some(_) | None => (0, at),
        },
        Some(_) | None => (0, at),
    }
}

/// Appends that the record before comes so often once more, which is at least once.
pub(super) fn put_repeats(repeats: u32, out: &mut Vec<u8>) {
    out.push(0);
    put_varint(repeats, out);
}

/// Appends the frame of `record`.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for a line of 4 GiB or more.
pub(super) fn put(record: Record<'_>, out: &mut Vec<u8>) -> io::Result<()> {
    let line_len = checked_len(record.line.len())?;
    out.reserve(size(record));
    put_varint(line_len, out);
    put_varint(record.key_len as u32, out); // no longer than the line
    out.extend_from_slice(record.line);
    Ok(())
}

/// How many bytes the frame of `record` takes.
pub(super) fn size(record: Record<'_>) -> usize {
    varint_size(record.line.len()) + varint_size(record.key_len) + record.line.len()
}

fn checked_len(line_len: usize) -> io::Result<u32> {
    u32::try_from(line_len).map_err(|_| {
        let text = format!("a line of {line_len} bytes: lines are shorter than 4 GiB");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })
}

fn varint_size(value: usize) -> usize {
    (value.max(1).ilog2() as usize) / 7 + 1
}

fn put_varint(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The number at `at`, and where it ends.
fn varint(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let first = *bytes.get(at)?;
    if first < 0x80 {
        return Some((usize::from(first), at + 1));
    }
    let mut value = u64::from(first & 0x7f);
    for (place, byte) in bytes.get(at + 1..)?.iter().take(4).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * (place + 1));
        if *byte < 0x80 {
            return Some((u32::try_from(value).ok()? as usize, at + place + 2));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_are_varints_of_32_bits() {
        for value in [0, 1, 127, 128, 16383, 16384, 300 << 20, u32::MAX] {
            let mut bytes = Vec::new();
            put_varint(value, &mut bytes);
            assert_eq!(varint(&bytes, 0), Some((value as usize, bytes.len())));
            assert_eq!(varint_size(value as usize), bytes.len());
            assert_eq!(varint(&bytes[..bytes.len() - 1], 0), None);
        }
        assert_eq!(varint(&[0xff; 5], 0), None);
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0x1f], 0), None);
    }

    #[test]
    fn repeats_are_told_from_records() {
        let mut bytes = Vec::new();
        put(Record { line: b"", key_len: 0 }, &mut bytes).expect("short");
        assert_eq!(repeats(&bytes, 0), (0, 0));
        put_repeats(300, &mut bytes);
        assert_eq!(repeats(&bytes, 2), (300, 5));
        assert_eq!(Frame::parse(&bytes, 2), None);
        assert_eq!(repeats(&bytes, 5), (0, 5));
    }

    #[test]
    fn a_line_of_4_gib_is_refused() {
        assert!(checked_len(u32::MAX as usize).is_ok());
        let error = checked_len(1 << 32).expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..40), at in 0usize..50) {
            if let Some(frame) = Frame::parse(&bytes, at) {
                let mut again = Vec::new();
                put(frame.record(&bytes), &mut again).expect("short");
                prop_assert_eq!(Frame::parse(&again, 0).map(|f| f.end), Some(size(frame.record(&bytes))));
                prop_assert_eq!(Frame::parse(&again, 0).map(|f| f.record(&again)), Some(frame.record(&bytes)));
            }
        }
    }
}
