//! The end of a dataset that a job makes: copies that are missing are made, then it becomes visible; or it is removed.
//!
//! Up to the first manifest it can be found that a part went with its host, and then nothing is visible: the part is made
//! again. From the first manifest on the dataset is there, whatever becomes of the driver.

use std::collections::BTreeSet;

use futures::future::{BoxFuture, join_all};
use futures::stream::StreamExt;

use super::commit::{self, Failed};
use super::output::{JobOutput, Placed, Stage};
use super::stations::Stations;
use crate::dataset::{Form, Manifest, Outline, Part};
use crate::error::{Fault, Kind};
use crate::ids::WorkerId;
use crate::protocol::bulk::Mux;
use crate::protocol::data::DataError;

/// How often a step is tried on a host whose connection broke meanwhile.
const TRIES_MAX: u32 = 4;

/// Copies that are made at once.
const COPIES_AT_ONCE: usize = 16;

/// The connections to the job's workers.
pub struct Lines<'a> {
    /// The one to a worker, if there is one in this moment.
    pub now: &'a (dyn Fn(WorkerId) -> Option<Mux> + Send + Sync),
    /// The same; waits while it is being made again. None once the worker is gone.
    pub reach: &'a (dyn Fn(WorkerId) -> BoxFuture<'a, Option<Mux>> + Send + Sync),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completed {
    /// The dataset is visible.
    Whole,
    /// These parts went with the workers that had them. Nothing is visible.
    Without(Vec<u32>),
}

impl JobOutput {
    /// Makes all of it visible: so many parts.
    ///
    /// # Errors
    /// A [`Fault`] of kind `Data` when no worker could be told.
    pub async fn complete(&self, parts: u32, lines: &Lines<'_>) -> Result<Completed, Fault> {
        if self.state().stage == Stage::Visible {
            return Ok(Completed::Whole);
        }
        let mut tries = 0;
        let (manifest, holders) = loop {
            let stations = self.reach_holders(lines).await;
            self.give_up_unreached(&stations);
            let lost: Vec<u32> = {
                let state = self.state();
                // Some may have been lost before anybody heard that they were there.
                (0..parts).filter(|index| !state.placed.contains_key(index)).collect()
            };
            if !lost.is_empty() {
                return Ok(Completed::Without(lost));
            }
            self.complete_copies(&stations).await;
            let manifest = self.manifest();
            let holders = holders(&manifest);
            let failed = commit::seal(&stations, &self.name, &manifest, &holders).await;
            if failed.is_empty() {
                break (manifest, holders);
            }
            tries += 1;
            self.give_up_failed(&failed, tries);
        };
        self.state().stage = Stage::Appears;
        let stations = self.publish(lines, &manifest, &holders).await?;
        self.state().stage = Stage::Visible;
        // What stays of older generations is never read again.
        let _left = commit::purge(&stations, &self.name, &manifest, &stations.places()).await;
        self.tidy(&stations, &holders).await;
        Ok(Completed::Whole)
    }

    /// Removes what was made, on the workers that are there, unless some of it may be visible.
    pub async fn discard(&self, mux: impl Fn(WorkerId) -> Option<Mux>) {
        if self.state().stage != Stage::Made {
            return;
        }
        let stations = self.stations(&mux);
        commit::discard(&stations, &self.name, self.generation, &stations.places()).await;
    }

    /// Writes the manifests, again where a connection breaks: a host that is not told has copies all the same.
    async fn publish(&self, lines: &Lines<'_>, manifest: &Manifest, holders: &[usize]) -> Result<Stations, Fault> {
        let mut stations = self.reach_holders(lines).await;
        // Without a part there is no holder, and still it has to be noted somewhere.
        let told = if holders.is_empty() { stations.places() } else { holders.to_vec() };
        let mut left = told.clone();
        for _ in 0..TRIES_MAX {
            let failed = commit::publish(&stations, &self.name, manifest, &left).await;
            left = failed.iter().map(|(at, _)| *at).collect();
            if !failed.iter().any(|(_, error)| matches!(error, DataError::Gone(_))) {
                if left.len() == told.len() {
                    let why = failed.first().map(|(at, error)| format!(": {}: {error}", stations.name(*at)));
                    return Err(self.incomplete(&why.unwrap_or_default()));
                }
                return Ok(stations);
            }
            stations = self.reach_holders(lines).await;
        }
        if left.len() == told.len() { Err(self.incomplete("")) } else { Ok(stations) }
    }

