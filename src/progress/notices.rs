//! What a user should know at once, in words: failed tasks with the last words of their program, workers that come and
//! go, work that is done again. The same failure of many tasks is told three times and then counted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::board::Board;
use super::stragglers::{copied_text, marked_text, remembered_text};
use crate::clock::Moment;
use crate::facts::{Fact, Failure, Next, Stamped};
use crate::ids::{AttemptId, WorkerId};
use crate::report::{Shards, count_of, printable};
use crate::units::Span;

/// A kind of failure is told in full so often.
const SHOWN_MAX: u64 = 3;
/// So many kinds are told apart; what comes then is one kind more. A program can word each failure differently.
const KINDS_MAX: usize = 30;
/// How much of a failed attempt's stderr is shown; the log has it all.
const TAIL_LINES_MAX: usize = 12;
const TAIL_WIDTH_MAX: usize = 400;
/// How often the failures that were only counted are told.
const COUNTS_EVERY: Duration = Duration::from_secs(5);

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Something went wrong, and will not be taken back.
    Trouble,
    /// All else.
    News,
}

impl Tone {
    /// That of what is said of a fact. What is only said later, as a count, is trouble.
    pub fn of(fact: &Fact) -> Self {
        match fact {
            Fact::WorkerRefused { .. }
            | Fact::WorkerLost { .. }
            | Fact::WorkerBarred { .. }
            | Fact::WorkerMarked { .. }
            | Fact::WorkerRemembered { .. }
            | Fact::WorkerHeld { .. }
            | Fact::AttemptFailed { .. }
            | Fact::OutputLost { .. } => Tone::Trouble,
            Fact::WorkerSuspect { .. }
            | Fact::WorkerBack { .. }
            | Fact::WorkerJoined { .. }
            | Fact::WorkerCleared { .. }
            | Fact::WorkerEased { .. }
            | Fact::WorkerDraining { .. }
            | Fact::WorkerKept { .. }
            | Fact::WorkerReleased { .. }
            | Fact::AttemptCopied { .. }
            | Fact::StageStarted { .. }
            | Fact::StageFinished { .. }
            | Fact::JobPlanned(_)
            | Fact::JobResumed { .. }
            | Fact::AttemptQueued { .. }
            | Fact::AttemptStarted { .. }
            | Fact::AttemptFinished { .. }
            | Fact::AttemptDropped { .. }
            | Fact::PartCommitted { .. }
            | Fact::JobFinished { .. } => Tone::News,
        }
    }
}

/// Turns facts into words, and holds back repetitions.
#[derive(Debug, Default)]
pub struct Notices {
    /// Whether a task was sent out: workers that join later are news.
    begun: bool,
    kinds: BTreeMap<FailureKind, Repeated>,
    outputs_lost: u64,
    counted_at: Moment,
}

/// Failures with an equal kind are repetitions of each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct FailureKind {
    cause: String,
    /// The last line of stderr without its digits: line numbers and addresses tell nothing apart.
    last_line: String,
}

#[derive(Debug, Default)]
struct Repeated {
    shown: u64,
    hidden: u64,
    example: String,
}

