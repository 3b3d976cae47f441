//! The files that people copy from are parsed, and hold what they claim to show.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Parser;
use runner::fleet::workers_file::{OPTIONS, parse_file};
use runner::fleet::{Fleet, HostSpec, Origin, Place};
use runner::job::builtin::{self, BUILTINS};
use runner::job::file::JobFile;
use runner::settings::{COMMENTED, Settings};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs_err::read_to_string(path(name)).expect("a file of this repository")
}

fn example_hosts() -> Vec<HostSpec> {
    parse_file(&read("workers.txt.example"), "workers.txt.example").expect("the example parses")
}

#[test]
fn the_example_of_workers_shows_every_form() {
    let hosts = example_hosts();
    let check = |what: &str, form: &dyn Fn(&HostSpec) -> bool| assert!(hosts.iter().any(form), "no host {what}");
    check("by its name alone", &|host| *host == HostSpec::new(Place::Ssh, "node1"));
    check("with a user", &|host| host.user.is_some() && host.port.is_none());
    check("with a port", &|host| host.user.is_none() && host.port.is_some());
    check("with user and port", &|host| host.user.is_some() && host.port.is_some());
    check("by IPv6 address", &|host| host.address.contains(':') && host.port.is_none());
    check("by IPv6 address and port", &|host| host.address.contains(':') && host.port.is_some());
    check("by IPv4 address", &|host| host.address.parse::<std::net::Ipv4Addr>().is_ok());
    check("from a padded range", &|host| host.address == "node09");
    check("from a range of ranges", &|host| host.address == "rack2-node08" && host.slots == Some(16));
    check("with slots", &|host| host.slots.is_some());
    check("with mem", &|host| host.memory.is_some());
    check("with scratch", &|host| host.scratch.is_some());
    check("with data", &|host| host.data.is_some());
    check("with peer", &|host| host.peer.is_some());
    check("that is this machine", &|host| host.place == Place::ThisMachine);
}

#[test]
fn the_example_of_workers_writes_every_form_down() {
    let text = read("workers.txt.example");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let check = |form: &str| assert!(lines.iter().any(|line| line.contains(form)), "no line with `{form}`");
    OPTIONS.iter().for_each(|option| check(&format!(" {option}=")));
    ["4/", " # ", "[09-11]", "[01,03,07-08]", "peer=10.0.1.["].into_iter().for_each(check);
    assert!(lines.contains(&""), "no blank line");
}

#[test]
fn the_hosts_of_the_example_have_names_of_their_own() {
    let fleet = Fleet { hosts: example_hosts(), origin: Origin::File("workers.txt.example".into()) };
    let names = fleet.names();
    let different: BTreeSet<&String> = names.iter().collect();
    assert_eq!(different.len(), names.len(), "{names:?}");
    assert!(names.contains(&"node15#2".to_owned()), "{names:?}");
}

