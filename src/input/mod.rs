//! The input: which files, cut into which splits, read how.
//!
//! A split is a byte range of a file, ended at record borders by its reader; or one compressed file; or several small
//! files. The same code reads a split where it lies, on the driver's machine for a remote worker and on the worker
//! itself where both are one. Nothing here knows who that is.
//!
//! What was typed becomes files ([`list`](list::list)), these become splits ([`plan`](plan::plan)), a split becomes
//! bytes ([`SplitReader`], or [`VerifiedFile`] below it for a part of a dataset), decompressed where need be ([`decode`](decode::decode)) and taken apart into lines
//! ([`LineReader`]). Only `sort` looks at its input beforehand ([`sample_keys`](sample::sample_keys)).

pub mod decode;
pub mod lines;
pub mod list;
pub mod plan;
pub mod read;
pub mod sample;
pub mod split;
mod verified;

pub use lines::LineReader;
pub use list::InputFile;
pub use plan::PlanConfig;
pub use read::SplitReader;
pub use split::{Codec, Home, Piece, Split};
pub use verified::VerifiedFile;

/// How much is read at once: enough that system calls do not count, little enough for a core's cache.
const BLOCK: usize = 256 << 10;
