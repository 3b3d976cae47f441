//! The job file: the standard form of a job, as it was typed.
//!
//! A [`JobFile`] says only what somebody wrote; defaults and the meaning of it all come when it is resolved to a
//! [`super::spec::Job`]. The flags of the command line fill the same type, and [`JobFile::over`] puts them over the file.
//! `config/jobs/` holds commented examples. Nothing here reads files: text comes in.
//!
//! Relative paths: `input`, `output` and `with` start at the folder in which `runner` was typed, as on the command line;
//! `files` start at the folder of the job file, so that a job and its programs can be moved together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::builtin::{self, Options};
use super::document::{self, one_or_many, some_niceness, some_positive};
use super::format::Format;
use crate::error::Fault;
use crate::units::{Bytes, Span};

/// What was said about a job; everything may be left out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobFile {
    /// For people, and the first part of the job's id.
    pub name: Option<String>,
    /// For people.
    pub comment: Option<String>,
    /// Files, folders, patterns or datasets; a list, or one alone.
    #[serde(deserialize_with = "one_or_many")]
    pub input: Vec<String>,
    /// The folder of the result, or a dataset.
    pub output: Option<String>,
    /// The name of a built-in job; instead of commands.
    pub builtin: Option<String>,
    /// For `grep`: a regular expression.
    pub pattern: Option<String>,
    /// For `top`: how many lines.
    #[serde(deserialize_with = "some_positive")]
    pub count: Option<u64>,
    /// For `join`: the other input; a list, or one alone.
    #[serde(deserialize_with = "one_or_many")]
    pub with: Vec<String>,
    /// The command that is run on each split.
    pub map: Option<String>,
    /// The command that folds the sorted output of a map attempt.
    pub combine: Option<String>,
    /// The command that is run on each partition.
    pub reduce: Option<String>,
    /// How many reduces; 0 for a map-only job.
    pub reduces: Option<u32>,
    /// About how many bytes of input a map task gets.
    #[serde(deserialize_with = "some_positive")]
    pub split_size: Option<Bytes>,
    /// Files, folders and archives for the folder of every task; after parsing, from the folder of the job file.
    pub files: Vec<PathBuf>,
    /// The command that is run once a host, before its first task.
    pub setup: Option<String>,
    /// Added to the environment of every command.
    pub env: BTreeMap<String, String>,
    /// An attempt that neither reads, writes nor reports for so long is ended.
    #[serde(deserialize_with = "some_positive")]
    pub timeout: Option<Span>,
    /// Whether an output that is there may be replaced once the new one is complete.
    pub overwrite: Option<bool>,
    /// How many copies there are of each part of an output that is a dataset.
    #[serde(deserialize_with = "some_positive")]
    pub copies: Option<u32>,
    /// Whether a map task may get several small files.
    pub combine_files: Option<bool>,
    /// What the key of an intermediate line is.
    pub format: Format,
    /// Bounds on each attempt.
    pub limits: LimitsTyped,
}

/// What was said about the bounds on each attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsTyped {
    /// Attempts that may fail before the job fails.
    #[serde(deserialize_with = "some_positive")]
    pub attempts_max: Option<u32>,
    /// How much of each attempt's stderr is kept.
    pub stderr_max: Option<Bytes>,
    /// An attempt's memory for sorting and merging.
    #[serde(deserialize_with = "some_positive")]
    pub sort_memory: Option<Bytes>,
    /// Memory of an attempt's commands and all that they start.
    #[serde(deserialize_with = "some_positive")]
    pub memory: Option<Bytes>,
    /// Their processor time.
    #[serde(deserialize_with = "some_positive")]
    pub cpu_time: Option<Span>,
    /// How long an attempt may run.
    #[serde(deserialize_with = "some_positive")]
    pub wall_time: Option<Span>,
    /// Their number.
    #[serde(deserialize_with = "some_positive")]
    pub processes: Option<u32>,
    /// Their niceness.
    #[serde(deserialize_with = "some_niceness")]
    pub nice: Option<u8>,
}

