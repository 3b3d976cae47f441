//! A dataset as the output of a job: parts stay on the workers that made them, copies go to others, and all of it becomes
//! visible at the end ([`super::complete`]) or not at all.
//!
//! What is known here of parts goes with the driver. The next one asks the hosts ([`super::take_up`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::spread::{Spread, Target};
use super::stations::{Station, Stations};
use super::uploads::{Offer, Uploads};
use super::view::View;
use crate::clock;
use crate::dataset::{Digest, Generation, Listing, Name, Pattern};
use crate::error::{Fault, Kind};
use crate::fleet::{HostSpec, Place};
use crate::ids::{WorkerId, random};
use crate::job::{OutputDataset, OutputPlace};
use crate::protocol::bulk::Mux;
use crate::protocol::data::{DataError, DataRequest, Made, PartId};

/// Plans a dataset that a job will make.
///
/// # Errors
/// A [`Fault`] of kind `OutputExists` if there is one of that name, unless it may be replaced.
pub fn plan_output(stations: &Stations, view: &View, name: &Name, overwrite: bool) -> Result<OutputDataset, Fault> {
    if view.datasets.contains_key(name) && !overwrite {
        let text = format!("the output fs:{name} exists (--overwrite replaces it)");
        return Err(Fault::new(Kind::OutputExists, text));
    }
    let place = |(at, station): (usize, &Station)| {
        let facts = view.hosts.get(at).and_then(|host| host.facts.as_ref().ok());
        OutputPlace {
            host: station.name.clone(),
            machine: station.host.address.clone(),
            store: facts.map(|facts| facts.store),
            free: facts.map_or(0, |facts| facts.free),
            slots: station.host.slots.or(facts.map(|facts| facts.cores)).unwrap_or(1),
        }
    };
    let places: Vec<OutputPlace> = stations.list.iter().enumerate().map(place).collect();
    let stores: BTreeSet<_> = places.iter().filter_map(|place| place.store).collect();
    Ok(OutputDataset {
        name: name.clone(),
        generation: Generation::after(view.newest.get(name).copied(), clock::wall_ms(), random() as u32),
        copies: stores.len().clamp(1, 2) as u32,
        places,
    })
}

/// The dataset while its job runs.
pub struct JobOutput {
    pub(super) name: Name,
    pub(super) generation: Generation,
    /// How many copies of each part.
    pub(super) copies: u32,
    uploads: Arc<Uploads>,
    state: Mutex<State>,
    /// Held while a worker is met: what is found on a disk then is of before.
    meeting: tokio::sync::Mutex<()>,
}

pub(super) struct State {
    /// By worker.
    pub places: Vec<OutputPlace>,
    pub spread: Spread,
    pub placed: BTreeMap<u32, Placed>,
    /// Workers on which nobody else changes the name.
    met: BTreeSet<usize>,
    /// Workers whose parts count no longer.
    pub gone: BTreeSet<usize>,
    pub stage: Stage,
}

/// How far the dataset is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Parts are made, and nothing is visible.
    Made,
    /// Manifests are being written: it may be visible, and nothing of it is removed.
    Appears,
    /// All of it is visible.
    Visible,
}

/// A part that is done.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub digest: Digest,
    /// The workers that have it.
    pub holders: Vec<usize>,
}

impl Placed {
    /// Those of its holders that are not gone.
    pub fn live(&self, gone: &BTreeSet<usize>) -> Vec<usize> {
        self.holders.iter().copied().filter(|at| !gone.contains(at)).collect()
    }
}

impl JobOutput {
    /// Nothing is done yet. Workers fetch copies from each other by way of `uploads`.
    pub fn new(dataset: OutputDataset, uploads: Arc<Uploads>) -> Self {
        let OutputDataset { name, generation, copies, places } = dataset;
        let targets = places.iter().enumerate().filter_map(|(at, place)| target(at, place)).collect();
        let state = State {
            places,
            spread: Spread { targets },
            placed: BTreeMap::new(),
            met: BTreeSet::new(),
            gone: BTreeSet::new(),
            stage: Stage::Made,
        };
        JobOutput {
            name,
            generation,
            copies,
            uploads,
            state: Mutex::new(state),
            meeting: tokio::sync::Mutex::default(),
        }
    }

    /// A worker takes part; of those that were there when the dataset was planned, all is known.
    pub fn seat(&self, worker: WorkerId, name: &str, host: &HostSpec) {
        let mut state = self.state();
        let blank = |at: usize| OutputPlace {
            host: WorkerId(at as u32).to_string(),
            machine: String::new(),
            store: None,
            free: 0,
            slots: 1,
        };
        for at in state.places.len()..=worker.index() {
            state.places.push(blank(at));
        }
        let place = &mut state.places[worker.index()];
        if place.store.is_none() {
            (place.host, place.machine) = (name.to_owned(), host.address.clone());
            place.slots = host.slots.unwrap_or(place.slots);
        }
    }

    /// Makes a file of a worker a part, and copies of it on others. The first one of a part counts.
    ///
    /// # Errors
    /// A [`DataError`] of that worker. That a copy could not be made is none.
    pub async fn commit(
        &self,
        index: u32,
        (file, made): (String, Made),
        worker: WorkerId,
        mux: impl Fn(WorkerId) -> Option<Mux>,
    ) -> Result<(), DataError> {
        if self.state().placed.contains_key(&index) {
            return Ok(());
        }
        let stations = self.stations(&mux);
        let at = worker.index();
        self.meet(&stations, at).await?;
        let digest: Digest = stations.ask(at, DataRequest::Adopt { part: self.part(index), file, made }).await?;
        self.state().spread.give(at, digest.bytes);
        let mut placed = Placed { digest, holders: vec![at] };
        self.copy_to_others(&stations, index, &mut placed).await;
        self.state().placed.entry(index).or_insert(placed);
        Ok(())
    }

