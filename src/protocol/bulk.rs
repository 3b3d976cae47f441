//! The bulk connection: streams of bytes, pulled.
//!
//! Either end may [`Mux::fetch`]; the other end answers through its [`Serve`]. The one who fetches grants credit as it
//! consumes, so at most [`WINDOW`] bytes of a stream are under way or waiting, and a reader that stands still stalls
//! only itself. A stream that a broken connection cut is asked for again from where it broke off. A stream ends with the hash of its bytes, or with the words of what went wrong; a stream that is cut is
//! an error, never a short file.

mod incoming;
mod outgoing;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::StreamExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::codec::FramedRead;
use tokio_util::sync::CancellationToken;

pub use incoming::{Aborter, Incoming, IncomingReader};
pub use outgoing::Outgoing;

use super::data::DataRequest;
use super::frames;
use crate::ids::{AttemptId, WorkerId};

/// Bytes of a stream that may be under way. Several times what a 100 ms round trip holds at 10 MB/s, and small enough
/// that a hundred streams fit in memory.
pub const WINDOW: usize = 2 << 20;

/// What can be fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// From the driver: the bytes of a map's split, ended at record borders, compressed as they lie.
    Input {
        /// The map task's number.
        split: u32,
    },
    /// From the driver: a shipped file, or the tar archive of a folder.
    File {
        /// Its place in [`crate::job::Job::files`].
        index: u32,
    },
    /// From a worker, or from the driver who asks that worker: partitions of segments, each as a length (u32,
    /// little-endian), the postcard form of its [`crate::shuffle::segment::PartitionIndex`], and the stored bytes from
    /// the offset on.
    Segments {
        /// Who holds them.
        holder: WorkerId,
        /// Which, in this order.
        pieces: Vec<Piece>,
    },
    /// From a worker: the output part of a finished attempt.
    Output {
        /// Which.
        attempt: AttemptId,
    },
    /// From a worker: what an attempt wrote to stderr, as far as it was kept.
    Stderr {
        /// Which.
        attempt: AttemptId,
    },
    /// Of a data folder, or of who fills one.
    Data(DataRequest),
}

/// A partition of a segment, or the rest of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The attempt that made the segment.
    pub map: AttemptId,
    /// Which partition of it.
    pub partition: u32,
    /// Stored bytes of it that are there already.
    pub offset: u64,
}

/// Answers requests.
pub trait Serve: Send + Sync + 'static {
    /// Sends the bytes that `request` names. An error becomes the stream's end, in words.
    fn serve(self: Arc<Self>, request: Request, out: Outgoing) -> BoxFuture<'static, Result<(), String>>;
}

/// One end of a bulk connection. Clones share it; it closes when the last is dropped or the other end goes.
#[derive(Clone)]
pub struct Mux {
    owner: Arc<Owner>,
}

/// Closes the connection when the last [`Mux`] goes, whatever streams are still served.
struct Owner {
    shared: Arc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.close();
        let _gone = self.shared.frames.send(Bytes::new());
    }
}

struct Shared {
    closed: CancellationToken,
    frames: mpsc::UnboundedSender<Bytes>,
    next_stream: AtomicU32,
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    /// Streams that this end fetches.
    incoming: HashMap<u32, mpsc::UnboundedSender<Arrival>>,
    /// Credit of the streams that this end serves.
    outgoing: HashMap<u32, Arc<Semaphore>>,
    /// Set once the connection is gone.
    closed: bool,
}

#[derive(Debug)]
enum Arrival {
    Data(Bytes),
    End(Result<u64, String>),
}

#[derive(Serialize, Deserialize)]
enum Frame {
    Open {
        stream: u32,
        request: Request,
        /// Bytes at the beginning that the fetching end has.
        skip: u64,
    },
    Credit {
        stream: u32,
        bytes: u32,
    },
    /// The fetching end wants no more.
    Cancel {
        stream: u32,
    },
    End {
        stream: u32,
        result: Result<u64, String>,
    },
}

/// The first byte of a frame that holds a [`Frame`].
const MESSAGE: u8 = 0;
/// The first byte of a frame that holds a stream number (u32, little-endian) and bytes of that stream.
const DATA: u8 = 1;

impl Mux {
    /// Takes over a connection; the tasks that read and write it end with it.
    pub fn start<R, W>(input: R, output: W, serve: Arc<dyn Serve>) -> Mux
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let (frames, queue) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            closed: CancellationToken::new(),
            frames,
            next_stream: AtomicU32::new(0),
            tables: Mutex::default(),
        });
        tokio::spawn(write_frames(output, queue));
        tokio::spawn(read_frames(input, Arc::downgrade(&shared), serve));
        Mux { owner: Arc::new(Owner { shared }) }
    }

    /// Waits until the connection is gone.
    pub async fn closed(&self) {
        self.owner.shared.closed.cancelled().await;
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.owner.shared.closed.is_cancelled()
    }

    /// Ends the connection for all its clones.
    pub fn close(&self) {
        self.owner.shared.close();
        let _gone = self.owner.shared.frames.send(Bytes::new());
    }

    /// Asks for bytes. That the other end refuses or goes away is told by the stream.
    pub fn fetch(&self, request: Request) -> Incoming {
        self.fetch_from(request, 0)
    }

    /// Asks for the bytes behind the first `skip`, which came over an earlier connection: what is asked for is the same
    /// bytes each time.
    pub fn fetch_from(&self, request: Request, skip: u64) -> Incoming {
        let shared = &self.owner.shared;
        let stream = shared.next_stream.fetch_add(1, Ordering::Relaxed);
        let (sender, arrivals) = mpsc::unbounded_channel();
        let mut tables = shared.tables();
        if !tables.closed {
            tables.incoming.insert(stream, sender);
        }
        drop(tables);
        shared.send(&Frame::Open { stream, request, skip });
        shared.send(&Frame::Credit { stream, bytes: WINDOW as u32 });
        Incoming::new(Arc::clone(shared), stream, arrivals)
    }
}