impl JobFile {
    /// The job that `text` describes; `path` is its file, for errors and as the place that `files` start from.
    ///
    /// # Errors
    /// A [`Fault`] of kind usage that names file and line: malformed TOML, an unknown key (with the nearest known one), a
    /// wrong value, or two that contradict each other.
    pub fn parse(text: &str, path: &Path) -> Result<JobFile, Fault> {
        let shown = path.display().to_string();
        let mut job: JobFile = document::parse(text, &shown)?;
        if let Err(Objection { key, text: what }) = job.check() {
            return Err(Fault::usage(format!("{shown}:{}: {what}", document::line_of(text, &key))));
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        job.files = job.files.iter().map(|file| folder.join(file)).collect();
        Ok(job)
    }

    /// What this one says, and what `under` says where this one is silent. Environments are joined; `files` too, those
    /// of `under` first; other lists are taken whole.
    #[must_use]
    pub fn over(self, under: JobFile) -> JobFile {
        JobFile {
            name: self.name.or(under.name),
            comment: self.comment.or(under.comment),
            input: if self.input.is_empty() { under.input } else { self.input },
            output: self.output.or(under.output),
            builtin: self.builtin.or(under.builtin),
            pattern: self.pattern.or(under.pattern),
            count: self.count.or(under.count),
            with: if self.with.is_empty() { under.with } else { self.with },
            map: self.map.or(under.map),
            combine: self.combine.or(under.combine),
            reduce: self.reduce.or(under.reduce),
            reduces: self.reduces.or(under.reduces),
            split_size: self.split_size.or(under.split_size),
            files: under.files.into_iter().chain(self.files).collect(),
            setup: self.setup.or(under.setup),
            env: under.env.into_iter().chain(self.env).collect(),
            timeout: self.timeout.or(under.timeout),
            overwrite: self.overwrite.or(under.overwrite),
            copies: self.copies.or(under.copies),
            combine_files: self.combine_files.or(under.combine_files),
            format: self.format.over(under.format),
            limits: self.limits.over(under.limits),
        }
    }

    /// What was said for a built-in job.
    pub fn options(&self) -> Options {
        Options { pattern: self.pattern.clone(), count: self.count, with: self.with.clone() }
    }

    /// Whether what was said holds together; asked again once flags lie over a file.
    ///
    /// # Errors
    /// The first thing that does not, with the key at which it was said.
    pub fn check(&self) -> Result<(), Objection> {
        let commands = [("map", &self.map), ("combine", &self.combine), ("reduce", &self.reduce)];
        match &self.builtin {
            Some(name) => {
                builtin::find(name).map_err(|fault| Objection::new(["builtin"], fault.text))?;
                if let Some((key, _)) = commands.iter().find(|(_, command)| command.is_some()) {
                    return Err(Objection::new([key], format!("`{key}` beside `builtin`: one of the two is expected")));
                }
            }
            None => {
                let options = [
                    ("pattern", self.pattern.is_some()),
                    ("count", self.count.is_some()),
                    ("with", !self.with.is_empty()),
                ];
                if let Some((key, _)) = options.iter().find(|(_, said)| *said) {
                    return Err(Objection::new(
                        [key],
                        format!("`{key}` is for built-in jobs: `builtin` is expected too"),
                    ));
                }
            }
        }
        if self.reduces == Some(0)
            && let Some((key, _)) = commands[1..].iter().find(|(_, command)| command.is_some())
        {
            return Err(Objection::new([key], format!("`{key}` in a job without reduces: leave out one of the two")));
        }
        if let Some(name) = self.env.keys().find(|name| !is_variable(name)) {
            let text = format!("`{name}` is no variable: letters, digits and _ are expected, no digit first");
            return Err(Objection::new(["env", name], text));
        }
        self.format.check().map_err(|text| Objection::new(["format", "whole_line"], text.to_owned()))
    }
}

/// What does not hold together in a job, and the key at which it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// The key in the job file, from the outermost table on; that of a flag is the same word.
    pub key: Vec<String>,
    /// What is wrong, and what was expected.
    pub text: String,
}

