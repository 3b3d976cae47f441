//! Putting: parts go to hosts, several at once, copies from host to host; at the end all becomes visible at once.
//!
//! Until then it lies in a generation that is not complete, marked with the id of the put. Whoever puts the same sources
//! again finds the parts that are there and goes on. A host that is full or gone is left out, and what it should have had
//! goes to others.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::mpsc;

use super::Watch;
use super::commit;
use super::cut::Planned;
use super::lock::{lock, unique};
use super::resumed::resumed;
use super::spool::spool;
use super::spread::{Spread, Target};
use super::stations::Stations;
use super::uploads::Offer;
use super::view::View;
use crate::clock;
use crate::dataset::{Digest, Form, Generation, Manifest, Name, Outline, Part, Pattern, PutId};
use crate::error::{Fault, Kind};
use crate::ids::random;
use crate::protocol::data::{DataError, DataRequest, PartId};

/// Parts on their way at once, for each host.
const PARTS_PER_HOST_MAX: usize = 3;

/// Tries of one copy of a part that did not arrive although both ends were there.
const TRIES_MAX: u32 = 5;

/// What is put.
#[derive(Clone, Debug)]
pub struct Put {
    /// Under which name.
    pub name: Name,
    /// How many copies; none for two, where there are two workers.
    pub copies: Option<u32>,
    /// Whether a dataset of that name may be replaced, once the new one is complete.
    pub overwrite: bool,
    /// Lines or whole files.
    pub form: Form,
    /// What it is of; none for a stream, which nobody can go on with.
    pub id: Option<PutId>,
}

/// Puts parts whose number is known.
///
/// # Errors
/// A [`Fault`]: the name is taken or being changed, sources cannot be read, no host has room.
pub async fn put(stations: &Stations, request: &Put, planned: Vec<Planned>, watch: &Watch) -> Result<Outline, Fault> {
    let mut placing = Placing::begin(stations, request, watch).await?;
    watch.total.store(planned.iter().map(|part| part.bytes).sum::<u64>() * placing.copies as u64, Ordering::Relaxed);
    let parts: Vec<(u32, Planned)> = (0..).zip(planned).collect();
    placing.keep_only(parts.len() as u32);
    stream::iter(parts.iter().map(Ok))
        .try_for_each_concurrent(placing.at_once(), async |(index, part)| placing.place(*index, part).await)
        .await?;
    placing.labels = parts.iter().map(|(_, part)| part.label.clone()).collect();
    placing.finish(&parts).await
}

/// Puts a stream of lines, cut into parts of about so many bytes.
///
/// # Errors
/// As [`put`]; and when the stream cannot be read.
pub async fn put_stream(
    stations: &Stations,
    request: &Put,
    input: impl Read + Send + 'static,
    part_bytes: u64,
    watch: &Watch,
) -> Result<Outline, Fault> {
    let mut placing = Placing::begin(stations, request, watch).await?;
    let (sender, spools) = mpsc::channel(1);
    let reading = tokio::task::spawn_blocking(move || spool(input, part_bytes, &sender));
    let numbered = stream::unfold(spools, async |mut spools| Some((spools.recv().await?, spools))).enumerate();
    let parts: Vec<(u32, Planned)> = numbered
        .map(async |(index, part): (usize, Planned)| {
            watch.total.fetch_add(part.bytes * placing.copies as u64, Ordering::Relaxed);
            placing.place(index as u32, &part).await.map(|()| (index as u32, part))
        })
        .buffered(placing.at_once())
        .try_collect()
        .await?;
    let read = reading.await.map_err(io::Error::other).and_then(|read| read);
    read.map_err(|error| Fault::new(Kind::Data, format!("reading what is to be put: {error}")))?;
    placing.labels = parts.iter().map(|_| None).collect();
    placing.finish(&parts).await
}

