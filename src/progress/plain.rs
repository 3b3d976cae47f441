//! Progress for logs: a line every few seconds, and a line for what happens.

use std::fmt;
use std::io::Write;
use std::time::Duration;

use super::board::{Board, PhaseView};
use crate::clock::Moment;
use crate::facts::Fact;
use crate::ids::Stage;
use crate::report::{count_of, rate};
use crate::units::{Bytes, Span};

/// The first line comes early, so that a short job is not silent.
const FIRST_AFTER: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_secs(5);

/// A stream of plain lines.
pub struct Plain {
    err: Box<dyn Write + Send>,
    /// When the next line is due; none before the first tick of a running stage.
    next: Option<Moment>,
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Plain {
    /// Lines on `err`.
    pub fn new(err: Box<dyn Write + Send>) -> Self {
        Plain { err, next: None }
    }

    /// Says when a stage is done.
    pub fn observe(&mut self, fact: &Fact, board: &Board) {
        if let Fact::StageFinished { stage } = fact {
            let line = done_line(*stage, board);
            self.write(&format!("runner: {line}\n"));
        }
    }

    /// Writes a line of the stages that run, if one is due.
    pub fn tick(&mut self, board: &Board, now: Moment) {
        let open: Vec<Stage> = board.tally.stages().filter(|stage| board.is_open(*stage)).collect();
        if open.is_empty() || board.tally.has_ended() {
            return;
        }
        let due = *self.next.get_or_insert(now + FIRST_AFTER);
        if now >= due {
            self.next = Some(now + EVERY);
            let mut texts: Vec<String> = open.into_iter().map(|stage| open_text(&board.phase(stage, now))).collect();
            texts.extend(board.awaiting_texts());
            self.write(&format!("runner: {}\n", texts.join("; ")));
        }
    }

    /// Writes a notice of one or more lines, marked as ours.
    pub fn say(&mut self, text: &str) {
        self.write(&format!("runner: {text}\n"));
    }

    /// Writes whole lines in one piece. That nobody reads them is no reason to end a job.
    pub fn write(&mut self, lines: &str) {
        let _ = self.err.write_all(lines.as_bytes()).and_then(|()| self.err.flush());
    }
}

/// `map 12 of 160 tasks, 1.20 GiB of 12.40 GiB, 263.40 MiB/s, 41s left`
fn open_text(view: &PhaseView) -> String {
    let mut text = format!("{} {} of {}", view.stage, view.done, count_of(view.tasks, "task"));
    match view.bytes_total {
        Some(total) => text += &format!(", {} of {}", Bytes(view.bytes_done), Bytes(total)),
        None if view.bytes_done > 0 => text += &format!(", {}", Bytes(view.bytes_done)),
        None => {}
    }
    if let Some(rate) = view.rate.filter(|_| view.bytes_done > 0) {
        text += &format!(", {}/s", Bytes(rate));
    }
    if let Some(left) = view.left {
        text += &format!(", {} left", left_text(left));
    }
    text
}

/// An estimate has no tenths.
pub fn left_text(left: Duration) -> String {
    let seconds = left.as_secs_f64().ceil() as u64;
    if seconds < 60 { format!("{seconds}s") } else { Span::seconds(seconds).to_string() }
}

fn done_line(stage: Stage, board: &Board) -> String {
    let phase = board.tally.phase(stage);
    let time = phase.finished.unwrap_or_default().saturating_sub(phase.started.unwrap_or_default());
    format!(
        "{stage} done: {}, {} in {} ({})",
        count_of(phase.done, "task"),
        Bytes(phase.sums.bytes_in),
        Span(time),
        rate(phase.sums.bytes_in, time)
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Shared, run};
    use super::super::{Progress, Screen};
    use super::*;

    fn check(script: &str, expected: &str) {
        let err = Shared::default();
        run(Progress::on(Screen::Plain(Plain::new(Box::new(err.clone())))), script).finish();
        assert_eq!(err.text(), expected);
    }

    #[test]
    fn a_short_job_is_not_silent_and_a_long_one_not_loud() {
        check(
            "plan 1048576 1048576 / 1\n join 0 node01 2\n stage map\n start map-0.0 0\n start map-1.0 0
             tick 0\n sample map-0.0 524288 1048576\n tick 500\n tick 1000\n tick 1100\n tick 5900
             6000 finish map-0.0 0 1048576 100 50\n tick 6100\n tick 6200
             8000 finish map-1.0 0 1048576 100 50\n staged map\n stage reduce\n start reduce-0.0 0\n tick 8000\n tick 11500",
            "runner: 2.00 MiB in 2 files, 2 splits: average 1.00 MiB, largest 1.00 MiB (1.00 times)\n\
             runner: 1 worker with 2 slots: average share 2.00 MiB, largest 2.00 MiB (1.00 times)\n\
             runner: map 0 of 2 tasks, 512.00 KiB of 2.00 MiB, 512.00 KiB/s, 3s left\n\
             runner: map 1 of 2 tasks, 1.00 MiB of 2.00 MiB, 86.78 KiB/s, 7s left\n\
             runner: map done: 2 tasks, 2.00 MiB in 8.0s (256.00 KiB/s)\n\
             runner: reduce 0 of 1 task\n",
        );
    }

    #[test]
    fn who_waits_says_for_what() {
        check(
            "plan 1 / 0\n join 0 node01 2\n stage map\n await 0 2 sort-7k2m9q\n tick 0\n tick 1000\n await 0 0 -\n tick 6000",
            "runner: 1 B in 1 file, 1 split: average 1 B, largest 1 B (1.00 times)\n\
             runner: 1 worker with 2 slots: average share 1 B, largest 1 B (1.00 times)\n\
             runner: map 0 of 1 task, 0 B of 1 B; 2 attempts on node01 wait for slots that sort-7k2m9q has\n\
             runner: map 0 of 1 task, 0 B of 1 B\n",
        );
    }

    #[test]
    fn the_summary_stands_at_the_end() {
        check(
            "plan / 0\n end done",
            "wordcount-7k2m9q done in 0ms on 0 workers with 0 slots\n  \
             phase     time  tasks  bytes in  rate  records in  bytes out  records out\n  \
             map        0ms      0       0 B     -           0        0 B            0\n  \
             attempts  0, none failed\n",
        );
    }
}
