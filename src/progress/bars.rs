//! Progress on a terminal: a line a phase, and below it one for each running attempt, as many as there is room for.
//!
//! All lines are the message of a single indicatif bar: so a tick is one draw, whatever runs, and what is drawn is a
//! pure function of board, moment and size. indicatif keeps the lines in place and prints notices above them.

use std::time::Duration;

use console::{measure_text_width, style, truncate_str};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle, TermLike};

use super::board::{Board, PhaseView, Running};
use super::plain::left_text;
use crate::clock::Moment;
use crate::ids::AttemptId;
use crate::report::rate;
use crate::units::{Bytes, Span};

/// Ten draws a second look smooth and cost little.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// Lines of the terminal that stay free for what was there before.
const LINES_FREE: usize = 4;
const BAR_WIDTH: usize = 24;
/// Lines for what waits for other jobs.
const AWAITING_LINES_MAX: usize = 3;

/// Bars on a terminal; they vanish when dropped.
#[derive(Debug)]
pub struct Bars {
    term: Box<dyn TermLike>,
    bar: ProgressBar,
    drawn: Option<Moment>,
}

/// The room there is.
#[derive(Clone, Copy, Debug)]
struct Size {
    lines: usize,
    width: usize,
}

impl Bars {
    /// Bars on `term`.
    pub fn new<T: TermLike + Clone + 'static>(term: T) -> Self {
        // No limit of indicatif's: it would drop the newest draw, and ours is kept by the moments of the ticks.
        let target = ProgressDrawTarget::term_like(Box::new(term.clone()));
        let bar = ProgressBar::with_draw_target(None, target).with_finish(ProgressFinish::AndClear);
        bar.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar()));
        Bars { term: Box::new(term), bar, drawn: None }
    }

    /// Draws the board, unless that was just done.
    pub fn tick(&mut self, board: &Board, now: Moment) {
        if self.drawn.is_some_and(|drawn| now.since(drawn) < DRAW_EVERY) || board.tally.has_ended() {
            return;
        }
        let lines = lines(board, now, self.size());
        if !lines.is_empty() {
            self.drawn = Some(now);
            self.bar.set_message(lines.join("\n"));
        }
    }

    /// Prints above the bars.
    pub fn say(&self, text: &str) {
        self.bar.println(text);
    }

    /// Takes the bars away and leaves `last` in their place.
    pub fn finish(self, last: Option<&str>) {
        self.bar.finish_and_clear();
        for line in last.unwrap_or_default().lines() {
            let _ = self.term.write_line(line);
        }
        let _ = self.term.flush();
    }

    /// A terminal that does not know its size says 0.
    fn size(&self) -> Size {
        let known = |size: u16, usual: usize| if size == 0 { usual } else { usize::from(size) };
        Size { lines: known(self.term.height(), 24), width: known(self.term.width(), 80) }
    }
}

/// All lines, each as wide as the terminal at most.
fn lines(board: &Board, now: Moment, size: Size) -> Vec<String> {
    if !board.tally.is_planned() {
        return Vec::new();
    }
    let mut lines: Vec<String> = board.tally.stages().map(|stage| phase_line(&board.phase(stage, now))).collect();
    lines.extend(board.awaiting_texts().take(AWAITING_LINES_MAX).map(|text| format!("  {text}")));
    let room = size.lines.saturating_sub(LINES_FREE + lines.len());
    lines.extend(attempt_lines(board, now, room));
    for line in &mut lines {
        // The last column stays free, since some terminals wrap when it is written.
        *line = truncate_str(line, size.width - 1, "…").into_owned();
    }
    lines
}

/// `map     ██████░░░░░░  12/160  1.20 GiB of 12.40 GiB  263.40 MiB/s  41s left`
fn phase_line(view: &PhaseView) -> String {
    let bytes = match view.bytes_total {
        Some(total) => format!("  {} of {}", Bytes(view.bytes_done), Bytes(total)),
        None if view.bytes_done > 0 => format!("  {}", Bytes(view.bytes_done)),
        None => String::new(),
    };
    let open = view.done < view.tasks;
    let rate = view.rate.filter(|_| open && view.bytes_done > 0).map(|rate| format!("  {}/s", Bytes(rate)));
    let left = view.left.filter(|_| open).map(|left| format!("  {} left", left_text(left)));
    format!(
        "{:<7} {}  {}/{}{bytes}{}{}",
        view.stage.name(),
        style(bar(view.fraction)).for_stderr().cyan(),
        view.done,
        view.tasks,
        rate.unwrap_or_default(),
        left.unwrap_or_default()
    )
}

/// The running attempts in at most `room` lines, those that run longest first: who hangs is seen.
fn attempt_lines(board: &Board, now: Moment, room: usize) -> Vec<String> {
    let mut running: Vec<(&AttemptId, &Running)> = board.running.iter().collect();
    running.sort_by_key(|(attempt, running)| (running.since, **attempt));
    let shown = if running.len() <= room { running.len() } else { room.saturating_sub(1) };
    let more = running.len() - shown;
    running.truncate(shown);

    let names: Vec<[String; 2]> =
        running.iter().map(|(attempt, running)| [attempt.to_string(), board.tally.host(running.worker)]).collect();
    let wide = |column: usize| names.iter().map(|row| measure_text_width(&row[column])).max().unwrap_or(0);
    let (name_width, host_width) = (wide(0), wide(1));
    let mut lines: Vec<String> = names
        .iter()
        .zip(&running)
        .map(|([name, host], (_, running))| {
            let name = padded(name, name_width);
            let host = padded(host, host_width);
            format!("  {name}  {host}  {}", attempt_text(running, now))
        })
        .collect();
    if more > 0 && room > 0 {
        lines.push(format!("  … and {more} more"));
    }
    lines
}

