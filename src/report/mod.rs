//! What a run came to, in numbers: the summary on the terminal, the line in `runner jobs`, the sizes before the start.
//!
//! A [`Tally`] counts facts as they come; a [`Report`] is plain data made from it at any moment. Text for people is
//! made beside them: `summary` (the end of a job), [`Shards`] (its start), [`JobLine`] (the list of jobs),
//! `account` (a job without a driver), [`Table`] and the words in `text`. Nothing here prints, reads files or asks the time.

mod account;
mod jobs;
#[cfg(test)]
pub mod script;
mod shards;
mod summary;
mod table;
mod tally;
mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

pub use account::{account_of_job, account_of_task};
pub use jobs::{Driver, JobLine, job_table};
pub use shards::Shards;
pub use table::{Column, Table};
pub use tally::{Phase, Sums, Tally, Worker};
pub use text::{count_of, printable, rate, times};

use crate::facts::{End, Stamped};
use crate::ids::{JobId, Stage, TaskId, WorkerId};

/// A run in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The job's id; none before it was planned.
    pub job: Option<JobId>,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: State,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// When it began: calendar time, milliseconds since 1970.
    pub started_ms: u64,
    /// How long drivers have worked on it; the time between two drivers does not count.
    pub took: Duration,
    /// Where the result goes.
    pub output: PathBuf,
    /// Input files.
    pub files: u64,
    /// The stages, in the order in which they run.
    pub phases: Vec<PhaseReport>,
    /// Attempts that took a slot.
    pub attempts: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Failed attempts whose task was tried again.
    pub retries: u64,
    /// Attempts that had not begun and went to another worker.
    pub moved: u64,
    /// Copies of stragglers.
    pub copies: u64,
    /// Those of them that won.
    pub copies_won: u64,
    /// Attempts that ended because another of the same task won.
    pub beaten: u64,
    /// Finished map outputs that were lost and made again.
    pub outputs_lost: u64,
    /// The workers, in the order of their ids.
    pub workers: Vec<WorkerReport>,
    /// Hosts that took no part.
    pub refused: u64,
    /// The attempt that held its slot longest, of those that count.
    pub slowest: Option<Slowest>,
    /// How evenly the reduces were loaded.
    pub skew: Option<Skew>,
    /// The user's counters: group, name, sum; sorted.
    pub counters: Vec<(String, String, i64)>,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It has not ended.
    Running,
    /// All parts are committed.
    Done,
    /// It failed.
    Failed,
    /// It was interrupted, and can be resumed.
    Interrupted,
    /// It was cancelled.
    Cancelled,
}

/// A stage in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PhaseReport {
    /// Which.
    pub stage: Stage,
    /// From its first attempt to its last task, or to the newest fact.
    pub wall: Duration,
    /// Tasks that it has.
    pub tasks: u64,
    /// Tasks that are done.
    pub done: u64,
    /// What they did.
    #[serde(flatten)]
    pub sums: Sums,
}

/// A worker in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkerReport {
    /// Which.
    pub worker: WorkerId,
    /// Its name for people, safe on a terminal.
    pub host: String,
    /// Attempts that it ran at once.
    pub slots: u32,
    /// Whether it was given up.
    pub lost: bool,
    /// Tasks for which its attempt counts.
    pub tasks: u64,
    /// Bytes that those read.
    pub bytes: u64,
    /// How long those held their slots, together.
    pub busy: Duration,
}

/// The task that took longest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Slowest {
    /// Which.
    pub task: TaskId,
    /// Where it ran.
    pub host: String,
    /// How long it held its slot.
    pub took: Duration,
}

/// How evenly the bytes lie over the reduces.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Skew {
    /// The reduce that read most.
    pub task: TaskId,
    /// What it read, in bytes.
    pub largest: u64,
    /// What a reduce read on average, in bytes.
    pub average: f64,
}

