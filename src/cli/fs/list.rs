//! `runner fs ls`, `du` and `stat`: what there is, and how evenly it is spread.

use std::collections::BTreeSet;
use std::io::Write;

use serde::Serialize;

use super::Desk;
use crate::cli::context::{Form, say};
use crate::cli::output::print;
use crate::clock;
use crate::dataset::{Pattern, part_file};
use crate::datasets::{Selected, View};
use crate::error::{Fault, Kind};
use crate::fleet::ranges::fold;
use crate::report::{Column, Table, count_of, printable};
use crate::units::Bytes;

/// What `fs ls` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Names of datasets, or patterns; NAME/PATTERN for parts
    #[arg(value_name = "PATTERN")]
    pub(super) patterns: Vec<String>,
    /// Sizes in blocks of 1024 bytes on the disk, as `ls -s` has them
    #[arg(long)]
    blocks: bool,
}

/// What commands take that work on whatever patterns choose.
#[derive(Debug, clap::Args)]
pub struct PatternArgs {
    /// Names of datasets, or patterns; all where nothing is said
    #[arg(value_name = "PATTERN")]
    pub(super) patterns: Vec<String>,
}

/// What `fs stat` takes.
#[derive(Debug, clap::Args)]
pub struct StatArgs {
    /// The dataset
    pub(super) name: String,
}

/// A line: a dataset, or a part.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    parts: u64,
    bytes: u64,
    /// Of 1024 bytes, on the disk.
    blocks: u64,
    /// The fewest of any part.
    copies: usize,
    wanted: u32,
    hosts: Vec<String>,
    missing: Vec<u32>,
}

/// How evenly the chosen parts are spread.
#[derive(Debug, PartialEq, Serialize)]
struct Skew {
    total: u64,
    workers: u64,
    average: u64,
    largest: u64,
    largest_worker: String,
    ratio: f64,
}

/// Lists.
pub(super) async fn ls(desk: &Desk<'_>, args: &Args, patterns: &[Pattern]) -> anyhow::Result<()> {
    let (view, selected) = desk.select(patterns).await?;
    let lines: Vec<Line> = selected.iter().flat_map(|it| lines(desk, it, patterns)).collect();
    let skew = skew(&view, &selected, args.blocks);
    match desk.context.form {
        Form::Json => print(|out| json(out, &lines, &skew))?,
        Form::Text => {
            print(|out| write!(out, "{}", table(&lines, args.blocks)))?;
            print(|out| writeln!(out, "{}", in_words(&skew, args.blocks)))?;
        }
    }
    troubles(desk, &view, &selected);
    // Whoever asked for it cannot read it.
    match selected.iter().filter(|one| one.check().is_err()).count() {
        0 => Ok(()),
        lost => {
            Err(Fault::new(Kind::Data, format!("{} cannot be read whole", count_of(lost as u64, "dataset"))).into())
        }
    }
}

fn json(out: &mut dyn Write, lines: &[Line], skew: &Skew) -> std::io::Result<()> {
    for line in lines {
        serde_json::to_writer(&mut *out, line)?;
        writeln!(out)?;
    }
    serde_json::to_writer(&mut *out, skew)?;
    writeln!(out)
}

/// A dataset that is meant as a whole is one line; parts that are meant are a line each.
fn lines(desk: &Desk<'_>, selected: &Selected, patterns: &[Pattern]) -> Vec<Line> {
    let dataset = &selected.dataset;
    if patterns.is_empty() || patterns.iter().any(|pattern| pattern.is_of(&dataset.name)) {
        return vec![line(desk, selected, dataset.name.as_str().to_owned(), &selected.parts, None)];
    }
    let of = dataset.parts.len() as u32;
    selected
        .parts
        .iter()
        .map(|index| {
            let name = format!("{}/{}", dataset.name, part_file(*index, of));
            line(desk, selected, name, &[*index], dataset.outline.parts[*index as usize].label.clone())
        })
        .collect()
}

