//! Fetching what attempts leave: output parts for their commit, stderr for the logs.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err::File;
use futures::FutureExt;
use tokio::sync::Semaphore;
use xxhash_rust::xxh3::Xxh3;

use super::feed::Feed;
use super::output::OutputFolder;
use crate::datasets::{Completed, JobOutput, Lines};
use crate::facts::Work;
use crate::fleet::{HostSpec, Place};
use crate::ids::{AttemptId, WorkerId};
use crate::protocol::bulk::Request;
use crate::protocol::data::{DataError, Made};
use crate::worker::part_in;

/// Results that are fetched at once.
const FETCHES_MAX: usize = 32;

/// How often a part is made one of a dataset on a worker whose connection breaks meanwhile.
const TRIES_MAX: u32 = 8;

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

impl PartPlace {
    /// That of a worker on a host.
    pub fn of(host: &HostSpec, worker: WorkerId) -> Self {
        match host.place {
            Place::ThisMachine => PartPlace::Here,
            Place::Ssh => PartPlace::Worker(worker),
        }
    }
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
    pub async fn commit(
        &self,
        attempt: AttemptId,
        worker: WorkerId,
        place: PartPlace,
        work: &Work,
    ) -> Result<(), Trouble> {
        if let Some(dataset) = self.output.dataset() {
            return self.keep(dataset, attempt, worker, work).await;
        }
        if let PartPlace::Worker(worker) = place {
            let hash = self.pull(worker, Request::Output { attempt }, self.output.part(attempt)).await?;
            if hash != work.hash {
                return Err(Trouble::there("the part is not what the worker wrote"));
            }
        }
        self.output.commit_part(attempt, work.bytes_out).map_err(Trouble::there)
    }

    /// Makes a part one of a dataset, where it lies. Where the connection breaks, the next one is waited for.
    async fn keep(
        &self,
        dataset: &JobOutput,
        attempt: AttemptId,
        worker: WorkerId,
        work: &Work,
    ) -> Result<(), Trouble> {
        let part = part_in(Path::new(""), attempt).display().to_string();
        let made = Made { bytes: work.bytes_out, hash: work.hash };
        for _ in 1..TRIES_MAX {
            self.feed.reach(worker).await.ok_or_else(|| Trouble::there("the worker is gone"))?;
            let _place = self.places.acquire().await.map_err(Trouble::there)?;
            let index = attempt.task.index;
            let kept = dataset.commit(index, (part.clone(), made), worker, |worker| self.feed.now(worker)).await;
            match kept {
                Ok(()) => return Ok(()),
                Err(DataError::Gone(_)) => {}
                Err(DataError::Busy(text)) => return Err(Trouble::Here(text)),
                Err(error) => return Err(Trouble::there(error)),
            }
        }
        Err(Trouble::there("its connection broke again and again"))
    }

    /// Gives the whole its final name: so many parts.
    ///
    /// # Errors
    /// When that cannot be done; see [`OutputFolder::finish`].
    pub async fn complete(&self, parts: u32) -> anyhow::Result<Completed> {
        let Some(dataset) = self.output.dataset() else {
            let output = self.output.clone();
            tokio::task::spawn_blocking(move || output.finish()).await??;
            return Ok(Completed::Whole);
        };
        let lines = Lines { now: &|worker| self.feed.now(worker), reach: &|worker| self.feed.reach(worker).boxed() };
        Ok(dataset.complete(parts, &lines).await?)
    }

    /// Removes a dataset that will not be complete, while its workers are there.
    pub async fn discard(&self) {
        if let Some(dataset) = self.output.dataset() {
            dataset.discard(|worker| self.feed.now(worker)).await;
        }
    }

    /// Saves what an attempt wrote to stderr, whole or not at all.
    ///
    /// # Errors
    /// When it does not arrive or cannot be written.
    pub async fn save_stderr(&self, attempt: AttemptId, worker: WorkerId, path: PathBuf) -> Result<(), Trouble> {
        let partial = path.with_extension("partial");
        self.pull(worker, Request::Stderr { attempt }, partial.clone()).await?;
        fs_err::rename(partial, path).map_err(Trouble::here)
    }

    /// Writes a stream into a file that is on the disk then; gives the hash of its bytes. Where the connection breaks, the
    /// next one is waited for.
    async fn pull(&self, worker: WorkerId, request: Request, path: PathBuf) -> Result<u64, Trouble> {
        loop {
            let mux = self.feed.reach(worker).await.ok_or_else(|| Trouble::there("the worker is gone"))?;
            // Not before: whoever waits for a worker keeps no other from its place.
            let _place = self.places.acquire().await.map_err(Trouble::there)?;
            let (stream, path) = (mux.fetch(request.clone()).into_reader(), path.clone());
            drop(mux);
            let written = tokio::task::spawn_blocking(|| write(stream, path)).await.map_err(Trouble::there)??;
            if let Some(hash) = written {
                return Ok(hash);
            }
        }
    }
}

/// Writes a file that is on the disk then; gives the hash of its bytes, or none where the connection broke.
fn write(mut stream: impl Read, path: PathBuf) -> Result<Option<u64>, Trouble> {
    let mut file = File::create(path).map_err(Trouble::here)?;
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => {
                file.sync_all().map_err(Trouble::here)?;
                return Ok(Some(hash.digest()));
            }
            Ok(count) => {
                hash.update(&buffer[..count]);
                file.write_all(&buffer[..count]).map_err(Trouble::here)?;
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return Ok(None),
            Err(error) => return Err(Trouble::there(error)),
        }
    }
}

/// Why a result could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It did not arrive; another worker may do better.
    There(String),
    /// This machine cannot keep it; no worker can help that.
    Here(String),
}

impl Trouble {
    fn there(error: impl ToString) -> Self {
        Trouble::There(error.to_string())
    }

    fn here(error: io::Error) -> Self {
        Trouble::Here(error.to_string())
    }
}