impl Report {
    /// The report of a whole stream of facts.
    pub fn fold<'a>(facts: impl IntoIterator<Item = &'a Stamped>) -> Self {
        let mut tally = Tally::default();
        facts.into_iter().for_each(|fact| tally.observe(fact));
        Report::of(&tally)
    }

    /// The report of what was counted so far. Costs O(tasks).
    pub fn of(tally: &Tally) -> Self {
        let error = match &tally.end {
            Some(End::Failed { text, .. }) => Some(text.clone()),
            Some(End::Done | End::Interrupted | End::Cancelled) | None => None,
        };
        Report {
            job: tally.plan.job.clone(),
            name: tally.plan.name.clone(),
            state: State::of(tally.end.as_ref()),
            error,
            started_ms: tally.plan.wall_ms,
            took: tally.clock.total(),
            output: tally.plan.output.clone(),
            files: tally.plan.files,
            phases: tally.stages().map(|stage| phase(tally, stage)).collect(),
            attempts: tally.events.attempts,
            failures: tally.events.failures,
            retries: tally.events.retries,
            moved: tally.events.moved,
            copies: tally.copies().0,
            copies_won: tally.copies().1,
            beaten: tally.events.beaten,
            outputs_lost: tally.events.outputs_lost,
            workers: workers(tally),
            refused: tally.refused,
            slowest: slowest(tally),
            skew: skew(tally),
            counters: counters(tally),
        }
    }

    /// Workers that were given up.
    pub fn workers_lost(&self) -> u64 {
        self.workers.iter().filter(|worker| worker.lost).count() as u64
    }
}

impl State {
    fn of(end: Option<&End>) -> Self {
        match end {
            None => State::Running,
            Some(End::Done) => State::Done,
            Some(End::Failed { .. }) => State::Failed,
            Some(End::Interrupted) => State::Interrupted,
            Some(End::Cancelled) => State::Cancelled,
        }
    }

    /// The word for people.
    pub fn name(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Done => "done",
            State::Failed => "failed",
            State::Interrupted => "interrupted",
            State::Cancelled => "cancelled",
        }
    }
}

fn phase(tally: &Tally, stage: Stage) -> PhaseReport {
    let phase = tally.phase(stage);
    let until = phase.finished.unwrap_or_else(|| tally.clock.total());
    let wall = phase.started.map_or(Duration::ZERO, |started| until.saturating_sub(started));
    PhaseReport { stage, wall, tasks: tally.tasks(stage), done: phase.done, sums: phase.sums }
}

fn workers(tally: &Tally) -> Vec<WorkerReport> {
    let mut reports: BTreeMap<WorkerId, WorkerReport> = BTreeMap::new();
    for (id, Worker { host, slots, lost }) in &tally.workers {
        let report = WorkerReport {
            worker: *id,
            host: host.clone(),
            slots: *slots,
            lost: *lost,
            tasks: 0,
            bytes: 0,
            busy: Duration::ZERO,
        };
        reports.insert(*id, report);
    }
    for (_, finished) in tally.counted() {
        if let Some(report) = reports.get_mut(&finished.worker) {
            report.tasks += 1;
            report.bytes += finished.work.bytes_in;
            report.busy += finished.work.took;
        }
    }
    reports.into_values().collect()
}

/// The slowest task; of equals the first.
fn slowest(tally: &Tally) -> Option<Slowest> {
    let (task, finished) = tally.counted().rev().max_by_key(|(_, finished)| finished.work.took)?;
    Some(Slowest { task, host: tally.host(finished.worker), took: finished.work.took })
}

fn skew(tally: &Tally) -> Option<Skew> {
    let reduces = || tally.counted().filter(|(task, _)| task.stage == Stage::Reduce);
    let (task, largest) = reduces().rev().max_by_key(|(_, finished)| finished.work.bytes_in)?;
    let total: u64 = reduces().map(|(_, finished)| finished.work.bytes_in).sum();
    Some(Skew { task, largest: largest.work.bytes_in, average: total as f64 / reduces().count() as f64 })
}

