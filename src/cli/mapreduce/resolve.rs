//! From what was said to the job as it runs: every default applied, every path resolved, every number checked.
//!
//! Nothing is made here. The order of the checks is that of the exit codes: usage, an output that exists, missing input.

use super::data::Data;
use super::split_size::split_size;
use super::typed::Typed;
use super::{input, place, ship};
use crate::driver::OutputFolder;
use crate::error::{Fault, Kind};
use crate::input::sample::sample_keys;
use crate::input::{InputFile, Split};
use crate::job::builtin::{self, Shape, Template};
use crate::job::file::JobFile;
use crate::job::format::Format;
use crate::job::{Job, Limits, Output, ProcessLimits, Step};
use crate::settings::Settings;
use crate::shuffle::partition::{Partitioner, cuts};
use crate::shuffle::record::KeyRule;
use crate::units::Bytes;

/// Keys looked at for each part that a range of them becomes, and in all: with 1,000, the largest part is rarely a tenth
/// larger than the average.
const SAMPLES_PER_REDUCE: usize = 1000;
const SAMPLES_MAX: usize = 20_000;

/// Reduces of a job: each is a file of the output, and a piece of every map's.
const REDUCES_MAX: u32 = 10_000;

/// A job that can be run.
#[derive(Debug)]
pub struct Resolved {
    /// What to run.
    pub job: Job,
    /// On what.
    pub splits: Vec<Split>,
    /// How many files that are.
    pub files: u64,
    /// Where the result goes.
    pub output: Output,
    /// What the user may want to know.
    pub hints: Vec<String>,
}

/// Every word that names input, once the job makes sense as far as that can be told without looking at any.
///
/// # Errors
/// A [`Fault`] of kind usage.
pub fn inputs(typed: &Typed) -> Result<Vec<String>, Fault> {
    let template = template(&typed.job)?;
    check_reduces(&typed.job, template.shape)?;
    let words: Vec<String> = typed.job.input.iter().chain(&template.other_input).cloned().collect();
    words.iter().try_for_each(|word| input::refuse_scheme(word))?;
    Ok(words)
}

/// Finds out what a job means on this machine, now, with about so many slots. [`inputs`] was asked before.
///
/// # Errors
/// A [`Fault`] for everything that a user can have got wrong.
pub fn resolve(typed: Typed, settings: &Settings, slots: u64, data: Option<&Data>) -> anyhow::Result<Resolved> {
    let said = &typed.job;
    let template = template(said)?;
    let mut output = place::output(&typed.output, said.overwrite.unwrap_or(false), data)?;
    place::set_copies(&mut output, said.copies)?;
    OutputFolder::check(&output)?;
    let sources = input::sources(&said.input, &template.other_input, data)?;
    place::refuse_input_within(&output, &sources)?;
    let files = ship::shipped(&said.files)?;
    let key = template.key.unwrap_or_else(|| said.format.key_rule());
    let bytes = Bytes(sources.iter().flatten().map(|file| file.bytes).sum());
    let reduces = said.reduces.unwrap_or_else(|| settings.job.reduces(bytes));
    let partitioner = partitioner(template.shape, reduces, &sources, &key, data)?;
    let split_size = said.split_size.or(settings.job.split_size).unwrap_or_else(|| split_size(bytes, slots));
    let reduces = partitioner.as_ref().map_or(0, Partitioner::partitions);
    Ok(Resolved {
        splits: input::splits(&sources, said, split_size, reduces)?,
        files: sources.iter().flatten().count() as u64,
        hints: data.map(Data::silent).unwrap_or_default().into_iter().chain(input::hint(&sources, said)).collect(),
        output,
        job: Job {
            name: typed.name,
            map: template.map,
            combine: template.combine,
            reduce: template.reduce,
            partitioner,
            key,
            files,
            setup: said.setup.clone(),
            env: said.env.clone().into_iter().collect(),
            limits: limits(said, settings),
        },
    })
}

