//! The layers of settings, from the weakest to the strongest, and how they become one value.
//!
//! Each layer is first read by itself as [`Settings`], so that an error can name its file and line, its variable or its
//! flag; then the tables are merged key by key. The names of variables are those of the commented default's keys.

use std::ffi::OsStr;
use std::path::Path;

use toml::{Table, Value};

use super::{COMMENTED, Environment, Settings};
use crate::error::{Fault, Kind, did_you_mean};
use crate::job::document;

/// What every variable of ours starts with.
const PREFIX: &str = "RUNNER_";

/// The settings that are paths on this machine, and so start at the folder of the file in which they stand. A table
/// stands for all of its values.
const PATHS: [&[&str]; 4] = [&["state_folder"], &["ssh", "config"], &["worker", "binaries"], &["cloud", "key"]];

/// A flag of the command line that is a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// As typed, for errors: `--ssh-config`.
    pub shown: String,
    /// The setting, its table before it: `ssh.config`.
    pub key: String,
    /// The value as typed.
    pub text: String,
}

/// Settings, and what the user should know about how they came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// What holds.
    pub settings: Settings,
    /// Lines for stderr: variables that look like a misspelled setting.
    pub warnings: Vec<String>,
}

/// Whether a text stands for a setting that is left open.
pub(super) fn is_open(text: &str) -> bool {
    matches!(text, "" | "none")
}

impl Settings {
    /// What holds: flags over variables over `./runner.toml` over the user's file over the defaults.
    ///
    /// # Errors
    /// A [`Fault`] of kind usage that names file and line, the variable or the flag, and says what was expected.
    pub fn resolve(flags: &[Flag], environment: &Environment) -> Result<Resolved, Fault> {
        let mut merged = Table::new();
        let user = environment.config_folder().map(|folder| folder.join("runner.toml"));
        for path in user.into_iter().chain([environment.folder().join("runner.toml")]) {
            merge(&mut merged, read(&path, environment)?);
        }
        let keys = keys();
        for key in &keys {
            let name = variable(key);
            let Some(value) = environment.variable(&name) else { continue };
            let text = value.to_str().ok_or_else(|| Fault::usage(format!("${name}: UTF-8 text is expected")))?;
            merge(&mut merged, said(&format!("${name}"), key, text, environment)?);
        }
        for Flag { shown, key, text } in flags {
            merge(&mut merged, said(shown, key, text, environment)?);
        }
        // Every layer was read by itself already.
        let settings: Settings =
            merged.try_into().map_err(|error| Fault::new(Kind::Bug, document::in_words(&error)))?;
        settings.check()?;
        Ok(Resolved { settings, warnings: warnings(&keys, environment) })
    }
}

/// Every setting, its table before it: `job.split_size`.
fn keys() -> Vec<String> {
    fn walk(table: &Table, before: &str, keys: &mut Vec<String>) {
        for (key, value) in table {
            match value {
                Value::Table(inner) if !inner.is_empty() => walk(inner, &format!("{before}{key}."), keys),
                _ => keys.push(format!("{before}{key}")),
            }
        }
    }
    let mut keys = Vec::new();
    // It parses: `tests/documents.rs` says so.
    walk(&COMMENTED.parse().unwrap_or_default(), "", &mut keys);
    keys
}

/// The variable of a setting: `RUNNER_JOB_SPLIT_SIZE`.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "_"))
}

/// The table of a file; an empty one if it is not there.
fn read(path: &Path, environment: &Environment) -> Result<Table, Fault> {
    let text = match fs_err::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Table::new()),
        Err(error) => return Err(Fault::usage(format!("{error:#}"))),
    };
    let shown = path.display().to_string();
    document::parse::<Settings>(&text, &shown)?;
    let mut table: Table = document::parse(&text, &shown)?;
    anchor(&mut table, path.parent().unwrap_or(Path::new("")), environment);
    Ok(table)
}