fn line(desk: &Desk<'_>, selected: &Selected, name: String, parts: &[u32], label: Option<String>) -> Line {
    let dataset = &selected.dataset;
    let part = |index: &u32| &dataset.parts[*index as usize];
    let hosts: BTreeSet<usize> = parts.iter().flat_map(|index| part(index).holders.clone()).collect();
    Line {
        name,
        label,
        parts: parts.len() as u64,
        bytes: parts.iter().map(|index| dataset.outline.parts[*index as usize].bytes).sum(),
        blocks: parts.iter().map(|index| part(index).blocks.div_ceil(2)).sum(),
        copies: parts.iter().map(|index| part(index).copies).min().unwrap_or(0),
        wanted: dataset.outline.copies,
        hosts: hosts.into_iter().map(|at| desk.stations.name(at).to_owned()).collect(),
        missing: parts.iter().copied().filter(|index| part(index).holders.is_empty()).collect(),
    }
}

fn table(lines: &[Line], blocks: bool) -> Table {
    use Column::{Left, Right};
    let mut table = Table::new([
        Left("name"),
        Right("parts"),
        Right(if blocks { "blocks" } else { "size" }),
        Right("copies"),
        Left("workers"),
    ]);
    for line in lines {
        let copies = match line.copies < line.wanted as usize {
            true => format!("{} of {}", line.copies, line.wanted),
            false => line.copies.to_string(),
        };
        let name = match &line.label {
            Some(label) => format!("{} ({label})", line.name),
            None => line.name.clone(),
        };
        table.row([
            printable(&name).into_owned(),
            line.parts.to_string(),
            if blocks { line.blocks.to_string() } else { Bytes(line.bytes).to_string() },
            copies,
            fold(&line.hosts),
        ]);
    }
    table
}

/// Counts every copy where it lies.
fn skew(view: &View, selected: &[Selected], blocks: bool) -> Skew {
    let mut held: Vec<u64> = vec![0; view.hosts.len()];
    for one in selected {
        for index in &one.parts {
            let part = &one.dataset.parts[*index as usize];
            let size = if blocks { part.blocks.div_ceil(2) } else { one.dataset.outline.parts[*index as usize].bytes };
            part.holders.iter().for_each(|at| held[*at] += size);
        }
    }
    let answered: Vec<usize> = (0..view.hosts.len()).filter(|at| view.hosts[*at].facts.is_ok()).collect();
    let total: u64 = held.iter().sum();
    let largest = answered.iter().copied().max_by_key(|at| (held[*at], std::cmp::Reverse(*at)));
    let average = total as f64 / answered.len().max(1) as f64;
    let most = largest.map_or(0, |at| held[at]);
    Skew {
        total,
        workers: answered.len() as u64,
        average: average.round() as u64,
        largest: most,
        largest_worker: largest.map(|at| view.hosts[at].name.clone()).unwrap_or_default(),
        ratio: if total > 0 { (most as f64 / average * 100.0).round() / 100.0 } else { 1.0 },
    }
}

fn in_words(skew: &Skew, blocks: bool) -> String {
    let size = |amount: u64| if blocks { amount.to_string() } else { Bytes(amount).to_string() };
    format!(
        "total {}, per worker: average {}, largest {} ({}), largest / average {:.2}",
        size(skew.total),
        size(skew.average),
        size(skew.largest),
        skew.largest_worker,
        skew.ratio
    )
}

/// Says what is not as it should be.
fn troubles(desk: &Desk<'_>, view: &View, selected: &[Selected]) {
    for one in selected {
        let dataset = &one.dataset;
        if let Some(loss) = dataset.loss() {
            say(&loss);
        }
        let short = dataset.short().count();
        if short > 0 {
            let (name, wanted) = (&dataset.name, dataset.outline.copies);
            let have = if short == 1 { "has" } else { "have" };
            say(&format!(
                "{name}: {short} of its parts {have} fewer than {wanted} copies; `runner fs repair {name}` makes them again"
            ));
        }
        for (index, part) in dataset.parts.iter().enumerate() {
            for (at, bytes) in &part.wrong {
                let expected = dataset.outline.parts[index].bytes;
                let host = desk.stations.name(*at);
                say(&format!("{}: part {index} on {host} has {bytes} bytes instead of {expected}", dataset.name));
            }
        }
    }
    for ((name, generation), unfinished) in &view.unfinished {
        let since = clock::calendar(generation.wall_ms());
        let hosts = fold(unfinished.hosts.iter().map(|at| desk.stations.name(*at)));
        let what = if unfinished.put.is_some() { "a put" } else { "what a job or a stream began" };
        say(&format!(
            "{name}: {what} of {since} is not complete, on {hosts}; `runner fs rm {name}` removes what there is of it"
        ));
    }
}

