//! The words of the scripts in `tests/scheduler.rs` and `tests/stragglers.rs`: events as text, actions as text.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::time::Duration;

use runner::clock::Moment;
use runner::error::Kind;
use runner::facts::{Cause, DropReason, End, Fact, Failure, HostLoad, Lag, Lender, Limit, Next, Work};
use runner::ids::{AttemptId, Epoch, Stage, WorkerId};
use runner::scheduler::{Action, Config, EarlyReduces, Event, Remembered, RememberedStanding, Scheduler};
use runner::units::Bytes;

/// Runs a script and compares what follows each line. Facts that say no more than the actions beside them are left
/// out; `stale` means that an event was dropped as old.
///
/// A line may begin with a time, `@20s`; else it is a microsecond later than the one before.
///
/// The job is `job MAPS REDUCES`, perhaps with `; ahead 0` for no places beyond the slots, and with `; early` for reduces
/// that are sent while the last maps run, or `; homes 1 0` for the workers that have the splits. Maps are of 1000 bytes, or of
/// so many as the words after `sizes` say. An output is put in its place at once, and the job is done; with `; held`, that is
/// told by `completed`.
/// Gives back the scheduler as it is at the end.
pub fn check(job: &str, script: &str) -> Scheduler {
    let mut scheduler = Scheduler::new(config(job));
    let (mut joined, mut now) = (0, Moment(0));
    for line in script.lines().filter(|line| !line.trim().is_empty()) {
        let (events, expected) = line.split_once("->").expect("a line is events, an arrow and actions");
        let mut said = Vec::new();
        let events = match events.trim().strip_prefix('@').and_then(|events| events.split_once("s ")) {
            Some((seconds, events)) => {
                now = Moment(0) + Duration::from_secs(seconds.parse().expect("seconds"));
                events
            }
            None => events,
        };
        for event in events.split(';') {
            let stale = scheduler.stale();
            if event.trim() != "wait" {
                scheduler.handle(now, event_of(event.trim(), &mut joined));
            }
            scheduler.sanity_check();
            said.extend((scheduler.stale() > stale).then(|| "stale".to_owned()));
        }
        let mut actions = Vec::new();
        scheduler.decide(now, &mut actions);
        scheduler.sanity_check();
        if actions.last() == Some(&Action::Complete) && !job.contains("; held") {
            actions.pop();
            scheduler.handle(now, Event::Completed);
            scheduler.decide(now, &mut actions);
        }
        said.extend(actions.iter().filter_map(text_of));
        let expected: Vec<&str> = expected.split(';').map(str::trim).filter(|text| !text.is_empty()).collect();
        assert_eq!(said, expected, "after `{}`", events.trim());
        now = Moment(now.0 + 1);
    }
    scheduler
}

/// The kind with which a job ends whose only task fails for this cause, each time.
pub fn kind_at_the_end(cause: &str) -> Kind {
    let mut scheduler = Scheduler::new(config("job 1 0"));
    let (mut joined, mut actions) = (0, Vec::new());
    let fails = (0..4).map(|number| format!("fail map-0.{number} w0 {cause}"));
    for event in ["join a 1".to_owned(), "complete".to_owned()].into_iter().chain(fails) {
        scheduler.handle(Moment(0), event_of(&event, &mut joined));
        scheduler.decide(Moment(0), &mut actions);
    }
    match actions.last() {
        Some(Action::Conclude(End::Failed { kind, .. })) => *kind,
        other => panic!("the job did not fail: {other:?}"),
    }
}

fn config(job: &str) -> Config {
    let mut config = Config::default();
    config.rules.early_reduces = EarlyReduces::Never;
    for part in job.split(';') {
        match part.trim() {
            "early" => {
                config.rules.early_reduces = EarlyReduces::WhileMapsEnd;
                continue;
            }
            "held" => continue,
            _ => {}
        }
        let (word, numbers) = part.trim().split_once(' ').expect("a word and numbers");
        let numbers: Vec<u32> = numbers.split(' ').map(|number| number.parse().expect("a number")).collect();
        match word {
            "job" => (config.maps, config.reduces) = (vec![1000; numbers[0] as usize], numbers[1]),
            "sizes" => config.maps = numbers.into_iter().map(u64::from).collect(),
            "homes" => {
                config.homes = numbers.into_iter().map(|number| vec![WorkerId(number)]).collect();
            }
            "ahead" => {
                (config.rules.ahead_maps_percent, config.rules.ahead_reduces_percent) = (numbers[0], numbers[0]);
            }
            // slow NUMBER SHARE and barred NUMBER: the host of that number, from 0 for a, for 600 s
            "slow" => config.remembered.push(remembered(numbers[0], RememberedStanding::Slow(numbers[1]))),
            "barred" => config.remembered.push(remembered(numbers[0], RememberedStanding::Barred)),
            other => panic!("`{other}` is no part of a job"),
        }
    }
    config
}

