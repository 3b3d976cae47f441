//! A dataset as the output of a job: parts stay on the workers that made them, copies go to others, and all of it becomes
//! visible at the end or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::commit;
use super::spread::{Spread, Target};
use super::stations::{Station, Stations};
use super::uploads::{Offer, Uploads};
use super::view::View;
use crate::clock;
use crate::dataset::{Digest, Form, Generation, Manifest, Name, Outline, Part};
use crate::error::{Fault, Kind};
use crate::fleet::{HostSpec, Place};
use crate::ids::{WorkerId, random};
use crate::job::{OutputDataset, OutputPlace};
use crate::protocol::bulk::Mux;
use crate::protocol::data::{DataError, DataRequest, PartId};

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
    dataset: OutputDataset,
    uploads: Arc<Uploads>,
    state: Mutex<State>,
}

struct State {
    spread: Spread,
    placed: BTreeMap<u32, Placed>,
    /// Workers on which nobody else changes the name.
    locked: BTreeSet<usize>,
}

/// A part that is done.
#[derive(Clone, Debug)]
struct Placed {
    digest: Digest,
    holders: Vec<usize>,
}

impl JobOutput {
    /// Nothing is done yet. Workers fetch copies from each other by way of `uploads`.
    pub fn new(dataset: OutputDataset, uploads: Arc<Uploads>) -> Self {
        let target = |(at, place): (usize, &OutputPlace)| {
            let OutputPlace { machine, store, free, slots, .. } = place.clone();
            Some(Target { at, machine, store: store?, free, slots, given: 0, out: false })
        };
        let targets = dataset.places.iter().enumerate().filter_map(target).collect();
        let state = State { spread: Spread { targets }, placed: BTreeMap::new(), locked: BTreeSet::new() };
        JobOutput { dataset, uploads, state: Mutex::new(state) }
    }

    /// What is made.
    pub fn dataset(&self) -> &OutputDataset {
        &self.dataset
    }

    /// Makes a file of a worker a part, and copies of it on others. The first one of a part counts.
    ///
    /// # Errors
    /// A [`DataError`] of that worker. That a copy could not be made is none.
    pub async fn commit(
        &self,
        index: u32,
        file: String,
        worker: WorkerId,
        mux: impl Fn(WorkerId) -> Option<Mux>,
    ) -> Result<(), DataError> {
        if self.state().placed.contains_key(&index) {
            return Ok(());
        }
        let stations = self.stations(&mux);
        let at = worker.index();
        self.lock(&stations, at).await?;
        let digest: Digest = stations.ask(at, DataRequest::Adopt { part: self.part(index), file }).await?;
        self.state().spread.give(at, digest.bytes);
        let mut holders = vec![at];
        while holders.len() < self.dataset.copies as usize {
            let Some(target) = self.state().spread.choose(digest.bytes, &holders) else { break };
            match self.copy(&stations, index, &digest, at, target).await {
                Ok(()) => holders.push(target),
                Err(_) => self.state().spread.leave_out(target),
            }
        }
        self.state().placed.entry(index).or_insert(Placed { digest, holders });
        Ok(())
    }

    async fn copy(
        &self,
        stations: &Stations,
        index: u32,
        digest: &Digest,
        from: usize,
        to: usize,
    ) -> Result<(), DataError> {
        self.lock(stations, to).await?;
        let offer = Offer::There { mux: stations.mux(from)?.clone(), part: self.part(index), sent: Arc::default() };
        let ticket = self.uploads.offer(offer);
        let store = DataRequest::Store { part: self.part(index), ticket: ticket.number };
        match stations.ask::<Digest>(to, store).await? {
            copied if copied == *digest => Ok(()),
            _ => Err(DataError::Source("the copy is not the same".to_owned())),
        }
    }

