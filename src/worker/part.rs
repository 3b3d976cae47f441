//! An output part while it is written: lines to a file of a temporary name, counted and hashed.

use std::io::{self, Write};
use std::path::Path;

use fs_err::File;
use xxhash_rust::xxh3::Xxh3;

/// Lines gathered before they are hashed and written.
const BUFFER_BYTES: usize = 256 << 10;

/// Writes one part.
pub struct PartWriter {
    file: File,
    buffer: Vec<u8>,
    /// Boxed, since its state is several hundred bytes.
    hash: Box<Xxh3>,
    bytes: u64,
    records: u64,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The file's size.
    pub bytes: u64,
    /// Its lines.
    pub records: u64,
    /// XXH3-64 of its bytes.
    pub hash: u64,
}

impl PartWriter {
    /// A new file, instead of any that is there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        let buffer = Vec::with_capacity(BUFFER_BYTES);
        Ok(PartWriter { file: File::create(path)?, buffer, hash: Box::default(), bytes: 0, records: 0 })
    }

    /// Adds a line and its newline.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn push(&mut self, line: &[u8]) -> io::Result<()> {
        if self.buffer.len() + line.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        self.buffer.extend_from_slice(line);
        self.buffer.push(b'\n');
        self.records += 1;
        Ok(())
    }

    /// Ends the file; it is on the disk then.
    ///
    /// # Errors
    /// When it cannot be written or synced.
    pub fn finish(mut self) -> io::Result<Part> {
        self.flush()?;
        self.file.sync_all()?;
        Ok(Part { bytes: self.bytes, records: self.records, hash: self.hash.digest() })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hash.update(&self.buffer);
        self.bytes += self.buffer.len() as u64;
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        // One line of hundreds of megabytes should not hold its memory for the rest of the part.
        self.buffer.shrink_to(BUFFER_BYTES);
        Ok(())
    }
}
