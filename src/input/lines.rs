//! Lines of a stream, borrowed; or whole blocks of lines, for those that look at bytes rather than at lines.
//!
//! A line ends at its newline and nowhere else: carriage returns and NUL bytes are part of it. A last line may lack its
//! newline, as a command's output does that ends without one.

use std::io::{self, Read};

use memchr::{memchr, memrchr};

use super::BLOCK;

/// A buffer that a long line made larger than this is given back once the line is done.
const KEPT_MAX: usize = 64 * BLOCK;

/// Reads a stream as lines. It has a buffer of its own, which grows only for lines that are longer.
#[derive(Debug)]
pub struct LineReader<R> {
    source: R,
    buffer: Vec<u8>,
    /// Where the bytes begin that were not given out yet.
    start: usize,
    /// Up to here, from `start`, there is no newline.
    searched: usize,
    /// Behind the last byte that was read.
    filled: usize,
}

impl<R: Read> LineReader<R> {
    /// A reader at the start of the stream.
    pub fn new(source: R) -> Self {
        LineReader { source, buffer: vec![0; BLOCK], start: 0, searched: 0, filled: 0 }
    }

    /// The next line without its newline, or none at the end.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            if let Some(at) = memchr(b'\n', &self.buffer[self.searched..self.filled]) {
                let end = self.searched + at;
                let start = self.give_up_to(end + 1);
                return Ok(Some(&self.buffer[start..end]));
            }
            self.searched = self.filled;
            if !self.fill()? {
                let (end, start) = (self.filled, self.give_up_to(self.filled));
                return Ok((start < end).then_some(&self.buffer[start..end]));
            }
        }
    }

    /// The next lines, as many as are at hand and at least one, each with its newline, which is added to a last line that
    /// lacks it; or none at the end.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn next_block(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            if let Some(at) = memrchr(b'\n', &self.buffer[self.searched..self.filled]) {
                let end = self.searched + at + 1;
                let start = self.give_up_to(end);
                return Ok(Some(&self.buffer[start..end]));
            }
            self.searched = self.filled;
            if !self.fill()? {
                if self.start == self.filled {
                    return Ok(None);
                }
                // An attempt to fill has made room for a byte.
                self.buffer[self.filled] = b'\n';
                self.filled += 1;
            }
        }
    }

    /// Counts the bytes before `end` as given out, and tells where they begin.
    fn give_up_to(&mut self, end: usize) -> usize {
        self.searched = end;
        std::mem::replace(&mut self.start, end)
    }

    /// Reads more behind what there is; false at the end of the stream. Room for a byte is left in any case.
    fn fill(&mut self) -> io::Result<bool> {
        self.make_room();
        loop {
            match self.source.read(&mut self.buffer[self.filled..]) {
                Ok(bytes) => {
                    self.filled += bytes;
                    return Ok(bytes > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn make_room(&mut self) {
        let unread = self.filled - self.start;
        if unread > 0 && self.filled < self.buffer.len() {
            return;
        }
        self.buffer.copy_within(self.start..self.filled, 0);
        (self.start, self.searched, self.filled) = (0, self.searched - self.start, unread);
        if unread > self.buffer.len() / 2 {
            // Doubling keeps the copies of a long line linear in its length.
            self.buffer.resize(self.buffer.len() * 2, 0);
        } else if self.buffer.len() > KEPT_MAX && unread <= BLOCK / 2 {
            self.buffer.truncate(BLOCK);
            self.buffer.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A stream that gives at most so many bytes at once.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let room = buffer.len().min(self.1);
            self.0.read(&mut buffer[..room])
        }
    }

    fn lines(source: impl Read) -> Vec<Vec<u8>> {
        let mut reader = LineReader::new(source);
        let mut lines = Vec::new();
        while let Some(line) = reader.next_line().expect("memory can be read") {
            lines.push(line.to_vec());
        }
        lines
    }

    fn blocks(source: impl Read) -> Vec<u8> {
        let mut reader = LineReader::new(source);
        let mut blocks = Vec::new();
        while let Some(block) = reader.next_block().expect("memory can be read") {
            assert_eq!(block.last(), Some(&b'\n'));
            blocks.extend_from_slice(block);
        }
        blocks
    }

    #[test]
    fn only_newlines_end_lines() {
        let check = |text: &str, expected: &[&str]| {
            let expected: Vec<_> = expected.iter().map(|line| line.as_bytes().to_vec()).collect();
            assert_eq!(lines(text.as_bytes()), expected, "{text:?}");
        };
        check("", &[]);
        check("\n", &[""]);
        check("a", &["a"]);
        check("a\n", &["a"]);
        check("a\n\nb", &["a", "", "b"]);
        check("a\r\n\0\u{2028}b\n", &["a\r", "\0\u{2028}b"]);
    }

    #[test]
    fn long_lines_pass_and_their_memory_is_given_back() {
        let mut text = vec![b'x'; KEPT_MAX + 1];
        text.extend_from_slice(b"\nshort\n");
        text.extend_from_slice(&b"filler\n".repeat(BLOCK));
        let mut reader = LineReader::new(text.as_slice());
        assert_eq!(reader.next_line().expect("memory can be read").map(<[u8]>::len), Some(KEPT_MAX + 1));
        assert_eq!(reader.next_line().expect("memory can be read"), Some(b"short".as_slice()));
        while reader.next_line().expect("memory can be read").is_some() {}
        assert_eq!(reader.buffer.capacity(), BLOCK);
    }

    #[test]
    fn lines_across_every_border_of_the_buffer_are_whole() {
        for longest in [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK] {
            let mut text = Vec::new();
            for length in [7, longest, 0, BLOCK / 2, longest, 3] {
                text.extend(std::iter::repeat_n(b'a' + (length % 26) as u8, length));
                text.push(b'\n');
            }
            let expected: Vec<_> = text[..text.len() - 1].split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            assert_eq!(lines(text.as_slice()), expected);
            assert_eq!(blocks(text.as_slice()), text);
        }
    }

    proptest! {
        #[test]
        fn lines_and_blocks_are_the_stream(text in "[ab\r\0\n]{0,60}", step in 1..9_usize) {
            let mut whole = text.clone().into_bytes();
            if whole.last().is_some_and(|last| *last != b'\n') {
                whole.push(b'\n');
            }
            let mut joined = lines(Trickle(text.as_bytes(), step)).join(&b'\n');
            if !whole.is_empty() {
                joined.push(b'\n');
            }
            prop_assert_eq!(&joined, &whole);
            prop_assert_eq!(&blocks(Trickle(text.as_bytes(), step)), &whole);
        }
    }
}
