//! Pipes that hold much, so that neither side waits for the other at each turn.

use std::os::fd::AsFd;

use rustix::pipe::fcntl_setpipe_size;

/// The kernel grants it to everybody by default (pipe(7), /proc/sys/fs/pipe-max-size).
const BYTES: usize = 1 << 20;

/// Makes a pipe hold more. What is no pipe, or may not grow, stays as it is.
pub fn enlarge(pipe: impl AsFd) {
    let _as_large_as_allowed = fcntl_setpipe_size(pipe, BYTES);
}
