//! What hosts fetch from us: parts of what is put, and copies of parts that another host has.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;

use super::cut::Source;
use crate::protocol::bulk::{Mux, Outgoing, Request, Serve};
use crate::protocol::data::{DataRequest, PartId};

/// Offers by ticket.
#[derive(Default)]
pub struct Uploads {
    offers: Mutex<HashMap<u64, Offer>>,
    next: AtomicU64,
}

/// What is behind a ticket.
#[derive(Clone)]
pub enum Offer {
    /// Bytes of this machine.
    Here {
        /// Where they are.
        source: Source,
        /// Counts them.
        sent: Arc<AtomicU64>,
        /// Where it is noted that they cannot be read, which is not the fault of who fetches them.
        broken: Arc<Mutex<Option<String>>>,
    },
    /// A part that another host has: passed on.
    There {
        /// The host.
        mux: Mux,
        /// The part.
        part: PartId,
        /// Counts its bytes.
        sent: Arc<AtomicU64>,
    },
}

/// An offer that stands as long as this lives.
pub struct Ticket {
    uploads: Arc<Uploads>,
    /// Its number.
    pub number: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.uploads.offers().remove(&self.number);
    }
}

impl Uploads {
    /// Makes an offer.
    pub fn offer(self: &Arc<Self>, offer: Offer) -> Ticket {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.offers().insert(number, offer);
        Ticket { uploads: Arc::clone(self), number }
    }

    /// Sends what is behind a ticket.
    ///
    /// # Errors
    /// There is nothing, or it cannot be read or sent.
    pub async fn send(&self, ticket: u64, out: Outgoing) -> io::Result<()> {
        let offer = self.offers().get(&ticket).cloned();
        match offer {
            None => Err(io::Error::other("nothing is offered under this number")),
            Some(Offer::Here { source, sent, broken }) => {
                let opened = tokio::task::spawn_blocking(move || source.open()).await.map_err(io::Error::other)?;
                let note = move |error: &io::Error| {
                    *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                };
                match opened {
                    Ok(inner) => out.send_all(Counted { inner, sent, note }).await.map(drop),
                    Err(error) => {
                        note(&error);
                        Err(error)
                    }
                }
            }
            Some(Offer::There { mux, part, sent }) => relay(&mux, part, &sent, out).await,
        }
    }

    fn offers(&self) -> MutexGuard<'_, HashMap<u64, Offer>> {
        self.offers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn relay(mux: &Mux, part: PartId, sent: &AtomicU64, mut out: Outgoing) -> io::Result<()> {
    let mut incoming = mux.fetch(Request::Data(DataRequest::Read { part, start: 0, end: u64::MAX }));
    while let Some(bytes) = incoming.next().await? {
        sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        out.send(&bytes).await?;
    }
    Ok(())
}

impl Serve for Uploads {
    fn serve(self: Arc<Self>, request: Request, out: Outgoing) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async move {
            let Request::Data(DataRequest::Upload { ticket }) = request else {
                return Err("only uploads are served here".to_owned());
            };
            self.send(ticket, out).await.map_err(|error| error.to_string())
        })
    }
}

/// A reader whose bytes are counted, and whose errors are noted.
struct Counted<R, N> {
    inner: R,
    sent: Arc<AtomicU64>,
    note: N,
}

impl<R: Read, N: Fn(&io::Error)> Read for Counted<R, N> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(count) => {
                self.sent.fetch_add(count as u64, Ordering::Relaxed);
                Ok(count)
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    (self.note)(&error);
                }
                Err(error)
            }
        }
    }
}
