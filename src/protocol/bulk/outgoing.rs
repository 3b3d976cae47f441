//! A stream that is served.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use xxhash_rust::xxh3::Xxh3;

use super::{Frame, Shared};

/// The most that goes into one frame: other streams wait for no more than this.
const CHUNK: usize = 128 << 10;

/// The sending end of one stream.
pub struct Outgoing {
    shared: Arc<Shared>,
    stream: u32,
    credit: Arc<Semaphore>,
    hash: Arc<Mutex<Xxh3>>,
    /// Bytes at the beginning that the other end has.
    skip: u64,
}

/// Sends the end of the stream, once what serves it has returned.
pub(super) struct Ending {
    shared: Arc<Shared>,
    stream: u32,
    hash: Arc<Mutex<Xxh3>>,
}

impl Outgoing {
    pub(super) fn new(shared: Arc<Shared>, stream: u32, credit: Arc<Semaphore>, skip: u64) -> Self {
        Outgoing { shared, stream, credit, hash: Arc::default(), skip }
    }

    pub(super) fn ending(&self) -> Ending {
        Ending { shared: Arc::clone(&self.shared), stream: self.stream, hash: Arc::clone(&self.hash) }
    }

    /// Sends bytes as the other end grants credit.
    ///
    /// # Errors
    /// [`io::ErrorKind::BrokenPipe`] when the other end wants no more or is gone.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let known = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        self.skip -= known as u64;
        let bytes = &bytes[known..];
        for chunk in bytes.chunks(CHUNK) {
            let permits = self.credit.acquire_many(chunk.len() as u32).await;
            permits.map_err(|_closed| io::ErrorKind::BrokenPipe)?.forget();
            self.hash.lock().unwrap_or_else(PoisonError::into_inner).update(chunk);
            self.shared.send_data(self.stream, chunk);
        }
        Ok(())
    }

    /// Sends all that `source` gives, reading it on a thread where it may block. Gives the number of bytes.
    ///
    /// # Errors
    /// Those of the source, and of [`Outgoing::send`].
    pub async fn send_all(mut self, mut source: impl Read + Send + 'static) -> io::Result<(Outgoing, u64)> {
        let runtime = Handle::current();
        let copy = move || {
            let mut buffer = vec![0; CHUNK];
            let mut sent = 0;
            loop {
                let count = match source.read(&mut buffer) {
                    Ok(0) => return Ok((self, sent)),
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                };
                runtime.block_on(self.send(&buffer[..count]))?;
                sent += count as u64;
            }
        };
        tokio::task::spawn_blocking(copy).await.map_err(io::Error::other)?
    }
}

impl Ending {
    pub(super) fn end(self, served: Result<(), String>) {
        self.shared.tables().outgoing.remove(&self.stream);
        let hash = self.hash.lock().unwrap_or_else(PoisonError::into_inner).digest();
        self.shared.send(&Frame::End { stream: self.stream, result: served.map(|()| hash) });
    }
}
