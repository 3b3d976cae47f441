//! Facts as short lines, for tests: `1200 start map-3.0 1`, time in milliseconds first (or as before).

use std::time::Duration;

use crate::clock::Moment;
use crate::error::Kind;
use crate::facts::{Cause, DropReason, End, Fact, Failure, Lag, Next, Plan, Shortage, Slowness, Stamped, Work};
use crate::ids::{AttemptId, Epoch, Stage, TaskId, WorkerId};
use crate::units::Bytes;

/// The facts of a script.
pub fn facts(script: &str) -> Vec<Stamped> {
    let mut at = Moment(0);
    let lines = script.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
            let Ok(ms) = first.parse::<u64>() else { return Stamped { at, fact: fact(first, rest) } };
            at = Moment(ms * 1000);
            let (verb, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            Stamped { at, fact: fact(verb, rest) }
        })
        .collect()
}

/// A moment so many milliseconds after the beginning.
pub fn ms(ms: u64) -> Moment {
    Moment(ms * 1000)
}

/// An attempt by its name, of the first epoch.
pub fn attempt(name: &str) -> AttemptId {
    let (task, number) = name.rsplit_once('.').expect("task.number");
    let task: TaskId = task.parse().expect("a task");
    AttemptId { task, epoch: Epoch(0), number: number.parse().expect("a number") }
}

