//! Attempts that start, end well, and fail.

use crate::error::Kind;
use crate::facts::{Blame, Cause, DropReason, End, Fact, Failure, Next, Work};
use crate::ids::{AttemptId, TaskId, WorkerId};
use crate::scheduler::task::{Headway, Phase, State};
use crate::scheduler::{Action, Scheduler};

/// The hash of a segment that need not be the same when it is made again.
const NOT_COMPARABLE: u64 = 0;

impl Scheduler {
    pub(super) fn on_attempt_started(&mut self, attempt: AttemptId, worker: WorkerId) {
        match self.tasks.find_live(attempt, worker).map(|live| live.phase) {
            Some(Phase::Queued) => self.start(attempt, worker),
            Some(Phase::Running) | None => self.stale += 1,
        }
    }

    fn start(&mut self, attempt: AttemptId, worker: WorkerId) {
        let now = self.now;
        for live in self.tasks.get_mut(attempt.task).live.iter_mut().filter(|live| live.id == attempt) {
            (live.phase, live.since) = (Phase::Running, now);
        }
        self.fleet.run(attempt, worker);
        self.record(Fact::AttemptStarted { attempt, worker });
    }

    /// Takes in how far an attempt is. Reports may come in any order, and only the farthest counts.
    pub(super) fn on_attempt_progressed(&mut self, attempt: AttemptId, worker: WorkerId, headway: Headway) {
        match self.tasks.find_live(attempt, worker).map(|live| live.phase) {
            Some(Phase::Running) => {}
            // What it fetches before it has a slot is no work yet.
            Some(Phase::Queued) => return,
            None => {
                self.stale += 1;
                return;
            }
        }
        for live in self.tasks.get_mut(attempt.task).live.iter_mut().filter(|live| live.id == attempt) {
            let Headway { done, total, waited } = live.headway;
            live.headway = Headway {
                done: done.max(headway.done),
                total: total.max(headway.total),
                waited: waited.max(headway.waited),
            };
        }
    }

    pub(super) fn on_attempt_finished(&mut self, attempt: AttemptId, worker: WorkerId, work: Work) {
        match self.tasks.find_live(attempt, worker).map(|live| live.phase) {
            // The message of its start was overtaken. Readers of facts see every attempt start before it ends well.
            Some(Phase::Queued) => self.start(attempt, worker),
            Some(Phase::Running) => self.learn_pace(attempt, worker, work.bytes_in),
            None => {
                self.stale += 1;
                return;
            }
        }
        let hash = work.hash;
        self.take_live(attempt, worker);
        self.record(Fact::AttemptFinished { attempt, worker, work });
        self.vindicate(attempt.task, self.fleet.host_of(worker));
        match self.tasks.get(attempt.task).state {
            State::Out if self.writes_segment(attempt) => self.hold_segment(attempt, worker, hash),
            State::Out => self.ask_commit(attempt, worker),
            // A copy that comes second. Its output is not wanted.
            State::Committing { .. } => self.out.push(Action::Kill { attempt, worker }),
            State::Ready | State::Held { .. } | State::Committed { .. } => {
                unreachable!("{} has no live attempts", attempt.task)
            }
        }
    }

    fn writes_segment(&self, attempt: AttemptId) -> bool {
        attempt.task.stage != self.tasks.last_stage()
    }

    fn hold_segment(&mut self, attempt: AttemptId, worker: WorkerId, hash: u64) {
        let task = attempt.task;
        self.kill_all(task, DropReason::Beaten);
        self.tasks.enter(task, State::Held { attempt, worker });
        self.fleet.keep_output(task, worker);
        if hash != NOT_COMPARABLE {
            let before = self.tasks.get_mut(task).hash.replace(hash);
            if before.is_some_and(|before| before != hash) {
                self.segment_changed(task);
            }
        }
        self.out.push(Action::Publish { attempt, worker });
    }

    fn ask_commit(&mut self, attempt: AttemptId, worker: WorkerId) {
        self.tasks.enter(attempt.task, State::Committing { attempt, worker });
        self.fleet.keep_output(attempt.task, worker);
        self.commits += 1;
        self.out.push(Action::Commit { attempt, worker });
    }

    pub(super) fn on_attempt_failed(&mut self, attempt: AttemptId, worker: WorkerId, failure: Failure) {
        if self.take_live(attempt, worker).is_none() {
            self.stale += 1;
            return;
        }
        let cause = failure.cause.clone();
        let blame = cause.blame();
        if blame != Blame::Source {
            let trouble = self.tasks.get_mut(attempt.task).trouble_mut();
            trouble.failures += 1;
            trouble.losses = 0;
        }
        let next = self.next_of(attempt, blame);
        self.record(Fact::AttemptFailed { attempt, worker, failure, next });
        self.settle(attempt.task);
        let host = self.fleet.host_of(worker);
        match &cause {
            Cause::Fetch { source, text } => self.fetch_failed(attempt.task, host, *source, text),
            Cause::Exit { .. }
            | Cause::Signal { .. }
            | Cause::Silent { .. }
            | Cause::Input { .. }
            | Cause::Record { .. }
            | Cause::DiskFull { .. }
            | Cause::Limit { .. }
            | Cause::OutOfMemory { .. }
            | Cause::Worker { .. } => self.blame_failure(attempt.task, host, blame),
        }
        if next == Next::GiveUp {
            self.give_up(attempt.task, worker, &cause);
        }
    }

    /// What becomes of the task of an attempt that has just failed.
    fn next_of(&self, attempt: AttemptId, blame: Blame) -> Next {
        let task = self.tasks.get(attempt.task);
        let left = task.failures_left(self.rules.attempts_max);
        let covered = match task.state {
            State::Committing { .. } | State::Held { .. } | State::Committed { .. } => true,
            State::Ready | State::Out => !task.live.is_empty(),
        };
        match blame {
            _ if covered => Next::Covered,
            Blame::Task | Blame::Worker if left == 0 => Next::GiveUp,
            Blame::Task | Blame::Worker | Blame::Source => Next::Retry { left },
        }
    }

    fn give_up(&mut self, task: TaskId, worker: WorkerId, cause: &Cause) {
        let trouble = self.tasks.get_mut(task).trouble_mut();
        let failures = trouble.failures;
        // Hosts are avoided for other reasons too, such as an output that never arrived.
        let hosts = trouble.avoids.len().min(failures as usize);
        let times = if failures == 1 { "once".to_owned() } else { format!("{failures} times") };
        let hosts = if hosts == 1 { "1 host".to_owned() } else { format!("{hosts} hosts") };
        let text = format!("{task} failed {times} on {hosts}; the last time, on {}: {cause}", self.fleet.name(worker));
        let kind = match cause {
            Cause::Input { .. } => Kind::Data,
            Cause::Exit { .. }
            | Cause::Signal { .. }
            | Cause::Silent { .. }
            | Cause::Record { .. }
            | Cause::DiskFull { .. }
            | Cause::Limit { .. }
            | Cause::OutOfMemory { .. }
            | Cause::Fetch { .. }
            | Cause::Worker { .. } => Kind::TaskFailed,
        };
        self.end(End::Failed { kind, text });
    }
}
