//! What a journal says of a job that has no driver, or of one task of it: sentences, for `runner explain`.

use super::tally::Tally;
use super::text::printable;
use crate::facts::{DropReason, End, Fact, Next, Stamped};
use crate::ids::{AttemptId, TaskId, WorkerId};
use crate::units::Span;

/// The job as a whole: how it ended, and how far its stages were.
pub fn account_of_job(tally: &Tally) -> Vec<String> {
    let how = match &tally.end {
        None => "it was interrupted: its driver is gone".to_owned(),
        Some(End::Done) => "it is done".to_owned(),
        Some(End::Failed { text, .. }) => format!("it failed: {text}"),
        Some(End::Interrupted) => "it was interrupted".to_owned(),
        Some(End::Cancelled) => "it was cancelled".to_owned(),
    };
    let stages = tally.stages().map(|stage| {
        let phase = tally.phase(stage);
        format!("{stage}: {} of {} done", phase.done, tally.tasks(stage))
    });
    std::iter::once(how).chain(stages).collect()
}

/// What happened to a task, the oldest first.
pub fn account_of_task<'a>(facts: impl IntoIterator<Item = &'a Stamped>, task: TaskId) -> Vec<String> {
    let mut tally = Tally::default();
    let mut lines = Vec::new();
    for stamped in facts {
        tally.observe(stamped);
        let Some((attempt, what)) = happened(&stamped.fact, &tally).filter(|(attempt, _)| attempt.task == task) else {
            continue;
        };
        lines.push(format!("{}: {attempt} {what}", Span(tally.elapsed(stamped.at))));
    }
    if lines.is_empty() {
        let stage = task.stage;
        lines.push(match u64::from(task.index) < tally.tasks(stage) {
            true => format!("{task} was never sent to a worker"),
            false => format!("there is no {task} in this job"),
        });
    }
    lines
}

/// What a fact says of an attempt.
fn happened(fact: &Fact, tally: &Tally) -> Option<(AttemptId, String)> {
    let on = |worker: &WorkerId| tally.host(*worker);
    match fact {
        Fact::AttemptCopied { attempt, of, .. } => Some((*attempt, format!("is a copy of {of}, which is slow"))),
        Fact::AttemptQueued { attempt, worker } => Some((*attempt, format!("is sent to {}", on(worker)))),
        Fact::AttemptStarted { attempt, worker } => Some((*attempt, format!("runs on {}", on(worker)))),
        Fact::AttemptFinished { attempt, worker, .. } => Some((*attempt, format!("ends well on {}", on(worker)))),
        Fact::AttemptFailed { attempt, worker, failure, next } => {
            let next = match next {
                Next::Retry { left } => format!("it may fail {left} times more"),
                Next::Covered => "another attempt covers it".to_owned(),
                Next::GiveUp => "it is given up".to_owned(),
            };
            let cause = failure.cause.to_string();
            Some((*attempt, format!("fails on {}: {} ({next})", on(worker), printable(&cause))))
        }
        Fact::AttemptDropped { attempt, worker, reason } => {
            let why = match reason {
                DropReason::Beaten => "another attempt was faster",
                DropReason::Moved => "it had not begun, and another worker was free",
                DropReason::NeverArrived => "its order was lost with a connection",
                DropReason::WorkerLost => "its worker was lost",
                DropReason::InputGone => "what it read is no longer valid",
                DropReason::JobEnds => "the job ends",
            };
            Some((*attempt, format!("is dropped on {}: {why}", on(worker))))
        }
        Fact::OutputLost { attempt } => Some((*attempt, "loses its output with its worker".to_owned())),
        Fact::PartCommitted { attempt, .. } => Some((*attempt, "is committed: its output is in place".to_owned())),
        Fact::JobPlanned(_)
        | Fact::JobResumed { .. }
        | Fact::WorkerJoined { .. }
        | Fact::WorkerRefused { .. }
        | Fact::WorkerSuspect { .. }
        | Fact::WorkerBack { .. }
        | Fact::WorkerLost { .. }
        | Fact::WorkerBarred { .. }
        | Fact::WorkerMarked { .. }
        | Fact::WorkerRemembered { .. }
        | Fact::WorkerCleared { .. }
        | Fact::WorkerHeld { .. }
        | Fact::WorkerEased { .. }
        | Fact::WorkerDraining { .. }
        | Fact::WorkerKept { .. }
        | Fact::WorkerReleased { .. }
        | Fact::StageStarted { .. }
        | Fact::StageFinished { .. }
        | Fact::JobFinished { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::script;
    use crate::report::tests::tally;

    #[test]
    fn a_job_is_told_by_its_end_and_stages() {
        let check = |facts: &str, lines: &[&str]| assert_eq!(account_of_job(&tally(facts)), lines, "{facts}");
        check("plan 5 5 / 0", &["it was interrupted: its driver is gone", "map: 0 of 2 done"]);
        check("plan 5 / 1\n end cancelled", &["it was cancelled", "map: 0 of 1 done", "reduce: 0 of 1 done"]);
    }

    #[test]
    fn a_task_is_told_by_what_happened_to_it() {
        let facts = "plan 5 5 / 0\n join 0 a 1\n 1000 queue map-0.0 0\n 2000 start map-0.0 0\n start map-1.0 0\n \
                     3000 fail map-0.0 0 7 3 x";
        let facts = script::facts(facts);
        let told = |task: TaskId| account_of_task(&facts, task);
        assert_eq!(
            told(TaskId::map(0)),
            [
                "1.0s: map-0.0 is sent to a",
                "2.0s: map-0.0 runs on a",
                "3.0s: map-0.0 fails on a: the map command exited with code 7 (it may fail 3 times more)"
            ]
        );
        assert_eq!(told(TaskId::map(7)), ["there is no map-7 in this job"]);
    }
}