    fn incomplete(&self, why: &str) -> Fault {
        Fault::new(Kind::Data, format!("the output fs:{} could not be completed{why}", self.name))
    }

    /// All workers as stations. Those that have parts are waited for while they may come, and where copies are missing, all
    /// others too.
    async fn reach_holders(&self, lines: &Lines<'_>) -> Stations {
        let holders: BTreeSet<usize> = {
            let state = self.state();
            let is_short = state.placed.values().any(|placed| placed.live(&state.gone).len() < self.copies as usize);
            let all = state.placed.values().flat_map(|placed| placed.live(&state.gone));
            let others = (0..state.places.len()).filter(|at| is_short && !state.gone.contains(at));
            all.chain(others).collect()
        };
        join_all(holders.iter().map(|at| (lines.reach)(WorkerId(*at as u32)))).await;
        self.stations(&lines.now)
    }

    /// Holders without a connection are no more, and their parts go with them.
    fn give_up_unreached(&self, stations: &Stations) {
        let mut state = self.state();
        let holders: BTreeSet<usize> = state.placed.values().flat_map(|placed| placed.holders.clone()).collect();
        state.gone.extend(holders.into_iter().filter(|at| stations.mux(*at).is_err()));
        state.drop_lost_parts();
    }

    /// A host that cannot do as it was asked is left out; one whose connection broke, only if it does so again and again.
    fn give_up_failed(&self, failed: &[Failed], tries: u32) {
        let mut state = self.state();
        for (at, error) in failed {
            if tries >= TRIES_MAX || !matches!(error, DataError::Gone(_)) {
                state.gone.insert(*at);
                state.spread.leave_out(*at);
            }
        }
    }

    /// Copies of what lost one with a host.
    async fn complete_copies(&self, stations: &Stations) {
        let short: Vec<(u32, Placed)> = {
            let state = self.state();
            let live = |placed: &Placed| Placed { digest: placed.digest.clone(), holders: placed.live(&state.gone) };
            let all = state.placed.iter().map(|(index, placed)| (*index, live(placed)));
            all.filter(|(_, placed)| placed.holders.len() < self.copies as usize).collect()
        };
        if !short.is_empty() {
            self.meet_strangers(stations).await;
        }
        let copied = futures::stream::iter(short).for_each_concurrent(COPIES_AT_ONCE, async |(index, mut placed)| {
            self.copy_to_others(stations, index, &mut placed).await;
            self.state().placed.insert(index, placed);
        });
        copied.await;
    }

    /// Workers that came later and made no part can take copies too.
    async fn meet_strangers(&self, stations: &Stations) {
        let strangers: Vec<usize> = {
            let state = self.state();
            let is_stranger = |at: &usize| state.places.get(*at).is_some_and(|place| place.store.is_none());
            stations.places().into_iter().filter(is_stranger).collect()
        };
        // One that cannot take any is none of those that are chosen from.
        let _met = join_all(strangers.into_iter().map(|at| self.meet(stations, at))).await;
    }

    /// Nothing of the generation stays where no part of it is.
    async fn tidy(&self, stations: &Stations, holders: &[usize]) {
        let others: Vec<usize> = {
            let state = self.state();
            let store = |at: &usize| state.places.get(*at).and_then(|place| place.store);
            let used: BTreeSet<_> = holders.iter().filter_map(store).collect();
            let is_unused = |at: &usize| !holders.contains(at) && store(at).is_none_or(|store| !used.contains(&store));
            stations.places().into_iter().filter(is_unused).collect()
        };
        commit::discard(stations, &self.name, self.generation, &others).await;
    }

    fn manifest(&self) -> Manifest {
        let state = self.state();
        let mut manifest = Manifest {
            outline: Outline {
                generation: self.generation,
                form: Form::Lines,
                copies: self.copies,
                revision: 0,
                hosts: state.places.iter().map(|place| place.host.clone()).collect(),
                parts: Vec::new(),
            },
            blocks: Vec::new(),
        };
        for placed in state.placed.values() {
            let digest = &placed.digest;
            let places = placed.live(&state.gone).into_iter().map(|at| at as u32).collect();
            manifest.outline.parts.push(Part { bytes: digest.bytes, hash: digest.hash(), label: None, places });
            manifest.blocks.push(digest.blocks.clone());
        }
        manifest
    }
}

/// The workers that have parts.
fn holders(manifest: &Manifest) -> Vec<usize> {
    let all: BTreeSet<usize> =
        manifest.outline.parts.iter().flat_map(|part| &part.places).map(|at| *at as usize).collect();
    all.into_iter().collect()
}