/// A put under way.
struct Placing<'a> {
    stations: &'a Stations,
    request: &'a Put,
    watch: &'a Watch,
    generation: Generation,
    /// Copies that are wanted, and possible.
    copies: usize,
    labels: Vec<Option<String>>,
    state: Mutex<State>,
}

struct State {
    spread: Spread,
    /// Hosts that were chosen for each part and were not tried yet.
    chosen: BTreeMap<u32, VecDeque<usize>>,
    placed: BTreeMap<u32, Placed>,
}

/// A part that lies somewhere.
#[derive(Clone, Debug)]
struct Placed {
    digest: Digest,
    holders: Vec<usize>,
}

impl<'a> Placing<'a> {
    /// Takes the name's lock, looks what is there, and makes or finds the generation on all hosts.
    async fn begin(stations: &'a Stations, request: &'a Put, watch: &'a Watch) -> Result<Self, Fault> {
        let name = &request.name;
        let pattern = [Pattern::new(name.as_str()).map_err(Fault::usage)?];
        let first = stations.look(&pattern).await;
        check_free(&first, request)?;
        lock(stations, &first, std::slice::from_ref(name)).await?;
        // Once more, now that nobody changes it.
        let view = stations.look(&pattern).await;
        check_free(&view, request)?;
        let places = unique(stations, &view);
        let spread = spread(stations, &view, &places);
        let usable = spread.usable();
        let copies = (request.copies.unwrap_or(2) as usize).clamp(1, usable.max(1));
        if request.copies.is_some_and(|wanted| wanted as usize > usable) {
            watch.note(format!(
                "{copies} copies instead of {}: there are no more data folders",
                request.copies.unwrap_or(2)
            ));
        }
        let newest = view.newest.get(name).copied();
        let generation = resumed(&view, request).discard_others(stations, &view, name).await;
        let generation = generation.unwrap_or_else(|| Generation::after(newest, clock::wall_ms(), random() as u32));
        let placing = Placing {
            stations,
            request,
            watch,
            generation,
            copies,
            labels: Vec::new(),
            state: Mutex::new(State { spread, chosen: BTreeMap::new(), placed: BTreeMap::new() }),
        };
        placing.make(&places).await?;
        Ok(placing)
    }

