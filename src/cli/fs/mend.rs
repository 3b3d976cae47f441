//! `runner fs rm`, `mv`, `check` and `repair`.

use super::show::{ways, while_shown};
use super::{Desk, pattern};
use crate::cli::context::{Form, say};
use crate::cli::output::print;
use crate::dataset::{Name, Pattern};
use crate::datasets::{self, Finding, Repaired, Selected};
use crate::error::{Fault, Kind};
use crate::progress::Style;
use crate::report::count_of;

/// What `fs rm` takes.
#[derive(Debug, clap::Args)]
pub struct RemoveArgs {
    /// Names of datasets, or patterns
    #[arg(value_name = "PATTERN", required = true)]
    pub(super) patterns: Vec<String>,
}

/// What `fs mv` takes.
#[derive(Debug, clap::Args)]
pub struct RenameArgs {
    /// Its name
    pub(super) old: String,
    /// The name that it shall have
    pub(super) new: String,
}

/// Removes datasets.
pub(super) async fn remove(desk: &Desk<'_>, patterns: &[Pattern]) -> anyhow::Result<()> {
    let (selected, unfinished) = chosen(desk, patterns).await?;
    let is_whole = |name: &Name| patterns.iter().any(|pattern| pattern.is_of(name));
    if let Some(part) = selected.iter().find(|one| !is_whole(&one.dataset.name)) {
        return Err(Fault::usage(format!("parts are not removed by themselves: name {}", part.dataset.name)).into());
    }
    let mut names: Vec<Name> = selected.into_iter().map(|one| one.dataset.name).chain(unfinished).collect();
    names.sort_unstable();
    names.dedup();
    while_shown(desk, "removing", datasets::remove(&desk.stations, &names, &desk.watch)).await?;
    Ok(())
}

/// The datasets that patterns choose, and the names of which there is only what a stopped put has left.
async fn chosen(desk: &Desk<'_>, patterns: &[Pattern]) -> Result<(Vec<Selected>, Vec<Name>), Fault> {
    let view = desk.look(patterns).await;
    let mut unfinished: Vec<Name> = view.unfinished.keys().map(|(name, _)| name.clone()).collect();
    unfinished.retain(|name| patterns.iter().any(|pattern| pattern.is_of(name)));
    let is_met = |pattern: &&Pattern| unfinished.iter().any(|name| pattern.is_of(name));
    let is_dataset = |pattern: &Pattern| view.datasets.keys().any(|name| pattern.is_of(name));
    let others: Vec<Pattern> = patterns.iter().filter(|it| !is_met(it) || is_dataset(it)).cloned().collect();
    let selected = if others.is_empty() { Vec::new() } else { desk.select(&others).await?.1 };
    Ok((selected, unfinished))
}

/// Renames one.
pub(super) async fn rename(desk: &Desk<'_>, old: &Name, new: &Name) -> anyhow::Result<()> {
    let (_, selected) = desk.select(&[pattern(old.as_str())?]).await?;
    let dataset = selected.first().map(|one| &one.dataset).filter(|dataset| dataset.name == *old);
    let dataset = dataset.ok_or_else(|| Fault::new(Kind::InputMissing, format!("no dataset `{old}`")))?;
    if old == new {
        return Err(Fault::new(Kind::OutputExists, format!("the dataset {new} exists")).into());
    }
    while_shown(desk, "renaming", datasets::rename(&desk.stations, dataset, new, &desk.watch)).await?;
    Ok(())
}

/// Checks all copies.
pub(super) async fn check(desk: &Desk<'_>, patterns: &[Pattern]) -> anyhow::Result<()> {
    let (view, selected) = desk.select(patterns).await?;
    let mut wrong = 0;
    for one in &selected {
        let findings = datasets::check(&desk.stations, &view, &one.dataset);
        let findings = while_shown(desk, "checking", findings).await?;
        wrong += findings.iter().filter(|finding| !finding.is_good()).count();
        tell(desk, &one.dataset.name, &findings)?;
    }
    match wrong {
        0 => Ok(()),
        _ => {
            let text = format!("{}; `runner fs repair` makes copies again", are(wrong));
            Err(Fault::new(Kind::Data, text).into())
        }
    }
}

fn are(parts: usize) -> String {
    match parts {
        1 => "1 part is not as it should be".to_owned(),
        more => format!("{more} parts are not as they should be"),
    }
}

fn tell(desk: &Desk<'_>, name: &Name, findings: &[Finding]) -> anyhow::Result<()> {
    let host = |at: &usize| desk.stations.name(*at).to_owned();
    if desk.context.form == Form::Json {
        return print(|out| {
            findings.iter().try_for_each(|finding| {
                let bad: Vec<_> = finding.bad.iter().map(|(at, what)| (host(at), what.clone())).collect();
                let good: Vec<_> = finding.good.iter().map(host).collect();
                let value = serde_json::json!({
                    "name": name.as_str(), "part": finding.index, "good": good, "bad": bad, "wanted": finding.wanted,
                });
                writeln!(out, "{value}")
            })
        });
    }
    print(|out| {
        for finding in findings.iter().filter(|finding| !finding.is_good()) {
            let index = finding.index;
            for (at, what) in &finding.bad {
                writeln!(out, "{name}: part {index} on {}: {what}", host(at))?;
            }
            if finding.copies < finding.wanted {
                writeln!(out, "{name}: part {index}: {} of {} copies are good", finding.copies, finding.wanted)?;
            }
        }
        let good = findings.iter().filter(|finding| finding.is_good()).count();
        writeln!(out, "{name}: {good} of {} good", count_of(findings.len() as u64, "part"))
    })
}

/// Makes copies again.
pub(super) async fn repair(desk: &Desk<'_>, patterns: &[Pattern]) -> anyhow::Result<()> {
    let (_, selected) = desk.select(patterns).await?;
    let mut wrong = Vec::new();
    for one in &selected {
        let name = &one.dataset.name;
        let repairing = datasets::repair(&desk.stations, &one.dataset, &desk.watch);
        let Repaired { made, lost: gone, short } = while_shown(desk, &format!("repairing {name}"), repairing).await?;
        if desk.context.style != Style::Quiet {
            let copies = if made == 1 { "1 copy".to_owned() } else { format!("{made} copies") };
            say(&format!("{name}: {copies} made again"));
        }
        if !gone.is_empty() {
            let parts = numbers(&gone);
            wrong.push(format!("{name}: no good copy of part {parts} is left on a host that answered"));
        }
        if !short.is_empty() {
            wrong.push(format!("{name}: part {} has still fewer copies than it should", numbers(&short)));
        }
    }
    if desk.context.style != Style::Quiet {
        let ways = ways(desk);
        if !ways.is_empty() {
            say(&ways);
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Fault::new(Kind::Data, wrong.join("; ")).into()),
    }
}

fn numbers(parts: &[u32]) -> String {
    parts.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}
