//! Which build this is, so that driver and worker can tell whether they are one.

use anyhow::Context;
use xxhash_rust::xxh3::xxh3_64;

/// The version and a hash of the sources, such as `0.1.0-2d06800538d394c2`: equal for equal sources, whatever the
/// architecture.
pub const ID: &str = concat!(env!("CARGO_PKG_VERSION"), "-", env!("RUNNER_SOURCE_HASH"));

/// The executable of this process, even once its file was replaced or removed.
pub const OURSELVES: &str = "/proc/self/exe";

/// XXH3-64 of the executable, 16 hex digits: an install is whole when both ends agree on it.
///
/// # Errors
/// When it cannot be read.
pub fn hash() -> anyhow::Result<String> {
    let bytes = fs_err::read(OURSELVES).context("reading our own executable")?;
    Ok(format!("{:016x}", xxh3_64(&bytes)))
}
