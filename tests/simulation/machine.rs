//! A made-up worker: it takes attempts, fetches what they read, gives them slots, and keeps what they write.

use std::collections::BTreeMap;
use std::rc::Rc;

use runner::ids::{AttemptId, Stage, WorkerId};

use crate::plan::HostPlan;

/// What an attempt has read: the hash of every segment, by map. Shared, since most reduces read the same.
pub type Reads = Rc<Vec<u64>>;

/// One worker process on one host.
#[derive(Debug)]
pub struct Machine {
    pub id: WorkerId,
    pub name: String,
    pub plan: HostPlan,
    pub state: Power,
    /// Attempts without a slot, in the order of arrival.
    pub waiting: Vec<Waiting>,
    /// Attempts with a slot, and what they read.
    pub running: BTreeMap<AttemptId, Reads>,
    /// What attempts have written: a hash, and what it was made from.
    pub outputs: BTreeMap<AttemptId, (u64, Reads)>,
}

/// Whether a machine can be talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    On,
    /// It works, but its link is broken: it will be given up.
    Cut,
    Off,
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
        let (waiting, running, outputs) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Machine { id, name, plan, state: Power::On, waiting, running, outputs }
    }

    /// Gives a free slot to the first attempt whose input is there, maps before reduces.
    pub fn take_slot(&mut self) -> Option<AttemptId> {
        if self.running.len() >= self.plan.slots as usize {
            return None;
        }
        let ready = |stage: Stage| {
            self.waiting.iter().position(|waiting| waiting.input.is_some() && waiting.attempt.task.stage == stage)
        };
        let Waiting { attempt, input } = self.waiting.remove(ready(Stage::Map).or_else(|| ready(Stage::Reduce))?);
        self.running.insert(attempt, input.expect("only attempts with input were looked for"));
        Some(attempt)
    }

    /// Forgets an attempt, however far it is.
    pub fn forget(&mut self, attempt: AttemptId) {
        self.waiting.retain(|waiting| waiting.attempt != attempt);
        self.running.remove(&attempt);
        self.outputs.remove(&attempt);
    }
}
