//! The input of an attempt, watched: how far it is, whether it waits, whether it should go on.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use super::blame;
use super::control::Control;

/// Reads input on behalf of an attempt. Its errors carry the cause that the input could not be read.
pub struct Metered<R> {
    inner: R,
    control: Arc<Control>,
}

impl<R> Metered<R> {
    /// Watches `inner` for the attempt of `control`.
    pub fn new(inner: R, control: Arc<Control>) -> Self {
        Metered { inner, control }
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.control.has_ended() {
            return Err(io::Error::other("the attempt was ended"));
        }
        let result = self.control.while_waiting(|| self.inner.read(buffer));
        match result {
            Ok(count) => {
                self.control.advance(count as u64);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => Err(blame::input(error)),
        }
    }
}

/// Input behind its decoder, whose opinion of the bytes becomes an error of the file that they are of.
pub struct Named<R> {
    inner: R,
    path: PathBuf,
}

impl<R> Named<R> {
    /// What `inner` says of the file at `path`.
    pub fn new(inner: R, path: PathBuf) -> Self {
        Named { inner, path }
    }
}

impl<R: Read> Read for Named<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => blame::input_of(&self.path, error),
        })
    }
}
