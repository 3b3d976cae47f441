//! What the job reads: files, and the splits that they become.

use crate::error::Fault;
use crate::input::list::list;
use crate::input::{InputFile, PlanConfig, Split, plan};
use crate::job::file::JobFile;

/// Words before a colon that mean another place than this machine: some of ours to come, some of others'.
const SCHEMES: [&str; 10] = ["fs", "shared", "file", "hdfs", "s3", "s3a", "gs", "http", "https", "ftp"];

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
            "`{word}`: no scheme `{scheme}:` is known, a path on this machine is expected (a file of that name is ./{word})"
        ))),
        Some(_) | None => Ok(()),
    }
}

/// The files of each source: the input, and the other input of a join.
///
/// # Errors
/// A [`Fault`]: see [`list`].
pub fn sources(input: &[String], other: &[String]) -> Result<Vec<Vec<InputFile>>, Fault> {
    let words = [input, other].into_iter().filter(|words| !words.is_empty());
    words.map(list).collect()
}

/// Cuts the sources into splits. A command gets each file by itself, since it may ask for the file's name.
pub fn splits(sources: &[Vec<InputFile>], job: &JobFile, split_size: u64) -> Vec<Split> {
    let combine = job.combine_files.unwrap_or(job.builtin.is_some());
    plan::plan(sources, PlanConfig { split_size, combine })
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
