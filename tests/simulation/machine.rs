//! A made-up worker: it takes attempts, fetches what they read, gives them slots, and keeps what they write.

use std::collections::BTreeMap;
use std::rc::Rc;

use runner::facts::Failure;
use runner::ids::{AttemptId, Stage, WorkerId};

use crate::plan::HostPlan;

/// What an attempt has read: the hash of every segment, by map. Shared, since most reduces read the same.
pub type Reads = Rc<Vec<u64>>;

/// One worker process on one host.
#[derive(Clone, Debug)]
pub struct Machine {
    pub id: WorkerId,
    pub name: String,
    pub plan: HostPlan,
    pub state: Power,
    /// Attempts without a slot, in the order of arrival.
    pub waiting: Vec<Waiting>,
    /// Attempts with a slot.
    pub running: BTreeMap<AttemptId, Running>,
    /// When it reports next how far they are, if it does.
    pub reports_at: Option<u64>,
    /// What attempts have written: a hash, and what it was made from.
    pub outputs: BTreeMap<AttemptId, (u64, Reads)>,
    /// How attempts have failed: told again to whoever may not have heard it.
    pub failures: BTreeMap<AttemptId, Failure>,
}

/// Whether a machine can be talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    On,
    /// It works, but its link is broken: it will be given up.
    Cut,
    /// It works, and its broken link will be mended.
    Apart,
    Off,
}

/// An attempt with a slot.
#[derive(Clone, Debug)]
pub struct Running {
    pub reads: Reads,
    pub course: Course,
}

/// How an attempt will go, in microseconds and bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Course {
    pub since: u64,
    pub bytes: u64,
    pub works: u64,
    /// It waits for input first,
    pub waits: u64,
    /// and stands still in the middle.
    pub stalls: u64,
}

impl Course {
    /// How long it takes.
    pub fn takes(&self) -> u64 {
        self.waits + self.works + self.stalls
    }

    /// Bytes used up, and time waited.
    pub fn at(&self, now: u64) -> (u64, u64) {
        let (elapsed, half) = (now - self.since, self.works / 2);
        let worked = elapsed.saturating_sub(self.waits);
        let moved = worked.min(half) + worked.saturating_sub(half + self.stalls);
        (self.bytes * moved.min(self.works) / self.works, elapsed.min(self.waits))
    }
}

/// An attempt without a slot.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub attempt: AttemptId,
    /// What it reads, once it is there.
    pub input: Option<Reads>,
}

impl Machine {
    pub fn new(id: WorkerId, name: String, plan: HostPlan) -> Self {
        let (waiting, running, outputs, failures) = (Vec::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Machine { id, name, plan, state: Power::On, waiting, running, reports_at: None, outputs, failures }
    }

    /// Gives a free slot to the first attempt whose input is there, maps before reduces; its course is to be set.
    pub fn take_slot(&mut self) -> Option<AttemptId> {
        if self.running.len() >= self.plan.slots as usize {
            return None;
        }
        let ready = |stage: Stage| {
            self.waiting.iter().position(|waiting| waiting.input.is_some() && waiting.attempt.task.stage == stage)
        };
        let Waiting { attempt, input } = self.waiting.remove(ready(Stage::Map).or_else(|| ready(Stage::Reduce))?);
        let reads = input.expect("only attempts with input were looked for");
        self.running.insert(attempt, Running { reads, course: Course::default() });
        Some(attempt)
    }

    /// All that it runs and holds.
    pub fn holds(&self) -> Vec<AttemptId> {
        let waiting = self.waiting.iter().map(|waiting| &waiting.attempt);
        waiting.chain(self.running.keys()).chain(self.outputs.keys()).copied().collect()
    }

    /// Forgets an attempt, however far it is.
    pub fn forget(&mut self, attempt: AttemptId) {
        self.waiting.retain(|waiting| waiting.attempt != attempt);
        self.running.remove(&attempt);
        self.outputs.remove(&attempt);
        self.failures.remove(&attempt);
    }
}