impl Notices {
    /// What is to be said of a fact that the board has taken in: lines without end, the first one unindented.
    pub fn observe(&mut self, stamped: &Stamped, board: &Board) -> Vec<String> {
        let Stamped { at, fact } = stamped;
        let one = |text: String| vec![text];
        match fact {
            Fact::StageStarted { .. } if !self.begun => {
                self.begun = true;
                Shards::of(&board.tally).to_string().lines().map(str::to_owned).collect()
            }
            Fact::JobResumed { .. } => {
                self.begun = true;
                one(resumed_text(board))
            }
            Fact::WorkerJoined { host, slots, .. } if self.begun => {
                one(format!("{} joins with {}", printable(host), count_of(u64::from(*slots), "slot")))
            }
            Fact::WorkerRefused { host, reason } => {
                one(format!("{} takes no part: {}", printable(host), printable(reason)))
            }
            Fact::WorkerSuspect { worker } => {
                one(format!("{} does not answer: nothing new is started there", board.tally.host(*worker)))
            }
            Fact::WorkerBack { worker } => one(format!("{} answers again", board.tally.host(*worker))),
            Fact::WorkerLost { worker, reason } => one(lost_text(*worker, reason, board)),
            Fact::WorkerBarred { worker, failures, until } => one(format!(
                "{} gets no more tasks for {}: {} failed there",
                board.tally.host(*worker),
                Span(until.since(*at)),
                count_of(u64::from(*failures), "different task")
            )),
            Fact::WorkerRemembered { worker, share_percent, until, evidence } => {
                one(remembered_text(*worker, *share_percent, until.since(*at), evidence, board))
            }
            Fact::WorkerMarked { worker, slowness, share_percent, until } => {
                one(marked_text(*worker, slowness, *share_percent, until.since(*at), board))
            }
            Fact::WorkerCleared { worker } => one(format!("{} gets its full share again", board.tally.host(*worker))),
            Fact::WorkerHeld { worker, shortage } => {
                one(format!("nothing is started on {} for now: {shortage}", board.tally.host(*worker)))
            }
            Fact::WorkerEased { worker } => one(format!("{} gets tasks again", board.tally.host(*worker))),
            Fact::WorkerDraining { worker } => {
                one(format!("{} was taken off the list: nothing new is started there", board.tally.host(*worker)))
            }
            Fact::WorkerKept { worker } => {
                one(format!("{} is on the list again, and stays", board.tally.host(*worker)))
            }
            Fact::WorkerReleased { worker } => one(format!("{} has left", board.tally.host(*worker))),
            Fact::AttemptCopied { attempt, worker, from, lag, .. } => {
                one(copied_text(*attempt, *worker, *from, lag, board))
            }
            Fact::AttemptFailed { attempt, worker, failure, next } => {
                self.on_failed(*attempt, *worker, failure, *next, board).into_iter().collect()
            }
            Fact::OutputLost { .. } => {
                self.outputs_lost += 1;
                Vec::new()
            }
            Fact::StageStarted { .. }
            | Fact::WorkerJoined { .. }
            | Fact::JobPlanned(_)
            | Fact::StageFinished { .. }
            | Fact::AttemptQueued { .. }
            | Fact::AttemptStarted { .. }
            | Fact::AttemptFinished { .. }
            | Fact::AttemptDropped { .. }
            | Fact::PartCommitted { .. }
            | Fact::JobFinished { .. } => Vec::new(),
        }
    }

    /// What was held back and is due.
    pub fn tick(&mut self, now: Moment) -> Vec<String> {
        let mut notices: Vec<String> = self.outputs_text().into_iter().collect();
        if now.since(self.counted_at) >= COUNTS_EVERY {
            self.counted_at = now;
            notices.extend(self.hidden_texts());
        }
        notices
    }

    /// All that was held back.
    pub fn rest(&mut self) -> Vec<String> {
        self.outputs_text().into_iter().chain(self.hidden_texts()).collect()
    }

    fn on_failed(
        &mut self,
        attempt: AttemptId,
        worker: WorkerId,
        failure: &Failure,
        next: Next,
        board: &Board,
    ) -> Option<String> {
        let mut kind = FailureKind::of(failure);
        if !self.kinds.contains_key(&kind) && self.kinds.len() >= KINDS_MAX {
            kind = FailureKind::default();
        }
        let repeated = self.kinds.entry(kind).or_default();
        // What ends the job is told in any case.
        if repeated.shown >= SHOWN_MAX && next != Next::GiveUp {
            repeated.hidden += 1;
            return None;
        }
        repeated.shown += 1;
        if repeated.example.is_empty() {
            repeated.example = attempt.to_string();
        }
        let mut text = failure_text(attempt, &board.tally.host(worker), failure);
        text += &format!("\n  {}", next_text(next, board));
        if repeated.shown == SHOWN_MAX {
            text += "\n  (more like this are only counted)";
        }
        Some(text)
    }

    fn outputs_text(&mut self) -> Option<String> {
        match std::mem::take(&mut self.outputs_lost) {
            0 => None,
            lost => Some(format!("the output of {} is gone: made again", count_of(lost, "finished map"))),
        }
    }