/// `██████░░  64.00 MiB of 128.00 MiB  12.10 MiB/s`; only the time where nothing was measured.
fn attempt_text(running: &Running, now: Moment) -> String {
    let time = now.since(running.since);
    let Running { bytes_done, bytes_total, .. } = *running;
    if bytes_total == 0 {
        let bytes = if bytes_done > 0 { format!("{}  ", Bytes(bytes_done)) } else { String::new() };
        return format!("{bytes}{}", Span(time));
    }
    let drawn = style(bar(bytes_done as f64 / bytes_total as f64)).for_stderr().dim();
    format!("{drawn}  {} of {}  {}", Bytes(bytes_done), Bytes(bytes_total), rate(bytes_done, time))
}

fn bar(fraction: f64) -> String {
    let full = ((fraction * BAR_WIDTH as f64) as usize).min(BAR_WIDTH);
    "█".repeat(full) + &"░".repeat(BAR_WIDTH - full)
}

fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(measure_text_width(text))))
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::super::tests::run;
    use super::super::{Progress, Screen};
    use super::*;

    /// What stands on a terminal of this size after a script, while the job still runs.
    fn check(lines: u16, width: u16, script: &str, expected: &str) {
        let term = InMemoryTerm::new(lines, width);
        let progress = run(Progress::on(Screen::Bars(Bars::new(term.clone()))), script);
        assert_eq!(term.contents(), expected);
        drop(progress);
    }

    const START: &str = "plan 1048576 2097152 1048576 / 2\n join 0 node01 2\n join 1 日本 2\n";

    #[test]
    fn a_line_a_phase_and_a_line_an_attempt() {
        let script = format!(
            "{START} start map-0.0 0\n start map-1.0 1\n start map-2.0 0\n tick 0
             1000 finish map-0.0 0 1048576 100 50\n sample map-1.0 524288 2097152\n tick 2000"
        );
        check(
            20,
            100,
            &script,
            "\
map     █████████░░░░░░░░░░░░░░░  1/3  1.50 MiB of 4.00 MiB  768.00 KiB/s
reduce  ░░░░░░░░░░░░░░░░░░░░░░░░  0/2
  map-1.0  日本    ██████░░░░░░░░░░░░░░░░░░  512.00 KiB of 2.00 MiB  256.00 KiB/s
  map-2.0  node01  ░░░░░░░░░░░░░░░░░░░░░░░░  0 B of 1.00 MiB  0 B/s",
        );
    }

    #[test]
    fn attempts_take_the_room_there_is_and_lines_do_not_wrap() {
        let script = format!(
            "{START} 100 start map-0.0 0\n 200 start map-1.0 1\n 300 start map-2.0 0\n 400 start map-2.1 0\n tick 500"
        );
        check(
            9,
            40,
            &script,
            "\
map     ░░░░░░░░░░░░░░░░░░░░░░░░  0/3 …
reduce  ░░░░░░░░░░░░░░░░░░░░░░░░  0/2
  map-0.0  node01  ░░░░░░░░░░░░░░░░░░░…
  map-1.0  日本    ░░░░░░░░░░░░░░░░░░░…
  … and 2 more",
        );
    }

    #[test]
    fn notices_stand_above_the_bars() {
        let script = format!("{START} start map-0.0 0\n tick 100\n 200 fail map-0.0 0 1 3 no such word");
        check(
            20,
            100,
            &script,
            "\
runner: map-0.0 failed on node01: the map command exited with code 1
    | no such word
  tried again elsewhere (3 failures left)
map     ░░░░░░░░░░░░░░░░░░░░░░░░  0/3  0 B of 4.00 MiB
reduce  ░░░░░░░░░░░░░░░░░░░░░░░░  0/2
  map-0.0  node01  ░░░░░░░░░░░░░░░░░░░░░░░░  0 B of 1.00 MiB  0 B/s",
        );
    }

    #[test]
    fn bars_vanish_and_the_summary_stays() {
        let term = InMemoryTerm::new(20, 100);
        let script = format!("{START} stage map\n start map-0.0 0\n tick 1000\n 1500 end interrupted");
        run(Progress::on(Screen::Bars(Bars::new(term.clone()))), &script).finish();
        let text = term.contents();
        let firsts: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(firsts, ["runner:", "runner:", "wordcount-7k2m9q", "phase", "map", "reduce", "attempts"], "{text}");
        assert!(!text.contains('█') && !text.contains('░'), "{text}");
    }

    #[test]
    fn draws_are_at_most_ten_a_second() {
        let term = InMemoryTerm::new(20, 100);
        let mut progress = run(Progress::on(Screen::Bars(Bars::new(term.clone()))), &format!("{START} tick 0"));
        term.moves_since_last_check();
        let draws = (1..=1000).filter(|at| {
            progress.tick(Moment(at * 1000));
            !term.moves_since_last_check().is_empty()
        });
        assert_eq!(draws.count(), 10);
    }
}
