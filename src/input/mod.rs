//! The input: which files, cut into which splits, read how.
//!
//! A split is a byte range of a file, ended at record borders by its reader; or one compressed file; or several small
//! files. The same code reads a split where it lies, on the driver's machine for a remote worker and on the worker
//! itself where both are one. Nothing here knows who that is.

pub mod split;

pub use split::{Codec, Piece, Split};
