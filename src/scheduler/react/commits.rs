//! Output parts that get their final names, or do not; and the whole, once all have.

use crate::facts::{Cause, DropReason, End, Fact, Failure, Next};
use crate::ids::{AttemptId, TaskId, WorkerId};
use crate::scheduler::task::State;
use crate::scheduler::{Completion, Scheduler};

impl Scheduler {
    pub(super) fn on_committed(&mut self, attempt: AttemptId, bytes: u64) {
        match self.commit_asked(attempt) {
            Asked::Awaited(worker) => self.fleet.drop_output(attempt.task, worker),
            Asked::InDoubt => self.drop_second_output(attempt),
            Asked::Never => {
                self.stale += 1;
                return;
            }
        }
        self.kill_all(attempt.task, DropReason::Beaten);
        self.tasks.enter(attempt.task, State::Committed { attempt });
        self.record(Fact::PartCommitted { attempt, bytes });
    }

    /// A commit in doubt is done after all: what another attempt has finished meanwhile is not wanted.
    fn drop_second_output(&mut self, winner: AttemptId) {
        if let State::Committing { worker, .. } = self.tasks.get(winner.task).state {
            self.fleet.drop_output(winner.task, worker);
        }
    }

    pub(super) fn on_commit_failed(&mut self, attempt: AttemptId, text: &str) {
        match self.commit_asked(attempt) {
            Asked::Awaited(worker) => self.uncommit(attempt, worker, text),
            Asked::InDoubt => {
                self.tasks.get_mut(attempt.task).trouble_mut().in_doubt.retain(|other| *other != attempt);
                self.commits -= 1;
            }
            Asked::Never => self.stale += 1,
        }
    }

    /// The output did not arrive: the task runs again, elsewhere if possible. It is not the task's failure.
    fn uncommit(&mut self, attempt: AttemptId, worker: WorkerId, text: &str) {
        let task = attempt.task;
        self.commits -= 1;
        self.fleet.drop_output(task, worker);
        self.tasks.enter(task, State::Out);
        let left = self.tasks.get(task).failures_left(self.rules.attempts_max);
        let covered = !self.tasks.get(task).live.is_empty();
        let failure = Failure::of(Cause::Worker { text: format!("its output did not arrive: {text}") });
        let next = if covered { Next::Covered } else { Next::Retry { left } };
        self.record(Fact::AttemptFailed { attempt, worker, failure, next });
        self.settle(task);
        let host = self.fleet.host_of(worker);
        self.tasks.get_mut(task).avoid(host);
        self.blame_host(host);
        self.count_repeat(task, text);
    }

    pub(super) fn on_completed(&mut self) {
        match self.completion {
            Completion::Asked => self.end(End::Done),
            Completion::NotAsked => self.stale += 1,
        }
    }

    /// Parts that were committed are gone: their tasks run again, and so do the maps whose segments went when nobody
    /// needed them any more.
    pub(super) fn on_parts_lost(&mut self, tasks: Vec<TaskId>) {
        self.completion = Completion::NotAsked;
        tasks.into_iter().for_each(|task| self.lose_part(task));
        if self.tasks.reduce.unfinished() > 0 {
            self.withdraw_lost_segments();
        }
    }

    fn lose_part(&mut self, task: TaskId) {
        match self.tasks.find(task).map(|known| known.state) {
            Some(State::Committed { attempt }) => {
                self.commits -= 1;
                self.record(Fact::OutputLost { attempt });
                self.tasks.enter(task, State::Ready);
            }
            Some(State::Ready | State::Out | State::Committing { .. } | State::Held { .. }) | None => self.stale += 1,
        }
    }

    /// An output that is about to be in its place is not left halfway: the job is done in a moment.
    pub(super) fn end_unless_completing(&mut self, end: End) {
        match self.completion {
            Completion::Asked => self.stale += 1,
            Completion::NotAsked => self.end(end),
        }
    }

    fn commit_asked(&self, attempt: AttemptId) -> Asked {
        let Some(task) = self.tasks.find(attempt.task) else { return Asked::Never };
        let in_doubt = task.trouble.as_ref().is_some_and(|trouble| trouble.in_doubt.contains(&attempt));
        match task.state {
            State::Committing { attempt: awaited, worker } if awaited == attempt => Asked::Awaited(worker),
            State::Committing { .. } | State::Ready | State::Out if in_doubt => Asked::InDoubt,
            State::Committing { .. } | State::Ready | State::Out | State::Held { .. } | State::Committed { .. } => {
                Asked::Never
            }
        }
    }
}

/// How a commit's answer fits.
enum Asked {
    /// The output lies on this worker.
    Awaited(WorkerId),
    /// The worker was lost before the answer.
    InDoubt,
    /// It was not asked for, or the task is committed: the answer is old.
    Never,
}
