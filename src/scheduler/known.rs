//! What drivers before this one have made of a job, folded from their facts.
//!
//! Facts may break off anywhere: the driver that wrote them died. What a fact would have been followed by is made up for
//! by `resume`, which fills the scheduler's tables from here. Nothing is known here of what workers still hold; they are
//! asked, and [`super::Event::WorkerHolds`] tells.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::facts::{Blame, DropReason, End, Fact, Plan, Work};
use crate::ids::{AttemptId, Epoch, Stage, TaskId, WorkerId};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// What was planned.
    pub plan: Plan,
    /// The newest epoch that ran attempts.
    pub epoch: Epoch,
    /// How the job ended under the driver before, if it did.
    pub end: Option<End>,
    /// Every worker that joined.
    pub workers: BTreeMap<WorkerId, KnownWorker>,
    /// The tasks of which anything was tried.
    pub tasks: BTreeMap<TaskId, KnownTask>,
    /// Stages whose first attempt was sent.
    pub(super) begun: BTreeSet<Stage>,
    /// What ended well: the stage, bytes read, and the time it took.
    pub(super) paces: Vec<(Stage, u64, Duration)>,
    /// A map that ran again and wrote something else than what committed parts were made from.
    pub(super) changed: Option<TaskId>,
    copies: BTreeSet<AttemptId>,
}

/// A worker that joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownWorker {
    /// Its name for people.
    pub host: String,
    /// Attempts at once.
    pub slots: u32,
    /// Whether it was given up.
    pub lost: bool,
}

/// A task of which something was tried.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KnownTask {
    /// What there is of its output.
    pub output: KnownOutput,
    /// Whether an attempt's commit was asked for and its worker lost before the answer: a part may lie there that nobody
    /// vouches for.
    pub in_doubt: bool,
    /// What its attempts have written that ended well, where that becomes a part: the hashes.
    made: Vec<(AttemptId, u64)>,
    pub(super) live: Vec<KnownLive>,
    pub(super) hash: Option<u64>,
    pub(super) failures: u32,
    pub(super) losses: u32,
    pub(super) avoids: BTreeSet<String>,
}

/// What there is of a task's output.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum KnownOutput {
    /// Nothing.
    #[default]
    None,
    /// An attempt has written it, on its worker: a segment, or a part that is not known to be committed.
    Finished {
        /// Which.
        attempt: AttemptId,
        /// Where.
        worker: WorkerId,
        /// What it did.
        work: Work,
    },
    /// The part has its final name.
    Committed {
        /// Which made it.
        attempt: AttemptId,
        /// The part's size.
        bytes: u64,
    },
    /// The part had its final name, and is not there.
    Gone {
        /// Which had made it.
        attempt: AttemptId,
    },
}

/// An attempt that was sent and whose end is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KnownLive {
    pub id: AttemptId,
    pub worker: WorkerId,
    /// Whether it took its slot.
    pub started: bool,
    pub copy: bool,
    /// Whether a segment that it reads has changed since it was sent.
    pub outdated: bool,
}

