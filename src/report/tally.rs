//! Facts are counted here, one by one.
//!
//! Only the attempt that counts for a task is in the totals: of copies the one that was committed, of a map that ran
//! again the last. So whatever a fact takes back (a lost output) is taken out of the sums, and a user's counter never
//! counts a record twice. Each fact costs O(log n).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use super::State;
use crate::clock::Moment;
use crate::facts::{DropReason, End, Fact, Next, Plan, Stamped, Work};
use crate::ids::{AttemptId, Stage, TaskId, WorkerId};

/// What the facts so far add up to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub(super) clock: Reigns,
    pub(super) plan: Plan,
    is_planned: bool,
    pub(super) end: Option<End>,
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    pub(super) refused: u64,
    map: Phase,
    reduce: Phase,
    /// Attempts that ended well, whether or not they count.
    pub(super) finished: BTreeMap<AttemptId, Finished>,
    /// The attempt that counts for each task that is done.
    pub(super) winners: BTreeMap<TaskId, AttemptId>,
    /// Attempts that were sent because another one was a straggler.
    copies: BTreeSet<AttemptId>,
    pub(super) events: Events,
}

/// A worker that joined.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its name for people, made harmless.
    pub host: String,
    /// Attempts that it runs at once.
    pub slots: u32,
    /// Whether it was given up.
    pub lost: bool,
}

/// The sums of one stage.
#[derive(Clone, Debug, Default)]
pub struct Phase {
    /// When its first attempt was sent out, after the beginning of the job.
    pub started: Option<Duration>,
    /// When its last task was done; none while some are open.
    pub finished: Option<Duration>,
    /// Tasks that are done.
    pub done: u64,
    /// What the attempts that count did.
    pub sums: Sums,
}

/// Amounts of work; see [`Work`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Bytes read: of splits as they lie, or of segments.
    pub bytes_in: u64,
    /// Lines read.
    pub records_in: u64,
    /// Bytes written, before compression.
    pub bytes_out: u64,
    /// Lines written.
    pub records_out: u64,
    /// Bytes of segments as stored; for reduces, those that came from other workers.
    pub bytes_shuffled: u64,
    /// Those of them that came through the driver.
    pub bytes_relayed: u64,
    /// For reduces, bytes of segments as stored that were on their workers.
    pub bytes_in_place: u64,
    /// Bytes of datasets that maps read from disks of their own workers,
    pub bytes_local: u64,
    /// and those that came from other workers.
    pub bytes_distant: u64,
    /// Bytes of committed parts.
    pub bytes_committed: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Finished {
    pub worker: WorkerId,
    pub work: Work,
    /// The size of its part, once committed.
    pub committed: Option<u64>,
}

/// How often something happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Events {
    pub attempts: u64,
    pub failures: u64,
    pub retries: u64,
    pub moved: u64,
    pub beaten: u64,
    pub outputs_lost: u64,
}

/// Time over several drivers: each one's clock starts at zero, and the time between them does not count.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reigns {
    before: Duration,
    last: Moment,
}

/// Facts of one driver may be stamped out of order by less than this; a longer step back is another driver's clock.
const STEP_BACK_MAX: Duration = Duration::from_secs(1);

impl Tally {
    /// Counts one fact.
    pub fn observe(&mut self, stamped: &Stamped) {
        if matches!(stamped.fact, Fact::JobResumed { .. }) {
            self.clock.begin_another();
        }
        let at = self.clock.advance(stamped.at);
        match &stamped.fact {
            Fact::JobPlanned(plan) => self.on_planned(plan),
            Fact::JobResumed { .. } => self.end = None,
            Fact::WorkerJoined { worker, host, slots } => {
                let host = super::printable(host).into_owned();
                self.workers.insert(*worker, Worker { host, slots: *slots, lost: false });
            }
            Fact::WorkerRefused { .. } => self.refused += 1,
            Fact::WorkerLost { worker, .. } => {
                if let Some(worker) = self.workers.get_mut(worker) {
                    worker.lost = true;
                }
            }
            Fact::WorkerSuspect { .. } | Fact::WorkerBack { .. } | Fact::WorkerBarred { .. } => {}
            Fact::WorkerMarked { .. } | Fact::WorkerCleared { .. } => {}
            Fact::WorkerRemembered { .. } | Fact::WorkerHeld { .. } | Fact::WorkerEased { .. } => {}
            Fact::WorkerDraining { .. } | Fact::WorkerKept { .. } | Fact::WorkerReleased { .. } => {}
            Fact::StageStarted { stage } => {
                self.phase_mut(*stage).started.get_or_insert(at);
            }
            Fact::StageFinished { stage } => self.phase_mut(*stage).finished = Some(at),
            Fact::AttemptCopied { attempt, .. } => _ = self.copies.insert(*attempt),
            Fact::AttemptQueued { .. } => {}
            Fact::AttemptStarted { .. } => self.events.attempts += 1,
            Fact::AttemptFinished { attempt, worker, work } => self.on_finished(*attempt, *worker, work),
            Fact::AttemptFailed { attempt, next, .. } => self.on_failed(*attempt, *next),
            Fact::AttemptDropped { reason, .. } => self.on_dropped(*reason),
            Fact::OutputLost { attempt } => {
                self.events.outputs_lost += 1;
                self.uncount(*attempt);
            }
            Fact::PartCommitted { attempt, bytes } => self.on_committed(*attempt, *bytes),
            Fact::JobFinished { end } => self.end = Some(end.clone()),
        }
    }

