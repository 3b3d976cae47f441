//! What the driver serves to its workers: input, shipped files, and segments of other workers.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use tokio::sync::{mpsc, watch};

use super::pack;
use super::shared::Note;
use crate::datasets::Uploads;
use crate::ids::WorkerId;
use crate::input::{Home, Split, SplitReader};
use crate::job::ShippedFile;
use crate::protocol::bulk::{Mux, Outgoing, Request, Serve};
use crate::protocol::data::{DataRequest, PartId};

/// Serves one job.
pub struct Feed {
    splits: Mutex<Arc<Vec<Split>>>,
    files: Vec<ShippedFile>,
    workers: Mutex<BTreeMap<WorkerId, watch::Sender<Line>>>,
    /// Copies of parts of datasets, on their way from worker to worker.
    uploads: Arc<Uploads>,
    /// Where it is told that a part of a dataset is gone.
    notes: mpsc::UnboundedSender<(WorkerId, Note)>,
}

/// The bulk connection of a worker.
#[derive(Clone)]
enum Line {
    /// It is there, or has just broken.
    Connected(Mux),
    /// There is none; one is being made.
    Apart,
    /// There is none, and will be none.
    Gone,
}

impl Feed {
    /// Serves these splits, files and copies of parts.
    pub fn new(
        splits: Arc<Vec<Split>>,
        files: Vec<ShippedFile>,
        uploads: Arc<Uploads>,
        notes: mpsc::UnboundedSender<(WorkerId, Note)>,
    ) -> Self {
        Feed { splits: Mutex::new(splits), files, workers: Mutex::default(), uploads, notes }
    }

    /// The same splits, which are known to lie elsewhere.
    pub fn serve_instead(&self, splits: Arc<Vec<Split>>) {
        *self.splits.lock().unwrap_or_else(PoisonError::into_inner) = splits;
    }

    /// The bulk connection of a worker, if there is one in this moment.
    pub fn now(&self, worker: WorkerId) -> Option<Mux> {
        match &*self.lines().get(&worker)?.borrow() {
            Line::Connected(mux) => Some(mux.clone()).filter(|mux| !mux.is_closed()),
            Line::Apart | Line::Gone => None,
        }
    }

    /// The bulk connection of a worker; waits while it is being made again. None once the worker is gone.
    pub async fn reach(&self, worker: WorkerId) -> Option<Mux> {
        let mut line = self.lines().get(&worker)?.subscribe();
        let settled = |line: &Line| match line {
            Line::Connected(mux) => !mux.is_closed(),
            Line::Apart => false,
            Line::Gone => true,
        };
        match &*line.wait_for(settled).await.ok()? {
            Line::Connected(mux) => Some(mux.clone()),
            Line::Apart | Line::Gone => None,
        }
    }

    /// A worker is there.
    pub fn connect(&self, worker: WorkerId, mux: Mux) {
        self.change(worker, Line::Connected(mux));
    }

    /// A worker cannot be reached for the time being.
    pub fn suspend(&self, worker: WorkerId) {
        self.change(worker, Line::Apart);
    }

    /// A worker is gone.
    pub fn disconnect(&self, worker: WorkerId) {
        self.change(worker, Line::Gone);
    }

    /// Ends all bulk connections.
    pub fn disconnect_all(&self) {
        self.lines().clear();
    }

    fn change(&self, worker: WorkerId, line: Line) {
        let old = self.lines().entry(worker).or_insert_with(|| watch::Sender::new(Line::Apart)).send_replace(line);
        match old {
            Line::Connected(mux) => mux.close(),
            Line::Apart | Line::Gone => {}
        }
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<WorkerId, watch::Sender<Line>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn input(&self, split: u32, out: Outgoing) -> io::Result<()> {
        let splits = Arc::clone(&self.splits.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(Split { home: Home::Dataset { name, generation, part, holders }, codec, pieces, .. }) =
            splits.get(split as usize)
            && let [piece] = pieces.as_slice()
        {
            let part = PartId { name: name.clone(), generation: *generation, index: *part };
            let request = DataRequest::Split { part, codec: *codec, start: piece.start, end: piece.end };
            return self.pass_on(holders, request, out).await;
        }
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

    /// Passes a split of a dataset on from a worker that has it; from the next one, where the first cannot go on. Those that
    /// are being reached are waited for only when the others are of no use.
    async fn pass_on(&self, holders: &[WorkerId], request: DataRequest, mut out: Outgoing) -> io::Result<()> {
        let (mut sent, mut why, mut reached) = (0, "no worker that has it is there".to_owned(), false);
        let (there, apart): (Vec<WorkerId>, Vec<WorkerId>) =
            holders.iter().copied().partition(|holder| self.now(*holder).is_some());
        for holder in there.into_iter().chain(apart) {
            let Some(mux) = self.reach(holder).await else { continue };
            reached = true;
            // All copies are the same bytes.
            let mut incoming = mux.fetch_from(Request::Data(request.clone()), sent);
            loop {
                match incoming.next().await {
                    Ok(None) => return Ok(()),
                    Ok(Some(bytes)) => {
                        out.send(&bytes).await?;
                        sent += bytes.len() as u64;
                    }
                    Err(error) => {
                        why = error.to_string();
                        break;
                    }
                }
            }
        }
        // The job cannot be done any more, however often this is tried.
        if let (false, Some(holder)) = (reached, holders.first()) {
            let _over = self.notes.send((*holder, Note::InputGone));
        }
        Err(io::Error::other(format!("no copy of a part of a dataset can be read: {why}")))
    }

    /// Passes segments on from the worker that holds them. Where its connection breaks, the next one is waited for.
    async fn relay(&self, holder: WorkerId, request: Request, mut out: Outgoing) -> io::Result<()> {
        let mut passed = 0;
        loop {
            let mux = self.reach(holder).await.ok_or_else(|| io::Error::other("the worker that holds it is gone"))?;
            let mut incoming = mux.fetch_from(request.clone(), passed);
            loop {
                match incoming.next().await {
                    Ok(Some(bytes)) => {
                        out.send(&bytes).await?;
                        passed += bytes.len() as u64;
                    }
                    Ok(None) => return Ok(()),
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => break,
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

impl Serve for Feed {
    fn serve(self: Arc<Self>, request: Request, out: Outgoing) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async move {
            let served = match request {
                Request::Input { split } => self.input(split, out).await,
                Request::File { index } => self.file(index, out).await,
                Request::Segments { holder, .. } => self.relay(holder, request, out).await,
                Request::Data(DataRequest::Upload { ticket }) => self.uploads.send(ticket, out).await,
                Request::Output { .. } | Request::Stderr { .. } | Request::Data(_) => {
                    Err(io::Error::other("the driver has no results to give"))
                }
            };
            served.map_err(|error| error.to_string())
        })
    }
}
