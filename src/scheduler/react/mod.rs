//! One `on_*` function per event. They change tables and record what happened; what to start is decided later.

mod attempts;
mod commits;
mod outputs;
mod workers;

use super::task::Headway;
use super::{Event, Hiring, Scheduler};
use crate::facts::End;

impl Scheduler {
    pub(super) fn react(&mut self, event: Event) {
        match event {
            Event::WorkerJoined { worker, host, slots } => self.on_worker_joined(worker, host, slots),
            Event::WorkerRefused { host, reason } => self.on_worker_refused(host, reason),
            Event::FleetComplete => self.hiring = Hiring::Complete,
            Event::FleetGrows => self.hiring = Hiring::Open,
            Event::WorkerDraining(worker) => self.on_worker_draining(worker),
            Event::WorkerKept(worker) => self.on_worker_kept(worker),
            Event::WorkerSuspect(worker) => self.on_worker_suspect(worker),
            Event::WorkerBack(worker) => self.on_worker_back(worker),
            Event::WorkerHolds { worker, attempts } => self.on_worker_holds(worker, attempts),
            Event::WorkerLost { worker, reason } => self.on_worker_lost(worker, reason),
            Event::WorkerLoad { worker, load } => self.on_worker_load(worker, load),
            Event::AttemptStarted { attempt, worker } => self.on_attempt_started(attempt, worker),
            Event::AttemptProgressed { attempt, worker, bytes_done, bytes_total, waited } => {
                let headway = Headway { done: bytes_done, total: bytes_total, waited };
                self.on_attempt_progressed(attempt, worker, headway);
            }
            Event::AttemptFinished { attempt, worker, work } => self.on_attempt_finished(attempt, worker, work),
            Event::AttemptFailed { attempt, worker, failure } => self.on_attempt_failed(attempt, worker, failure),
            Event::Committed { attempt, bytes } => self.on_committed(attempt, bytes),
            Event::CommitFailed { attempt, text } => self.on_commit_failed(attempt, &text),
            Event::Completed => self.on_completed(),
            Event::PartsLost(tasks) => self.on_parts_lost(tasks),
            Event::Interrupted => self.end_unless_completing(End::Interrupted),
            Event::Cancelled => self.end_unless_completing(End::Cancelled),
            Event::Broken(end) => self.end(end),
        }
    }
}
