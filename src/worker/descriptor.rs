//! The one place that adopts a descriptor by its number, which Rust cannot check.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use rustix::io::{FdFlags, fcntl_setfd};

/// Takes over a descriptor that was handed to this process at its start, and keeps it from its children.
///
/// # Errors
/// When there is none at that number.
pub fn inherited(number: i32) -> io::Result<OwnedFd> {
    // Only a look: it fails where nothing is open at the number.
    fs_err::symlink_metadata(format!("/proc/self/fd/{number}"))?;
    // SAFETY: the number is open, is none of the standard streams, and was put there by our parent for this call, which
    // `supervise` makes once, before it opens anything.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(descriptor.as_fd(), FdFlags::CLOEXEC)?;
    Ok(descriptor)
}
