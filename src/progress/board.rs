//! What is known of the run at this moment: the tally of its facts, and how far the running attempts are.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::clock::Moment;
use crate::facts::{Fact, Stamped};
use crate::ids::{AttemptId, Stage, TaskId, WorkerId};
use crate::report::{Tally, count_of, printable};

/// The state that every style draws from.
#[derive(Debug, Default)]
pub struct Board {
    /// The counts.
    pub tally: Tally,
    /// The attempts that hold a slot.
    pub running: BTreeMap<AttemptId, Running>,
    /// Attempts that wait since other jobs have the slots of their host, by worker.
    pub awaiting: BTreeMap<WorkerId, Awaiting>,
    map_meter: Meter,
    reduce_meter: Meter,
}

/// An attempt that holds a slot.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    /// Where.
    pub worker: WorkerId,
    /// Since when.
    pub since: Moment,
    /// Bytes read so far.
    pub bytes_done: u64,
    /// Bytes that it will read; 0 where that is unknown.
    pub bytes_total: u64,
}

/// Attempts that wait for slots, and who has these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaiting {
    /// How many attempts.
    pub attempts: u32,
    /// The ids of the jobs.
    pub holders: Vec<String>,
}

/// A stage at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhaseView {
    /// Which.
    pub stage: Stage,
    /// Tasks that are done.
    pub done: u64,
    /// Tasks that it has.
    pub tasks: u64,
    /// Bytes read, those of running attempts too.
    pub bytes_done: u64,
    /// Bytes to be read; none for reduces, whose input is known only when the last map is done.
    pub bytes_total: Option<u64>,
    /// How much of it is done, from 0 to 1.
    pub fraction: f64,
    /// Bytes a second, lately; none while nothing can be said.
    pub rate: Option<u64>,
    /// The time that is left at the pace so far; none while nothing can be said.
    pub left: Option<Duration>,
}

/// The rate of the last seconds.
#[derive(Debug, Default)]
struct Meter {
    points: VecDeque<(Moment, u64)>,
}

/// Long enough to be steady, short enough to show that something stalls.
const WINDOW: Duration = Duration::from_secs(10);
const POINT_EVERY: Duration = Duration::from_millis(500);

/// Before so much of a stage, in time and share, nothing is said of what is left.
const PACE_AFTER: Duration = Duration::from_secs(1);
const PACE_FRACTION: f64 = 0.005;

impl Board {
    /// Takes in a fact.
    pub fn observe(&mut self, stamped: &Stamped) {
        self.tally.observe(stamped);
        match &stamped.fact {
            Fact::AttemptStarted { attempt, worker } => {
                let bytes_total = self.split_bytes(attempt.task);
                let running = Running { worker: *worker, since: stamped.at, bytes_done: 0, bytes_total };
                self.running.insert(*attempt, running);
            }
            Fact::AttemptFinished { attempt, .. }
            | Fact::AttemptFailed { attempt, .. }
            | Fact::AttemptDropped { attempt, .. } => {
                self.running.remove(attempt);
            }
            // Times of the driver before mean nothing on the clock of this one.
            Fact::JobResumed { .. } => {
                self.running.values_mut().for_each(|running| running.since = stamped.at);
            }
            Fact::JobPlanned(_)
            | Fact::WorkerJoined { .. }
            | Fact::WorkerRefused { .. }
            | Fact::WorkerSuspect { .. }
            | Fact::WorkerBack { .. }
            | Fact::WorkerLost { .. }
            | Fact::WorkerBarred { .. }
            | Fact::WorkerMarked { .. }
            | Fact::WorkerRemembered { .. }
            | Fact::WorkerCleared { .. }
            | Fact::WorkerHeld { .. }
            | Fact::WorkerEased { .. }
            | Fact::WorkerDraining { .. }
            | Fact::WorkerKept { .. }
            | Fact::WorkerReleased { .. }
            | Fact::StageStarted { .. }
            | Fact::StageFinished { .. }
            | Fact::AttemptCopied { .. }
            | Fact::AttemptQueued { .. }
            | Fact::OutputLost { .. }
            | Fact::PartCommitted { .. }
            | Fact::JobFinished { .. } => {}
        }
    }

