//! A dataset whose job lost its driver: the hosts tell what there is of it.
//!
//! Either a manifest lies somewhere: then the dataset is complete, and what is left is to say so everywhere. Or none does:
//! then the parts that the facts vouch for count, wherever they lie, and all others go.

use std::collections::{BTreeMap, BTreeSet};

use super::change::manifest_of;
use super::commit;
use super::lock::unique;
use super::output::{JobOutput, Placed, Stage, State, target};
use super::stations::Stations;
use super::view::View;
use crate::dataset::{Digest, Pattern};
use crate::error::{Fault, Kind};
use crate::ids::WorkerId;
use crate::protocol::data::{DataRequest, Made};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The dataset is visible: the job is done.
    Whole,
    /// Nothing is visible, and these parts are there, with their sizes.
    Parts(BTreeMap<u32, u64>),
}

impl State {
    /// Where parts can lie from now on: on the disks of these workers, as they are now.
    fn know_hosts(&mut self, view: &View, workers: &[WorkerId]) {
        let others = (0..self.places.len()).filter(|at| !workers.iter().any(|worker| worker.index() == *at));
        self.gone.extend(others);
        self.spread.targets.clear();
        for (worker, host) in workers.iter().zip(&view.hosts) {
            let (at, facts) = (worker.index(), host.facts.as_ref().ok());
            if let (Some(place), Some(facts)) = (self.places.get_mut(at), facts) {
                (place.store, place.free) = (Some(facts.store), facts.free);
                self.spread.targets.extend(target(at, place));
            }
        }
    }
}

impl JobOutput {
    /// Takes up what lies on the hosts of `stations`; `workers` are those that have it from now on, in the same order.
    /// `expected` is what parts should be, as far as is known.
    ///
    /// # Errors
    /// A [`Fault`] of kind `OutputExists` when somebody else has changed the name since, of kind `Data` when the manifest
    /// cannot be read.
    pub async fn take_up(
        &self,
        stations: &Stations,
        workers: &[WorkerId],
        expected: &BTreeMap<u32, Made>,
    ) -> Result<Found, Fault> {
        let patterns: Vec<Pattern> = Pattern::new(self.name.as_str()).into_iter().collect();
        let view = stations.look(&patterns).await;
        match view.newest.get(&self.name) {
            Some(newest) if *newest == self.generation => {
                self.tell_everywhere(stations, &view).await?;
                self.state().stage = Stage::Visible;
                return Ok(Found::Whole);
            }
            Some(newest) if *newest > self.generation => {
                let text = format!("the output fs:{} was put or removed by somebody else meanwhile", self.name);
                return Err(Fault::new(Kind::OutputExists, text));
            }
            Some(_) | None => {}
        }
        let (name, generation) = (&self.name, self.generation);
        let sift = |_| DataRequest::Sift { name: name.clone(), generation, expected: expected.clone() };
        let folders = unique(stations, &view);
        let sifted = stations.ask_all::<Vec<(u32, Digest)>>(&folders, sift).await;
        let mut state = self.state();
        state.know_hosts(&view, workers);
        for (at, kept) in sifted {
            let Some(worker) = workers.get(at) else { continue };
            for (index, digest) in kept.into_iter().flatten() {
                let placed = state.placed.entry(index).or_insert(Placed { digest, holders: Vec::new() });
                if !placed.holders.contains(&worker.index()) {
                    placed.holders.push(worker.index());
                }
            }
        }
        Ok(Found::Parts(state.placed.iter().map(|(index, placed)| (*index, placed.digest.bytes)).collect()))
    }

    /// The manifest goes to all hosts that have parts, and what is older, or of no use, goes.
    async fn tell_everywhere(&self, stations: &Stations, view: &View) -> Result<(), Fault> {
        let lost = || Fault::new(Kind::Data, format!("the manifest of fs:{} cannot be read", self.name));
        let dataset = view.datasets.get(&self.name).ok_or_else(lost)?;
        let manifest = manifest_of(stations, dataset).await?;
        let holders: BTreeSet<usize> = dataset.parts.iter().flat_map(|part| part.holders.clone()).collect();
        let untold: Vec<usize> = holders.iter().filter(|at| !dataset.manifests.contains(at)).copied().collect();
        // A host that is not told has its copies all the same.
        let _untold = commit::publish(stations, &self.name, &manifest, &untold).await;
        let _left = commit::purge(stations, &self.name, &manifest, &stations.places()).await;
        let used = |at: &usize| holders.contains(at) || dataset.manifests.contains(at);
        let others: Vec<usize> = stations.places().into_iter().filter(|at| !used(at)).collect();
        commit::discard(stations, &self.name, self.generation, &others).await;
        Ok(())
    }
}
