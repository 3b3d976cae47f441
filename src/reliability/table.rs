//! Hosts for people and programs: a line each.

use serde::Serialize;

use super::{Mark, MarkKind, Record};
use crate::clock;
use crate::report::{Column, Table};

/// Whether a host answered just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// It did.
    Up,
    /// It did not.
    Down,
    /// It is no worker now, and was not asked.
    Known,
}

/// A host in the list of hosts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Its name for people.
    pub host: String,
    /// Whether it answered.
    pub state: Presence,
    /// Attempts that it runs at once; none where no job has asked yet.
    pub slots: Option<u32>,
    /// Its load average; none where it did not answer.
    pub load: Option<f64>,
    /// From 0 to 100; see [`Record::score`].
    pub score: Option<u32>,
    /// What it did.
    #[serde(flatten)]
    pub record: Record,
}

impl Line {
    /// A host of which `record` is known.
    pub fn new(host: String, state: Presence, load: Option<f64>, mut record: Record, now_ms: u64) -> Self {
        record.mark = record.mark_at(now_ms).cloned();
        let slots = (record.slots > 0).then_some(record.slots);
        Line { host, state, slots, load, score: record.score(), record }
    }
}

/// The hosts in the order given.
pub fn table<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Table {
    use Column::{Left, Right};
    let mut table = Table::new([
        Left("HOST"),
        Left("STATE"),
        Right("SLOTS"),
        Right("LOAD"),
        Right("DONE"),
        Right("FAILED"),
        Right("LOST"),
        Right("COPIED"),
        Right("SCORE"),
        Left("MARK"),
    ]);
    for line in lines {
        let Record { done, failed, lost, copied, mark, .. } = &line.record;
        table.row([
            line.host.clone(),
            line.state.name().to_owned(),
            line.slots.map_or_else(dash, |slots| slots.to_string()),
            line.load.map_or_else(dash, |load| format!("{load:.2}")),
            done.to_string(),
            failed.to_string(),
            lost.to_string(),
            copied.to_string(),
            line.score.map_or_else(dash, |score| score.to_string()),
            mark.as_ref().map(mark_text).unwrap_or_default(),
        ]);
    }
    table
}

fn dash() -> String {
    "-".to_owned()
}

fn mark_text(mark: &Mark) -> String {
    let what = match mark.kind {
        MarkKind::Slow { share_percent: 0 } => "slow: no tasks".to_owned(),
        MarkKind::Slow { share_percent } => format!("slow: {share_percent} % of its tasks"),
        MarkKind::Barred => "barred: no tasks".to_owned(),
    };
    format!("{what} until {} ({})", clock::calendar(mark.until_ms), mark.evidence)
}

impl Presence {
    fn name(self) -> &'static str {
        match self {
            Presence::Up => "up",
            Presence::Down => "down",
            Presence::Known => "-",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_listed_with_what_is_held_against_them() {
        let mark = Mark { kind: MarkKind::Barred, since_ms: 1, until_ms: 1000, evidence: "3 failures".to_owned() };
        let record = Record { slots: 4, done: 90, failed: 3, faults: 2, mark: Some(mark), ..Record::default() };
        let line = |now_ms| Line::new("node1".to_owned(), Presence::Up, Some(1.5), record.clone(), now_ms);
        let until = clock::calendar(1000);
        let expected = format!(
            "\
HOST   STATE  SLOTS  LOAD  DONE  FAILED  LOST  COPIED  SCORE  MARK
node1  up         4  1.50    90       3     0       0     90  barred: no tasks until {until} (3 failures)
node2  -          -     -     0       0     0       0      -
"
        );
        let other = Line::new("node2".to_owned(), Presence::Known, None, Record::default(), 0);
        assert_eq!(table(&[line(999), other]).to_string(), expected);
        let json = serde_json::to_value(line(1000)).expect("json");
        assert_eq!((&json["state"], &json["score"], &json["mark"]), (&"up".into(), &90.into(), &().into()));
    }
}
