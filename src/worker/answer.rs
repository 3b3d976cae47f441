//! What a worker serves over its bulk connections: segments, output parts, saved stderr.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use fs_err::File;
use futures::future::BoxFuture;

use super::context::Context;
use crate::ids::AttemptId;
use crate::protocol::bulk::{Outgoing, Request, Serve};
use crate::protocol::frames;
use crate::shuffle::segment::PartitionIndex;

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
                Request::Segments { partition, maps, .. } => segments(context, partition, &maps, out).await,
                Request::Output { attempt } => file(context.part(attempt), out).await,
                Request::Stderr { attempt } => file(context.scratch.attempt(attempt).stderr(), out).await,
                Request::Input { .. } | Request::File { .. } => Err(io::Error::other("a worker has no input")),
            };
            sent.map_err(|error| error.to_string())
        })
    }
}

async fn file(path: PathBuf, out: Outgoing) -> io::Result<()> {
    out.send_all(File::open(path)?).await.map(drop)
}

/// Sends one partition of some segments: for each a length, its index entry, and its stored bytes.
async fn segments(context: &Context, partition: u32, maps: &[AttemptId], mut out: Outgoing) -> io::Result<()> {
    for map in maps {
        let index = context.segment(*map);
        let entry = index.as_ref().and_then(|index| index.partitions.get(partition as usize));
        let entry = *entry.ok_or_else(|| io::Error::other(format!("the segment of {map} is not here any more")))?;
        out = segment(&entry, context.scratch.attempt(*map).segment(), out).await?;
    }
    Ok(())
}

async fn segment(entry: &PartitionIndex, path: PathBuf, mut out: Outgoing) -> io::Result<Outgoing> {
    let header = frames::encode(entry)?;
    out.send(&(header.len() as u32).to_le_bytes()).await?;
    out.send(&header).await?;
    if entry.stored == 0 {
        return Ok(out);
    }
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(entry.offset))?;
    out.send_all(file.take(entry.stored)).await.map(|(out, _)| out)
}
