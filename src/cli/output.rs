//! What is printed on stdout: data, for a person or the next program.

use std::io::{self, BufWriter, ErrorKind, Write};

use anyhow::Context;

/// Prints what `write` writes. A reader that has seen enough, as `head` has, is no error.
///
/// # Errors
/// When stdout cannot be written for another reason, such as a full disk.
pub fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing to stdout"),
    }
}
