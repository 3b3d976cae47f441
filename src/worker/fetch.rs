//! Getting a reduce's partition of every segment to where it can be merged.
//!
//! Segments of this worker are read in place. Those of others are pulled, straight from them where there is a way and
//! else through the driver, a stream a holder, into a file a stream. Each is fetched as soon as it is known where it is,
//! while other maps still run; no slot is held meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use xxhash_rust::xxh3::xxh3_64;

use super::attempt::Attempt;
use super::blame::carry;
use super::peers::Road;
use super::receive::{Receiving, Stop};
use crate::facts::Cause;
use crate::ids::{AttemptId, TaskId, WorkerId};
use crate::protocol::bulk::{Mux, Request};
use crate::shuffle::passes::Source;

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
    /// Stored bytes, by the way that they came.
    pub ways: Ways,
}

/// Stored bytes of segments, by the way that they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// They were on this worker.
    pub in_place: u64,
    /// From another worker.
    pub direct: u64,
    /// From another worker through the driver.
    pub relayed: u64,
}

/// Fetches the attempt's partition of so many maps, as they are published.
///
/// # Errors
/// [`Cause::Fetch`] naming the map attempt whose segment did not come.
pub async fn fetch(attempt: &Arc<Attempt>, maps: u32) -> io::Result<Fetched> {
    let mut gathering = Gathering {
        attempt,
        unknown: (0..maps).collect(),
        wanted: BTreeMap::new(),
        busy: BTreeSet::new(),
        streams: 0,
        pulls: FuturesUnordered::new(),
        sources: Vec::new(),
        ways: Ways::default(),
    };
    if let Some(roads) = &attempt.context.roads {
        roads.expect_all(maps as usize);
    }
    let mut published = attempt.context.published();
    loop {
        published.borrow_and_update();
        gathering.look()?;
        gathering.ask();
        if gathering.is_complete() {
            return Ok(gathering.sum_up());
        }
        tokio::select! {
            Some(pulled) = gathering.pulls.next() => gathering.keep(pulled?),
            changed = published.changed(), if !gathering.unknown.is_empty() => changed.map_err(io::Error::other)?,
            () = attempt.control.until_cut() => return Err(io::Error::other("the attempt was ended")),
        }
    }
}

/// What has come of a holder.
struct Pulled {
    holder: WorkerId,
    sources: Vec<(AttemptId, Source)>,
    ways: Ways,
}

/// What is there, under way and missing.
struct Gathering<'a> {
    attempt: &'a Arc<Attempt>,
    /// Maps that were not published yet.
    unknown: BTreeSet<u32>,
    /// What is to be asked for.
    wanted: BTreeMap<WorkerId, Vec<AttemptId>>,
    /// Holders that are being asked.
    busy: BTreeSet<WorkerId>,
    /// How many streams there were.
    streams: u32,
    /// One of each busy holder.
    pulls: FuturesUnordered<BoxFuture<'static, io::Result<Pulled>>>,
    sources: Vec<(AttemptId, Source)>,
    ways: Ways,
}

