//! A split as it travels: paths, ranges and codec.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The input of one map task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Which of the job's inputs it is of, from 0: a join must tell its two sides apart.
    pub source: u32,
    /// How the bytes are compressed; anything but plain is a single piece, from end to end.
    pub codec: Codec,
    /// Where the bytes are, in order; at least one.
    pub pieces: Vec<Piece>,
}

impl Split {
    /// Bytes as they lie, by the nominal ranges: what is planned and shown.
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.end - piece.start).sum()
    }
}

/// A byte range of a file, nominal: a record belongs to the piece in which its first byte lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The file, absolute.
    pub path: PathBuf,
    /// First byte.
    pub start: u64,
    /// Behind the last byte; the file's length for its last piece.
    pub end: u64,
}

/// How a file is compressed, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Codec {
    /// Not at all.
    Plain,
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
    /// `.bz2`
    Bzip2,
    /// `.xz`
    Xz,
}
