//! What the job reads: files, and the splits that they become.

use super::data::{DATASET, Data, SHARED};
use crate::error::Fault;
use crate::input::list::list;
use crate::input::{Codec, Home, InputFile, PlanConfig, Split, plan};
use crate::job::file::JobFile;
use crate::units::Bytes;

/// Words before a colon that mean another place than this machine: some of ours to come, some of others'.
const SCHEMES: [&str; 8] = ["file", "hdfs", "s3", "s3a", "gs", "http", "https", "ftp"];

/// Splits of a job: the driver keeps some hundred bytes of each, and a few facts of each are in the journal.
const SPLITS_MAX: u64 = 1_000_000;
/// Pairs of a split and a reduce: the workers keep some twenty bytes of each together, and fetch each by itself. It lets a
/// job have the most splits with as many reduces as one gets when nobody says.
const PAIRS_MAX: u64 = 1_000_000_000;

/// Small files of which a command job gets a task each, from which on it is told that this can be changed.
const SMALL_FILES_MIN: u64 = 1000;
const SMALL_FILE_MAX: u64 = 1 << 20;

/// Refuses a word that names no path.
///
/// # Errors
/// A [`Fault`] of kind usage.
pub fn refuse_scheme(word: &str) -> Result<(), Fault> {
    match word.split_once(':') {
        Some((scheme, _)) if SCHEMES.contains(&scheme) => Err(Fault::usage(format!(
            "`{word}`: no scheme `{scheme}:` is known, a path on this machine, fs:NAME or shared:PATH is expected (a file of that name is ./{word})"
        ))),
        Some(_) | None => Ok(()),
    }
}

/// The files of each source: the input, and the other input of a join. Words of all kinds may stand beside each other.
///
/// # Errors
/// A [`Fault`]: see [`list`] and [`Data::files`].
pub fn sources(input: &[String], other: &[String], data: Option<&Data>) -> Result<Vec<Vec<InputFile>>, Fault> {
    let words = [input, other].into_iter().filter(|words| !words.is_empty());
    words.map(|words| source(words, data)).collect()
}

fn source(words: &[String], data: Option<&Data>) -> Result<Vec<InputFile>, Fault> {
    let mut files = Vec::new();
    for word in words {
        match word.split_once(':') {
            Some((DATASET, name)) => files.extend(data.ok_or_else(unasked)?.files(name)?),
            Some((SHARED, path)) => {
                let shared = |file| InputFile { home: Home::Shared, ..file };
                files.extend(list(&[path.to_owned()])?.into_iter().map(shared));
            }
            Some(_) | None => files.extend(list(std::slice::from_ref(word))?),
        }
    }
    Ok(files)
}

/// Where the workers are not asked for datasets, none can be named.
pub fn unasked() -> Fault {
    Fault::usage("a dataset (fs:NAME) cannot be named here")
}

/// Cuts the sources into splits. A command gets each file by itself, since it may ask for the file's name.
///
/// # Errors
/// A [`Fault`] of kind usage where there would be too many, with so many reduces.
pub fn splits(sources: &[Vec<InputFile>], job: &JobFile, split_size: Bytes, reduces: u32) -> Result<Vec<Split>, Fault> {
    let splits_max = SPLITS_MAX.min(PAIRS_MAX / u64::from(reduces.max(1)));
    let refuse_beyond = |splits: u64| match splits > splits_max {
        true => Err(too_many(splits, splits_max, split_size, reduces)),
        false => Ok(()),
    };
    // Before they are made, of which memory may have no room for all.
    refuse_beyond(splits_min(sources, split_size))?;
    let combine = job.combine_files.unwrap_or(job.builtin.is_some());
    let splits = plan::plan(sources, PlanConfig { split_size: split_size.0, combine });
    refuse_beyond(splits.len() as u64)?;
    Ok(splits)
}

/// So many there are at the least: those of files that are cut.
fn splits_min(sources: &[Vec<InputFile>], split_size: Bytes) -> u64 {
    let plain = sources.iter().flatten().filter(|file| file.codec == Codec::Plain);
    plain.map(|file| file.bytes / split_size.0.max(1)).fold(0, u64::saturating_add)
}

fn too_many(splits: u64, splits_max: u64, split_size: Bytes, reduces: u32) -> Fault {
    let with = if splits_max < SPLITS_MAX { format!(" with {reduces} reduces") } else { String::new() };
    let fewer = if splits_max < SPLITS_MAX { " or fewer --reduces" } else { "" };
    Fault::usage(format!(
        "{splits} splits of {split_size}: at most {splits_max} are possible{with}; choose a larger --split-size{fewer}, or \
         --combine-files for many small files"
    ))
}

/// What helps where a job has very many small files.
pub fn hint(sources: &[Vec<InputFile>], job: &JobFile) -> Option<String> {
    let files = sources.iter().flatten().count() as u64;
    let bytes: u64 = sources.iter().flatten().map(|file| file.bytes).sum();
    let is_told = job.builtin.is_some() || job.combine_files.is_some();
    (!is_told && files > SMALL_FILES_MIN && bytes / files < SMALL_FILE_MAX).then(|| {
        format!("each of the {files} small files is a task of its own; --combine-files gives several to a task")
    })
}