impl Gathering<'_> {
    /// Notes what was published.
    fn look(&mut self) -> io::Result<()> {
        let context = &self.attempt.context;
        let found = context.places(self.unknown.iter().copied().map(TaskId::map));
        let mut holders = Vec::new();
        for (map, holder) in found {
            self.unknown.remove(&map.task.index);
            if holder == context.assignment.worker {
                let source = in_place(self.attempt, map)?;
                self.ways.in_place += source.entry.stored;
                self.sources.push((map, source));
            } else {
                let wanted = self.wanted.entry(holder).or_default();
                if wanted.is_empty() {
                    holders.push(holder);
                }
                wanted.push(map);
            }
        }
        if let Some(roads) = &context.roads {
            roads.expect(&holders);
        }
        Ok(())
    }

    /// Asks holders that are not being asked, in an order of this attempt's own, so that not all begin with the same.
    fn ask(&mut self) {
        let id = self.attempt.id;
        let mut holders: Vec<WorkerId> = self.wanted.keys().copied().collect();
        holders.sort_by_key(|holder| xxh3_64(format!("{id} {holder}").as_bytes()));
        for holder in holders {
            if self.busy.len() >= STREAMS_MAX {
                return;
            }
            if !self.busy.insert(holder) {
                continue;
            }
            let maps = self.wanted.remove(&holder).unwrap_or_default();
            let path = self.attempt.folder.runs().join(format!("fetched-{}", self.streams));
            self.streams += 1;
            self.pulls.push(Box::pin(pull(Arc::clone(self.attempt), holder, maps, path)));
        }
    }

    fn keep(&mut self, pulled: Pulled) {
        self.busy.remove(&pulled.holder);
        self.sources.extend(pulled.sources);
        self.ways.direct += pulled.ways.direct;
        self.ways.relayed += pulled.ways.relayed;
    }

    fn is_complete(&self) -> bool {
        self.unknown.is_empty() && self.wanted.is_empty() && self.pulls.is_empty()
    }

    fn sum_up(self) -> Fetched {
        let mut sources = self.sources;
        sources.retain(|(_, source)| source.entry.records > 0);
        sources.sort_by_key(|(map, _)| map.task);
        let bytes = sources.iter().map(|(_, source)| source.entry.raw).sum();
        let records = sources.iter().map(|(_, source)| source.entry.records).sum();
        self.attempt.control.restart(bytes);
        Fetched { sources, bytes, records, ways: self.ways }
    }
}

fn in_place(attempt: &Attempt, map: AttemptId) -> io::Result<Source> {
    let index = attempt.context.segment(map);
    let entry = index.as_ref().and_then(|index| index.partitions.get(attempt.id.task.index as usize));
    let entry = *entry.ok_or_else(|| lost(map, "it is not here any more".to_owned()))?;
    Ok(Source { path: attempt.context.scratch.attempt(map).segment(), entry })
}

/// Pulls one partition of some segments from one holder. Where the connection breaks, another way goes on from there.
async fn pull(attempt: Arc<Attempt>, holder: WorkerId, maps: Vec<AttemptId>, path: PathBuf) -> io::Result<Pulled> {
    let (control, link) = (Arc::clone(&attempt.control), Arc::clone(&attempt.context.link));
    let mut receiving = Receiving::new(&path, attempt.id.task.index, maps, control, link)?;
    let mut ways = Ways::default();
    loop {
        let road = match &attempt.context.roads {
            Some(roads) => roads.to(holder).await,
            None => Road::Relayed,
        };
        let before = receiving.bytes();
        let (mux, way) = match road {
            Road::Direct(mux) => (mux, &mut ways.direct),
            Road::Relayed => (driver(&attempt).await?, &mut ways.relayed),
        };
        let taken;
        (receiving, taken) = take(&attempt, receiving, holder, &mux).await?;
        *way += receiving.bytes() - before;
        match taken {
            Ok(()) => return Ok(Pulled { holder, sources: receiving.into_sources(), ways }),
            Err(Stop::Broken) => {}
            Err(Stop::Refused(error)) => {
                let text = error.to_string();
                return Err(receiving.current().map_or(error, |map| lost(map, text)));
            }
            // Our own disk, not the segment's holder.
            Err(Stop::Here(error)) => return Err(error),
        }
    }
}

/// The connection to the driver, once it is whole.
async fn driver(attempt: &Attempt) -> io::Result<Mux> {
    tokio::select! {
        mux = attempt.context.mux() => mux.map_err(io::Error::other),
        () = attempt.control.until_cut() => Err(io::Error::other("the attempt was ended")),
    }
}

/// Takes what is missing off a stream, on a thread of its own.
async fn take(
    attempt: &Attempt,
    mut receiving: Receiving,
    holder: WorkerId,
    mux: &Mux,
) -> io::Result<(Receiving, Result<(), Stop>)> {
    let stream = mux.fetch(Request::Segments { holder, pieces: receiving.rest() });
    attempt.control.attach_stream(stream.aborter());
    let mut reader = stream.into_reader();
    let taking = tokio::task::spawn_blocking(move || {
        let taken = receiving.take(&mut reader);
        (receiving, taken)
    });
    taking.await.map_err(io::Error::other)
}

fn lost(map: AttemptId, text: String) -> io::Error {
    carry(Cause::Fetch { source: map, text })
}
