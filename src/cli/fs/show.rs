//! What is shown while bytes move: a bar on a terminal, a line now and then elsewhere, and what the user should know at
//! once.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Desk;
use crate::cli::context::say;
use crate::clock;
use crate::datasets::Moved;
use crate::progress::Style;
use crate::report::printable;
use crate::units::Bytes;

/// How often a bar is drawn, and what waits to be said is said.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Does something, and shows it meanwhile.
pub async fn while_shown<T>(desk: &Desk<'_>, what: &str, work: impl Future<Output = T>) -> T {
    let bar = bar(desk.context.style, what);
    let mut work = std::pin::pin!(work);
    let mut draw = tokio::time::interval(DRAW_EVERY);
    let mut next_line = clock::now() + LINE_EVERY;
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            _ = draw.tick() => {
                tell(desk, &bar);
                update(desk, &bar);
                if desk.context.style == Style::Plain && clock::now() >= next_line {
                    next_line = clock::now() + LINE_EVERY;
                    say(&line(desk, what));
                }
            }
        }
    };
    bar.finish_and_clear();
    tell(desk, &bar);
    done
}

/// Which way copies went; nothing where none were made.
pub fn ways(desk: &Desk<'_>) -> String {
    match desk.stations.moved() {
        None | Some(Moved { direct: 0, relayed: 0 }) => String::new(),
        Some(Moved { direct, relayed }) => {
            format!("copies: {} from worker to worker, {} through this machine", Bytes(direct), Bytes(relayed))
        }
    }
}

fn bar(style: Style, what: &str) -> ProgressBar {
    let target = match style {
        Style::Bars => ProgressDrawTarget::stderr(),
        Style::Plain | Style::Json | Style::Quiet => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(Some(0), target).with_message(printable(what).into_owned());
    let template = "{msg} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn update(desk: &Desk<'_>, bar: &ProgressBar) {
    bar.set_length(desk.watch.total.load(Ordering::Relaxed));
    bar.set_position(desk.watch.done.load(Ordering::Relaxed));
}

fn line(desk: &Desk<'_>, what: &str) -> String {
    let (done, total) = (desk.watch.done.load(Ordering::Relaxed), desk.watch.total.load(Ordering::Relaxed));
    format!("{what}: {} of {}", Bytes(done), Bytes(total))
}

/// Says what waits to be said.
fn tell(desk: &Desk<'_>, bar: &ProgressBar) {
    let notes = std::mem::take(&mut *desk.watch.notes.lock().unwrap_or_else(PoisonError::into_inner));
    for note in notes {
        bar.suspend(|| say(&note));
    }
}