/// Shows how much datasets take.
pub(super) async fn du(desk: &Desk<'_>, patterns: &[Pattern]) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Usage {
        name: String,
        bytes: u64,
        with_copies: u64,
    }
    let (_, selected) = desk.select(patterns).await?;
    let usage = |one: &Selected| {
        let size = |index: &u32| one.dataset.outline.parts[*index as usize].bytes;
        let copies = |index: &u32| one.dataset.parts[*index as usize].copies as u64;
        Usage {
            name: one.dataset.name.to_string(),
            bytes: one.bytes(),
            with_copies: one.parts.iter().map(|index| size(index) * copies(index)).sum(),
        }
    };
    let usages: Vec<Usage> = selected.iter().map(usage).collect();
    match desk.context.form {
        Form::Json => print(|out| {
            usages.iter().try_for_each(|usage| {
                serde_json::to_writer(&mut *out, usage)?;
                writeln!(out)
            })
        }),
        Form::Text => {
            let mut table = Table::new([Column::Right("size"), Column::Right("with copies"), Column::Left("name")]);
            for usage in &usages {
                let name = printable(&usage.name).into_owned();
                table.row([Bytes(usage.bytes).to_string(), Bytes(usage.with_copies).to_string(), name]);
            }
            print(|out| write!(out, "{table}"))
        }
    }
}

/// Shows all that is known of one.
pub(super) async fn stat(desk: &Desk<'_>, pattern: Pattern) -> anyhow::Result<()> {
    let (_, selected) = desk.select(std::slice::from_ref(&pattern)).await?;
    let Some(one) = selected.first() else {
        return Err(Fault::new(Kind::InputMissing, format!("no dataset `{}`", pattern.as_str())).into());
    };
    let (dataset, outline) = (&one.dataset, &one.dataset.outline);
    let of = dataset.parts.len() as u32;
    let names = |index: u32| -> Vec<&str> {
        dataset.parts[index as usize].holders.iter().map(|at| desk.stations.name(*at)).collect()
    };
    if desk.context.form == Form::Json {
        let parts: Vec<_> = (0..of)
            .map(|index| {
                let part = &outline.parts[index as usize];
                serde_json::json!({
                    "part": index, "bytes": part.bytes, "hash": format!("{:016x}", part.hash),
                    "label": part.label, "hosts": names(index),
                })
            })
            .collect();
        let value = serde_json::json!({
            "name": dataset.name.as_str(), "generation": outline.generation.to_string(), "form": outline.form,
            "made_ms": outline.generation.wall_ms(), "bytes": outline.bytes(), "copies": outline.copies, "parts": parts,
        });
        return print(|out| writeln!(out, "{value}"));
    }
    let copies = if outline.copies == 1 { "1 copy".to_owned() } else { format!("{} copies", outline.copies) };
    let mut table = Table::new([
        Column::Right("part"),
        Column::Right("bytes"),
        Column::Left("hash"),
        Column::Left("workers"),
        Column::Left("file"),
    ]);
    for index in 0..of {
        let part = &outline.parts[index as usize];
        let label = printable(part.label.as_deref().unwrap_or_default()).into_owned();
        table.row([
            index.to_string(),
            part.bytes.to_string(),
            format!("{:016x}", part.hash),
            fold(names(index)),
            label,
        ]);
    }
    print(|out| {
        writeln!(out, "name        {}", printable(dataset.name.as_str()))?;
        writeln!(out, "generation  {} ({})", outline.generation, clock::calendar(outline.generation.wall_ms()))?;
        writeln!(
            out,
            "size        {} in {}, {} wanted",
            Bytes(outline.bytes()),
            count_of(u64::from(of), "part"),
            copies
        )?;
        write!(out, "{table}")
    })
}