/// What is done in map, combine and reduce.
fn template(said: &JobFile) -> Result<Template, Fault> {
    let Some(name) = &said.builtin else { return Ok(commands(said)) };
    let template = builtin::resolve(name, &said.options())?;
    if template.key.is_some() && said.format != Format::default() {
        return Err(Fault::usage(format!("`{name}` has keys of its own: leave out the format of lines")));
    }
    let needs_values = ["sum", "top", "join"].contains(&name.as_str());
    if needs_values && said.format.whole_line == Some(true) {
        return Err(Fault::usage(format!("`{name}` looks behind the key: leave out the whole line as key")));
    }
    Ok(template)
}

fn commands(said: &JobFile) -> Template {
    let command = |said: &Option<String>| said.clone().map(Step::Command);
    Template {
        map: command(&said.map).unwrap_or(Step::Identity),
        combine: command(&said.combine),
        reduce: command(&said.reduce).unwrap_or(Step::Identity),
        key: None,
        shape: if said.reduces == Some(0) { Shape::MapOnly } else { Shape::Hashed },
        other_input: Vec::new(),
    }
}

/// There is a bound; and a built-in job's own number of reduces is no matter of choice.
fn check_reduces(said: &JobFile, shape: Shape) -> Result<(), Fault> {
    if let Some(reduces) = said.reduces.filter(|reduces| *reduces > REDUCES_MAX) {
        return Err(Fault::usage(format!(
            "{reduces} reduces: at most {REDUCES_MAX} are possible; choose fewer, or leave it out: the input tells how many"
        )));
    }
    let (Some(name), Some(reduces)) = (&said.builtin, said.reduces) else { return Ok(()) };
    let expected = match (shape, reduces) {
        (Shape::MapOnly, 1..) => "none",
        (Shape::OneReduce, 0 | 2..) => "exactly one",
        (Shape::Hashed | Shape::Ranged, 0) => "at least one",
        (Shape::MapOnly, 0) | (Shape::OneReduce, 1) | (Shape::Hashed | Shape::Ranged, 1..) => return Ok(()),
    };
    Err(Fault::usage(format!("`{name}` with {reduces} reduces: it has {expected}")))
}

fn partitioner(
    shape: Shape,
    reduces: u32,
    sources: &[Vec<InputFile>],
    key: &KeyRule,
    data: Option<&Data>,
) -> anyhow::Result<Option<Partitioner>> {
    Ok(match shape {
        Shape::MapOnly => None,
        Shape::OneReduce => Some(Partitioner::Hash(1)),
        Shape::Hashed => Some(Partitioner::Hash(reduces)),
        Shape::Ranged if reduces == 1 => Some(Partitioner::Range(Vec::new())),
        Shape::Ranged => {
            let elsewhere = |file: &InputFile, places: &[u64]| match data {
                Some(data) => data.sample(file, places, key),
                None => Err(std::io::Error::other(input::unasked())),
            };
            let wanted = (SAMPLES_PER_REDUCE.saturating_mul(reduces as usize)).min(SAMPLES_MAX);
            let samples = sample_keys(sources, key, wanted, &elsewhere).map_err(unreadable)?;
            Some(Partitioner::Range(cuts(samples, reduces)))
        }
    })
}

fn unreadable(error: std::io::Error) -> Fault {
    Fault::new(Kind::Data, format!("sampling the input: {error}"))
}

fn limits(said: &JobFile, settings: &Settings) -> Limits {
    Limits {
        attempts_max: said.limits.attempts_max.unwrap_or(settings.job.attempts_max),
        silence_max: said.timeout.or(settings.job.silence_max).map(|span| span.0),
        sort_memory: said.limits.sort_memory.or(settings.worker.sort_memory),
        stderr_max: said.limits.stderr_max.unwrap_or(settings.job.stderr_max),
        processes: process_limits(said, settings),
    }
}

fn process_limits(said: &JobFile, settings: &Settings) -> ProcessLimits {
    let (said, usual) = (said.limits, &settings.limits);
    ProcessLimits {
        memory: said.memory.or(usual.memory),
        cpu_time: said.cpu_time.or(usual.cpu_time).map(|span| span.0),
        wall_time: said.wall_time.or(usual.wall_time).map(|span| span.0),
        processes: said.processes.or(usual.processes),
        nice: said.nice.unwrap_or(usual.nice),
    }
}
