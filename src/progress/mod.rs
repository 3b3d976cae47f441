//! What a run looks like while it goes on.
//!
//! [`Progress`] reads the stream of facts, and what it is told of running attempts between them. The `board` holds what
//! is known; `notices` says in words what a user should know at once (a failed task above all); one file draws each
//! [`Style`]. Nothing here asks the time or decides anything, and nobody else prints while a job runs: whatever must be
//! said goes through [`Progress::say`], so that it never tears the bars.

mod bars;
mod board;
mod json;
mod notices;
mod plain;
mod stragglers;

use std::io;

use console::Term;

use crate::clock::Moment;
use crate::facts::Stamped;
use crate::ids::{AttemptId, WorkerId};
use crate::report::{Report, Tally};

use bars::Bars;
use board::{Awaiting, Board};
use json::Json;
use notices::{Notices, Tone};
use plain::Plain;

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Bars on a terminal.
    Bars,
    /// A line every few seconds, for logs.
    Plain,
    /// Facts as JSON lines on stdout; what went wrong in words on stderr.
    Json,
    /// Nothing but what went wrong.
    Quiet,
}

impl Style {
    /// What suits stderr.
    pub fn detect(stderr_is_terminal: bool) -> Self {
        if stderr_is_terminal { Style::Bars } else { Style::Plain }
    }
}

/// The live display of one job.
#[derive(Debug)]
pub struct Progress {
    board: Board,
    notices: Notices,
    screen: Screen,
}

/// Where it goes, and how it is drawn.
#[derive(Debug)]
enum Screen {
    Bars(Bars),
    Plain(Plain),
    Json(Json),
    /// Where the rest of [`Plain`] is left out.
    Quiet(Plain),
}

impl Progress {
    /// A display on this process's stderr, or stdout for [`Style::Json`].
    pub fn new(style: Style) -> Self {
        Progress::on(match style {
            Style::Bars => Screen::Bars(Bars::new(Term::buffered_stderr())),
            Style::Plain => Screen::Plain(Plain::new(Box::new(io::stderr()))),
            Style::Json => Screen::Json(Json::new(Box::new(io::stdout()), Box::new(io::stderr()))),
            Style::Quiet => Screen::Quiet(Plain::new(Box::new(io::stderr()))),
        })
    }

    fn on(screen: Screen) -> Self {
        Progress { board: Board::default(), notices: Notices::default(), screen }
    }

    /// Takes in a fact, and says at once what a user should know of it.
    pub fn observe(&mut self, stamped: &Stamped) {
        self.board.observe(stamped);
        for notice in self.notices.observe(stamped, &self.board) {
            self.screen.notify(&notice, Tone::of(&stamped.fact));
        }
        match &mut self.screen {
            Screen::Plain(plain) => plain.observe(&stamped.fact, &self.board),
            Screen::Json(json) => json.observe(stamped, &self.board),
            Screen::Bars(_) | Screen::Quiet(_) => {}
        }
    }

    /// Takes in a fact of an earlier driver, of which nothing is said again.
    pub fn replay(&mut self, stamped: &Stamped) {
        self.board.observe(stamped);
    }

    /// How far a running attempt is: bytes read, of so many, or 0 where that is unknown. It is shown, not kept.
    pub fn sample(&mut self, attempt: AttemptId, bytes_done: u64, bytes_total: u64) {
        self.board.sample(attempt, bytes_done, bytes_total);
    }

    /// What attempts on a worker wait for: slots that other jobs have. It is shown, not kept.
    pub fn await_slots(&mut self, worker: WorkerId, attempts: u32, holders: Vec<String>) {
        self.board.await_slots(worker, Awaiting { attempts, holders });
    }

    /// Draws what has changed. To be called about ten times a second; more often costs nothing.
    pub fn tick(&mut self, now: Moment) {
        self.board.tick(now);
        for notice in self.notices.tick(now) {
            self.screen.notify(&notice, Tone::Trouble);
        }
        match &mut self.screen {
            Screen::Bars(bars) => bars.tick(&self.board, now),
            Screen::Plain(plain) => plain.tick(&self.board, now),
            Screen::Json(_) | Screen::Quiet(_) => {}
        }
    }

