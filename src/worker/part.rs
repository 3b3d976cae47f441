//! An output part while it is written: lines to a file of a temporary name, counted and hashed.

use std::io::{self, Write};
use std::num::NonZeroU64;
use std::path::Path;

use fs_err::File;
use rustix::fs::{Advice, fadvise};
use xxhash_rust::xxh3::Xxh3;

/// Lines gathered before they are hashed and written.
const BUFFER_BYTES: usize = 256 << 10;

/// The disk is set to work when so many bytes came together: a few of its largest writes, and little to wait for in the
/// end.
const WRITEBACK_BYTES: u64 = 8 << 20;

/// When a part that is finished must be on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// At once: it is the output itself.
    Synced,
    /// Never: it is fetched and synced elsewhere, and made again if it is lost before that.
    Cached,
}

/// Writes one part.
pub struct PartWriter {
    file: File,
    durability: Durability,
    buffer: Vec<u8>,
    /// Boxed, since its state is several hundred bytes.
    hash: Box<Xxh3>,
    bytes: u64,
    /// Up to here the disk was set to work.
    sent: u64,
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
    pub fn create(path: &Path, durability: Durability) -> io::Result<Self> {
        let buffer = Vec::with_capacity(BUFFER_BYTES);
        Ok(PartWriter {
            file: File::create(path)?,
            durability,
            buffer,
            hash: Box::default(),
            bytes: 0,
            sent: 0,
            records: 0,
        })
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

    /// Adds lines, each with its newline.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn push_block(&mut self, block: &[u8]) -> io::Result<()> {
        if self.buffer.len() + block.len() > BUFFER_BYTES {
            self.flush()?;
        }
        self.buffer.extend_from_slice(block);
        self.records += memchr::memchr_iter(b'\n', block).count() as u64;
        Ok(())
    }

    /// Ends the file; it is as durable then as was asked for.
    ///
    /// # Errors
    /// When it cannot be written or synced.
    pub fn finish(mut self) -> io::Result<Part> {
        self.flush()?;
        match self.durability {
            Durability::Synced => self.file.sync_all()?,
            Durability::Cached => {}
        }
        Ok(Part { bytes: self.bytes, records: self.records, hash: self.hash.digest() })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hash.update(&self.buffer);
        self.bytes += self.buffer.len() as u64;
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        // One line of hundreds of megabytes should not hold its memory for the rest of the part.
        self.buffer.shrink_to(BUFFER_BYTES);
        if self.durability == Durability::Synced && self.bytes - self.sent >= WRITEBACK_BYTES {
            self.begin_writeback();
        }
        Ok(())
    }

    /// Lets the disk write while we go on, so that the sync in the end has little left to wait for. Linux begins to write
    /// what is dirty when it is told that it will not be needed (mm/fadvise.c, `POSIX_FADV_DONTNEED`), and other systems
    /// are free to do nothing.
    fn begin_writeback(&mut self) {
        let _no_matter = fadvise(&self.file, self.sent, NonZeroU64::new(self.bytes - self.sent), Advice::DontNeed);
        self.sent = self.bytes;
    }
}