    /// Takes in how far an attempt is; ignored if it does not run any more.
    pub fn sample(&mut self, attempt: AttemptId, bytes_done: u64, bytes_total: u64) {
        if let Some(running) = self.running.get_mut(&attempt) {
            running.bytes_done = bytes_done;
            if bytes_total > 0 {
                running.bytes_total = bytes_total;
            }
        }
    }

    /// Takes in what attempts on a worker wait for.
    pub fn await_slots(&mut self, worker: WorkerId, awaiting: Awaiting) {
        match awaiting.attempts {
            0 => _ = self.awaiting.remove(&worker),
            _ => _ = self.awaiting.insert(worker, awaiting),
        }
    }

    /// `2 attempts on node1 wait for slots that sort-7k2m9q has`, for each such worker.
    pub fn awaiting_texts(&self) -> impl Iterator<Item = String> {
        self.awaiting.iter().map(|(worker, Awaiting { attempts, holders })| {
            let (verb, host) = (if *attempts == 1 { "waits" } else { "wait" }, self.tally.host(*worker));
            let attempts = count_of(u64::from(*attempts), "attempt");
            format!("{attempts} on {host} {verb} for slots that {} has", printable(&holders.join(", ")))
        })
    }

    /// Takes the measure of all rates.
    pub fn tick(&mut self, now: Moment) {
        if self.map_meter.is_due(now) {
            let (map, reduce) = (self.bytes_done(Stage::Map), self.bytes_done(Stage::Reduce));
            self.map_meter.push(now, map);
            self.reduce_meter.push(now, reduce);
        }
    }

    /// A stage as it stands now.
    pub fn phase(&self, stage: Stage, now: Moment) -> PhaseView {
        let phase = self.tally.phase(stage);
        let tasks = self.tally.tasks(stage);
        let bytes_total = match stage {
            Stage::Map => Some(self.tally.plan().bytes),
            Stage::Reduce => None,
        };
        let bytes_done = self.bytes_done(stage).min(bytes_total.unwrap_or(u64::MAX));
        let fraction = match bytes_total {
            _ if phase.done == tasks => 1.0,
            Some(total) if total > 0 => bytes_done as f64 / total as f64,
            Some(_) | None => self.tasks_done(stage) / tasks as f64,
        };
        let elapsed = phase.started.map(|started| self.tally.elapsed(now).saturating_sub(started));
        let left = elapsed
            .filter(|elapsed| *elapsed >= PACE_AFTER && fraction >= PACE_FRACTION)
            .map(|elapsed| elapsed.mul_f64((1.0 - fraction).max(0.0) / fraction));
        let meter = match stage {
            Stage::Map => &self.map_meter,
            Stage::Reduce => &self.reduce_meter,
        };
        PhaseView { stage, done: phase.done, tasks, bytes_done, bytes_total, fraction, rate: meter.rate(), left }
    }

    /// Whether attempts of a stage have been sent out, and some of its tasks are open.
    pub fn is_open(&self, stage: Stage) -> bool {
        self.tally.phase(stage).started.is_some() && self.tally.phase(stage).done < self.tally.tasks(stage)
    }

    /// Bytes read by what counts and what runs; of several attempts of a task, the one that is farthest.
    fn bytes_done(&self, stage: Stage) -> u64 {
        let farthest = self.farthest(stage, |running| running.bytes_done as f64);
        self.tally.phase(stage).sums.bytes_in + farthest as u64
    }

    /// Tasks that are done, and the done shares of those that run.
    fn tasks_done(&self, stage: Stage) -> f64 {
        let share = |running: &Running| match running.bytes_total {
            0 => 0.0,
            total => (running.bytes_done as f64 / total as f64).min(1.0),
        };
        self.tally.phase(stage).done as f64 + self.farthest(stage, share)
    }