impl Objection {
    fn new<const N: usize>(key: [&str; N], text: String) -> Self {
        Objection { key: key.map(str::to_owned).to_vec(), text }
    }
}

impl From<Objection> for Fault {
    fn from(objection: Objection) -> Fault {
        Fault::usage(objection.text)
    }
}

impl LimitsTyped {
    fn over(self, under: LimitsTyped) -> LimitsTyped {
        LimitsTyped {
            attempts_max: self.attempts_max.or(under.attempts_max),
            stderr_max: self.stderr_max.or(under.stderr_max),
            sort_memory: self.sort_memory.or(under.sort_memory),
            memory: self.memory.or(under.memory),
            cpu_time: self.cpu_time.or(under.cpu_time),
            wall_time: self.wall_time.or(under.wall_time),
            processes: self.processes.or(under.processes),
            nice: self.nice.or(under.nice),
        }
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<JobFile, Fault> {
        JobFile::parse(text, Path::new("jobs/mine.toml"))
    }

    #[test]
    fn a_whole_job_is_read() {
        let text = "
            name = 'mine'
            comment = 'words'
            input = ['a/', 'b/*.gz']
            output = 'out'
            map = './m.py'
            combine = './c.py'
            reduce = './r.py'
            reduces = 3
            split_size = '1M'
            files = ['m.py', '/opt/r.py']
            setup = 'make'
            timeout = '10m'
            overwrite = true
            copies = 3
            combine_files = false
            env = { A = '1' }
            format = { separator = ',', key_fields = 2 }
            limits = { attempts_max = 2, stderr_max = 0, sort_memory = '64M', memory = '2G', nice = 5 }
        ";
        let some = |text: &str| Some(text.to_owned());
        let expected = JobFile {
            name: some("mine"),
            comment: some("words"),
            input: vec!["a/".into(), "b/*.gz".into()],
            output: some("out"),
            map: some("./m.py"),
            combine: some("./c.py"),
            reduce: some("./r.py"),
            reduces: Some(3),
            split_size: Some(Bytes::mebi(1)),
            files: vec!["jobs/m.py".into(), "/opt/r.py".into()],
            setup: some("make"),
            timeout: Some(Span::seconds(600)),
            overwrite: Some(true),
            copies: Some(3),
            combine_files: Some(false),
            env: BTreeMap::from([("A".into(), "1".into())]),
            format: Format { separator: Some(b','), key_fields: Some(2), whole_line: None },
            limits: LimitsTyped {
                attempts_max: Some(2),
                stderr_max: Some(Bytes(0)),
                sort_memory: Some(Bytes::mebi(64)),
                memory: Some(Bytes::mebi(2048)),
                nice: Some(5),
                ..LimitsTyped::default()
            },
            ..JobFile::default()
        };
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn built_in_jobs_are_read_with_their_options() {
        let check = |text: &str, pattern: Option<&str>, count: Option<u64>, with: &[&str]| {
            let with = with.iter().map(|word| (*word).to_owned()).collect();
            let options = Options { pattern: pattern.map(str::to_owned), count, with };
            assert_eq!(parse(text).expect(text).options(), options, "{text}");
        };
        check("", None, None, &[]);
        check("builtin = 'wordcount'\ninput = 'in'", None, None, &[]);
        check("builtin = 'grep'\npattern = 'a|b'", Some("a|b"), None, &[]);
        check("builtin = 'top'\ncount = 3", None, Some(3), &[]);
        check("builtin = 'join'\nwith = 'other/'", None, None, &["other/"]);
        check("builtin = 'join'\nwith = ['a', 'b']", None, None, &["a", "b"]);
    }

    #[test]
    fn errors_name_the_line_and_what_was_expected() {
        let check = |lines: &str, text: &str| {
            let fault = parse(&format!("# a job\n{lines}\n")).expect_err(lines);
            assert_eq!(fault.kind, crate::error::Kind::Usage);
            assert!(fault.text.starts_with(&format!("jobs/mine.toml:{text}")), "{lines}: {fault}");
        };
        check("redcues = 3", "2: unknown key `redcues` (did you mean `reduces`?): one of name, comment,");
        check("map = 'm'\n[limits]\nattempt_max = 3", "4: unknown key `attempt_max` (did you mean `attempts_max`?)");
        check("reduces = 'many'", "2: invalid type: string \"many\", expected a whole number");
        check("reduces = -1", "2: ");
        check("input = 3", "2: expected a text or a list of texts");
        check("map = 3", "2: invalid type: integer `3`, expected a string");
        check("split_size = '1 parsec'", "2: `1 parsec` is no size");
        check("split_size = 0", "2: 0 makes no sense");
        check("timeout = 'soon'", "2: `soon` is no length of time");
        check("builtin = 'wordcuont'", "2: no built-in job `wordcuont` (did you mean `wordcount`?)");
        check("builtin = 'sort'\n\nreduce = 'r'", "4: `reduce` beside `builtin`: one of the two is expected");
        check("map = 'm'\npattern = 'x'", "3: `pattern` is for built-in jobs");
        check("map = 'm'\nreduces = 0\ncombine = 'c'", "4: `combine` in a job without reduces");
        check("[env]\nA = 'x'\n'B C' = 'y'", "4: `B C` is no variable");
        check("env = { 1A = 'x' }", "2: `1A` is no variable");
        check("format.separator = 'ab'", "2: `ab` is no separator: one ASCII character is expected");
        check("format.separator = 'ü'", "2: `ü` is no separator");
        check("format.separator = \"\\n\"", "2: a newline ends a record");
        check("limits.nice = 20", "2: a niceness from 0 to 19 is expected");
        check("limits.processes = 0", "2: 0 makes no sense");
        check("format.key_fields = 0", "2: 0 makes no sense");
        check("[format]\nkey_fields = 2\nwhole_line = true", "4: `whole_line` beside `separator` or `key_fields`");
        check("map = 'm", "2: ");
    }

    #[test]
    fn flags_lie_over_the_file() {
        let check = |flags: &str, file: &str, both: &str| {
            let [flags, file, both] = [flags, file, both].map(|text| parse(text).expect(text));
            assert_eq!(flags.over(file), both);
        };
        check("", "map = 'm'\nreduces = 2", "map = 'm'\nreduces = 2");
        check("reduces = 1", "map = 'm'\nreduces = 2", "map = 'm'\nreduces = 1");
        check("input = 'a'", "input = ['b', 'c']", "input = 'a'");
        check("", "input = ['b', 'c']", "input = ['b', 'c']");
        check("files = ['x']", "files = ['y']", "files = ['y', 'x']");
        check("env = { A = '1', B = '1' }", "env = { B = '2', C = '2' }", "env = { A = '1', B = '1', C = '2' }");
        check(
            "limits.attempts_max = 1",
            "[limits]\nattempts_max = 2\nstderr_max = 3",
            "[limits]\nattempts_max = 1\nstderr_max = 3",
        );
        check("overwrite = false", "overwrite = true", "overwrite = false");
    }

    #[test]
    fn what_contradicts_itself_only_together_is_found() {
        let flags = JobFile { map: Some("m".into()), ..JobFile::default() };
        let file = parse("builtin = 'sort'").expect("a job");
        let objection = flags.over(file).check().expect_err("two kinds of job");
        assert_eq!(objection.key, ["map"]);
    }
}