impl Shared {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a frame. The queue is bounded by the credit that the other end gave. After the connection is gone nothing
    /// is sent, and the tables tell so to whoever waits.
    fn send(&self, frame: &Frame) {
        if let Ok(message) = frames::encode(frame) {
            let mut bytes = begin_frame(1 + message.len());
            bytes.put_u8(MESSAGE);
            bytes.extend_from_slice(&message);
            let _closed = self.frames.send(bytes.freeze());
        }
    }

    fn send_data(&self, stream: u32, data: &[u8]) {
        let mut bytes = begin_frame(5 + data.len());
        bytes.put_u8(DATA);
        bytes.put_u32_le(stream);
        bytes.extend_from_slice(data);
        let _closed = self.frames.send(bytes.freeze());
    }

    fn close(&self) {
        self.closed.cancel();
        let mut tables = self.tables();
        tables.closed = true;
        tables.incoming.clear();
        for (_, credit) in tables.outgoing.drain() {
            credit.close();
        }
    }

    fn arrive(&self, stream: u32, arrival: Arrival) {
        let mut tables = self.tables();
        let ended = matches!(arrival, Arrival::End(_));
        if let Some(sender) = tables.incoming.get(&stream) {
            // The reader may have been dropped in this moment: then nobody wants it.
            let _gone = sender.send(arrival);
        }
        if ended {
            tables.incoming.remove(&stream);
        }
    }
}

/// A frame of so many bytes, with its length before it: a large one passes by the buffer of its writer, and its length must
/// not cost a system call of its own.
fn begin_frame(len: usize) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(4 + len);
    bytes.put_u32(len as u32);
    bytes
}

/// Writes frames as they come, many to one system call; an empty one is the end.
async fn write_frames<W: AsyncWrite + Unpin>(output: W, mut queue: mpsc::UnboundedReceiver<Bytes>) {
    let mut output = BufWriter::with_capacity(32 << 10, output);
    let written: io::Result<()> = async {
        while let Some(frame) = queue.recv().await.filter(|frame| !frame.is_empty()) {
            output.write_all(&frame).await?;
            if queue.is_empty() {
                output.flush().await?;
            }
        }
        output.shutdown().await
    }
    .await;
    // An error here shows as the end of the connection to the reading side, which tells everybody.
    drop(written);
}

async fn read_frames<R: AsyncRead + Unpin>(input: R, shared: Weak<Shared>, serve: Arc<dyn Serve>) {
    let mut input = FramedRead::with_capacity(input, frames::lengths(), 256 << 10);
    while let Some(Ok(frame)) = input.next().await {
        let Some(shared) = shared.upgrade() else { return };
        if handle_frame(&shared, frame, &serve).is_err() {
            break;
        }
    }
    if let Some(shared) = shared.upgrade() {
        shared.close();
    }
}

fn handle_frame(shared: &Arc<Shared>, mut frame: BytesMut, serve: &Arc<dyn Serve>) -> io::Result<()> {
    if frame.first() == Some(&DATA) && frame.len() >= 5 {
        frame.advance(1);
        let stream = frame.get_u32_le();
        shared.arrive(stream, Arrival::Data(frame.freeze()));
        return Ok(());
    }
    match frames::decode(frame.get(1..).unwrap_or_default())? {
        Frame::Open { stream, request, skip } => open(shared, stream, request, skip, serve),
        Frame::Credit { stream, bytes } => {
            if let Some(credit) = shared.tables().outgoing.get(&stream) {
                credit.add_permits(bytes as usize);
            }
        }
        Frame::Cancel { stream } => {
            if let Some(credit) = shared.tables().outgoing.remove(&stream) {
                credit.close();
            }
        }
        Frame::End { stream, result } => shared.arrive(stream, Arrival::End(result)),
    }
    Ok(())
}

fn open(shared: &Arc<Shared>, stream: u32, request: Request, skip: u64, serve: &Arc<dyn Serve>) {
    let credit = Arc::new(Semaphore::new(0));
    let mut tables = shared.tables();
    if tables.closed {
        return;
    }
    tables.outgoing.insert(stream, Arc::clone(&credit));
    drop(tables);
    let out = Outgoing::new(Arc::clone(shared), stream, credit, skip);
    let ending = out.ending();
    let served = Arc::clone(serve).serve(request, out);
    tokio::spawn(async move { ending.end(served.await) });
}

#[cfg(test)]
mod tests;