    /// A worker is no more. Gives the parts that went with it: they are to be made again.
    pub fn lose(&self, worker: WorkerId) -> Vec<u32> {
        let mut state = self.state();
        state.gone.insert(worker.index());
        state.spread.leave_out(worker.index());
        state.drop_lost_parts()
    }

    /// Makes as many copies of a part as there should be, where there is room for them. A worker that is not connected may be
    /// of use later; one that fails is left out.
    pub(super) async fn copy_to_others(&self, stations: &Stations, index: u32, placed: &mut Placed) {
        let Some(from) = placed.holders.first().copied() else { return };
        let mut away = Vec::new();
        while placed.holders.len() < self.copies as usize {
            let taken = [&placed.holders[..], &away].concat();
            let Some(target) = self.state().spread.choose(placed.digest.bytes, &taken) else { return };
            match self.copy(stations, index, &placed.digest, from, target).await {
                Ok(()) => placed.holders.push(target),
                Err(DataError::Gone(_)) => away.push(target),
                Err(_) => self.state().spread.leave_out(target),
            }
        }
    }

    async fn copy(
        &self,
        stations: &Stations,
        index: u32,
        digest: &Digest,
        from: usize,
        to: usize,
    ) -> Result<(), DataError> {
        self.meet(stations, to).await?;
        let offer = Offer::There { mux: stations.mux(from)?.clone(), part: self.part(index), sent: Arc::default() };
        let ticket = self.uploads.offer(offer);
        let store = DataRequest::Store { part: self.part(index), ticket: ticket.number };
        match stations.ask::<Digest>(to, store).await? {
            copied if copied == *digest => Ok(()),
            _ => Err(DataError::Source("the copy is not the same".to_owned())),
        }
    }

    /// Learns what a worker has for parts, and takes the name's lock there, once.
    pub(super) async fn meet(&self, stations: &Stations, at: usize) -> Result<(), DataError> {
        if self.state().met.contains(&at) {
            return Ok(());
        }
        let _one_at_a_time = self.meeting.lock().await;
        if self.state().places[at].store.is_none() {
            self.meet_stranger(stations, at).await?;
        }
        let names = vec![self.name.clone()];
        match stations.ask::<()>(at, DataRequest::Lock { names, who: "a job".to_owned() }).await {
            // Two workers that share a data folder: the other one has it.
            Err(DataError::Busy(_)) if self.shares_folder(at) => {}
            locked => locked?,
        }
        self.state().met.insert(at);
        Ok(())
    }

    /// A worker that came later. Its host may have been in the job before: what it made then was given up.
    async fn meet_stranger(&self, stations: &Stations, at: usize) -> Result<(), DataError> {
        let patterns = Pattern::new(self.name.as_str()).into_iter().collect();
        let listing: Listing = stations.ask(at, DataRequest::List { patterns }).await?;
        let is_shared = {
            let state = self.state();
            let mut others = state.places.iter().enumerate().filter(|(other, _)| !state.gone.contains(other));
            others.any(|(_, place)| place.store == Some(listing.store))
        };
        if !is_shared {
            let (name, generation) = (self.name.clone(), self.generation);
            let sift = DataRequest::Sift { name, generation, expected: BTreeMap::new() };
            stations.ask::<Vec<(u32, Digest)>>(at, sift).await?;
        }
        let mut state = self.state();
        let place = &mut state.places[at];
        (place.store, place.free) = (Some(listing.store), listing.free);
        let known = target(at, place);
        state.spread.targets.extend(known);
        Ok(())
    }

    fn shares_folder(&self, at: usize) -> bool {
        let state = self.state();
        let store = state.places.get(at).and_then(|place| place.store);
        let others = state.places.iter().enumerate().filter(|(other, _)| *other != at);
        store.is_some() && others.into_iter().any(|(_, place)| place.store == store)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn part(&self, index: u32) -> PartId {
        PartId { name: self.name.clone(), generation: self.generation, index }
    }

    /// The workers of the job as stations.
    pub(super) fn stations(&self, mux: &impl Fn(WorkerId) -> Option<Mux>) -> Stations {
        let station = |(at, place): (u32, &OutputPlace)| Station {
            name: place.host.clone(),
            host: HostSpec::new(Place::Ssh, place.machine.clone()),
            link: mux(WorkerId(at)).ok_or_else(|| "the worker is gone".to_owned()),
        };
        let list = (0..).zip(&self.state().places).map(station).collect();
        Stations::of(list, Arc::clone(&self.uploads))
    }
}

impl State {
    /// Forgets the parts that nobody has any more, and gives them.
    pub fn drop_lost_parts(&mut self) -> Vec<u32> {
        let is_gone = |placed: &Placed| placed.holders.iter().all(|at| self.gone.contains(at));
        let lost: Vec<u32> =
            self.placed.iter().filter(|(_, placed)| is_gone(placed)).map(|(index, _)| *index).collect();
        lost.iter().for_each(|index| drop(self.placed.remove(index)));
        lost
    }
}

/// A place as one that can take copies, if its folder is known.
pub(super) fn target(at: usize, place: &OutputPlace) -> Option<Target> {
    let OutputPlace { machine, store, free, slots, .. } = place.clone();
    Some(Target { at, machine, store: store?, free, slots, given: 0, out: false })
}