    /// What was planned; empty before that fact.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether the job was planned, and so its tasks are known.
    pub fn is_planned(&self) -> bool {
        self.is_planned
    }

    /// Where the job stands.
    pub fn state(&self) -> State {
        State::of(self.end.as_ref())
    }

    /// Whether the job has ended.
    pub fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// The workers that joined, in the order of their ids.
    pub fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.workers.values()
    }

    /// A worker's name for people, safe on a terminal; its id where it never joined.
    pub fn host(&self, worker: WorkerId) -> String {
        self.workers.get(&worker).map_or_else(|| worker.to_string(), |worker| worker.host.clone())
    }

    /// The sums of a stage.
    pub fn phase(&self, stage: Stage) -> &Phase {
        match stage {
            Stage::Map => &self.map,
            Stage::Reduce => &self.reduce,
        }
    }

    /// How many tasks a stage has.
    pub fn tasks(&self, stage: Stage) -> u64 {
        match stage {
            Stage::Map => self.plan.splits.len() as u64,
            Stage::Reduce => u64::from(self.plan.reduces),
        }
    }

    /// The stages that this job has.
    pub fn stages(&self) -> impl Iterator<Item = Stage> + use<> {
        let reduces = self.plan.reduces > 0;
        [Stage::Map, Stage::Reduce].into_iter().filter(move |stage| reduces || *stage == Stage::Map)
    }

    /// Whether a task is done.
    pub fn is_done(&self, task: TaskId) -> bool {
        self.winners.contains_key(&task)
    }

    /// How long drivers have worked on the job until `now`.
    pub fn elapsed(&self, now: Moment) -> Duration {
        let mut clock = self.clock;
        clock.advance(now)
    }

    /// Copies of stragglers: how many there were, and how many of them count.
    pub(super) fn copies(&self) -> (u64, u64) {
        let won = self.copies.iter().filter(|copy| self.winners.get(&copy.task) == Some(copy)).count();
        (self.copies.len() as u64, won as u64)
    }

    /// The attempts that count, by task.
    pub(super) fn counted(&self) -> impl DoubleEndedIterator<Item = (TaskId, &Finished)> {
        self.winners.iter().filter_map(|(task, attempt)| Some((*task, self.finished.get(attempt)?)))
    }

    fn phase_mut(&mut self, stage: Stage) -> &mut Phase {
        match stage {
            Stage::Map => &mut self.map,
            Stage::Reduce => &mut self.reduce,
        }
    }

    /// A driver that takes over may plan again; the job began when it was first planned.
    fn on_planned(&mut self, plan: &Plan) {
        let wall_ms = if self.plan.wall_ms == 0 { plan.wall_ms } else { self.plan.wall_ms };
        self.plan = Plan { wall_ms, ..plan.clone() };
        self.is_planned = true;
        self.end = None;
    }

    fn on_finished(&mut self, attempt: AttemptId, worker: WorkerId, work: &Work) {
        self.finished.insert(attempt, Finished { worker, work: work.clone(), committed: None });
        if self.makes_segment(attempt) {
            self.count(attempt);
        }
    }

    fn on_committed(&mut self, attempt: AttemptId, bytes: u64) {
        if let Some(finished) = self.finished.get_mut(&attempt) {
            finished.committed = Some(bytes);
            self.count(attempt);
        }
    }

    fn on_failed(&mut self, attempt: AttemptId, next: Next) {
        self.events.failures += 1;
        match next {
            Next::Retry { .. } => self.events.retries += 1,
            Next::Covered | Next::GiveUp => {}
        }
        self.uncount(attempt);
    }

    fn on_dropped(&mut self, reason: DropReason) {
        match reason {
            DropReason::Moved => self.events.moved += 1,
            DropReason::Beaten => self.events.beaten += 1,
            DropReason::NeverArrived | DropReason::WorkerLost | DropReason::InputGone | DropReason::JobEnds => {}
        }
    }

    /// A segment counts when it is finished; an output part when it is committed.
    fn makes_segment(&self, attempt: AttemptId) -> bool {
        attempt.task.stage == Stage::Map && self.plan.reduces > 0
    }

    /// Puts an attempt's work into the sums, unless its task is counted already.
    fn count(&mut self, attempt: AttemptId) {
        if self.is_done(attempt.task) {
            return;
        }
        let Some(finished) = self.finished.get(&attempt) else { return };
        let sums = finished.sums();
        self.winners.insert(attempt.task, attempt);
        let phase = self.phase_mut(attempt.task.stage);
        phase.done += 1;
        phase.sums = phase.sums.combine(sums, u64::saturating_add);
    }

    /// Takes an attempt's work out of the sums, if it was in.
    fn uncount(&mut self, attempt: AttemptId) {
        if self.winners.get(&attempt.task) != Some(&attempt) {
            return;
        }
        self.winners.remove(&attempt.task);
        let Some(finished) = self.finished.remove(&attempt) else { return };
        let phase = self.phase_mut(attempt.task.stage);
        phase.done -= 1;
        phase.finished = None;
        phase.sums = phase.sums.combine(finished.sums(), u64::saturating_sub);
    }
}