/// The table of a value that was typed as text. What is no text as a setting is read as it would be in a file, so
/// `RUNNER_JOB_ATTEMPTS_MAX=3` is a number and lists are written `["a", "b"]`.
fn said(shown: &str, key: &str, text: &str, environment: &Environment) -> Result<Table, Fault> {
    let literal = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    let mut problem = "no value".to_owned();
    for value in [Some(Value::String(text.to_owned())), literal].into_iter().flatten() {
        let mut table = nest(key, value);
        match table.clone().try_into::<Settings>() {
            Ok(_) => {
                anchor(&mut table, environment.folder(), environment);
                return Ok(table);
            }
            // The last one is kept: what is said about a number is nearer to what was meant than that it is no text.
            Err(error) => problem = document::in_words(&error),
        }
    }
    Err(Fault::usage(format!("{shown}: {problem}")))
}

fn nest(key: &str, value: Value) -> Table {
    let (key, value) = match key.split_once('.') {
        Some((table, rest)) => (table, Value::Table(nest(rest, value))),
        None => (key, value),
    };
    Table::from_iter([(key.to_owned(), value)])
}

/// Lets relative paths start at `folder`, and those with `~/` at the home.
fn anchor(table: &mut Table, folder: &Path, environment: &Environment) {
    let anchored = |text: &mut String| {
        let path = match (text.strip_prefix("~/"), environment.home()) {
            _ if is_open(text) => return,
            (Some(rest), Some(home)) => home.join(rest),
            (Some(_), None) | (None, _) => folder.join(&*text),
        };
        // A folder that is no UTF-8 cannot stand in a table: what is wrong with the path will show when it is used.
        *text = path.to_string_lossy().into_owned();
    };
    PATHS.iter().for_each(|words| change(table, words, &anchored));
}

/// Changes the texts to which the words lead: one, or all of a table.
fn change(table: &mut Table, words: &[&str], to: &dyn Fn(&mut String)) {
    let rest = words.get(1..).unwrap_or_default();
    let found = table.iter_mut().filter(|(key, _)| words.first().is_none_or(|word| word == key));
    for (_, value) in found {
        match value {
            Value::Table(inner) => change(inner, rest, to),
            Value::String(text) => to(text),
            _ => {}
        }
    }
}

/// Lays one table over another, key by key.
fn merge(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => merge(under, over),
            (_, value) => _ = under.insert(key, value),
        }
    }
}