fn remembered(number: u32, standing: RememberedStanding) -> Remembered {
    let host = char::from(b'a' + number as u8).to_string();
    let until = Moment(0) + Duration::from_secs(600);
    Remembered { host, standing, until, evidence: "it was so".to_owned() }
}

fn event_of(text: &str, joined: &mut u32) -> Event {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (reason, host) = ("no answer".to_owned(), || words[1].to_owned());
    let attempt = || attempt_of(words[1]);
    let worker = |index: usize| WorkerId(words[index].trim_start_matches('w').parse().expect("a worker such as w0"));
    match words[0] {
        "join" => {
            *joined += 1;
            Event::WorkerJoined { worker: WorkerId(*joined - 1), host: host(), slots: words[2].parse().expect("slots") }
        }
        "refuse" => Event::WorkerRefused { host: host(), reason },
        "complete" => Event::FleetComplete,
        "grow" => Event::FleetGrows,
        "drain" => Event::WorkerDraining(worker(1)),
        "keep" => Event::WorkerKept(worker(1)),
        "suspect" => Event::WorkerSuspect(worker(1)),
        "back" => Event::WorkerBack(worker(1)),
        // holds WORKER ATTEMPT...
        "holds" => {
            let attempts = words[2..].iter().map(|name| attempt_of(name)).collect();
            Event::WorkerHolds { worker: worker(1), attempts }
        }
        "lose" => Event::WorkerLost { worker: worker(1), reason },
        // load WORKER OTHERS_PERCENT MEMORY_MIB DISK_MIB, of a host with one processor; or load WORKER lent ATTEMPTS JOB
        "load" => Event::WorkerLoad { worker: worker(1), load: load_of(&words[2..]) },
        "start" => Event::AttemptStarted { attempt: attempt(), worker: worker(2) },
        // progress ATTEMPT WORKER DONE TOTAL SECONDS_WAITED
        "progress" => {
            let number = |index: usize| words.get(index).map_or(0, |number| number.parse().expect("a number"));
            let (bytes_done, bytes_total, waited) = (number(3), number(4), Duration::from_secs(number(5)));
            Event::AttemptProgressed { attempt: attempt(), worker: worker(2), bytes_done, bytes_total, waited }
        }
        "finish" => {
            let hash = words.get(3).map_or(0, |hash| hash.parse().expect("a hash"));
            Event::AttemptFinished { attempt: attempt(), worker: worker(2), work: Work { hash, ..Work::default() } }
        }
        "fail" => {
            let failure = Failure::of(cause_of(&words[3..]));
            Event::AttemptFailed { attempt: attempt(), worker: worker(2), failure }
        }
        "committed" => Event::Committed { attempt: attempt(), bytes: 1 },
        "uncommit" => Event::CommitFailed { attempt: attempt(), text: reason },
        "completed" => Event::Completed,
        // gone TASK...
        "gone" => Event::PartsLost(words[1..].iter().map(|task| task.parse().expect("a task")).collect()),
        "interrupt" => Event::Interrupted,
        "cancel" => Event::Cancelled,
        "broken" => Event::Broken(End::Failed { kind: Kind::Data, text: reason }),
        other => panic!("`{other}` is no event"),
    }
}

fn load_of(words: &[&str]) -> HostLoad {
    let number = |place: usize| words[place].parse::<u64>().expect("a number");
    let (memory_free, disk_free) = (Bytes::mebi(1024), Bytes::mebi(1024));
    let idle = HostLoad { cores: 1, memory_free, disk_free, ..HostLoad::default() };
    match words {
        ["lent", _, holders @ ..] => HostLoad {
            awaiting_slots: number(1) as u32,
            slot_holders: holders.iter().map(|job| (*job).to_owned()).collect(),
            ..idle
        },
        _ => HostLoad {
            others_percent: number(0) as u32,
            memory_free: Bytes::mebi(number(1)),
            disk_free: Bytes::mebi(number(2)),
            ..idle
        },
    }
}

fn attempt_of(text: &str) -> AttemptId {
    let (task, number) = text.split_once('.').expect("an attempt such as map-0.0");
    let (task, number) = (task.parse().expect("a task"), number.parse().expect("a number"));
    AttemptId { task, epoch: Epoch(0), number }
}

