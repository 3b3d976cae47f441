//! The words of the scripts in `tests/scheduler.rs`: events as text, actions as text.

use runner::clock::Moment;
use runner::error::Kind;
use runner::facts::{Cause, DropReason, End, Fact, Failure, Next, Work};
use runner::ids::{AttemptId, Epoch, Stage, WorkerId};
use runner::scheduler::{Action, Config, Event, Rules, Scheduler};

/// Runs a script and compares what follows each line. Facts that say no more than the actions beside them are left
/// out; `stale` means that an event was dropped as old.
///
/// The job is `job MAPS REDUCES`, perhaps with `; ahead 0` for no places beyond the slots.
/// Gives back the scheduler as it is at the end.
pub fn check(job: &str, script: &str) -> Scheduler {
    let mut scheduler = Scheduler::new(config(job));
    let (mut joined, mut batch) = (0, 0);
    for line in script.lines().filter(|line| !line.trim().is_empty()) {
        let (events, expected) = line.split_once("->").expect("a line is events, an arrow and actions");
        let mut said = Vec::new();
        for event in events.split(';') {
            let stale = scheduler.stale();
            scheduler.handle(Moment(batch), event_of(event.trim(), &mut joined));
            scheduler.sanity_check();
            said.extend((scheduler.stale() > stale).then(|| "stale".to_owned()));
        }
        let mut actions = Vec::new();
        scheduler.decide(Moment(batch), &mut actions);
        scheduler.sanity_check();
        said.extend(actions.iter().filter_map(text_of));
        let expected: Vec<&str> = expected.split(';').map(str::trim).filter(|text| !text.is_empty()).collect();
        assert_eq!(said, expected, "after `{}`", events.trim());
        batch += 1;
    }
    scheduler
}

fn config(job: &str) -> Config {
    let words: Vec<&str> = job.split([' ', ';']).filter(|word| !word.is_empty()).collect();
    let number = |index: usize| -> u32 { words[index].parse().expect("a number") };
    let rules = match words.get(3) {
        Some(_) => Rules { ahead_maps_percent: number(4), ahead_reduces_percent: number(4), ..Rules::default() },
        None => Rules::default(),
    };
    Config { maps: vec![1; number(1) as usize], reduces: number(2), rules, ..Config::default() }
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
        "suspect" => Event::WorkerSuspect(worker(1)),
        "back" => Event::WorkerBack(worker(1)),
        "lose" => Event::WorkerLost { worker: worker(1), reason },
        "start" => Event::AttemptStarted { attempt: attempt(), worker: worker(2) },
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
        "interrupt" => Event::Interrupted,
        "broken" => Event::Broken(End::Failed { kind: Kind::Data, text: reason }),
        other => panic!("`{other}` is no event"),
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
        Action::Conclude(end) => Some(format!("conclude {}", text_of_end(end))),
    }
}

fn text_of_fact(fact: &Fact) -> Option<String> {
    Some(match fact {
        Fact::WorkerSuspect { worker } => format!("suspect {worker}"),
        Fact::WorkerBack { worker } => format!("back {worker}"),
        Fact::WorkerLost { worker, .. } => format!("lost {worker}"),
        Fact::WorkerBarred { worker, .. } => format!("barred {worker}"),
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
        | Fact::WorkerJoined { .. }
        | Fact::WorkerRefused { .. }
        | Fact::StageStarted { .. }
        | Fact::AttemptQueued { .. }
        | Fact::AttemptStarted { .. }
        | Fact::AttemptFinished { .. } => return None,
    })
}

fn text_of_reason(reason: DropReason) -> &'static str {
    match reason {
        DropReason::Beaten => "beaten",
        DropReason::Moved => "moved",
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
    }
}
