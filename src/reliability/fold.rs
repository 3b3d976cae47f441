//! Reads the facts of one driver's reign and counts by host.

use std::collections::BTreeMap;

use super::{MarkKind, Record};
use crate::clock::Moment;
use crate::facts::{Blame, Fact, Slowness, Stamped};
use crate::ids::WorkerId;
use crate::units::Span;

/// What a run says about its hosts.
#[derive(Clone, Debug, Default)]
pub struct Fold {
    job: String,
    names: BTreeMap<WorkerId, String>,
    hosts: BTreeMap<String, Seen>,
}

/// What a run says about a host.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The counts of this run.
    pub record: Record,
    pub verdict: Verdict,
}

/// What a run does to what was held against a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing: a mark of before stays.
    #[default]
    Unchanged,
    /// It is marked; the moments are those of the run's clock.
    Marked { kind: MarkKind, since: Moment, until: Moment, evidence: String },
    /// It has proven itself.
    Cleared,
}

impl Fold {
    /// Takes in the facts of the drivers before. One that told of its end has closed the account of all so far; what was done
    /// under one that was killed later still counts, but for marks: its clock has gone with it.
    pub fn take_over(&mut self, facts: &[Stamped]) {
        let is_end = |stamped: &Stamped| matches!(stamped.fact, Fact::JobFinished { .. });
        let closed = facts.iter().rposition(is_end).map_or(0, |at| at + 1);
        let (closed, open) = facts.split_at(closed);
        closed.iter().for_each(|stamped| self.learn(stamped));
        open.iter().for_each(|stamped| self.observe(stamped));
        self.hosts.values_mut().for_each(|seen| seen.verdict = Verdict::Unchanged);
    }

    /// Takes in who is who.
    fn learn(&mut self, stamped: &Stamped) {
        match &stamped.fact {
            Fact::JobPlanned(plan) => self.job = plan.job.as_ref().map(ToString::to_string).unwrap_or_default(),
            Fact::WorkerJoined { worker, host, .. } => _ = self.names.insert(*worker, host.clone()),
            _ => {}
        }
    }

    /// Takes in a fact.
    pub fn observe(&mut self, stamped: &Stamped) {
        let Stamped { at, fact } = stamped;
        match fact {
            Fact::JobPlanned(plan) => self.job = plan.job.as_ref().map(ToString::to_string).unwrap_or_default(),
            Fact::WorkerJoined { worker, host, slots } => {
                self.names.insert(*worker, host.clone());
                self.change(*worker, |seen| seen.record.slots = *slots);
            }
            Fact::WorkerLost { worker, .. } => self.change(*worker, |seen| seen.record.lost += 1),
            Fact::WorkerBarred { worker, failures, until } => {
                let evidence = format!("{failures} failures of its own in {}", self.job);
                self.mark(*worker, MarkKind::Barred, *at, *until, evidence);
            }
            Fact::WorkerMarked { worker, slowness, share_percent, until } => {
                let evidence = self.slow_text(slowness);
                self.change(*worker, |seen| seen.record.outpaced += 1);
                self.mark(*worker, MarkKind::Slow { share_percent: *share_percent }, *at, *until, evidence);
            }
            Fact::WorkerCleared { worker } => self.change(*worker, |seen| seen.verdict = Verdict::Cleared),
            Fact::AttemptCopied { from, .. } => self.change(*from, |seen| seen.record.copied += 1),
            Fact::AttemptFinished { worker, .. } => self.change(*worker, |seen| seen.record.done += 1),
            Fact::AttemptFailed { worker, failure, .. } => {
                let is_fault = failure.cause.blame() == Blame::Worker;
                self.change(*worker, |seen| {
                    seen.record.failed += 1;
                    seen.record.faults += u64::from(is_fault);
                });
            }
            Fact::JobResumed { .. }
            | Fact::WorkerRefused { .. }
            | Fact::WorkerSuspect { .. }
            | Fact::WorkerBack { .. }
            | Fact::WorkerRemembered { .. }
            | Fact::WorkerHeld { .. }
            | Fact::WorkerEased { .. }
            | Fact::StageStarted { .. }
            | Fact::StageFinished { .. }
            | Fact::AttemptQueued { .. }
            | Fact::AttemptStarted { .. }
            | Fact::AttemptDropped { .. }
            | Fact::OutputLost { .. }
            | Fact::PartCommitted { .. }
            | Fact::WorkerDraining { .. }
            | Fact::WorkerKept { .. }
            | Fact::WorkerReleased { .. }
            | Fact::JobFinished { .. } => {}
        }
    }

    /// What was seen, by host.
    pub(super) fn hosts(&self) -> impl Iterator<Item = (&String, &Seen)> {
        self.hosts.iter()
    }

    fn change(&mut self, worker: WorkerId, change: impl FnOnce(&mut Seen)) {
        // Without a name it never joined, and so did nothing.
        if let Some(name) = self.names.get(&worker) {
            change(self.hosts.entry(name.clone()).or_default());
        }
    }

    fn mark(&mut self, worker: WorkerId, kind: MarkKind, since: Moment, until: Moment, evidence: String) {
        self.change(worker, |seen| seen.verdict = Verdict::Marked { kind, since, until, evidence });
    }

    fn slow_text(&self, slowness: &Slowness) -> String {
        let Slowness { attempt, there, elsewhere, .. } = slowness;
        format!(
            "{} of {} worked there for {} without an end, and took {} elsewhere",
            attempt.task,
            self.job,
            Span(*there),
            Span(*elsewhere)
        )
    }
}