    /// Takes the name's lock on a worker, once.
    async fn lock(&self, stations: &Stations, at: usize) -> Result<(), DataError> {
        if !self.state().locked.insert(at) {
            return Ok(());
        }
        let names = vec![self.dataset.name.clone()];
        let locked = stations.ask::<()>(at, DataRequest::Lock { names, who: "a job".to_owned() }).await;
        match locked {
            // Two workers that share a data folder: the other one has it.
            Err(DataError::Busy(_)) if self.shares_folder(at) => Ok(()),
            Err(error) => {
                self.state().locked.remove(&at);
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    fn shares_folder(&self, at: usize) -> bool {
        let places = &self.dataset.places;
        let store = places.get(at).and_then(|place| place.store);
        let others = places.iter().enumerate().filter(|(other, _)| *other != at);
        store.is_some() && others.into_iter().any(|(_, place)| place.store == store)
    }

    /// Makes all of it visible.
    ///
    /// # Errors
    /// A [`Fault`] of kind `Data` when a part went with its worker, or no worker could be told.
    pub async fn finish(&self, mux: impl Fn(WorkerId) -> Option<Mux>) -> Result<(), Fault> {
        let name = &self.dataset.name;
        let mut out: Vec<usize> = Vec::new();
        let (manifest, holders) = loop {
            let stations = self.stations(&mux);
            let manifest = self.manifest(&stations, &out)?;
            let mut holders: Vec<usize> =
                manifest.outline.parts.iter().flat_map(|part| &part.places).map(|at| *at as usize).collect();
            holders.sort_unstable();
            holders.dedup();
            let failed = commit::seal(&stations, name, &manifest, &holders).await;
            if failed.is_empty() {
                break (manifest, holders);
            }
            out.extend(failed.into_iter().map(|(at, _)| at));
        };
        let stations = self.stations(&mux);
        // Without a part there is no holder, and still it has to be noted somewhere.
        let told = if holders.is_empty() { stations.places() } else { holders };
        let failed = commit::publish(&stations, name, &manifest, &told).await;
        if failed.len() == told.len() {
            let why = failed.first().map(|(at, error)| format!(": {}: {error}", stations.name(*at)));
            let text = format!("the output fs:{name} could not be completed{}", why.unwrap_or_default());
            return Err(Fault::new(Kind::Data, text));
        }
        // What stays of older generations is never read again.
        let _left = commit::purge(&stations, name, &manifest, &stations.places()).await;
        Ok(())
    }

    /// Removes what was made, on the workers that are there.
    pub async fn discard(&self, mux: impl Fn(WorkerId) -> Option<Mux>) {
        let stations = self.stations(&mux);
        let (name, generation) = (&self.dataset.name, self.dataset.generation);
        let discard = |_| DataRequest::Discard { name: name.clone(), generation };
        let _left = stations.ask_all::<()>(&stations.places(), discard).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn part(&self, index: u32) -> PartId {
        PartId { name: self.dataset.name.clone(), generation: self.dataset.generation, index }
    }

    /// The workers of the job as stations.
    fn stations(&self, mux: &impl Fn(WorkerId) -> Option<Mux>) -> Stations {
        let station = |(at, place): (u32, &OutputPlace)| Station {
            name: place.host.clone(),
            host: HostSpec::new(Place::Ssh, place.machine.clone()),
            link: mux(WorkerId(at)).ok_or_else(|| "the worker is gone".to_owned()),
        };
        let list = (0..).zip(&self.dataset.places).map(station).collect();
        Stations::of(list, Arc::clone(&self.uploads))
    }

    fn manifest(&self, stations: &Stations, out: &[usize]) -> Result<Manifest, Fault> {
        let state = self.state();
        let mut manifest = Manifest {
            outline: Outline {
                generation: self.dataset.generation,
                form: Form::Lines,
                copies: self.dataset.copies,
                revision: 0,
                hosts: self.dataset.places.iter().map(|place| place.host.clone()).collect(),
                parts: Vec::new(),
            },
            blocks: Vec::new(),
        };
        for (index, placed) in &state.placed {
            let Placed { digest, holders } = placed.clone();
            let places: Vec<u32> = holders
                .iter()
                .filter(|at| !out.contains(at) && stations.mux(**at).is_ok())
                .map(|at| *at as u32)
                .collect();
            if places.is_empty() {
                let hosts = crate::fleet::ranges::fold(holders.iter().map(|at| stations.name(*at)));
                let text =
                    format!("part {index} of the output fs:{} was on {hosts} alone, which is lost", self.dataset.name);
                return Err(Fault::new(Kind::Data, text));
            }
            manifest.outline.parts.push(Part { bytes: digest.bytes, hash: digest.hash(), label: None, places });
            manifest.blocks.push(digest.blocks);
        }
        Ok(manifest)
    }
}