    fn hidden_texts(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        for (kind, repeated) in self.kinds.iter_mut().filter(|(_, repeated)| repeated.hidden > 0) {
            let count = std::mem::take(&mut repeated.hidden);
            let cause = if kind.cause.is_empty() { "and others" } else { &kind.cause };
            texts.push(format!("... {count} more like {} ({})", repeated.example, printable(cause)));
        }
        texts
    }
}

impl FailureKind {
    fn of(failure: &Failure) -> Self {
        let last = failure.stderr_tail.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let last_line = last.chars().filter(|char| !char.is_ascii_digit()).take(TAIL_WIDTH_MAX).collect();
        FailureKind { cause: failure.cause.to_string(), last_line }
    }
}

/// The cause in words, and the program's last words indented.
fn failure_text(attempt: AttemptId, host: &str, failure: &Failure) -> String {
    let mut text = format!("{attempt} failed on {host}: {}", printable(&failure.cause.to_string()));
    let lines: Vec<&str> = failure.stderr_tail.trim_end().lines().collect();
    for line in lines.iter().skip(lines.len().saturating_sub(TAIL_LINES_MAX)) {
        text += &format!("\n    | {}", shortened(line));
    }
    text
}

/// A line made harmless, and cut where it is too long.
fn shortened(line: &str) -> String {
    match line.char_indices().nth(TAIL_WIDTH_MAX) {
        None => printable(line).into_owned(),
        Some((end, _)) => format!("{} ...", printable(&line[..end])),
    }
}

fn next_text(next: Next, board: &Board) -> String {
    let others = board.tally.workers().filter(|worker| !worker.lost).count() > 1;
    let place = if others { " elsewhere" } else { "" };
    match next {
        Next::Retry { left: 0 } => format!("tried again{place} for the last time"),
        Next::Retry { left } => format!("tried again{place} ({} left)", count_of(u64::from(left), "failure")),
        Next::Covered => "no harm: another attempt of it runs or has won".to_owned(),
        Next::GiveUp => "given up, and the job with it".to_owned(),
    }
}

/// What is left to do, where another driver goes on.
fn resumed_text(board: &Board) -> String {
    let stages: Vec<String> = board
        .tally
        .stages()
        .map(|stage| {
            let tasks = count_of(board.tally.tasks(stage), stage.name());
            format!("{} of {tasks}", board.tally.phase(stage).done)
        })
        .collect();
    format!("the job goes on: {} are done", stages.join(" and "))
}

