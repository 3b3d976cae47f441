//! What the driver serves to its workers: input, shipped files, and segments of other workers.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;

use super::pack;
use crate::ids::WorkerId;
use crate::input::{Split, SplitReader};
use crate::job::ShippedFile;
use crate::protocol::bulk::{Mux, Outgoing, Request, Serve};

/// Serves one job.
pub struct Feed {
    splits: Arc<Vec<Split>>,
    files: Vec<ShippedFile>,
    /// The bulk connection of each worker.
    workers: Mutex<BTreeMap<WorkerId, Mux>>,
}

impl Feed {
    /// Serves these splits and files.
    pub fn new(splits: Arc<Vec<Split>>, files: Vec<ShippedFile>) -> Self {
        Feed { splits, files, workers: Mutex::default() }
    }

    /// The bulk connection of a worker.
    pub fn worker(&self, worker: WorkerId) -> Option<Mux> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).get(&worker).cloned()
    }

    /// A worker is there.
    pub fn connect(&self, worker: WorkerId, mux: Mux) {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).insert(worker, mux);
    }

    /// A worker is gone.
    pub fn disconnect(&self, worker: WorkerId) {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).remove(&worker);
    }

    /// Ends all bulk connections.
    pub fn disconnect_all(&self) {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn input(&self, split: u32, out: Outgoing) -> io::Result<()> {
        let splits = Arc::clone(&self.splits);
        let open = move || {
            let split = splits.get(split as usize).ok_or_else(|| io::Error::other("there is no such split"))?;
            SplitReader::open(split)
        };
        let reader = tokio::task::spawn_blocking(open).await.map_err(io::Error::other)??;
        out.send_all(reader).await.map(drop)
    }

    async fn file(&self, index: u32, out: Outgoing) -> io::Result<()> {
        let file = self.files.get(index as usize).ok_or_else(|| io::Error::other("there is no such file"))?;
        out.send_all(pack::open(file)?).await.map(drop)
    }

    /// Passes segments on from the worker that holds them.
    async fn relay(&self, holder: WorkerId, request: Request, mut out: Outgoing) -> io::Result<()> {
        let mux = self.worker(holder).ok_or_else(|| io::Error::other("the worker that holds it is gone"))?;
        let mut incoming = mux.fetch(request);
        while let Some(bytes) = incoming.next().await? {
            out.send(&bytes).await?;
        }
        Ok(())
    }
}

impl Serve for Feed {
    fn serve(self: Arc<Self>, request: Request, out: Outgoing) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async move {
            let served = match request {
                Request::Input { split } => self.input(split, out).await,
                Request::File { index } => self.file(index, out).await,
                Request::Segments { holder, .. } => self.relay(holder, request, out).await,
                Request::Output { .. } | Request::Stderr { .. } => {
                    Err(io::Error::other("the driver has no results to give"))
                }
            };
            served.map_err(|error| error.to_string())
        })
    }
}
