//! Fetching what attempts leave: output parts for their commit, stderr for the logs.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use fs_err::File;
use tokio::sync::Semaphore;
use xxhash_rust::xxh3::Xxh3;

use super::feed::Feed;
use super::output::OutputFolder;
use crate::facts::Work;
use crate::ids::{AttemptId, WorkerId};
use crate::protocol::bulk::Request;

/// Results that are fetched at once.
const FETCHES_MAX: usize = 32;

/// Fetches results in the background.
#[derive(Clone)]
pub struct Collector {
    feed: Arc<Feed>,
    output: OutputFolder,
    places: Arc<Semaphore>,
}

/// Where an output part was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartPlace {
    /// In the output folder, under its temporary name.
    Here,
    /// On the worker.
    Worker(WorkerId),
}

impl Collector {
    /// Fetches through the connections of `feed`.
    pub fn new(feed: Arc<Feed>, output: OutputFolder) -> Self {
        Collector { feed, output, places: Arc::new(Semaphore::new(FETCHES_MAX)) }
    }

    /// Brings a part here if need be and gives it its final name.
    ///
    /// # Errors
    /// When it does not arrive as the worker made it, or cannot be written.
    pub async fn commit(&self, attempt: AttemptId, place: PartPlace, work: &Work) -> io::Result<()> {
        let _place = self.places.acquire().await.map_err(io::Error::other)?;
        if let PartPlace::Worker(worker) = place {
            let hash = self.pull(worker, Request::Output { attempt }, self.output.part(attempt)).await?;
            if hash != work.hash {
                return Err(io::Error::other("the part is not what the worker wrote"));
            }
        }
        self.output.commit_part(attempt, work.bytes_out)
    }

    /// Saves what an attempt wrote to stderr.
    ///
    /// # Errors
    /// When it does not arrive or cannot be written.
    pub async fn save_stderr(&self, attempt: AttemptId, worker: WorkerId, path: PathBuf) -> io::Result<()> {
        let _place = self.places.acquire().await.map_err(io::Error::other)?;
        self.pull(worker, Request::Stderr { attempt }, path).await.map(drop)
    }

    /// Writes a stream into a file that is on the disk then; gives the hash of its bytes.
    async fn pull(&self, worker: WorkerId, request: Request, path: PathBuf) -> io::Result<u64> {
        let mux = self.feed.worker(worker).ok_or_else(|| io::Error::other("the worker is gone"))?;
        let mut stream = mux.fetch(request).into_reader();
        let write = move || {
            let mut sink = Hashing { file: File::create(path)?, hash: Xxh3::new() };
            io::copy(&mut stream, &mut sink)?;
            sink.file.sync_all()?;
            Ok(sink.hash.digest())
        };
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
    }
}

struct Hashing {
    file: File,
    hash: Xxh3,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