    /// The sum over the open tasks of a stage of the largest `measure` among its running attempts.
    fn farthest(&self, stage: Stage, measure: impl Fn(&Running) -> f64) -> f64 {
        let mut sum = 0.0;
        let mut best: Option<(TaskId, f64)> = None;
        // Attempts are in the order of their tasks, so those of one task follow each other.
        for (attempt, running) in &self.running {
            if attempt.task.stage != stage || self.tally.is_done(attempt.task) {
                continue;
            }
            let value = measure(running);
            best = Some(match best {
                Some((task, other)) if task == attempt.task => (task, other.max(value)),
                previous => {
                    sum += previous.map_or(0.0, |(_, value)| value);
                    (attempt.task, value)
                }
            });
        }
        sum + best.map_or(0.0, |(_, value)| value)
    }

    /// The planned size of a map's split; 0 for a reduce.
    fn split_bytes(&self, task: TaskId) -> u64 {
        match task.stage {
            Stage::Map => self.tally.plan().splits.get(task.index as usize).copied().unwrap_or(0),
            Stage::Reduce => 0,
        }
    }
}

impl Meter {
    fn is_due(&self, now: Moment) -> bool {
        self.points.back().is_none_or(|(last, _)| now.since(*last) >= POINT_EVERY)
    }

    fn push(&mut self, now: Moment, bytes: u64) {
        if self.points.back().is_some_and(|(_, last)| *last > bytes) {
            // Lost work is read again; what was measured before says nothing.
            self.points.clear();
        }
        self.points.push_back((now, bytes));
        while self.points.len() > 2 && self.points.front().is_some_and(|(first, _)| now.since(*first) > WINDOW) {
            self.points.pop_front();
        }
    }

    fn rate(&self) -> Option<u64> {
        let ((from, first), (to, last)) = (self.points.front()?, self.points.back()?);
        let seconds = to.since(*from).as_secs_f64();
        (seconds > 0.0).then(|| ((last - first) as f64 / seconds) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::script::{attempt, facts, ms};

    fn board(script: &str) -> Board {
        let mut board = Board::default();
        facts(script).iter().for_each(|fact| board.observe(fact));
        board
    }

    #[test]
    fn running_attempts_count_once_a_task() {
        let mut board = board(
            "plan 1000 1000 / 1\n join 0 node01 4\n stage map\n finish map-0.0 0 1000\n
             start map-1.0 0\n start map-1.1 0\n start map-0.1 0",
        );
        board.sample(attempt("map-1.0"), 300, 1000);
        board.sample(attempt("map-1.1"), 500, 0);
        board.sample(attempt("map-0.1"), 900, 1000);
        board.sample(attempt("map-1.7"), 900, 1000);
        let view = board.phase(Stage::Map, ms(0));
        assert_eq!((view.done, view.bytes_done, view.fraction), (1, 1500, 0.75));
    }

    #[test]
    fn reduces_are_measured_by_their_tasks() {
        let mut board =
            board("plan 1 / 4\n stage reduce\n start reduce-0.0 0\n finish reduce-1.0 0 80\n commit reduce-1.0 1");
        board.sample(attempt("reduce-0.0"), 40, 80);
        let view = board.phase(Stage::Reduce, ms(3000));
        assert_eq!((view.done, view.bytes_done, view.bytes_total, view.fraction), (1, 120, None, 0.375));
        assert_eq!(view.left, Some(Duration::from_secs(5)));
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut board = board("plan 100000 / 1\n stage map\n start map-0.0 0");
        let mut check = |at: u64, done: u64, rate: Option<u64>| {
            board.sample(attempt("map-0.0"), done, 0);
            board.tick(ms(at));
            assert_eq!(board.phase(Stage::Map, ms(at)).rate, rate, "{at}");
        };
        check(0, 0, None);
        check(1000, 500, Some(500));
        check(1100, 600, Some(500));
        check(2000, 1000, Some(500));
        check(6000, 1000, Some(166));
        check(11_500, 1000, Some(0));
        check(30_000, 1000, Some(0));
        check(31_000, 10, None);
    }
}
