//! Workers that come, fall silent, and go.

use std::collections::BTreeSet;

use crate::error::Kind;
use crate::facts::{DropReason, End, Fact};
use crate::ids::{AttemptId, WorkerId};
use crate::scheduler::task::{Phase, State};
use crate::scheduler::worker::{Contact, Duty, Worker};
use crate::scheduler::{Action, Scheduler};

impl Scheduler {
    pub(super) fn on_worker_joined(&mut self, worker: WorkerId, host: String, slots: u32) {
        if self.fleet.workers.contains_key(&worker) {
            self.stale += 1;
            return;
        }
        self.fleet.join(worker, &host, slots);
        self.remembered.note_joined();
        self.begin_home_wait();
        self.record(Fact::WorkerJoined { worker, host, slots });
        // A host that is held to be bad may have come back, and be one too many.
        self.pardon();
        self.record_if_barred(worker);
    }

    pub(super) fn on_worker_refused(&mut self, host: String, reason: String) {
        self.refused.push(format!("{host}: {reason}"));
        self.record(Fact::WorkerRefused { host, reason });
    }

    pub(super) fn on_worker_suspect(&mut self, worker: WorkerId) {
        if self.change_contact(worker, Contact::Well, Contact::Suspect) {
            self.record(Fact::WorkerSuspect { worker });
        }
    }

    pub(super) fn on_worker_back(&mut self, worker: WorkerId) {
        if self.change_contact(worker, Contact::Suspect, Contact::Well) {
            self.record(Fact::WorkerBack { worker });
            self.record_if_barred(worker);
        }
    }

    /// What waits there goes elsewhere, what runs may end; when to let it go is decided with the next pass.
    pub(super) fn on_worker_draining(&mut self, worker: WorkerId) {
        if self.change_duty(worker, Duty::Serving, Duty::Draining) {
            self.record(Fact::WorkerDraining { worker });
            self.call_back_queue(worker);
            self.pardon();
        }
    }

    pub(super) fn on_worker_kept(&mut self, worker: WorkerId) {
        if self.change_duty(worker, Duty::Draining, Duty::Serving) {
            self.record(Fact::WorkerKept { worker });
            // With one that is held to be bad, they may be too large a share.
            self.pardon();
            self.record_if_barred(worker);
        }
    }

    /// Notes a change of a worker that is not lost, if it is one; else the message is old.
    fn change_duty(&mut self, worker: WorkerId, from: Duty, to: Duty) -> bool {
        let fits = |known: &Worker| known.duty == from && known.contact != Contact::Lost;
        let fits = self.fleet.workers.get(&worker).is_some_and(fits);
        if fits {
            self.fleet.set_duty(worker, to);
        } else {
            self.stale += 1;
        }
        fits
    }

    /// Notes a change if it is one; else the message is old.
    fn change_contact(&mut self, worker: WorkerId, from: Contact, to: Contact) -> bool {
        let fits = self.fleet.workers.get(&worker).is_some_and(|known| known.contact == from);
        if fits {
            self.fleet.set_contact(worker, to);
        } else {
            self.stale += 1;
        }
        fits
    }

    pub(super) fn on_worker_lost(&mut self, worker: WorkerId, reason: String) {
        if self.fleet.workers.get(&worker).is_none_or(|known| known.contact == Contact::Lost) {
            self.stale += 1;
            return;
        }
        self.fleet.set_contact(worker, Contact::Lost);
        self.refused.push(format!("{}: {reason}", self.fleet.name(worker)));
        self.record(Fact::WorkerLost { worker, reason });
        self.lose_all_of(worker);
        self.pardon();
    }

    /// What a lost worker ran and held goes with it.
    pub(in crate::scheduler) fn lose_all_of(&mut self, worker: WorkerId) {
        for attempt in self.fleet.get(worker).live() {
            self.lose_attempt(attempt, worker);
        }
        for task in self.fleet.get(worker).outputs.clone() {
            self.lose_output(task);
        }
    }

    /// Compares what a worker has with what it should have. Both can differ by the messages that a broken connection took
    /// along: an order that never arrived, and ends of attempts that nobody heard of, which are told before this.
    pub(super) fn on_worker_holds(&mut self, worker: WorkerId, attempts: Vec<AttemptId>) {
        if self.fleet.workers.get(&worker).is_none_or(|known| known.contact == Contact::Lost) {
            self.stale += 1;
            return;
        }
        let there: BTreeSet<AttemptId> = attempts.into_iter().collect();
        for attempt in self.fleet.get(worker).live().into_iter().filter(|attempt| !there.contains(attempt)) {
            self.kill(attempt, worker, DropReason::NeverArrived);
            self.settle(attempt.task);
        }
        for task in self.fleet.get(worker).outputs.clone() {
            match self.tasks.get(task).state {
                State::Held { attempt, .. } if !there.contains(&attempt) && self.tasks.reduce.unfinished() > 0 => {
                    self.lose_output(task);
                }
                State::Committing { attempt, .. } if !there.contains(&attempt) => self.lose_output(task),
                State::Held { .. } | State::Committing { .. } | State::Ready | State::Out | State::Committed { .. } => {
                }
            }
        }
        let surplus = there.into_iter().filter(|attempt| !self.is_wanted(*attempt, worker));
        let kills: Vec<_> = surplus.map(|attempt| Action::Kill { attempt, worker }).collect();
        self.out.extend(kills);
    }

    /// Whether a worker should have an attempt or its output. What is committed is forgotten by whoever has it saved.
    fn is_wanted(&self, attempt: AttemptId, worker: WorkerId) -> bool {
        let Some(task) = self.tasks.find(attempt.task) else { return false };
        let is_output = match task.state {
            State::Held { attempt: held, worker: holder } | State::Committing { attempt: held, worker: holder } => {
                held == attempt && holder == worker
            }
            State::Committed { attempt: committed } => committed == attempt,
            State::Ready | State::Out => false,
        };
        is_output || self.tasks.find_live(attempt, worker).is_some()
    }

    /// An attempt went with its worker. One that ran may be what took the worker down.
    fn lose_attempt(&mut self, attempt: AttemptId, worker: WorkerId) {
        let Some(live) = self.take_live(attempt, worker) else { return };
        self.record(Fact::AttemptDropped { attempt, worker, reason: DropReason::WorkerLost });
        self.settle(attempt.task);
        match live.phase {
            Phase::Queued => {}
            Phase::Running => self.count_loss(attempt, worker),
        }
    }

    fn count_loss(&mut self, attempt: AttemptId, worker: WorkerId) {
        let trouble = self.tasks.get_mut(attempt.task).trouble_mut();
        trouble.losses += 1;
        if trouble.losses >= self.rules.losses_max {
            let (task, losses, host) = (attempt.task, trouble.losses, self.fleet.name(worker));
            let text = format!(
                "{task} lost {losses} workers in a row while it ran there, {host} the last: it may be what takes them down"
            );
            self.end(End::Failed { kind: Kind::TaskFailed, text });
        }
    }
}