impl Known {
    /// What these facts say, in their order.
    pub fn fold<'a>(facts: impl IntoIterator<Item = &'a Fact>) -> Self {
        let mut known = Known::default();
        facts.into_iter().for_each(|fact| known.observe(fact));
        known
    }

    /// The id of the next worker that joins.
    pub fn next_worker(&self) -> WorkerId {
        WorkerId(self.workers.last_key_value().map_or(0, |(id, _)| id.0 + 1))
    }

    /// Takes back a commit whose part is not there.
    pub fn lose_part(&mut self, task: TaskId) {
        if let Some(task) = self.tasks.get_mut(&task)
            && let KnownOutput::Committed { attempt, .. } = task.output
        {
            task.output = KnownOutput::Gone { attempt };
        }
    }

    /// How many tasks of a stage are done.
    pub fn done(&self, stage: Stage) -> usize {
        let last = self.plan.reduces == 0 || stage == Stage::Reduce;
        let is_done = |task: &KnownTask| match task.output {
            KnownOutput::Committed { .. } => true,
            KnownOutput::Finished { .. } => !last,
            KnownOutput::None | KnownOutput::Gone { .. } => false,
        };
        self.tasks.iter().filter(|(id, task)| id.stage == stage && is_done(task)).count()
    }

    fn observe(&mut self, fact: &Fact) {
        match fact {
            Fact::JobPlanned(plan) => self.plan = plan.clone(),
            Fact::JobResumed { epoch, .. } => (self.epoch, self.end) = (*epoch, None),
            Fact::WorkerJoined { worker, host, slots } => {
                self.workers.insert(*worker, KnownWorker { host: host.clone(), slots: *slots, lost: false });
            }
            Fact::WorkerLost { worker, .. } | Fact::WorkerReleased { worker } => {
                if let Some(worker) = self.workers.get_mut(worker) {
                    worker.lost = true;
                }
            }
            // How a host behaved is forgotten: the next driver may see it otherwise, and finds out soon.
            Fact::WorkerRefused { .. }
            | Fact::WorkerSuspect { .. }
            | Fact::WorkerBack { .. }
            | Fact::WorkerBarred { .. }
            | Fact::WorkerMarked { .. }
            | Fact::WorkerRemembered { .. }
            | Fact::WorkerCleared { .. }
            | Fact::WorkerHeld { .. }
            | Fact::WorkerEased { .. }
            // Whoever is still on the list, and who is not, is looked up there.
            | Fact::WorkerDraining { .. }
            | Fact::WorkerKept { .. }
            | Fact::StageFinished { .. } => {}
            Fact::StageStarted { stage } => _ = self.begun.insert(*stage),
            Fact::AttemptCopied { attempt, .. } => _ = self.copies.insert(*attempt),
            Fact::AttemptQueued { attempt, worker } => self.on_queued(*attempt, *worker),
            Fact::AttemptStarted { attempt, .. } => {
                let live = self.task(attempt.task).live.iter_mut();
                live.filter(|live| live.id == *attempt).for_each(|live| live.started = true);
            }
            Fact::AttemptFinished { attempt, worker, work } => self.on_finished(*attempt, *worker, work),
            Fact::AttemptFailed { attempt, worker, failure, .. } => {
                self.on_failed(*attempt, *worker, failure.cause.blame());
            }
            Fact::AttemptDropped { attempt, reason, .. } => self.on_dropped(*attempt, *reason),
            Fact::OutputLost { attempt } => self.on_output_lost(*attempt),
            Fact::PartCommitted { attempt, bytes } => {
                let task = self.task(attempt.task);
                task.output = KnownOutput::Committed { attempt: *attempt, bytes: *bytes };
                task.in_doubt = false;
            }
            Fact::JobFinished { end } => self.end = Some(end.clone()),
        }
    }

    fn task(&mut self, id: TaskId) -> &mut KnownTask {
        self.tasks.entry(id).or_default()
    }

    fn on_queued(&mut self, id: AttemptId, worker: WorkerId) {
        let copy = self.copies.contains(&id);
        self.task(id.task).live.push(KnownLive { id, worker, started: false, copy, outdated: false });
    }

    fn on_finished(&mut self, attempt: AttemptId, worker: WorkerId, work: &Work) {
        self.paces.push((attempt.task.stage, work.bytes_in, work.took));
        let makes_segment = attempt.task.stage == Stage::Map && self.plan.reduces > 0;
        let task = self.task(attempt.task);
        task.live.retain(|live| live.id != attempt);
        task.losses = 0;
        if !makes_segment {
            task.made.push((attempt, work.hash));
        }
        match task.output {
            KnownOutput::None | KnownOutput::Gone { .. } => {
                task.output = KnownOutput::Finished { attempt, worker, work: work.clone() };
            }
            // A copy that came second.
            KnownOutput::Finished { .. } | KnownOutput::Committed { .. } => return,
        }
        // What need not be the same when it is made again has 0.
        if makes_segment && work.hash != 0 && task.hash.replace(work.hash).is_some_and(|before| before != work.hash) {
            self.on_changed(attempt.task);
        }
    }

    /// A segment changed: what reads the old one must start again, and what was made from it must not be mixed.
    fn on_changed(&mut self, map: TaskId) {
        for task in self.tasks.iter_mut().filter(|(id, _)| id.stage == Stage::Reduce).map(|(_, task)| task) {
            task.live.iter_mut().for_each(|live| live.outdated = true);
            match task.output {
                KnownOutput::Finished { .. } | KnownOutput::Committed { .. } => self.changed = Some(map),
                KnownOutput::None | KnownOutput::Gone { .. } if task.in_doubt => self.changed = Some(map),
                KnownOutput::None | KnownOutput::Gone { .. } => {}
            }
        }
    }

    fn on_failed(&mut self, attempt: AttemptId, worker: WorkerId, blame: Blame) {
        let host = self.workers.get(&worker).map(|worker| worker.host.clone());
        let task = self.task(attempt.task);
        let was_live = task.live.iter().any(|live| live.id == attempt);
        task.live.retain(|live| live.id != attempt);
        match blame {
            Blame::Task | Blame::Worker => task.avoids.extend(host),
            Blame::Source => return,
        }
        if was_live {
            task.failures += 1;
            task.losses = 0;
        } else {
            // Its part did not arrive.
            task.forget_output(attempt);
        }
    }

    fn on_dropped(&mut self, attempt: AttemptId, reason: DropReason) {
        let task = self.task(attempt.task);
        let ran = task.live.iter().any(|live| live.id == attempt && live.started);
        task.live.retain(|live| live.id != attempt);
        match reason {
            DropReason::WorkerLost => task.losses += u32::from(ran),
            DropReason::Beaten
            | DropReason::Moved
            | DropReason::NeverArrived
            | DropReason::InputGone
            | DropReason::JobEnds => {}
        }
    }

    fn on_output_lost(&mut self, attempt: AttemptId) {
        let last = attempt.task.stage == Stage::Reduce || self.plan.reduces == 0;
        let task = self.task(attempt.task);
        // One that was committed is known to be gone.
        let was_committed = matches!(task.output, KnownOutput::Committed { .. });
        if task.forget_output(attempt) {
            task.in_doubt |= last && !was_committed;
        }
    }
}

impl KnownTask {
    /// The size and the hash of the part that counts, if one does: it was committed, or may have been.
    pub fn part(&self) -> Option<(u64, u64)> {
        match &self.output {
            KnownOutput::Committed { attempt, bytes } => {
                let made = self.made.iter().find(|(made, _)| made == attempt);
                made.map(|(_, hash)| (*bytes, *hash))
            }
            KnownOutput::Finished { work, .. } if !self.in_doubt => Some((work.bytes_out, work.hash)),
            KnownOutput::Finished { .. } | KnownOutput::None | KnownOutput::Gone { .. } => None,
        }
    }

    /// Forgets the output of this attempt, if there is any.
    fn forget_output(&mut self, attempt: AttemptId) -> bool {
        let is_its = match &self.output {
            KnownOutput::Finished { attempt: made, .. } | KnownOutput::Committed { attempt: made, .. } => {
                *made == attempt
            }
            KnownOutput::None | KnownOutput::Gone { .. } => false,
        };
        if is_its {
            self.output = KnownOutput::None;
        }
        is_its
    }
}