    /// Says something that is no fact, above the bars if there are any.
    pub fn say(&mut self, text: &str) {
        self.screen.say(text);
    }

    /// Ends the display: the bars vanish, and the summary of a job that has ended stands in their place.
    pub fn finish(mut self) {
        for notice in self.notices.rest() {
            self.screen.notify(&notice, Tone::Trouble);
        }
        let summary = self.board.tally.has_ended().then(|| Report::of(&self.board.tally).to_string());
        match self.screen {
            Screen::Bars(bars) => bars.finish(summary.as_deref()),
            Screen::Plain(mut plain) => plain.write(summary.as_deref().unwrap_or_default()),
            Screen::Json(_) | Screen::Quiet(_) => {}
        }
    }

    /// The counts so far.
    pub fn tally(&self) -> &Tally {
        &self.board.tally
    }
}

impl Screen {
    /// A notice, where it is of the kind that is shown.
    fn notify(&mut self, text: &str, tone: Tone) {
        match (&mut *self, tone) {
            (Screen::Quiet(plain), Tone::Trouble) => plain.say(text),
            (_, Tone::Trouble | Tone::News) => self.say(text),
        }
    }

    /// Something of one or more lines, marked as ours.
    fn say(&mut self, text: &str) {
        let marked = format!("runner: {text}");
        match self {
            Screen::Bars(bars) => bars.say(&marked),
            Screen::Plain(plain) => plain.say(text),
            Screen::Json(json) => json.say(&marked),
            Screen::Quiet(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::report::script::{attempt, facts, ms};

    /// A stream whose text can be read while it is written.
    #[derive(Clone, Default)]
    pub struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Shared {
        pub fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("text")
        }
    }

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Feeds a script: facts, `tick MS`, `sample ATTEMPT DONE TOTAL` and `await WORKER ATTEMPTS JOB`.
    pub fn run(mut progress: Progress, script: &str) -> Progress {
        let mut at = 0;
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |place: usize| words[place].parse::<u64>().expect("a number");
            match words[0] {
                "tick" => progress.tick(ms(number(1))),
                "await" => {
                    let worker = WorkerId(number(1) as u32);
                    progress.await_slots(worker, number(2) as u32, vec![words[3].to_owned()]);
                }
                "sample" => progress.sample(attempt(words[1]), number(2), number(3)),
                first => {
                    // A line without its time goes on from the one before.
                    let timed = first.parse().map(|ms: u64| at = ms).is_ok();
                    let line = if timed { line.to_owned() } else { format!("{at} {line}") };
                    facts(&line).iter().for_each(|fact| progress.observe(fact));
                }
            }
        }
        progress
    }

    #[test]
    fn the_style_follows_the_terminal() {
        assert_eq!(Style::detect(true), Style::Bars);
        assert_eq!(Style::detect(false), Style::Plain);
    }

    #[test]
    fn quiet_still_counts() {
        let progress = run(Progress::new(Style::Quiet), "plan 1 / 0\n finish map-0.0 0 1\n commit map-0.0 1");
        assert_eq!(progress.tally().phase(crate::ids::Stage::Map).done, 1);
        progress.finish();
    }

    #[test]
    fn quiet_tells_what_went_wrong_and_nothing_else() {
        let err = Shared::default();
        let script = "plan 1 1 / 1\n join 0 a 1\n join 1 b 1\n refuse c no route\n stage map\n start map-0.0 0
             tick 9000\n fail map-0.0 0 1 3\n suspect 1\n back 1\n join 2 d 1\n lose 1 gone\n finish map-1.0 0 1
             staged map\n end done";
        let mut progress = Progress::on(Screen::Quiet(Plain::new(Box::new(err.clone()))));
        progress.say("job x on 2 workers");
        run(progress, script).finish();
        assert_eq!(
            err.text(),
            "runner: c takes no part: no route\n\
             runner: map-0.0 failed on a: the map command exited with code 1\n  \
             tried again elsewhere (3 failures left)\n\
             runner: b is lost: gone\n"
        );
    }
}
