//! What a worker serves over its bulk connections: segments, output parts, saved stderr.

use std::io::{self, Chain, Cursor, Read, Seek, SeekFrom, Take};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use fs_err::File;
use futures::future::BoxFuture;

use super::context::Context;
use crate::protocol::bulk::{Outgoing, Piece, Request, Serve};
use crate::protocol::frames;

/// Answers for one job, once it was assigned.
#[derive(Default)]
pub struct Answers {
    /// Set by the assignment.
    pub context: OnceLock<Arc<Context>>,
}

impl Serve for Answers {
    fn serve(self: Arc<Self>, request: Request, out: Outgoing) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async move {
            let context = self.context.get().ok_or("no job was assigned yet")?;
            let sent = match request {
                Request::Segments { pieces, .. } => segments(Arc::clone(context), pieces, out).await,
                Request::Output { attempt } => file(context.part(attempt), out).await,
                Request::Stderr { attempt } => file(context.scratch.attempt(attempt).stderr(), out).await,
                Request::Data(request) => {
                    let (folder, mux) = (context.data().map_err(|error| error.to_string())?, context.mux().await?);
                    super::data::serve(folder, mux, request, out).await
                }
                Request::Input { .. } | Request::File { .. } => Err(io::Error::other("a worker has no input")),
            };
            sent.map_err(|error| error.to_string())
        })
    }
}

async fn file(path: PathBuf, out: Outgoing) -> io::Result<()> {
    out.send_all(File::open(path)?).await.map(drop)
}

/// Sends pieces of segments: for each a length, its index entry, and its stored bytes from the offset on.
async fn segments(context: Arc<Context>, pieces: Vec<Piece>, out: Outgoing) -> io::Result<()> {
    out.send_all(Pieces { context, rest: pieces.into_iter(), part: None }).await.map(drop)
}

/// Pieces of segments as one stream. A thousand small ones fill a buffer as well as a large one.
struct Pieces {
    context: Arc<Context>,
    rest: std::vec::IntoIter<Piece>,
    /// What is being sent.
    part: Option<Chain<Cursor<Vec<u8>>, Take<File>>>,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let Some(part) = &mut self.part else {
                match self.rest.as_slice().first() {
                    None => break,
                    // What is there already goes out before the error does.
                    Some(piece) => match open(&self.context, *piece) {
                        Err(_) if filled > 0 => break,
                        opened => self.part = Some(opened?),
                    },
                }
                self.rest.next();
                continue;
            };
            match part.read(&mut buffer[filled..])? {
                0 => self.part = None,
                count => filled += count,
            }
        }
        Ok(filled)
    }
}

fn open(context: &Context, piece: Piece) -> io::Result<Chain<Cursor<Vec<u8>>, Take<File>>> {
    let index = context.segment(piece.map);
    let entry = index.as_ref().and_then(|index| index.partitions.get(piece.partition as usize));
    let entry = *entry.ok_or_else(|| io::Error::other(format!("the segment of {} is not here any more", piece.map)))?;
    let mut file = File::open(context.scratch.attempt(piece.map).segment())?;
    file.seek(SeekFrom::Start(entry.offset + piece.offset))?;
    let entry_bytes = frames::encode(&entry)?;
    let mut header = (entry_bytes.len() as u32).to_le_bytes().to_vec();
    header.extend_from_slice(&entry_bytes);
    Ok(Cursor::new(header).chain(file.take(entry.stored.saturating_sub(piece.offset))))
}
