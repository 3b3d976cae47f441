//! What earlier puts have left of a name: one that is gone on with, and others that nobody will finish.

use super::commit;
use super::lock::unique;
use super::put::Put;
use super::stations::Stations;
use super::view::View;
use crate::dataset::{Generation, Name};

/// What earlier puts left of this name.
pub struct Left {
    /// The generation that the same put was filling.
    goes_on: Option<Generation>,
    /// Those of other puts, with the hosts that have some of them.
    others: Vec<(Generation, Vec<usize>)>,
}

/// Finds the generation that this put was filling when it was stopped.
pub fn resumed(view: &View, request: &Put) -> Left {
    let mut left = Left { goes_on: None, others: Vec::new() };
    for ((name, generation), unfinished) in &view.unfinished {
        if *name != request.name {
            continue;
        }
        if request.id.is_some() && unfinished.put == request.id && left.goes_on.is_none() {
            left.goes_on = Some(*generation);
        } else {
            left.others.push((*generation, unfinished.hosts.clone()));
        }
    }
    left
}

impl Left {
    /// Removes what nobody will finish: whoever was at it would have the lock.
    pub async fn discard_others(self, stations: &Stations, view: &View, name: &Name) -> Option<Generation> {
        let reached = unique(stations, view);
        for (generation, hosts) in self.others {
            let hosts: Vec<usize> = hosts.into_iter().filter(|at| reached.contains(at)).collect();
            commit::discard(stations, name, generation, &hosts).await;
        }
        self.goes_on
    }
}
