//! The summary of a job, as it stands on the terminal at its end.

use std::fmt;

use indicatif::HumanCount;

use super::text::{count_of, printable, rate, times};
use super::{Column, PhaseReport, Report, State, Sums, Table};
use crate::ids::Stage;
use crate::units::{Bytes, Span};

/// More counters than this are cut off: a program can make any number of them.
const COUNTERS_MAX: usize = 12;

impl fmt::Display for Report {
    /// Whole lines, the last one ended too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", headline(self))?;
        write!(f, "{}", phase_table(&self.phases))?;
        for (label, text) in [
            ("dataset", dataset_line(self)),
            ("shuffle", shuffle_line(self)),
            ("output", output_line(self)),
            ("attempts", Some(attempts_line(self))),
            ("workers", workers_line(self)),
            ("slowest", slowest_line(self)),
            ("skew", skew_line(self)),
        ] {
            if let Some(text) = text {
                writeln!(f, "  {label:<8}  {text}")?;
            }
        }
        write_counters(f, self)
    }
}

fn headline(report: &Report) -> String {
    let id = report.job.as_ref().map_or(report.name.as_str(), |job| job.as_str());
    let state = match report.state {
        State::Running => "runs since",
        State::Done => "done in",
        State::Failed => "failed after",
        State::Interrupted => "interrupted after",
        State::Cancelled => "cancelled after",
    };
    let workers = count_of(report.workers.len() as u64, "worker");
    let slots = count_of(report.workers.iter().map(|worker| u64::from(worker.slots)).sum(), "slot");
    format!("{} {state} {} on {workers} with {slots}", printable(id), Span(report.took))
}

fn phase_table(phases: &[PhaseReport]) -> Table {
    use Column::{Left, Right};
    let mut table = Table::new([
        Left("phase   "),
        Right("time"),
        Right("tasks"),
        Right("bytes in"),
        Right("rate"),
        Right("records in"),
        Right("bytes out"),
        Right("records out"),
    ])
    .indented(2);
    for phase in phases {
        let sums = &phase.sums;
        table.row([
            phase.stage.name().to_owned(),
            Span(phase.wall).to_string(),
            if phase.done == phase.tasks { phase.tasks.to_string() } else { format!("{}/{}", phase.done, phase.tasks) },
            Bytes(sums.bytes_in).to_string(),
            rate(sums.bytes_in, phase.wall),
            HumanCount(sums.records_in).to_string(),
            Bytes(sums.bytes_out).to_string(),
            HumanCount(sums.records_out).to_string(),
        ]);
    }
    table
}

/// How much of the datasets was read where it lies.
fn dataset_line(report: &Report) -> Option<String> {
    let map = &report.phases.iter().find(|phase| phase.stage == Stage::Map)?.sums;
    let whole = map.bytes_local + map.bytes_distant;
    let percent = map.bytes_local.saturating_mul(100).checked_div(whole)?;
    Some(format!("{percent} % of {} read where it lies", Bytes(whole)))
}

/// What the maps stored for the reduces, and which way it went.
fn shuffle_line(report: &Report) -> Option<String> {
    let map = report.phases.iter().find(|phase| phase.stage == Stage::Map)?;
    let reduce = report.phases.iter().find(|phase| phase.stage == Stage::Reduce && phase.done > 0)?;
    // Fetching begins with the first finished map, so there is no phase of its own to divide by.
    let moved = reduce.sums.bytes_shuffled;
    Some(format!(
        "{} in segments{}; {} in place, {} from worker to worker, {} through the driver ({})",
        Bytes(map.sums.bytes_shuffled),
        compressed(&map.sums),
        Bytes(reduce.sums.bytes_in_place),
        Bytes(moved - reduce.sums.bytes_relayed.min(moved)),
        Bytes(reduce.sums.bytes_relayed),
        rate(moved, map.wall.max(reduce.wall))
    ))
}

/// How much compression has left, where there is any.
fn compressed(map: &Sums) -> String {
    let percent = map.bytes_shuffled.saturating_mul(100) / map.bytes_out.max(1);
    if percent < 100 && map.bytes_shuffled > 0 { format!(" (compressed to {percent} %)") } else { String::new() }
}

fn output_line(report: &Report) -> Option<String> {
    let last = report.phases.last().filter(|last| last.done > 0)?;
    let path = report.output.to_string_lossy();
    let parts = count_of(last.done, "part");
    Some(format!("{parts}, {} in {}", Bytes(last.sums.bytes_committed), printable(&path)))
}

/// The number of attempts, and what went otherwise than planned.
fn attempts_line(report: &Report) -> String {
    let mut text = HumanCount(report.attempts).to_string();
    for (count, what) in [
        (report.failures, "failed"),
        (report.retries, "of them tried again"),
        (report.moved, "moved to a free worker"),
        (report.copies, "copied as too slow"),
        (report.copies_won, "of them won"),
        (report.beaten, "beaten by a copy"),
        (report.outputs_lost, "finished but lost and made again"),
    ] {
        if count > 0 {
            text += &format!(", {} {what}", HumanCount(count));
        }
    }
    if report.failures == 0 {
        text += ", none failed";
    }
    text
}

/// Only where something happened to them.
fn workers_line(report: &Report) -> Option<String> {
    let lost: Vec<&str> =
        report.workers.iter().filter(|worker| worker.lost).map(|worker| worker.host.as_str()).collect();
    let mut notes = Vec::new();
    if !lost.is_empty() {
        let named = lost.iter().take(5).copied().collect::<Vec<_>>().join(", ");
        let more = if lost.len() > 5 { ", ..." } else { "" };
        notes.push(format!("{} lost ({named}{more})", lost.len()));
    }
    if report.refused > 0 {
        notes.push(format!("{} took no part", report.refused));
    }
    (!notes.is_empty()).then(|| notes.join(", "))
}

fn slowest_line(report: &Report) -> Option<String> {
    let slowest = report.slowest.as_ref()?;
    Some(format!("{} on {}, {}", slowest.task, slowest.host, Span(slowest.took)))
}

fn skew_line(report: &Report) -> Option<String> {
    let skew = report.skew.as_ref()?;
    Some(format!(
        "the largest reduce is {} times the average ({}, {} of {})",
        times(skew.largest, skew.average),
        skew.task,
        Bytes(skew.largest),
        Bytes(skew.average as u64)
    ))
}

fn write_counters(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    for (place, (group, name, sum)) in report.counters.iter().take(COUNTERS_MAX).enumerate() {
        let label = if place == 0 { "counters" } else { "" };
        writeln!(f, "  {label:<8}  {} / {} = {sum}", printable(group), printable(name))?;
    }
    match report.counters.len().saturating_sub(COUNTERS_MAX) {
        0 => Ok(()),
        more => writeln!(f, "  {:<8}  and {more} more", ""),
    }
}
