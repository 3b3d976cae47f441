//! Which build this is: the version and a hash of the executable, so that driver and worker can tell whether they are one.

use anyhow::Context;
use xxhash_rust::xxh3::xxh3_64;

/// The executable of this process, even once its file was replaced or removed.
const OURSELVES: &str = "/proc/self/exe";

/// Such as `0.1.0-2d06800538d394c2`: the version and [`hash`]. Takes some milliseconds.
///
/// # Errors
/// When the executable cannot be read.
pub fn id() -> anyhow::Result<String> {
    Ok(format!("{}-{}", env!("CARGO_PKG_VERSION"), hash()?))
}

/// XXH3-64 of the executable, 16 hex digits.
///
/// # Errors
/// When it cannot be read.
pub fn hash() -> anyhow::Result<String> {
    let bytes = fs_err::read(OURSELVES).context("reading our own executable")?;
    Ok(format!("{:016x}", xxh3_64(&bytes)))
}
