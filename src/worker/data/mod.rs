//! The worker's side of datasets: one data folder, and what is done in it.
//!
//! `runner worker data` is started over ssh for as long as somebody works with datasets ([`session`]); within a job the
//! worker's own process does the same over its bulk connection. Both answer through [`serve`]. The [`folder`] knows what
//! lies where; [`listing`] tells of it, [`store`] takes parts in, [`read`] gives them out checked, [`change`] makes
//! generations complete and removes them.
//!
//! A part comes from the driver, or from another worker: then [`copy`] fetches it over the ways that [`neighbours`] keeps.
//! Nothing here chooses other hosts, or decides which generation counts: that takes the view over all of them.

mod change;
mod check;
mod copy;
mod folder;
mod listing;
mod neighbours;
mod read;
mod store;

pub mod session;

use std::io;
use std::sync::Arc;

use serde::Serialize;

pub use change::abandon;
pub use folder::DataFolder;
pub use read::open_split;

use crate::protocol::bulk::{Mux, Outgoing, Request};
use crate::protocol::data::{DataError, DataRequest};
use crate::protocol::frames;

/// Answers one request. What goes into the folder is pulled over `mux`.
///
/// # Errors
/// When the answer cannot be sent; or, where the answer is bytes, when they cannot be read.
pub async fn serve(folder: Arc<DataFolder>, mux: Mux, request: DataRequest, mut out: Outgoing) -> io::Result<()> {
    let answer = match request {
        DataRequest::Read { part, start, end } => {
            let opened = blocking(move || read::open_range(&folder, &part, start, end)).await;
            return out.send_all(opened.map_err(io::Error::other)?).await.map(drop);
        }
        DataRequest::Split { part, codec, start, end } => {
            let opened = blocking(move || open_split(&folder, &part, codec, start, end)).await;
            return out.send_all(opened.map_err(io::Error::other)?).await.map(drop);
        }
        DataRequest::Sample { part, codec, places, key } => {
            encode(blocking(move || read::sample(&folder, &part, codec, &places, &key)).await)
        }
        DataRequest::Meet(_) | DataRequest::Peers(_) | DataRequest::Part | DataRequest::Copy { .. } => {
            return Err(io::Error::other("only a process for data alone does that"));
        }
        DataRequest::Upload { .. } => return Err(io::Error::other("a worker has nothing to upload")),
        DataRequest::Store { part, ticket } => {
            let source = mux.fetch(Request::Data(DataRequest::Upload { ticket })).into_reader();
            encode(blocking(move || store::store(&folder, &part, source)).await)
        }
        DataRequest::Ping => encode(Ok(())),
        DataRequest::List { patterns } => encode(blocking(move || listing::list(&folder, &patterns)).await),
        DataRequest::Lock { names, who } => encode(blocking(move || folder.lock(&names, &who)).await),
        DataRequest::Begin { name, generation, put } => {
            encode(blocking(move || store::begin(&folder, &name, generation, put)).await)
        }
        DataRequest::Adopt { part, file, made } => {
            encode(blocking(move || store::adopt(&folder, &part, &file, made)).await)
        }
        DataRequest::Sift { name, generation, expected } => {
            encode(blocking(move || store::sift(&folder, &name, generation, &expected)).await)
        }
        DataRequest::Seal { name, generation, parts } => {
            encode(blocking(move || change::seal(&folder, &name, generation, parts)).await)
        }
        DataRequest::Publish { name, manifest } => {
            encode(blocking(move || change::publish(&folder, &name, &manifest)).await)
        }
        DataRequest::Bury { name, generation } => {
            encode(blocking(move || change::bury(&folder, &name, generation)).await)
        }
        DataRequest::Purge { name, before } => encode(blocking(move || change::purge(&folder, &name, before)).await),
        DataRequest::Discard { name, generation } => {
            encode(blocking(move || change::discard(&folder, &name, generation)).await)
        }
        DataRequest::Link { name, generation, new_name, new_generation } => {
            encode(blocking(move || change::link(&folder, (&name, generation), (&new_name, new_generation))).await)
        }
        DataRequest::Check { name, manifest } => {
            encode(blocking(move || check::check(&folder, &name, &manifest)).await)
        }
        DataRequest::Manifest { name, generation } => {
            encode(blocking(move || folder.manifest(&name, generation)).await)
        }
    };
    out.send(&answer?).await
}

/// Does what may block on a thread for that.
async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, DataError>
where
    T: Send + 'static,
    E: Into<DataError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Into::into),
        Err(panicked) => Err(DataError::Failed(format!("a bug of runner: {panicked}"))),
    }
}

fn encode<T: Serialize>(answer: Result<T, DataError>) -> io::Result<bytes::Bytes> {
    frames::encode(&answer)
}

#[cfg(test)]
mod tests;