fn lost_text(worker: WorkerId, reason: &str, board: &Board) -> String {
    let mut text = format!("{} is lost: {}", board.tally.host(worker), printable(reason));
    let running = board.running.values().filter(|running| running.worker == worker).count() as u64;
    if running > 0 {
        text += &format!(" ({} of its attempts start again elsewhere)", running);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::script::{facts, ms};

    /// What is said of the last lines of a script, with two workers and a plan before them.
    fn said(script: &str) -> (Notices, String) {
        let script = format!("plan 10 20 / 1\n join 0 node06 4\n join 1 node07 4\n stage map\n{script}");
        let (mut board, mut notices, mut said) = (Board::default(), Notices::default(), String::new());
        for (place, stamped) in facts(&script).iter().enumerate() {
            board.observe(stamped);
            for notice in notices.observe(stamped, &board) {
                if place > 3 {
                    said += &(notice + "\n");
                }
            }
        }
        (notices, said)
    }

    fn check(script: &str, expected: &str) {
        assert_eq!(said(script).1, expected, "{script}");
    }

    #[test]
    fn a_failed_task_is_told_with_its_last_words() {
        check(
            r"fail map-3.0 1 1 3 Traceback (most recent call last):\nValueError: \e[2J\n\n",
            "map-3.0 failed on node07: the map command exited with code 1\n\
             \x20   | Traceback (most recent call last):\n\
             \x20   | ValueError: \\u{1b}[2J\n\
             \x20 tried again elsewhere (3 failures left)\n",
        );
        check(
            "fail map-3.0 1 127 1",
            "map-3.0 failed on node07: the map command exited with code 127 (the shell did not find the program)\n\
             \x20 tried again elsewhere (1 failure left)\n",
        );
        check(
            "lose 0 gone\n fail map-3.0 1 2 0 a\n fail map-3.1 1 2 covered b\n fail map-3.2 1 2 up c",
            "node06 is lost: gone\n\
             map-3.0 failed on node07: the map command exited with code 2\n    | a\n  tried again for the last time\n\
             map-3.1 failed on node07: the map command exited with code 2\n    | b\n  \
             no harm: another attempt of it runs or has won\n\
             map-3.2 failed on node07: the map command exited with code 2\n    | c\n  given up, and the job with it\n",
        );
    }

    #[test]
    fn long_words_are_cut() {
        let long = "x".repeat(500);
        let many = (0..30).map(|line| format!("l{line}")).collect::<Vec<_>>().join("\\n");
        assert!(said(&format!("fail map-3.0 1 1 3 {long}")).1.lines().all(|line| line.len() < 420));
        let text = said(&format!("fail map-3.0 1 1 3 {many}")).1;
        assert_eq!((text.lines().count(), text.contains("| l17\n"), text.contains("| l18\n")), (14, false, true));
    }

    #[test]
    fn the_same_failure_is_told_three_times_and_then_counted() {
        let script: String = (0..20).map(|task| format!("fail map-{task}.0 1 1 3 bad line {task}\n")).collect();
        let (mut notices, text) = said(&script);
        assert_eq!(text.matches("failed on").count(), 3);
        assert_eq!(text.matches("only counted").count(), 1);
        assert_eq!(notices.tick(ms(4999)), Vec::<String>::new());
        assert_eq!(notices.tick(ms(5000)), ["... 17 more like map-0.0 (the map command exited with code 1)"]);
        assert_eq!(notices.rest(), Vec::<String>::new());
        // What ends the job is told nevertheless.
        assert!(said(&format!("{script}fail map-0.3 1 1 up bad line 0")).1.ends_with("the job with it\n"));
    }

    #[test]
    fn ever_different_failures_do_not_flood() {
        let script: String = (0..900_u32)
            .map(|task| format!("fail map-{task}.0 1 1 3 {}\n", "x".repeat(task as usize % 300 + 1)))
            .collect();
        let text = said(&script).1;
        assert!(text.matches("failed on").count() <= 31 * 3, "{}", text.matches("failed on").count());
    }

    #[test]
    fn workers_that_come_and_go_are_told() {
        check("join 2 node08 1", "node08 joins with 1 slot\n");
        check("refuse node09 no route to host", "node09 takes no part: no route to host\n");
        check("suspect 1\n back 1", "node07 does not answer: nothing new is started there\nnode07 answers again\n");
        check(
            "start map-0.0 1\n start map-1.0 0\n lose 1 connection reset",
            "node07 is lost: connection reset (1 of its attempts start again elsewhere)\n",
        );
        check(
            "copy map-3.1 0 map-3.0 1 left 12000 2000",
            "map-3 is copied to node06: 12.0s left on node07 would be 2.0s there\n",
        );
        check(
            "copy map-3.1 0 map-3.0 1 left 999999999999 2000",
            "map-3 is copied to node06: it hardly moves on node07, and would take 2.0s there\n",
        );
        check(
            "copy map-3.1 0 map-3.0 1 worked 30000 9000",
            "map-3 is copied to node06: it has run 30.0s on node07, others took 9.0s\n",
        );
        check(
            "5000 mark 1 50 605 map-3.0 20000 2000\n clear 1",
            "node07 is slow: map-3 was not done there after 20.0s, and took 2.0s elsewhere; it gets 50 % of its share \
             for 10m 0s\nnode07 gets its full share again\n",
        );
        check("5000 bar 1 3 3605", "node07 gets no more tasks for 1h 0m: 3 different tasks failed there\n");
        check(
            "5000 remember 1 0 605 3 failures in old-1",
            "node07 gets no more tasks for 10m 0s, for what happened before: 3 failures in old-1 \
             (`runner workers forgive` ends that)\n",
        );
        check(
            "hold 1 1048576\n ease 1",
            "nothing is started on node07 for now: 1.00 MiB of its memory is free (worker.memory_free_min)\n\
             node07 gets tasks again\n",
        );
        let (mut notices, text) = said("unmake map-0.0\n unmake map-1.0");
        assert_eq!(text, "");
        assert_eq!(notices.tick(ms(1)), ["the output of 2 finished maps is gone: made again"]);
    }
}
