//! Stragglers, slow hosts and marks of earlier jobs, in words.

use std::time::Duration;

use super::board::Board;
use crate::facts::{Lag, Slowness};
use crate::ids::{AttemptId, WorkerId};
use crate::report::printable;
use crate::units::Span;

/// What takes longer than this does not end, as far as anybody can say.
const FOREVER: Duration = Duration::from_secs(100 * 3600);

/// That an attempt is copied, and why.
pub fn copied_text(copy: AttemptId, to: WorkerId, from: WorkerId, lag: &Lag, board: &Board) -> String {
    let (task, to, from) = (copy.task, board.tally.host(to), board.tally.host(from));
    match lag {
        Lag::Rate { left, elsewhere } if *left > FOREVER => {
            format!("{task} is copied to {to}: it hardly moves on {from}, and would take {} there", Span(*elsewhere))
        }
        Lag::Rate { left, elsewhere } => {
            format!("{task} is copied to {to}: {} left on {from} would be {} there", Span(*left), Span(*elsewhere))
        }
        Lag::Overdue { worked, usual } => {
            format!("{task} is copied to {to}: it has run {} on {from}, others took {}", Span(*worked), Span(*usual))
        }
    }
}

/// That a host is slow, with the evidence, and what follows.
pub fn marked_text(
    worker: WorkerId,
    slowness: &Slowness,
    share_percent: u32,
    lasts: Duration,
    board: &Board,
) -> String {
    let Slowness { attempt, there, elsewhere, .. } = slowness;
    let gets = gets_text(share_percent);
    let (host, task, lasts) = (board.tally.host(worker), attempt.task, Span(lasts));
    format!(
        "{host} is slow: {task} was not done there after {}, and took {} elsewhere; it gets {gets} for {lasts}",
        Span(*there),
        Span(*elsewhere)
    )
}

/// That a host is treated by what an earlier job saw there.
pub fn remembered_text(worker: WorkerId, share_percent: u32, lasts: Duration, evidence: &str, board: &Board) -> String {
    let (host, gets, evidence) = (board.tally.host(worker), gets_text(share_percent), printable(evidence));
    let lasts = Span(lasts);
    format!("{host} gets {gets} for {lasts}, for what happened before: {evidence} (`runner workers forgive` ends that)")
}

fn gets_text(share_percent: u32) -> String {
    match share_percent {
        0 => "no more tasks".to_owned(),
        share => format!("{share} % of its share"),
    }
}