    /// Makes the generation on all hosts, and learns which parts lie there.
    async fn make(&self, places: &[usize]) -> Result<(), Fault> {
        let begin = |_| DataRequest::Begin {
            name: self.request.name.clone(),
            generation: self.generation,
            put: self.request.id,
        };
        for (at, staged) in self.stations.ask_all::<Vec<(u32, Digest)>>(places, begin).await {
            match staged {
                Ok(staged) => self.state().found(at, staged),
                Err(error) => self.drop_host(at, &error),
            }
        }
        let (found, usable) = {
            let state = self.state();
            (state.placed.len(), state.spread.usable())
        };
        if found > 0 {
            self.watch.note(format!("{found} parts of an earlier put lie there already"));
        }
        match usable {
            0 => Err(Fault::new(Kind::NoWorker, format!("no worker can hold {}", self.request.name))),
            _ => Ok(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at_once(&self) -> usize {
        (self.state().spread.usable() * PARTS_PER_HOST_MAX).max(4)
    }

    /// Forgets parts that are none of this put.
    fn keep_only(&self, parts: u32) {
        self.state().placed.retain(|index, _| *index < parts);
    }

    fn part(&self, index: u32) -> PartId {
        PartId { name: self.request.name.clone(), generation: self.generation, index }
    }

    /// A host that cannot be used any more, with all that it had.
    fn drop_host(&self, at: usize, error: &DataError) {
        let mut state = self.state();
        // Each of its parts says so.
        if !state.spread.is_out(at) {
            self.watch.note(format!("{}: {error}; its parts go to other workers", self.stations.name(at)));
        }
        state.spread.leave_out(at);
        if matches!(error, DataError::Gone(_)) {
            state.placed.values_mut().for_each(|placed| placed.holders.retain(|holder| *holder != at));
        }
    }

    /// Brings a part to as many hosts as it should be on, or as there are.
    async fn place(&self, index: u32, planned: &Planned) -> Result<(), Fault> {
        let mut tries = 0;
        loop {
            let held = self.state().placed.get(&index).cloned().filter(|placed| !placed.holders.is_empty());
            let holders = held.as_ref().map_or(&[][..], |placed| &placed.holders);
            if holders.len() >= self.copies {
                return Ok(());
            }
            let Some(target) = self.state().target(index, planned.bytes, holders, self.copies) else {
                return if holders.is_empty() { Err(self.no_room()) } else { Ok(()) };
            };
            let sent = match &held {
                Some(placed) => Ok(self.copy(index, placed, target).await),
                None => self.upload(index, planned, target).await,
            };
            match sent? {
                Ok(digest) => self.state().put(index, digest, target),
                Err(DataError::Source(text)) if tries < TRIES_MAX => {
                    tries += 1;
                    self.watch.note(format!("part {index} did not reach {}: {text}", self.stations.name(target)));
                    self.suspect(index, held.and_then(|placed| placed.holders.first().copied())).await;
                }
                Err(error) => self.drop_host(target, &error),
            }
        }
    }

    /// Has a host fetch a part from us.
    async fn upload(&self, index: u32, planned: &Planned, target: usize) -> Result<Result<Digest, DataError>, Fault> {
        let (broken, sent) = (Arc::new(Mutex::new(None)), Arc::clone(&self.watch.done));
        let offer = Offer::Here { source: planned.source.clone(), sent, broken: Arc::clone(&broken) };
        let ticket = self.stations.uploads.offer(offer);
        let store = DataRequest::Store { part: self.part(index), ticket: ticket.number };
        let stored = self.stations.ask(target, store).await;
        match broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(text) => Err(Fault::new(Kind::Data, format!("reading what is to be put: {text}"))),
            None => Ok(stored),
        }
    }

    /// Has a host fetch a part from the first of those that have it.
    async fn copy(&self, index: u32, placed: &Placed, target: usize) -> Result<Digest, DataError> {
        let ends = (placed.holders[0], target);
        self.stations.copy(self.part(index), &placed.digest, ends, &self.watch.done).await?;
        Ok(placed.digest.clone())
    }

    /// A part could not be had from a holder: that one is gone with all that it had, or others are asked before it.
    async fn suspect(&self, index: u32, holder: Option<usize>) {
        match holder {
            Some(at) if self.stations.is_gone(at).await => {
                self.drop_host(at, &DataError::Gone("it does not answer any more".to_owned()));
            }
            Some(_) | None => self.state().suspect(index),
        }
    }

    fn no_room(&self) -> Fault {
        let text = format!("no worker is left with room for {}; nothing of it is visible", self.request.name);
        Fault::new(Kind::Data, text)
    }

    /// Makes all of it visible. Hosts that fail on the way are left out, and their parts brought elsewhere first.
    async fn finish(&self, parts: &[(u32, Planned)]) -> Result<Outline, Fault> {
        let name = &self.request.name;
        loop {
            for (index, part) in parts {
                self.place(*index, part).await?;
            }
            let manifest = self.manifest();
            let holders = self.holders();
            let failed = commit::seal(self.stations, name, &manifest, &holders).await;
            if failed.is_empty() {
                return self.publish(manifest, &holders).await;
            }
            for (at, error) in failed {
                self.drop_host(at, &DataError::Gone(error.to_string()));
            }
        }
    }

    async fn publish(&self, manifest: Manifest, holders: &[usize]) -> Result<Outline, Fault> {
        let name = &self.request.name;
        let failed = commit::publish(self.stations, name, &manifest, holders).await;
        if failed.len() == holders.len() {
            let why = failed.first().map(|(at, error)| format!("{}: {error}", self.stations.name(*at)));
            return Err(Fault::new(Kind::Data, why.unwrap_or_else(|| "no worker holds anything".to_owned())));
        }
        for (at, error) in failed {
            self.watch
                .note(format!("{}: {error}; `runner fs repair {name}` makes its copies again", self.stations.name(at)));
        }
        let everywhere = self.stations.places();
        for (at, error) in commit::purge(self.stations, name, &manifest, &everywhere).await {
            self.watch.note(format!("{}: what was there before stays: {error}", self.stations.name(at)));
        }
        Ok(manifest.outline)
    }

    fn holders(&self) -> Vec<usize> {
        let state = self.state();
        let mut holders: Vec<usize> = state.placed.values().flat_map(|placed| placed.holders.clone()).collect();
        holders.sort_unstable();
        holders.dedup();
        holders
    }

    fn manifest(&self) -> Manifest {
        let state = self.state();
        let part = |(placed, label): (&Placed, &Option<String>)| Part {
            bytes: placed.digest.bytes,
            hash: placed.digest.hash(),
            label: label.clone(),
            places: placed.holders.iter().map(|at| *at as u32).collect(),
        };
        let outline = Outline {
            generation: self.generation,
            form: self.request.form,
            copies: self.copies as u32,
            revision: 0,
            hosts: self.stations.list.iter().map(|station| station.name.clone()).collect(),
            parts: state.placed.values().zip(&self.labels).map(part).collect(),
        };
        Manifest { outline, blocks: state.placed.values().map(|placed| placed.digest.blocks.clone()).collect() }
    }
}

impl State {
    fn found(&mut self, at: usize, staged: Vec<(u32, Digest)>) {
        for (index, digest) in staged {
            self.spread.give(at, digest.bytes);
            self.put(index, digest, at);
        }
    }

    fn put(&mut self, index: u32, digest: Digest, at: usize) {
        let placed = self.placed.entry(index).or_insert_with(|| Placed { digest: digest.clone(), holders: Vec::new() });
        if placed.holders.is_empty() {
            placed.digest = digest;
        } else if placed.digest != digest {
            return;
        }
        placed.holders.push(at);
    }

    /// Where a copy of a part goes next. All of its copies are chosen at once, part by part: so they are spread evenly
    /// however long each takes.
    fn target(&mut self, index: u32, bytes: u64, holders: &[usize], copies: usize) -> Option<usize> {
        let State { spread, chosen, .. } = self;
        let chosen = chosen.entry(index).or_insert_with(|| {
            let mut taken = holders.to_vec();
            while taken.len() < copies
                && let Some(at) = spread.choose(bytes, &taken)
            {
                taken.push(at);
            }
            taken.drain(holders.len()..).collect()
        });
        while let Some(at) = chosen.pop_front() {
            if !holders.contains(&at) && !spread.is_out(at) {
                return Some(at);
            }
        }
        spread.choose(bytes, holders)
    }

    /// The first holder of a part may be at fault.
    fn suspect(&mut self, index: u32) {
        if let Some(placed) = self.placed.get_mut(&index).filter(|placed| placed.holders.len() > 1) {
            placed.holders.rotate_left(1);
        }
    }
}

fn check_free(view: &View, request: &Put) -> Result<(), Fault> {
    match view.datasets.contains_key(&request.name) && !request.overwrite {
        true => {
            let text = format!("the dataset {} exists (--overwrite replaces it)", request.name);
            Err(Fault::new(Kind::OutputExists, text))
        }
        false => Ok(()),
    }
}

/// Hosts as targets.
pub(super) fn spread(stations: &Stations, view: &View, places: &[usize]) -> Spread {
    let target = |at: &usize| {
        let (host, facts) = (&stations.list[*at].host, view.hosts[*at].facts.as_ref().ok()?);
        let slots = host.slots.unwrap_or(facts.cores);
        let machine = host.address.clone();
        Some(Target { at: *at, machine, store: facts.store, free: facts.free, slots, given: 0, out: false })
    };
    Spread { targets: places.iter().filter_map(target).collect() }
}