impl Finished {
    fn sums(&self) -> Sums {
        Sums {
            bytes_in: self.work.bytes_in,
            records_in: self.work.records_in,
            bytes_out: self.work.bytes_out,
            records_out: self.work.records_out,
            bytes_shuffled: self.work.bytes_shuffled,
            bytes_relayed: self.work.bytes_relayed,
            bytes_in_place: self.work.bytes_in_place,
            bytes_local: self.work.bytes_local,
            bytes_distant: self.work.bytes_distant,
            bytes_committed: self.committed.unwrap_or(0),
        }
    }
}

impl Sums {
    fn combine(self, other: Sums, with: impl Fn(u64, u64) -> u64) -> Sums {
        Sums {
            bytes_in: with(self.bytes_in, other.bytes_in),
            records_in: with(self.records_in, other.records_in),
            bytes_out: with(self.bytes_out, other.bytes_out),
            records_out: with(self.records_out, other.records_out),
            bytes_shuffled: with(self.bytes_shuffled, other.bytes_shuffled),
            bytes_relayed: with(self.bytes_relayed, other.bytes_relayed),
            bytes_in_place: with(self.bytes_in_place, other.bytes_in_place),
            bytes_local: with(self.bytes_local, other.bytes_local),
            bytes_distant: with(self.bytes_distant, other.bytes_distant),
            bytes_committed: with(self.bytes_committed, other.bytes_committed),
        }
    }
}

impl Reigns {
    /// What comes is of another driver, whose clock begins anew.
    fn begin_another(&mut self) {
        (self.before, self.last) = (self.total(), Moment(0));
    }

    /// How long drivers have worked until `at`, a moment of the newest one.
    fn advance(&mut self, at: Moment) -> Duration {
        if at < self.last - STEP_BACK_MAX {
            self.before += self.last.since(Moment(0));
            self.last = at;
        }
        self.last = self.last.max(at);
        self.total()
    }

    /// How long drivers have worked until the newest fact.
    pub fn total(&self) -> Duration {
        self.before + self.last.since(Moment(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::tally;

    #[test]
    fn only_the_attempt_that_counts_is_in_the_sums() {
        let check = |script: &str, done: u64, bytes_in: u64| {
            let facts = format!("plan 100 100 / 1\n{script}");
            let tally = tally(&facts);
            let (map, reduce) = (tally.phase(Stage::Map), tally.phase(Stage::Reduce));
            assert_eq!(map.done + reduce.done, done, "{script}");
            assert_eq!(map.sums.bytes_in + reduce.sums.bytes_in, bytes_in, "{script}");
        };
        check("finish map-0.0 0 100", 1, 100);
        check("finish map-0.0 0 100\n finish map-0.1 0 100", 1, 100);
        check("finish map-0.0 0 100\n unmake map-0.0", 0, 0);
        check("finish map-0.0 0 100\n unmake map-0.0\n finish map-0.1 1 90", 1, 90);
        check("finish map-0.0 0 100\n finish map-0.1 0 90\n unmake map-0.1", 1, 100);
        // A reduce counts once its part is committed, whichever attempt made it.
        check("finish reduce-0.0 0 50", 0, 0);
        check("finish reduce-0.0 0 50\n finish reduce-0.1 1 60\n commit reduce-0.1 7\n commit reduce-0.1 7", 1, 60);
        check("finish reduce-0.0 0 50\n fail reduce-0.0 0 1 3", 0, 0);
    }

    #[test]
    fn copies_count_as_won_once_they_count() {
        let check = |script: &str, copies: (u64, u64)| {
            let facts = format!("plan 100 100 / 1\ncopy map-0.1 1 map-0.0 0 left 9 1\n{script}");
            assert_eq!(tally(&facts).copies(), copies, "{script}");
        };
        check("", (1, 0));
        check("finish map-0.0 0 100", (1, 0));
        check("finish map-0.1 1 100", (1, 1));
        check("finish map-0.1 1 100\n unmake map-0.1\n copy map-0.3 1 map-0.2 0 left 9 1", (2, 0));
    }

    #[test]
    fn time_goes_on_under_the_next_driver() {
        let check = |script: &str, ms: u64| {
            assert_eq!(tally(script).clock.total(), Duration::from_millis(ms), "{script}");
        };
        check("9000 stage map\n 9500 staged map", 9500);
        check("9000 stage map\n 500 plan 1 / 1\n 800 staged map", 9800);
        check("9000 stage map\n 9100 resume 1 ann\n 9200 staged map", 18_200);
        // A little out of order is the same clock.
        check("9000 stage map\n 8900 staged map\n 9100 stage reduce", 9100);
    }
}
