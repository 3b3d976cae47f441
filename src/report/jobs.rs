//! The list of jobs: a line each, folded from its journal.

use std::time::Duration;

use serde::Serialize;

use super::{Column, Report, State, Table};
use crate::clock;
use crate::ids::JobId;
use crate::units::Span;

/// What is known of the driver of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// It runs.
    Alive {
        /// Calendar time now, milliseconds since 1970: a running job has taken until now.
        now_ms: u64,
    },
    /// It is gone: a job that has not ended was interrupted.
    Gone,
}

/// A job in the list of jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobLine {
    /// Its id.
    pub id: JobId,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: State,
    /// When it began, in local time; empty if it was never planned.
    pub started: String,
    /// The same, milliseconds since 1970.
    pub started_ms: u64,
    /// How long drivers have worked on it, for people.
    pub took: String,
    /// The same, in milliseconds.
    pub took_ms: u64,
    /// Where the result goes; bytes that are no UTF-8 are replaced.
    pub output: String,
}

impl JobLine {
    /// The line of the job that is stored as `id`, from the report of its journal.
    pub fn new(id: JobId, report: &Report, driver: Driver) -> Self {
        let (state, took) = match (report.state, driver) {
            (State::Running, Driver::Gone) => (State::Interrupted, report.took),
            (State::Running, Driver::Alive { now_ms }) => {
                // The newest fact may be old, when one task runs for long.
                (State::Running, report.took.max(Duration::from_millis(now_ms.saturating_sub(report.started_ms))))
            }
            (
                state @ (State::Done | State::Failed | State::Interrupted | State::Cancelled),
                Driver::Alive { .. } | Driver::Gone,
            ) => (state, report.took),
        };
        JobLine {
            id,
            name: report.name.clone(),
            state,
            started: if report.started_ms == 0 { String::new() } else { clock::calendar(report.started_ms) },
            started_ms: report.started_ms,
            took: Span(took).to_string(),
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            output: report.output.to_string_lossy().into_owned(),
        }
    }
}

/// The jobs as a table for people, in the order given.
pub fn job_table<'a>(jobs: impl IntoIterator<Item = &'a JobLine>) -> Table {
    use Column::{Left, Right};
    let mut table =
        Table::new([Left("id"), Left("name"), Left("state"), Left("started"), Right("took"), Left("output")]);
    for job in jobs {
        table.row([job.id.as_str(), &job.name, job.state.name(), &job.started, &job.took, &job.output]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::tally;

    fn line(facts: &str, driver: Driver) -> JobLine {
        let id = "wordcount-000001".parse().expect("an id");
        JobLine { started: "then".to_owned(), ..JobLine::new(id, &Report::of(&tally(facts)), driver) }
    }

    #[test]
    fn a_job_without_an_end_is_judged_by_its_driver() {
        let check = |facts: &str, driver: Driver, state: State, took_ms: u64| {
            let line = line(facts, driver);
            assert_eq!((line.state, line.took_ms), (state, took_ms), "{facts:?} {driver:?}");
        };
        // Plans of the tests begin at 1,000,000 ms.
        let alive = Driver::Alive { now_ms: 1_009_000 };
        check("plan 5 / 1\n 2000 stage map", Driver::Gone, State::Interrupted, 2000);
        check("plan 5 / 1\n 2000 stage map", alive, State::Running, 9000);
        check("plan 5 / 1\n 2000 end done", alive, State::Done, 2000);
        check("plan 5 / 1\n 2000 end done", Driver::Gone, State::Done, 2000);
        check("plan 5 / 1\n 2000 end failed no", Driver::Gone, State::Failed, 2000);
        check("plan 5 / 1\n 2000 end cancelled", Driver::Gone, State::Cancelled, 2000);
        check("", Driver::Gone, State::Interrupted, 0);
    }

    #[test]
    fn jobs_are_listed_in_columns() {
        let jobs = [line("plan 5 / 1\n 72000 end done", Driver::Gone), line("plan 5 / 1", Driver::Gone)];
        let expected = "\
id                name       state        started    took  output
wordcount-000001  wordcount  done         then     1m 12s  /out
wordcount-000001  wordcount  interrupted  then        0ms  /out
";
        assert_eq!(job_table(&jobs).to_string(), expected);
    }

    #[test]
    fn a_line_as_json_has_text_and_numbers() {
        let line = line("plan 5 / 1\n 72000 end done", Driver::Gone);
        assert_eq!(
            serde_json::to_string(&line).expect("json"),
            r#"{"id":"wordcount-000001","name":"wordcount","state":"done","started":"then","started_ms":1000000,"took":"1m 12s","took_ms":72000,"output":"/out"}"#
        );
    }
}
