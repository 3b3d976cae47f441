//! Taking in a copy of a part from another host, and saying how far it has come.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::folder::DataFolder;
use super::neighbours::Neighbours;
use super::{blocking, store};
use crate::dataset::Digest;
use crate::ids::WorkerId;
use crate::protocol::bulk::{Mux, Outgoing, Request};
use crate::protocol::data::{DataRequest, PartId};
use crate::protocol::meeting::{Copying, Way};
use crate::worker::peers::Road;

/// How often it is said.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// Fetches a part that must have that digest: from the worker that has it if a way leads there, else what is behind the ticket
/// from who asked, over `mux`.
///
/// # Errors
/// When who asked cannot be told.
pub async fn copy(
    folder: &Arc<DataFolder>,
    neighbours: Option<&Neighbours>,
    mux: &Mux,
    (part, digest): (PartId, Digest),
    (from, ticket): (WorkerId, u64),
    mut out: Outgoing,
) -> io::Result<()> {
    let road = match neighbours {
        Some(neighbours) => neighbours.to(from).await,
        None => Road::Relayed,
    };
    let (mux, request, way) = match road {
        Road::Direct(mux) => (mux, DataRequest::Read { part: part.clone(), start: 0, end: u64::MAX }, Way::Direct),
        Road::Relayed => (mux.clone(), DataRequest::Upload { ticket }, Way::Relayed),
    };
    let arrived = Arc::new(AtomicU64::new(0));
    let source = Counted { inner: mux.fetch(Request::Data(request)).into_reader(), arrived: Arc::clone(&arrived) };
    let folder = Arc::clone(folder);
    let mut storing = Box::pin(blocking(move || store::store_copy(&folder, &part, source, &digest)));
    let mut tick = tokio::time::interval(TELL_EVERY);
    loop {
        let done = tokio::select! {
            done = &mut storing => Some(done),
            _ = tick.tick() => None,
        };
        out.send(&Copying::Bytes(arrived.swap(0, Ordering::Relaxed)).frame()?).await?;
        if let Some(done) = done {
            return out.send(&Copying::Done(done.map(|()| way)).frame()?).await;
        }
    }
}

/// A reader whose bytes are counted.
struct Counted<R> {
    inner: R,
    arrived: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.arrived.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
