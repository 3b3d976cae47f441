//! A run that is sorted and written on a thread of its own, while the next records come.

use std::io;
use std::thread::{self, JoinHandle};

use super::batch::Batch;
use super::run::{Run, RunFolder};

/// At most one run under way.
#[derive(Debug, Default)]
pub(super) struct Beside {
    thread: Option<JoinHandle<io::Result<(Run, Batch)>>>,
}

impl Beside {
    /// Begins a run of all records of `batch`, which so many threads may sort. None may be under way.
    pub fn begin(&mut self, mut batch: Batch, folder: &mut RunFolder, threads: usize) -> io::Result<()> {
        let writer = folder.create()?;
        let make = move || Ok((batch.write(writer, threads)?, batch));
        self.thread = Some(thread::Builder::new().name("spill".to_owned()).spawn(make)?);
        Ok(())
    }

    /// Waits for the run that is under way, if there is one; its batch, empty, comes along.
    pub fn end(&mut self) -> io::Result<Option<(Run, Batch)>> {
        let Some(thread) = self.thread.take() else { return Ok(None) };
        thread.join().map_err(|_| io::Error::other("the thread that sorts panicked"))?.map(Some)
    }
}
