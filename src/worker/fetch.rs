//! Getting a reduce's partition of every segment to where it can be merged.
//!
//! Segments of this worker are read in place. Those of others are pulled through the driver, a stream a holder, into a
//! file a holder. No slot is held meanwhile.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use fs_err::File;
use futures::{StreamExt, TryStreamExt};

use super::attempt::Attempt;
use super::blame::{carry, cause_of};
use super::meter::Metered;
use super::steady::Steady;
use crate::facts::Cause;
use crate::ids::{AttemptId, WorkerId};
use crate::protocol::bulk::Request;
use crate::protocol::frames;
use crate::shuffle::passes::Source;
use crate::shuffle::segment::PartitionIndex;

/// Holders that are asked at once.
const STREAMS_MAX: usize = 8;

/// What a reduce reads.
pub struct Fetched {
    /// Whose output it is and where it lies, in the order of the maps; none is empty.
    pub sources: Vec<(AttemptId, Source)>,
    /// Bytes of their records, uncompressed.
    pub bytes: u64,
    /// Their records.
    pub records: u64,
    /// Stored bytes that came from other workers.
    pub bytes_from_others: u64,
}

/// Fetches the attempt's partition of so many maps.
///
/// # Errors
/// [`Cause::Fetch`] naming the map attempt whose segment did not come.
pub async fn fetch(attempt: &Arc<Attempt>, maps: u32) -> io::Result<Fetched> {
    let places = attempt.context.places(maps);
    let places = places.map_err(|task| io::Error::other(format!("the segment of {task} was not published")))?;
    let partition = attempt.id.task.index;
    let here = attempt.context.assignment.worker;
    let mut sources = Vec::new();
    let mut elsewhere: BTreeMap<WorkerId, Vec<AttemptId>> = BTreeMap::new();
    for (map, holder) in places {
        if holder == here {
            sources.push((map, in_place(attempt, map, partition)?));
        } else {
            elsewhere.entry(holder).or_default().push(map);
        }
    }
    let streams = elsewhere.into_iter().map(|(holder, maps)| pull(Arc::clone(attempt), holder, partition, maps));
    let pulled: Vec<_> = futures::stream::iter(streams).buffer_unordered(STREAMS_MAX).try_collect().await?;
    let pulled: Vec<_> = pulled.into_iter().flatten().collect();
    let bytes_from_others = pulled.iter().map(|(_, source)| source.entry.stored).sum();
    sources.extend(pulled);
    Ok(sum_up(sources, bytes_from_others, attempt))
}

fn sum_up(mut sources: Vec<(AttemptId, Source)>, bytes_from_others: u64, attempt: &Attempt) -> Fetched {
    sources.retain(|(_, source)| source.entry.records > 0);
    sources.sort_by_key(|(map, _)| map.task);
    let bytes = sources.iter().map(|(_, source)| source.entry.raw).sum();
    let records = sources.iter().map(|(_, source)| source.entry.records).sum();
    attempt.control.restart(bytes);
    Fetched { sources, bytes, records, bytes_from_others }
}

fn in_place(attempt: &Attempt, map: AttemptId, partition: u32) -> io::Result<Source> {
    let index = attempt.context.segment(map);
    let entry = index.as_ref().and_then(|index| index.partitions.get(partition as usize));
    let entry = *entry.ok_or_else(|| lost(map, "it is not here any more".to_owned()))?;
    Ok(Source { path: attempt.context.scratch.attempt(map).segment(), entry })
}

/// Pulls one partition of some segments from one holder.
async fn pull(
    attempt: Arc<Attempt>,
    holder: WorkerId,
    partition: u32,
    maps: Vec<AttemptId>,
) -> io::Result<Vec<(AttemptId, Source)>> {
    let request = Request::Segments { holder, partition, maps: maps.clone() };
    let stream = Steady::open(&attempt.context, &attempt.control, request).await?;
    let reader = Metered::new(stream, Arc::clone(&attempt.control));
    let path = attempt.folder.runs().join(format!("from-{holder}"));
    let receiving = tokio::task::spawn_blocking(move || receive(reader, &maps, path));
    receiving.await.map_err(io::Error::other)?
}

/// Takes the segments of `maps` off a stream, one after the other, into one file.
fn receive(mut stream: impl Read, maps: &[AttemptId], path: PathBuf) -> io::Result<Vec<(AttemptId, Source)>> {
    let mut file = File::create(&path)?;
    let mut offset = 0;
    let mut sources = Vec::with_capacity(maps.len());
    for map in maps {
        let received = receive_one(&mut stream, &mut file).map_err(|error| match cause_of(&error) {
            Cause::Input { text } => lost(*map, text),
            // Our own disk, not the segment's holder.
            _other => error,
        });
        let stored = received?;
        sources.push((*map, Source { path: path.clone(), entry: PartitionIndex { offset, ..stored } }));
        offset += stored.stored;
    }
    // The end of the stream confirms its hash.
    match stream.read(&mut [0]) {
        Ok(0) => Ok(sources),
        Ok(_) => Err(io::Error::other("more was sent than was asked for")),
        Err(error) => Err(maps.last().map_or(error, |map| lost(*map, "its bytes changed on the way".to_owned()))),
    }
}

fn receive_one(stream: &mut impl Read, file: &mut File) -> io::Result<PartitionIndex> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut entry = vec![0; u32::from_le_bytes(length).min(1 << 10) as usize];
    stream.read_exact(&mut entry)?;
    let entry: PartitionIndex = frames::decode(&entry)?;
    let mut left = entry.stored;
    let mut buffer = vec![0; 128 << 10];
    while left > 0 {
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = stream.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(carry(Cause::Input { text: "the stream ended too early".to_owned() }));
        }
        file.write_all(&buffer[..count])?;
        left -= count as u64;
    }
    Ok(entry)
}

fn lost(map: AttemptId, text: String) -> io::Error {
    carry(Cause::Fetch { source: map, text })
}
