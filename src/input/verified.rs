//! A file of which every block is compared with its hash before a byte of it is given.

use std::io::{self, Read};
use std::path::Path;

use fs_err::File;
use xxhash_rust::xxh3::xxh3_64;

use super::read::read_at_once;
use crate::dataset::{BLOCK_BYTES, Digest};

/// A part of a dataset as it lies on this machine. It keeps one block in memory.
#[derive(Debug)]
pub struct VerifiedFile {
    file: File,
    digest: Digest,
    /// Which block is in memory.
    block: Option<u64>,
    bytes: Vec<u8>,
}

impl VerifiedFile {
    /// Opens a file that should have this digest.
    ///
    /// # Errors
    /// When it cannot be opened; [`io::ErrorKind::InvalidData`] when its length is another. Reading fails likewise where
    /// a block is not as it was.
    pub fn open(path: &Path, digest: Digest) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        if bytes != digest.bytes {
            return Err(corrupt(path, &format!("it has {bytes} bytes instead of {}", digest.bytes)));
        }
        Ok(VerifiedFile { file, digest, block: None, bytes: Vec::new() })
    }

    /// Its length.
    pub fn len(&self) -> u64 {
        self.digest.bytes
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.digest.bytes == 0
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Reads at an offset, at most to the end of a block; nothing at the end.
    ///
    /// # Errors
    /// See [`VerifiedFile::open`].
    pub fn read_at(&mut self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        if at >= self.digest.bytes || buffer.is_empty() {
            return Ok(0);
        }
        let block = at / BLOCK_BYTES as u64;
        if self.block != Some(block) {
            self.load(block)?;
        }
        let within = (at % BLOCK_BYTES as u64) as usize;
        let count = buffer.len().min(self.bytes.len() - within);
        buffer[..count].copy_from_slice(&self.bytes[within..within + count]);
        Ok(count)
    }

    /// A range of it as a stream.
    pub fn range(self, start: u64, length: u64) -> impl Read + Send {
        Range { at: start, end: start.saturating_add(length).min(self.digest.bytes), file: self }
    }

    fn load(&mut self, block: u64) -> io::Result<()> {
        let start = block * BLOCK_BYTES as u64;
        let length = (self.digest.bytes - start).min(BLOCK_BYTES as u64) as usize;
        self.block = None;
        self.bytes.resize(length, 0);
        let mut filled = 0;
        while filled < length {
            match read_at_once(&self.file, &mut self.bytes[filled..], start + filled as u64)? {
                0 => return Err(corrupt(self.file.path(), "it became shorter")),
                count => filled += count,
            }
        }
        if self.digest.blocks.get(block as usize) != Some(&xxh3_64(&self.bytes)) {
            return Err(corrupt(self.file.path(), &format!("the bytes from {start} on are not those that were put")));
        }
        self.block = Some(block);
        Ok(())
    }
}

struct Range {
    file: VerifiedFile,
    at: u64,
    end: u64,
}

impl Read for Range {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..room], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

fn corrupt(path: &Path, how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("`{}` is corrupt: {how}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Digester;

    fn part(bytes: &[u8]) -> (tempfile::NamedTempFile, Digest) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs_err::write(file.path(), bytes).expect("writes");
        let mut digester = Digester::default();
        digester.update(bytes);
        (file, digester.finish())
    }

    #[test]
    fn any_range_comes_as_it_was_put() {
        let bytes: Vec<u8> = (0..BLOCK_BYTES + 1000).map(|i| (i % 251) as u8).collect();
        let (file, digest) = part(&bytes);
        let end = bytes.len() as u64;
        for (start, stop) in
            [(0, end), (5, 10), (BLOCK_BYTES as u64 - 3, BLOCK_BYTES as u64 + 3), (end, end), (7, u64::MAX)]
        {
            let mut read = Vec::new();
            let opened = VerifiedFile::open(file.path(), digest.clone()).expect("opens");
            opened.range(start, stop - start).read_to_end(&mut read).expect("reads");
            assert!(read == bytes[start as usize..stop.min(end) as usize], "{start}..{stop}");
        }
    }

    #[test]
    fn a_changed_or_shorter_file_is_no_part() {
        let (file, digest) = part(b"some bytes");
        for (wrong, text) in
            [("some b_tes", "not those"), ("some", "4 bytes instead of 10"), ("some bytes more", "instead of 10")]
        {
            fs_err::write(file.path(), wrong).expect("writes");
            let read = VerifiedFile::open(file.path(), digest.clone())
                .and_then(|file| file.range(0, 99).read_to_end(&mut Vec::new()));
            let error = read.expect_err(wrong);
            assert!(error.kind() == io::ErrorKind::InvalidData && error.to_string().contains(text), "{error}");
        }
    }
}