fn counters(tally: &Tally) -> Vec<(String, String, i64)> {
    let mut sums: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for (_, finished) in tally.counted() {
        for (group, name, amount) in &finished.work.counters {
            let sum = sums.entry((group, name)).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }
    sums.into_iter().map(|((group, name), sum)| (group.to_owned(), name.to_owned(), sum)).collect()
}

#[cfg(test)]
mod tests {
    use super::script::facts;
    use super::*;

    /// The tally of a script.
    pub fn tally(script: &str) -> Tally {
        let mut tally = Tally::default();
        facts(script).iter().for_each(|fact| tally.observe(fact));
        tally
    }

    const RUN: &str = "
        100 join 0 node01 4
        join 1 node02 4
        200 plan 67108864 134217728 / 2
        1000 stage map
        start map-0.0 0
        start map-1.0 1
        3000 finish map-0.0 0 67108864 31457280 10485760 2000 1
        5000 finish map-1.0 1 134217728 41943040 20971520 4000 2
        staged map
        stage reduce
        start reduce-0.0 0
        start reduce-1.0 1
        7000 finish reduce-0.0 0 10485760 1048576 5242880 2000 0 2097152 10485760
        commit reduce-0.0 1048576
        8000 finish reduce-1.0 1 20971520 2097152 5242880 3000 0 0 10485760
        commit reduce-1.0 2097152
        staged reduce
        8100 end done";

    #[test]
    fn a_run_without_trouble_is_ten_lines() {
        let expected = "\
wordcount-7k2m9q done in 8.1s on 2 workers with 8 slots
  phase     time  tasks    bytes in         rate  records in  bytes out  records out
  map       4.0s      2  192.00 MiB  48.00 MiB/s  20,132,658  70.00 MiB    7,340,032
  reduce    3.0s      2   30.00 MiB  10.00 MiB/s   3,145,728   3.00 MiB      314,572
  shuffle   30.00 MiB in segments (compressed to 42 %); 20.00 MiB in place, 8.00 MiB from worker to worker, 2.00 MiB through the driver (2.50 MiB/s)
  output    2 parts, 3.00 MiB in /out
  attempts  4, none failed
  slowest   map-1 on node02, 4.0s
  skew      the largest reduce is 1.33 times the average (reduce-1, 20.00 MiB of 15.00 MiB)
  counters  words / bad = 3
";
        assert_eq!(Report::of(&tally(RUN)).to_string(), expected);
    }

    #[test]
    fn trouble_is_counted_and_named() {
        let trouble = "
            100 join 0 node01 1
            join 1 node02 1
            refuse node03 no route
            plan 1000 1000 / 0
            stage map
            start map-0.0 0
            start map-1.0 1
            fail map-0.0 0 1 3 oh
            drop map-0.1 1 moved
            copy map-1.1 1 map-1.0 0 left 9000 1000
            drop map-1.1 1 beaten
            unmake map-1.0
            lose 1 gone
            900 end failed map-0 failed for good";
        let report = Report::of(&tally(trouble));
        assert_eq!(report.error.as_deref(), Some("map-0 failed for good"));
        let text = report.to_string();
        for line in [
            "wordcount-7k2m9q failed after 0.9s on 2 workers with 2 slots",
            "  map       0.8s    0/2       0 B  0 B/s           0        0 B            0",
            "  attempts  2, 1 failed, 1 of them tried again, 1 moved to a free worker, 1 copied as too slow, \
             1 beaten by a copy, 1 finished but lost and made again",
            "  workers   1 lost (node02), 1 took no part",
        ] {
            assert!(text.lines().any(|given| given == line), "{line}\n--\n{text}");
        }
    }

    #[test]
    fn a_report_is_plain_data() {
        let json = serde_json::to_value(Report::of(&tally(RUN))).expect("json");
        assert_eq!(json["state"], "done");
        assert_eq!(json["phases"][1]["bytes_shuffled"], 10_485_760);
        assert_eq!(json["workers"][1]["bytes"], 134_217_728 + 20_971_520);
    }
}
