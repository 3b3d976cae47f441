//! One worker: what it holds, how full it is, and what is heard of it.
//!
//! How full it is decides where it stands in the ordered sets of `fleet`. Slots that other jobs have make a worker's places
//! fewer.

use std::collections::BTreeSet;

use crate::ids::{AttemptId, Stage, TaskId};

/// A host's place in the table of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HostId(pub u32);

/// One worker.
#[derive(Debug)]
pub(super) struct Worker {
    pub host: HostId,
    pub slots: u32,
    pub contact: Contact,
    /// Slots of it that other jobs have.
    pub lent: Lent,
    pub duty: Duty,
    /// Attempts sent that hold no slot, in the order sent.
    pub queue: PerStage<Vec<AttemptId>>,
    /// Attempts that hold a slot.
    pub running: BTreeSet<AttemptId>,
    /// Tasks whose finished output lies there and nowhere else.
    pub outputs: BTreeSet<TaskId>,
    /// Where it stands in the ordered sets of the fleet.
    pub rank: Rank,
}

/// Attempts that wait since other jobs have the slots of their host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lent {
    /// How many.
    pub attempts: u32,
    /// The ids of these jobs.
    pub holders: Vec<String>,
}

/// What is heard of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contact {
    /// It answers.
    Well,
    /// It is silent: it keeps what it runs and gets nothing new.
    Suspect,
    /// It was given up, or let go.
    Lost,
}

/// Whether a worker is to take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// It is.
    Serving,
    /// Its host was taken off the list: it gets nothing new, and goes once nothing of it is needed.
    Draining,
}

/// A value for each stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PerStage<T> {
    pub map: T,
    pub reduce: T,
}

impl<T> PerStage<T> {
    pub fn get(&self, stage: Stage) -> &T {
        match stage {
            Stage::Map => &self.map,
            Stage::Reduce => &self.reduce,
        }
    }

    pub fn get_mut(&mut self, stage: Stage) -> &mut T {
        match stage {
            Stage::Map => &mut self.map,
            Stage::Reduce => &mut self.reduce,
        }
    }
}

/// Where a worker stands in the ordered sets; none: it is not in that set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rank {
    pub open: PerStage<Option<u32>>,
    pub crowded: PerStage<Option<u32>>,
}

/// The fill at which every slot is spoken for: loads are compared in thousandths of the slots.
pub(super) const FULL: u32 = 1000;

impl Worker {
    /// What is heard of it, as far as the fleet can count on that: one that goes is as good as lost.
    pub fn tie(&self) -> Contact {
        match self.duty {
            Duty::Serving => self.contact,
            Duty::Draining => Contact::Lost,
        }
    }

    /// Attempts that hold or await a slot before one of `stage` would. A reduce that fetches holds none, so a map does
    /// not wait for it: else reduces that wait for a lost map could fill every place and keep that map out.
    fn load(&self, stage: Stage) -> u32 {
        let queued = match stage {
            Stage::Map => self.queue.map.len(),
            Stage::Reduce => self.queue.map.len() + self.queue.reduce.len(),
        };
        u32::try_from(self.running.len() + queued).unwrap_or(u32::MAX)
    }

    /// Slots that it can have now: those it has, where it waits for more.
    pub fn slots_now(&self) -> u32 {
        match self.lent.attempts {
            0 => self.slots,
            _ => u32::try_from(self.running.len()).unwrap_or(u32::MAX).min(self.slots),
        }
    }

    fn fill(&self, load: u32) -> u32 {
        u32::try_from(u64::from(load) * u64::from(FULL) / u64::from(self.slots_now().max(1))).unwrap_or(u32::MAX)
    }

    /// How full it is, if it takes another attempt of `stage` beside those in so many places.
    pub fn open_rank(&self, stage: Stage, places: u32) -> Option<u32> {
        let load = self.load(stage);
        (load < places).then(|| self.fill(load))
    }

    /// How far from overfull it is, smallest first, if an attempt waits there without a slot to come to.
    pub fn crowded_rank(&self, stage: Stage) -> Option<u32> {
        let over = self.load(stage).saturating_sub(self.slots_now());
        (over > 0 && !self.queue.get(stage).is_empty()).then(|| u32::MAX - self.fill(over))
    }

    /// Everything sent there that has not ended.
    pub fn live(&self) -> Vec<AttemptId> {
        self.running.iter().chain(&self.queue.map).chain(&self.queue.reduce).copied().collect()
    }
}