fn fact(verb: &str, rest: &str) -> Fact {
    let words: Vec<&str> = rest.split_whitespace().collect();
    let worker = |place: usize| WorkerId(words[place].parse().expect("a worker"));
    let number = |place: usize| words.get(place).map_or(0, |word| word.parse::<u64>().expect("a number"));
    let time = |place: usize| Duration::from_millis(number(place));
    let tail = |place: usize| words[place..].join(" ");
    match verb {
        "plan" => Fact::JobPlanned(plan(rest)),
        "resume" => Fact::JobResumed { epoch: Epoch(number(0) as u32), driver: tail(1), wall_ms: 2_000_000 },
        "join" => Fact::WorkerJoined { worker: worker(0), host: words[1].to_owned(), slots: number(2) as u32 },
        "refuse" => Fact::WorkerRefused { host: words[0].to_owned(), reason: tail(1) },
        "suspect" => Fact::WorkerSuspect { worker: worker(0) },
        "back" => Fact::WorkerBack { worker: worker(0) },
        "lose" => Fact::WorkerLost { worker: worker(0), reason: tail(1) },
        // bar WORKER FAILURES UNTIL_SECONDS
        "bar" => {
            let until = ms(number(2) * 1000);
            Fact::WorkerBarred { worker: worker(0), failures: number(1) as u32, until }
        }
        // remember WORKER SHARE UNTIL_SECONDS EVIDENCE
        "remember" => Fact::WorkerRemembered {
            worker: worker(0),
            share_percent: number(1) as u32,
            until: ms(number(2) * 1000),
            evidence: tail(3),
        },
        // mark WORKER SHARE UNTIL_SECONDS STRAGGLER MILLISECONDS_THERE ELSEWHERE
        "mark" => Fact::WorkerMarked {
            worker: worker(0),
            slowness: Slowness {
                attempt: attempt(words[3]),
                there: time(4),
                winner: attempt(words[3]),
                elsewhere: time(5),
            },
            share_percent: number(1) as u32,
            until: ms(number(2) * 1000),
        },
        // hold WORKER FREE_MEMORY
        "hold" => Fact::WorkerHeld { worker: worker(0), shortage: Shortage::Memory { free: Bytes(number(1)) } },
        "ease" => Fact::WorkerEased { worker: worker(0) },
        "drain" => Fact::WorkerDraining { worker: worker(0) },
        "keep" => Fact::WorkerKept { worker: worker(0) },
        "release" => Fact::WorkerReleased { worker: worker(0) },
        "clear" => Fact::WorkerCleared { worker: worker(0) },
        // copy ATTEMPT WORKER OF FROM left|worked MILLISECONDS MILLISECONDS
        "copy" => Fact::AttemptCopied {
            attempt: attempt(words[0]),
            worker: worker(1),
            of: attempt(words[2]),
            from: worker(3),
            lag: match words[4] {
                "left" => Lag::Rate { left: time(5), elsewhere: time(6) },
                _ => Lag::Overdue { worked: time(5), usual: time(6) },
            },
        },
        "stage" => Fact::StageStarted { stage: stage(words[0]) },
        "staged" => Fact::StageFinished { stage: stage(words[0]) },
        "queue" => Fact::AttemptQueued { attempt: attempt(words[0]), worker: worker(1) },
        "start" => Fact::AttemptStarted { attempt: attempt(words[0]), worker: worker(1) },
        // finish ATTEMPT WORKER BYTES_IN BYTES_OUT BYTES_SHUFFLED MILLISECONDS COUNTER BYTES_RELAYED BYTES_IN_PLACE
        "finish" => {
            let work = Work {
                bytes_in: number(2),
                records_in: number(2) / 10,
                bytes_out: number(3),
                records_out: number(3) / 10,
                bytes_shuffled: number(4),
                bytes_relayed: number(7),
                bytes_in_place: number(8),
                took: Duration::from_millis(number(5)),
                counters: vec![("words".to_owned(), "bad".to_owned(), number(6) as i64)],
                ..Work::default()
            };
            Fact::AttemptFinished { attempt: attempt(words[0]), worker: worker(1), work }
        }
        // fail ATTEMPT WORKER CODE LEFT STDERR, where LEFT may be `covered` or `up`
        "fail" => Fact::AttemptFailed {
            attempt: attempt(words[0]),
            worker: worker(1),
            failure: Failure {
                cause: Cause::Exit { step: attempt(words[0]).task.stage.to_string(), code: number(2) as i32 },
                stderr_tail: tail(4).replace("\\n", "\n").replace("\\e", "\x1b"),
            },
            next: match words[3] {
                "covered" => Next::Covered,
                "up" => Next::GiveUp,
                left => Next::Retry { left: left.parse().expect("a number") },
            },
        },
        "drop" => Fact::AttemptDropped {
            attempt: attempt(words[0]),
            worker: worker(1),
            reason: match words[2] {
                "beaten" => DropReason::Beaten,
                "moved" => DropReason::Moved,
                "never" => DropReason::NeverArrived,
                "lost" => DropReason::WorkerLost,
                "gone" => DropReason::InputGone,
                _ => DropReason::JobEnds,
            },
        },
        "unmake" => Fact::OutputLost { attempt: attempt(words[0]) },
        "commit" => Fact::PartCommitted { attempt: attempt(words[0]), bytes: number(1) },
        "end" => Fact::JobFinished {
            end: match words[0] {
                "done" => End::Done,
                "failed" => End::Failed { kind: Kind::TaskFailed, text: tail(1) },
                "cancelled" => End::Cancelled,
                _ => End::Interrupted,
            },
        },
        other => panic!("no such line in a script: {other}"),
    }
}

/// `plan SPLIT SPLIT ... / REDUCES`: a file for each split.
fn plan(rest: &str) -> Plan {
    let (splits, reduces) = rest.split_once('/').expect("splits / reduces");
    let splits: Vec<u64> = splits.split_whitespace().map(|split| split.parse().expect("a size")).collect();
    Plan {
        job: Some("wordcount-7k2m9q".parse().expect("an id")),
        name: "wordcount".to_owned(),
        wall_ms: 1_000_000,
        output: "/out".into(),
        files: splits.len() as u64,
        bytes: splits.iter().sum(),
        splits,
        reduces: reduces.trim().parse().expect("a number"),
    }
}

fn stage(name: &str) -> Stage {
    if name == "map" { Stage::Map } else { Stage::Reduce }
}
