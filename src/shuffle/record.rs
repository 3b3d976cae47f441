//! Records: lines, and the key in front of each.
//!
//! A record is kept as the line that it was, without its newline, and the length of its key. So it is written back
//! whole: no separator is added or dropped, and any bytes pass.

use std::io;

use serde::{Deserialize, Serialize};

/// One line, borrowed, with its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The line without its newline.
    pub line: &'a [u8],
    /// How many of its first bytes are the key; all of them where there is no separator.
    pub key_len: usize,
}

impl<'a> Record<'a> {
    /// The line cut by `rule`.
    pub fn new(line: &'a [u8], rule: &KeyRule) -> Self {
        Record { line, key_len: rule.key_len(line) }
    }

    /// The bytes that are compared and partitioned.
    pub fn key(&self) -> &'a [u8] {
        &self.line[..self.key_len]
    }

    /// What stands behind the separator; empty where there is none.
    pub fn value(&self) -> &'a [u8] {
        self.line.get(self.key_len + 1..).unwrap_or_default()
    }
}

/// What the key of a line is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyRule {
    /// The whole line.
    Line,
    /// The first `fields` fields, ended by `separator`; the whole line where it has fewer separators.
    Fields {
        /// The byte between fields; a tab, usually.
        separator: u8,
        /// How many fields make the key, at least 1.
        fields: u32,
    },
}

impl Default for KeyRule {
    /// Hadoop Streaming's default: what stands before the first tab.
    fn default() -> Self {
        KeyRule::Fields { separator: b'\t', fields: 1 }
    }
}

impl KeyRule {
    /// The byte that stands between a key and what is written behind it; a tab where whole lines are keys.
    pub fn separator(&self) -> u8 {
        match self {
            KeyRule::Line => b'\t',
            KeyRule::Fields { separator, .. } => *separator,
        }
    }

    /// The length of the key of `line`, in bytes.
    pub fn key_len(&self, line: &[u8]) -> usize {
        match self {
            KeyRule::Line => line.len(),
            KeyRule::Fields { separator, fields: 1 } => memchr::memchr(*separator, line).unwrap_or(line.len()),
            KeyRule::Fields { separator, fields } => {
                memchr::memchr_iter(*separator, line).nth(*fields as usize - 1).unwrap_or(line.len())
            }
        }
    }
}

/// Records one after the other, each lent by the source until the next is asked for.
///
/// Going on and looking are two calls, so that a merge can hold the heads of many streams at once and compare them
/// where they lie.
pub trait RecordStream {
    /// Goes to the next record; false at the end, and from then on.
    ///
    /// # Errors
    /// When the source cannot be read, ends too early ([`io::ErrorKind::UnexpectedEof`]), or what it holds is corrupt
    /// ([`io::ErrorKind::InvalidData`]). The stream is of no use after that.
    fn advance(&mut self) -> io::Result<bool>;

    /// The record that the last [`advance`](RecordStream::advance) went to. Only to be called after it said true; what
    /// is lent otherwise is some record, or a panic.
    fn record(&self) -> Record<'_>;

    /// Passes over those records behind this one that are known to be the same, line and key, and gives their number. A
    /// stream need not know: who does not ask gets them one by one.
    fn take_repeats(&mut self) -> u64 {
        0
    }

    /// The next record, or none at the end.
    ///
    /// # Errors
    /// Those of [`advance`](RecordStream::advance).
    fn next_record(&mut self) -> io::Result<Option<Record<'_>>> {
        Ok(if self.advance()? { Some((*self).record()) } else { None })
    }
}

impl<S: RecordStream + ?Sized> RecordStream for &mut S {
    fn advance(&mut self) -> io::Result<bool> {
        (**self).advance()
    }

    fn take_repeats(&mut self) -> u64 {
        (**self).take_repeats()
    }

    fn record(&self) -> Record<'_> {
        (**self).record()
    }
}

impl<S: RecordStream + ?Sized> RecordStream for Box<S> {
    fn advance(&mut self) -> io::Result<bool> {
        (**self).advance()
    }

    fn take_repeats(&mut self) -> u64 {
        (**self).take_repeats()
    }

    fn record(&self) -> Record<'_> {
        (**self).record()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_stands_before_the_separator() {
        let check = |fields: u32, line: &str, key: &str, value: &str| {
            let record = Record::new(line.as_bytes(), &KeyRule::Fields { separator: b'\t', fields });
            assert_eq!((record.key(), record.value()), (key.as_bytes(), value.as_bytes()), "{line:?}");
        };
        check(1, "k\tv", "k", "v");
        check(1, "k\tv\tw", "k", "v\tw");
        check(1, "k", "k", "");
        check(1, "k\t", "k", "");
        check(1, "\tv", "", "v");
        check(1, "", "", "");
        check(2, "k\tv\tw", "k\tv", "w");
        check(2, "k\tv", "k\tv", "");
    }

    #[test]
    fn the_whole_line_can_be_the_key() {
        assert_eq!(Record::new(b"a\tb", &KeyRule::Line).key(), b"a\tb");
    }
}