fn cause_of(words: &[&str]) -> Cause {
    match words {
        ["exit"] => Cause::Exit { step: "map".to_owned(), code: 1 },
        ["input"] => Cause::Input { text: "a.gz is corrupt".to_owned() },
        ["limit"] => Cause::Limit { limit: Limit::Memory(Bytes::mebi(1)), by: Lender::Job },
        ["oom"] => Cause::OutOfMemory { step: "map".to_owned() },
        ["disk"] => Cause::DiskFull { text: "/scratch".to_owned() },
        ["fetch", source] => Cause::Fetch { source: attempt_of(source), text: "no such segment".to_owned() },
        other => panic!("{other:?} is no cause"),
    }
}

fn text_of(action: &Action) -> Option<String> {
    match action {
        Action::Record(fact) => text_of_fact(fact),
        Action::Start { attempt, worker } => Some(format!("start {attempt} {worker}")),
        Action::Kill { attempt, worker } => Some(format!("kill {attempt} {worker}")),
        Action::Publish { attempt, worker } => Some(format!("publish {attempt} {worker}")),
        Action::Withdraw { task } => Some(format!("withdraw {task}")),
        Action::Commit { attempt, worker } => Some(format!("commit {attempt} {worker}")),
        Action::Complete => Some("complete".to_owned()),
        Action::Release { worker } => Some(format!("release {worker}")),
        Action::Conclude(end) => Some(format!("conclude {}", text_of_end(end))),
    }
}

fn text_of_fact(fact: &Fact) -> Option<String> {
    Some(match fact {
        Fact::WorkerSuspect { worker } => format!("suspect {worker}"),
        Fact::WorkerBack { worker } => format!("back {worker}"),
        Fact::WorkerLost { worker, .. } => format!("lost {worker}"),
        Fact::WorkerBarred { worker, .. } => format!("barred {worker}"),
        Fact::WorkerMarked { worker, share_percent, .. } => format!("marked {worker} {share_percent}"),
        Fact::WorkerCleared { worker } => format!("cleared {worker}"),
        Fact::WorkerRemembered { worker, share_percent, .. } => format!("remembered {worker} {share_percent}"),
        Fact::WorkerHeld { worker, .. } => format!("held {worker}"),
        Fact::WorkerEased { worker } => format!("eased {worker}"),
        Fact::WorkerDraining { worker } => format!("draining {worker}"),
        Fact::WorkerKept { worker } => format!("kept {worker}"),
        Fact::WorkerReleased { worker } => format!("released {worker}"),
        Fact::AttemptCopied { of, lag, .. } => text_of_copy(*of, lag),
        Fact::StageFinished { stage: Stage::Map } => "finished map".to_owned(),
        Fact::StageFinished { stage: Stage::Reduce } => "finished reduce".to_owned(),
        Fact::AttemptFailed { attempt, next: Next::Retry { left }, .. } => format!("retry {} {left}", attempt.task),
        Fact::AttemptFailed { attempt, next: Next::Covered, .. } => format!("covered {}", attempt.task),
        Fact::AttemptFailed { attempt, next: Next::GiveUp, .. } => format!("give up {}", attempt.task),
        Fact::AttemptDropped { attempt, reason, .. } => format!("drop {attempt} {}", text_of_reason(*reason)),
        Fact::OutputLost { attempt } => format!("output lost {attempt}"),
        Fact::PartCommitted { attempt, .. } => format!("part {attempt}"),
        Fact::JobFinished { end } => format!("end {}", text_of_end(end)),
        Fact::JobPlanned(_)
        | Fact::JobResumed { .. }
        | Fact::WorkerJoined { .. }
        | Fact::WorkerRefused { .. }
        | Fact::StageStarted { .. }
        | Fact::AttemptQueued { .. }
        | Fact::AttemptStarted { .. }
        | Fact::AttemptFinished { .. } => return None,
    })
}

fn text_of_copy(of: AttemptId, lag: &Lag) -> String {
    match lag {
        Lag::Rate { left, elsewhere } => format!("copy {of} left {} or {}", left.as_secs(), elsewhere.as_secs()),
        Lag::Overdue { worked, usual } => format!("copy {of} after {}, usual {}", worked.as_secs(), usual.as_secs()),
    }
}

fn text_of_reason(reason: DropReason) -> &'static str {
    match reason {
        DropReason::Beaten => "beaten",
        DropReason::Moved => "moved",
        DropReason::NeverArrived => "never arrived",
        DropReason::WorkerLost => "worker lost",
        DropReason::InputGone => "input gone",
        DropReason::JobEnds => "job ends",
    }
}

fn text_of_end(end: &End) -> &'static str {
    match end {
        End::Done => "done",
        End::Failed { .. } => "failed",
        End::Interrupted => "interrupted",
        End::Cancelled => "cancelled",
    }
}
