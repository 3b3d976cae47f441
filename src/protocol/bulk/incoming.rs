//! A stream that is fetched, for tasks and for threads.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;
use xxhash_rust::xxh3::Xxh3;

use super::{Arrival, Frame, Shared, WINDOW};

/// The bytes of one stream, in order. Dropping it tells the other end to stop.
pub struct Incoming {
    shared: Arc<Shared>,
    stream: u32,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
    /// Bytes taken since credit was given last.
    taken: usize,
    hash: Xxh3,
    ended: bool,
}

impl Incoming {
    pub(super) fn new(shared: Arc<Shared>, stream: u32, arrivals: mpsc::UnboundedReceiver<Arrival>) -> Self {
        Incoming { shared, stream, arrivals, taken: 0, hash: Xxh3::new(), ended: false }
    }

    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// What the other end says went wrong; [`io::ErrorKind::ConnectionAborted`] when the connection is gone;
    /// [`io::ErrorKind::InvalidData`] when the bytes are not those that were sent.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        let arrival = self.arrivals.recv().await;
        self.take(arrival)
    }

    /// A handle that ends this stream from elsewhere.
    pub fn aborter(&self) -> Aborter {
        let tables = self.shared.tables();
        Aborter { sender: tables.incoming.get(&self.stream).map(mpsc::UnboundedSender::downgrade) }
    }

    /// The same stream for a thread that may block.
    pub fn into_reader(self) -> IncomingReader {
        IncomingReader { incoming: self, rest: Bytes::new() }
    }

    fn take(&mut self, arrival: Option<Arrival>) -> io::Result<Option<Bytes>> {
        match arrival {
            Some(Arrival::Data(bytes)) => {
                self.hash.update(&bytes);
                self.give_credit(bytes.len());
                Ok(Some(bytes))
            }
            Some(Arrival::End(Ok(hash))) => {
                self.ended = true;
                match hash == self.hash.digest() {
                    true => Ok(None),
                    false => Err(io::Error::new(io::ErrorKind::InvalidData, "the bytes changed on the way")),
                }
            }
            Some(Arrival::End(Err(text))) => {
                self.ended = true;
                Err(io::Error::other(text))
            }
            None => {
                self.ended = true;
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was lost"))
            }
        }
    }

    fn give_credit(&mut self, bytes: usize) {
        self.taken += bytes;
        if self.taken >= WINDOW / 4 {
            self.shared.send(&Frame::Credit { stream: self.stream, bytes: self.taken as u32 });
            self.taken = 0;
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.tables().incoming.remove(&self.stream);
            self.shared.send(&Frame::Cancel { stream: self.stream });
        }
    }
}

/// Ends a stream that a thread may be blocked on. It does not keep the stream alive.
#[derive(Debug)]
pub struct Aborter {
    sender: Option<mpsc::WeakUnboundedSender<Arrival>>,
}

impl Aborter {
    /// The reader gets an error instead of more bytes.
    pub fn abort(&self) {
        if let Some(sender) = self.sender.as_ref().and_then(mpsc::WeakUnboundedSender::upgrade) {
            let _gone = sender.send(Arrival::End(Err("the attempt was ended".to_owned())));
        }
    }
}

/// [`Incoming`] as [`Read`]; only for threads outside the runtime's own.
pub struct IncomingReader {
    incoming: Incoming,
    rest: Bytes,
}

impl Read for IncomingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            if self.incoming.ended {
                return Ok(0);
            }
            let arrival = self.incoming.arrivals.blocking_recv();
            match self.incoming.take(arrival)? {
                Some(bytes) => self.rest = bytes,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