/// A line for each variable that is no setting but nearly one; others with our prefix belong to somebody else.
fn warnings(keys: &[String], environment: &Environment) -> Vec<String> {
    let known: Vec<String> = keys.iter().map(|key| variable(key)).collect();
    let unknown = environment.variables().filter_map(|(name, _)| {
        let rest = name.to_str()?.strip_prefix(PREFIX)?;
        let is_known = known.iter().any(|known| OsStr::new(known) == name);
        // Without the prefix, which would make everything look near.
        let hint = did_you_mean(rest, known.iter().filter_map(|known| known.strip_prefix(PREFIX)));
        (!is_known && !hint.is_empty())
            .then(|| format!("${PREFIX}{rest} is no setting{}", hint.replacen('`', "`$RUNNER_", 1)))
    });
    unknown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Bytes, Span};

    /// A machine of a person: their file, the folder's file, and variables beside `HOME`.
    struct Machine {
        root: tempfile::TempDir,
        environment: Environment,
    }

    impl Machine {
        fn new(user: &str, folder: &str, variables: &[(&str, &str)]) -> Self {
            let root = tempfile::tempdir().expect("a folder");
            let [home, work] = ["home", "work"].map(|name| root.path().join(name));
            fs_err::create_dir_all(home.join(".config/runner")).expect("a folder");
            fs_err::create_dir_all(&work).expect("a folder");
            fs_err::write(home.join(".config/runner/runner.toml"), user).expect("writes");
            fs_err::write(work.join("runner.toml"), folder).expect("writes");
            let mut all: Vec<(&OsStr, &OsStr)> = vec![(OsStr::new("HOME"), home.as_os_str())];
            all.extend(variables.iter().map(|(name, value)| (OsStr::new(*name), OsStr::new(*value))));
            Machine { environment: Environment::new(all, &work), root }
        }

        fn resolve(&self, flags: &[(&str, &str)]) -> Result<Resolved, Fault> {
            let flags: Vec<Flag> = flags
                .iter()
                .map(|(key, text)| Flag { shown: format!("--{key}"), key: (*key).into(), text: (*text).into() })
                .collect();
            Settings::resolve(&flags, &self.environment)
        }

        fn path(&self, path: &str) -> Option<std::path::PathBuf> {
            Some(self.root.path().join(path))
        }
    }

    #[test]
    fn nothing_said_gives_the_defaults() {
        let bare = Environment::new([("PATH", "/bin")], "/nowhere");
        let expected = Resolved { settings: Settings::default(), warnings: Vec::new() };
        assert_eq!(Settings::resolve(&[], &bare), Ok(expected));
    }

    #[test]
    fn stronger_layers_win_key_by_key() {
        let user = "job.split_size = '1M'\njob.reduce_size = '1M'\njob.attempts_max = 1\nworkers = 'user'";
        let folder = "[job]\nreduce_size = '2M'\nattempts_max = 2\n";
        let machine = Machine::new(user, folder, &[("RUNNER_JOB_ATTEMPTS_MAX", "3"), ("RUNNER_WORKERS", "4")]);
        let settings = machine.resolve(&[("workers", "flag")]).expect("settings").settings;
        assert_eq!(settings.job.split_size, Some(Bytes::mebi(1)));
        assert_eq!(settings.job.reduce_size, Bytes::mebi(2));
        assert_eq!(settings.job.attempts_max, 3);
        assert_eq!(settings.workers.as_deref(), Some("flag"));
        assert_eq!(machine.resolve(&[]).expect("settings").settings.workers.as_deref(), Some("4"));
    }

    #[test]
    fn what_is_open_can_be_said_and_taken_back() {
        let check = |user: &str, variable: &str, expected: Option<Span>| {
            let machine = Machine::new(user, "", &[("RUNNER_JOB_SILENCE_MAX", variable)]);
            let settings = machine.resolve(&[]).expect("settings").settings;
            assert_eq!(settings.job.silence_max, expected, "{user} {variable}");
        };
        check("", "", None);
        check("job.silence_max = '10m'", "", Some(Span::seconds(600)));
        check("job.silence_max = 600", "none", None);
        check("job.silence_max = 'none'", "90", Some(Span::seconds(90)));
    }

    #[test]
    fn variables_are_typed_as_in_a_file() {
        let machine = Machine::new(
            "worker.binaries.riscv64 = '/r'",
            "",
            &[
                ("RUNNER_WORKER_SLOTS", "3"),
                ("RUNNER_RETRY_BARRED_SHARE_MAX", "0.5"),
                ("RUNNER_DISPLAY_PROGRESS", "json"),
                ("RUNNER_WORKER_BINARIES", "{ aarch64 = '/b' }"),
                ("RUNNER_SSH_CONNECT_TIMEOUT", "1m"),
            ],
        );
        let settings = machine.resolve(&[]).expect("settings").settings;
        assert_eq!(settings.worker.slots, Some(3));
        assert_eq!(settings.retry.barred_share_max, 0.5);
        assert_eq!(settings.display.progress, super::super::Progress::Json);
        assert_eq!(settings.worker.binaries.keys().collect::<Vec<_>>(), ["aarch64", "riscv64"]);
        assert_eq!(settings.ssh.connect_timeout, Span::seconds(60));
    }

    #[test]
    fn paths_start_at_their_file() {
        let user = "ssh.config = 'a'\nstate_folder = '~/jobs'\nworker.binaries.x = 'b'\nworker.binaries.y = '/y'";
        let machine = Machine::new(user, "worker.binaries.z = 'z'", &[]);
        let settings = machine.resolve(&[]).expect("settings").settings;
        assert_eq!(settings.ssh.config, machine.path("home/.config/runner/a"));
        assert_eq!(settings.state_folder, machine.path("home/jobs"));
        let binary = |name: &str| settings.worker.binaries.get(name).cloned();
        assert_eq!(binary("x"), machine.path("home/.config/runner/b"));
        assert_eq!(binary("y"), Some("/y".into()));
        assert_eq!(binary("z"), machine.path("work/z"));
        let settings = machine.resolve(&[("ssh.config", "mine")]).expect("settings").settings;
        assert_eq!(settings.ssh.config, machine.path("work/mine"));
        let settings = machine.resolve(&[("ssh.config", "none")]).expect("settings").settings;
        assert_eq!(settings.ssh.config, None);
    }

    #[test]
    fn files_with_errors_are_named_with_the_line() {
        let check = |line: &str, part: &str| {
            let fault = Machine::new("", &format!("# mine\n{line}"), &[]).resolve(&[]).expect_err(line);
            assert_eq!(fault.kind, Kind::Usage, "{fault}");
            assert!(fault.text.contains(&format!("work/runner.toml:{part}")), "{line}: {fault}");
        };
        check("worker = 'x'", "2: invalid type: string \"x\", expected a table");
        check("jbo.split_size = 1", "2: unknown key `jbo` (did you mean `job`?)");
        check("[job]\nsplit_sise = 1", "3: unknown key `split_sise` (did you mean `split_size`?)");
        check("[job]\nsplit_size = 'x'", "3: `x` is no size");
        check("[job]\nsplit_size = 0", "3: 0 makes no sense");
        check("[job]\nattempts_max = 0", "3: 0 makes no sense");
        check("[job]\nsilence_max = 'soon'", "3: `soon` is no length of time");
        check("[worker]\nslots = 'many'", "3: invalid type: string \"many\", expected a whole number");
        check("[worker]\nslots = 0", "3: 0 makes no sense here: more is expected, or \"none\"");
        check("[retry]\nbarred_share_max = 33", "3: a share from 0 to 1 is expected");
        check("[display]\nprogress = 'bar'", "3: unknown choice `bar` (did you mean `bars`?)");
        check("[job", "2: ");
    }

    #[test]
    fn variables_and_flags_with_errors_are_named() {
        let check = |name: &str, value: &str, text: &str| {
            let fault = Machine::new("", "", &[(name, value)]).resolve(&[]).expect_err(name);
            assert_eq!(fault.text, format!("${name}: {text}"));
        };
        check("RUNNER_JOB_ATTEMPTS_MAX", "few", "invalid type: string \"few\", expected a whole number, 0 or more");
        check("RUNNER_JOB_ATTEMPTS_MAX", "0", "0 makes no sense here: more is expected");
        check("RUNNER_JOB_SPLIT_SIZE", "x", "`x` is no size: a number with K, M, G or T is expected, as in `64M`");
        check(
            "RUNNER_DISPLAY_PROGRESS",
            "jsn",
            "unknown choice `jsn` (did you mean `json`?): one of auto, bars, plain, json, none is expected",
        );
        let fault = Machine::new("", "", &[]).resolve(&[("display.progress", "x")]).expect_err("no choice");
        assert!(fault.text.starts_with("--display.progress: unknown choice `x`: one of auto, bars"), "{fault}");
    }

    #[test]
    fn values_that_contradict_each_other_are_refused() {
        let machine = Machine::new("worker.lost_after = '10s'", "worker.suspect_after = '10s'", &[]);
        let fault = machine.resolve(&[]).expect_err("a contradiction");
        assert_eq!(
            fault.text,
            "worker.lost_after is 10.0s and worker.suspect_after is 10.0s: the first must be longer"
        );
    }

    #[test]
    fn only_near_misses_among_variables_are_mentioned() {
        let check = |name: &str, warnings: &[&str]| {
            let machine = Machine::new("", "", &[(name, "x")]);
            assert_eq!(machine.resolve(&[]).expect("settings").warnings, warnings, "{name}");
        };
        check("RUNNER_WORKRES", &["$RUNNER_WORKRES is no setting (did you mean `$RUNNER_WORKERS`?)"]);
        check("RUNNER_SPLIT_SIZE", &["$RUNNER_SPLIT_SIZE is no setting (did you mean `$RUNNER_JOB_SPLIT_SIZE`?)"]);
        check("WORKERS", &[]);
        // Those of a well-known service that runs builds.
        for name in ["ARCH", "DEBUG", "ENVIRONMENT", "NAME", "OS", "TEMP", "TOOL_CACHE", "TRACKING_ID", "WORKSPACE"] {
            check(&format!("RUNNER_{name}"), &[]);
        }
    }
}