/// The job files of `config/jobs`, by name, each with its path and text.
fn job_files() -> Vec<(String, PathBuf, String)> {
    let mut files: Vec<_> = fs_err::read_dir(path("config/jobs"))
        .expect("the folder of jobs")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let text = fs_err::read_to_string(&path).expect("a job file");
            (name, path, text)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn every_job_file_parses_and_resolves() {
    for (name, path, text) in job_files() {
        let job = JobFile::parse(&text, &path).expect("a job");
        assert_eq!(job.name.as_ref(), Some(&name));
        assert!(job.comment.is_some(), "{name}");
        assert!(text.contains(&format!("runner mapreduce config/jobs/{name}.toml ")), "{name} does not show its use");
        for file in &job.files {
            assert!(file.is_file(), "{name} ships {}, which is not there", file.display());
        }
        match &job.builtin {
            Some(builtin) => assert!(builtin::resolve(builtin, &job.options()).is_ok(), "{name}"),
            None => assert!(job.map.is_some(), "{name}"),
        }
    }
}

#[test]
fn every_built_in_job_has_a_job_file() {
    let names: Vec<String> = job_files().into_iter().map(|(name, ..)| name).collect();
    for listed in BUILTINS {
        assert!(names.iter().any(|name| name == listed.name), "no config/jobs/{}.toml", listed.name);
    }
    assert!(names.contains(&"python-wordcount".to_owned()));
}

/// What is commented out is offered, so it has to be right too.
#[test]
fn the_job_files_parse_with_their_offers_taken() {
    let mut offers = 0;
    for (name, path, text) in job_files() {
        let mut taken = String::new();
        for line in text.lines() {
            // The whole line as the key contradicts the fields that the same file describes.
            let offer =
                line.strip_prefix("# ").filter(|offer| offer.contains(" = ") && !offer.starts_with("whole_line"));
            offers += u32::from(offer.is_some());
            taken.push_str(offer.unwrap_or(line));
            taken.push('\n');
        }
        JobFile::parse(&taken, &path).unwrap_or_else(|fault| panic!("{name}: {fault}"));
    }
    assert!(offers > 8, "only {offers} settings are offered");
}

#[test]
fn the_commented_settings_are_the_defaults() {
    let settings: Settings = runner::job::document::parse(COMMENTED, "config/runner.toml").expect("settings");
    assert_eq!(settings, Settings::default());
}

#[test]
fn every_setting_is_in_the_commented_file() {
    let written: toml::Table = COMMENTED.parse().expect("a table");
    let written = serde_json::to_value(written).expect("a value");
    let known = serde_json::to_value(Settings::default()).expect("a value");
    let (mut written_keys, mut known_keys) = (BTreeSet::new(), BTreeSet::new());
    collect_keys("", &written, &mut written_keys);
    collect_keys("", &known, &mut known_keys);
    assert_eq!(written_keys, known_keys);
    assert!(known_keys.contains("worker.lost_after") && known_keys.len() > 15, "{known_keys:?}");
}

/// The keys of a table and of those in it. A length of time is written as one value, but serialised as a table.
fn collect_keys(before: &str, value: &serde_json::Value, keys: &mut BTreeSet<String>) {
    match value.as_object() {
        Some(table) if !table.contains_key("nanos") && !table.is_empty() => {
            let dot = if before.is_empty() { "" } else { "." };
            table.iter().for_each(|(key, value)| collect_keys(&format!("{before}{dot}{key}"), value, keys));
        }
        Some(_) | None => _ = keys.insert(before.to_owned()),
    }
}

#[test]
fn the_commands_of_the_readme_are_understood() {
    let readme = read("README.md");
    let lines = readme.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| line.starts_with("runner "));
    let mut count = 0;
    for line in lines {
        // What stands in capitals is to be filled in, and fits as it is; brackets are what may be left out.
        let plain: String = line.chars().filter(|c| !"[]".contains(*c)).collect();
        let words = shlex::split(&plain).unwrap_or_else(|| panic!("no words: {line}"));
        if let Err(error) = runner::cli::Cli::try_parse_from(words) {
            panic!("{line}: {error}");
        }
        count += 1;
    }
    assert!(count > 8, "only {count} commands were found");
}

#[test]
fn the_exit_codes_of_the_readme_are_those_of_the_program() {
    use runner::error::Kind;
    let readme = read("README.md");
    let kinds = [
        Kind::TaskFailed,
        Kind::Usage,
        Kind::InputMissing,
        Kind::OutputExists,
        Kind::NoWorker,
        Kind::Fenced,
        Kind::Data,
        Kind::Cloud,
        Kind::Cancelled,
        Kind::Bug,
    ];
    for kind in kinds {
        let row = format!("\n| {} | ", kind.exit_code());
        assert!(readme.contains(&row), "{kind:?} has no row");
    }
    assert!(readme.contains(&format!("\n| {}, {} | ", Kind::Interrupted.exit_code(), Kind::Terminated.exit_code())));
}

#[test]
fn the_targets_of_the_readme_are_in_the_makefile() {
    let (readme, makefile) = (read("README.md"), read("Makefile"));
    for target in ["demo", "test", "build", "install", "check", "bench", "cluster", "workers.txt", "ssh", "teardown"] {
        assert!(readme.contains(&format!("make {target}")), "the README does not name `make {target}`");
        assert!(makefile.lines().any(|line| line.starts_with(&format!("{target}:"))), "no target {target}");
    }
}

/// Every request that the program makes of EC2 is in the policy, and nothing else.
#[test]
fn the_policy_of_the_readme_is_the_least_one() {
    let readme = read("README.md");
    let (_, rest) = readme.split_once("```json").expect("a policy");
    let (policy, _) = rest.split_once("```").expect("its end");
    let policy: serde_json::Value = serde_json::from_str(policy).expect("is JSON");
    let mut allowed = BTreeSet::new();
    for statement in policy["Statement"].as_array().expect("statements") {
        let actions = &statement["Action"];
        let actions = actions.as_array().cloned().unwrap_or_else(|| vec![actions.clone()]);
        allowed.extend(actions.iter().filter_map(|action| Some(action.as_str()?.strip_prefix("ec2:")?.to_owned())));
    }
    let mut asked = BTreeSet::from(["DescribeInstances".to_owned()]);
    for file in ["mod.rs", "network.rs", "run.rs"] {
        let text = read(&format!("src/cloud/api/{file}"));
        asked.extend(text.split(".ask(\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
    }
    assert_eq!(allowed, asked);
    assert!(asked.len() > 10, "{asked:?}");
}
