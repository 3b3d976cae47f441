//! What is printed on stdout: data, for a person or the next program; and on stderr, where nothing else goes there.

use std::io::{self, BufWriter, ErrorKind, Write};

use anyhow::Context;

/// Prints what `write` writes. A reader that has seen enough, as `head` has, is no error.
///
/// # Errors
/// When stdout cannot be written for another reason, such as a full disk.
pub fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    unless_gone(write(&mut out).and_then(|()| out.flush())).context("writing to stdout")
}

/// Prints words for a person on stderr, in one piece.
///
/// # Errors
/// As [`print()`].
pub fn print_error(text: &str) -> anyhow::Result<()> {
    unless_gone(io::stderr().write_all(text.as_bytes())).context("writing to stderr")
}

fn unless_gone(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
