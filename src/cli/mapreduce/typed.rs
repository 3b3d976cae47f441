//! What was said about a job, on the command line and in a job file, as one description.

use std::path::Path;

use super::args::Args;
use crate::error::Fault;
use crate::job::builtin;
use crate::job::builtin::BUILTINS;
use crate::job::file::{JobFile, LimitsTyped};
use crate::job::format::Format;

/// A job in its standard form, checked as far as that goes without looking at its files.
#[derive(Debug, PartialEq)]
pub struct Typed {
    /// What was said of it. There is at least one input.
    pub job: JobFile,
    /// The output, as typed.
    pub output: String,
    /// The job's name for people.
    pub name: String,
}

/// Puts the flags over the job file, if there is one.
///
/// # Errors
/// A [`Fault`] of kind usage: a word too few, a file that is no job, things that contradict each other.
pub fn typed(args: Args) -> Result<Typed, Fault> {
    let mut words = args.words.clone();
    let is_command = args.map.is_some() || args.reduce.is_some();
    let file = match words.first() {
        // With --map the first word is input, whatever its name; --reduce alone may lie over that of a file.
        Some(word) if !is_command || (args.map.is_none() && word.ends_with(".toml")) => named(&words.remove(0))?,
        None if !is_command => return Err(no_job("a job is expected")),
        Some(_) | None => JobFile::default(),
    };
    let mut job = flags(args).over(file);
    job.check()?;
    if job.builtin.is_none() && job.map.is_none() && job.reduce.is_none() {
        return Err(Fault::usage("the job has neither `map` nor `reduce` nor `builtin`: one of them is expected"));
    }
    let output = assign(&mut job, words)?;
    let name = job.name.clone().unwrap_or_else(|| name_of(&job));
    Ok(Typed { job, output, name })
}

/// The job of the first word.
fn named(word: &str) -> Result<JobFile, Fault> {
    let path = Path::new(word);
    if BUILTINS.iter().any(|listed| listed.name == word) {
        return Ok(JobFile { builtin: Some(word.to_owned()), name: Some(word.to_owned()), ..JobFile::default() });
    }
    if path.is_dir() {
        return Err(no_job(&format!("`{word}` is a folder, no job")));
    }
    let is_toml = word.ends_with(".toml");
    match builtin::find(word) {
        Err(_) if !is_toml && path.exists() => Err(no_job(&format!("`{word}` is no job file: its name has no .toml"))),
        // Names the nearest one.
        Err(fault) if !is_toml && !word.contains('/') => Err(no_job(&fault.text)),
        Ok(_) | Err(_) => read(path),
    }
}

fn read(path: &Path) -> Result<JobFile, Fault> {
    let text = fs_err::read_to_string(path).map_err(|error| no_job(&format!("no job file: {error}")))?;
    let job = JobFile::parse(&text, path)?;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    Ok(JobFile { name: job.name.clone().or(stem), ..job })
}

fn no_job(what: &str) -> Fault {
    Fault::usage(format!(
        "{what}; runner mapreduce JOB IN... OUT takes a built-in job (--list) or a job file, or --map CMD instead"
    ))
}

/// What the flags say, in the form of a job file.
fn flags(args: Args) -> JobFile {
    JobFile {
        name: args.name,
        pattern: args.pattern,
        count: args.count,
        with: args.with,
        map: args.map,
        combine: args.combine,
        reduce: args.reduce,
        reduces: args.reduces,
        split_size: args.split_size,
        files: args.files,
        setup: args.setup,
        env: args.env.into_iter().collect(),
        timeout: args.timeout,
        overwrite: args.overwrite.then_some(true),
        copies: args.copies,
        combine_files: args.combine_files.then_some(true),
        format: Format {
            separator: args.separator,
            key_fields: args.key_fields,
            whole_line: args.whole_line.then_some(true),
        },
        limits: LimitsTyped {
            attempts_max: args.attempts,
            stderr_max: None,
            sort_memory: args.sort_memory,
            memory: args.limit_memory,
            cpu_time: args.limit_cpu,
            wall_time: args.limit_time,
            processes: args.limit_processes,
            nice: args.nice,
        },
        ..JobFile::default()
    }
}

/// Shares the words behind the job out to input and output; the output is returned.
fn assign(job: &mut JobFile, mut words: Vec<String>) -> Result<String, Fault> {
    let only_input_is_missing = words.len() == 1 && job.input.is_empty() && job.output.is_some();
    let output = if only_input_is_missing { None } else { words.pop() };
    if !words.is_empty() {
        job.input = words;
    }
    let output = output.or_else(|| job.output.take());
    match output {
        _ if job.input.is_empty() => Err(Fault::usage("an input is expected before the output: JOB IN... OUT")),
        Some(output) => Ok(output),
        None => Err(Fault::usage("an output is expected behind the input: JOB IN... OUT")),
    }
}

/// The program that is run, where nobody named the job.
fn name_of(job: &JobFile) -> String {
    let command = job.map.as_deref().or(job.reduce.as_deref()).unwrap_or_default();
    let program = command.split_whitespace().next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default().trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if name.is_empty() { "mapreduce".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&str]) -> Args {
        Args { words: words.iter().map(|word| (*word).to_owned()).collect(), ..Args::default() }
    }

    #[test]
    fn words_are_shared_out() {
        let check = |file: &str, words: &[&str], input: &[&str], output: &str| {
            let mut job = toml::from_str::<JobFile>(file).expect(file);
            let given = assign(&mut job, args(words).words);
            assert_eq!((given.as_deref(), &job.input[..]), (Ok(output), &args(input).words[..]), "{file} {words:?}");
        };
        check("", &["a", "out"], &["a"], "out");
        check("", &["a", "b", "out"], &["a", "b"], "out");
        check("input = 'x'", &["out"], &["x"], "out");
        check("input = 'x'\noutput = 'y'", &["out"], &["x"], "out");
        check("input = 'x'\noutput = 'y'", &[], &["x"], "y");
        check("output = 'y'", &["a"], &["a"], "y");
        check("output = 'y'", &["a", "out"], &["a"], "out");
        for file in ["", "input = 'x'", "output = 'y'"] {
            let mut job = toml::from_str::<JobFile>(file).expect(file);
            assert!(assign(&mut job, Vec::new()).is_err(), "{file}");
        }
    }

    #[test]
    fn with_a_command_the_first_word_is_input() {
        let check = |map: Option<&str>, reduce: Option<&str>, name: &str| {
            let (map, reduce) = (map.map(str::to_owned), reduce.map(str::to_owned));
            let typed = typed(Args { map, reduce, ..args(&["in.toml", "out"]) }).expect("a job");
            assert_eq!((&typed.job.input[..], &*typed.name), (&args(&["in.toml"]).words[..], name));
        };
        check(Some("python3 m.py"), None, "python3");
        check(Some("/usr/bin/cut -f1"), Some("uniq -c"), "cut");
        check(Some("cat; true"), None, "cat");
        check(Some("$(true)"), None, "true");
        check(Some(": "), None, "mapreduce");
    }
}
