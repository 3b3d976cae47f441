//! What is shown, and to whom: data on stdout, words on stderr.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::common::{Desk, Outcome};

fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("in", "a b a\n");
    desk
}

#[test]
fn the_first_line_names_job_and_workers() {
    let outcome = desk().run(&["mapreduce", "wordcount", "in", "out"]);
    let first = outcome.stderr.lines().next().unwrap_or_default();
    assert!(first.starts_with("runner: job wordcount-"), "{first}");
    assert!(first.ends_with(" on 1 worker (from workers.txt)"), "{first}");
    assert!(outcome.stdout.is_empty());
    let outcome = desk().run(&["--local", "mapreduce", "wordcount", "in", "out"]);
    assert!(outcome.stderr.contains(" on 1 worker (from this machine)\n"), "{}", outcome.stderr);
}

#[test]
fn quiet_is_silent() {
    let outcome = desk().run(&["mapreduce", "wordcount", "in", "out", "-q"]);
    assert_eq!((outcome.code, outcome.text(), &*outcome.stderr), (Some(0), "", ""));
}

#[test]
fn quiet_tells_what_went_wrong() {
    let desk = desk();
    let once = "test -e '{}' || { touch '{}'; echo oh dear >&2; exit 3; }; cat";
    let map = once.replace("{}", desk.path("tried").to_str().expect("text"));
    let outcome = desk.run(&["mapreduce", "--map", &map, "in", "out", "-q"]);
    assert_eq!(
        (outcome.code, &*outcome.stderr),
        (
            Some(0),
            "runner: map-0.0 failed on local: the map command exited with code 3\n    | oh dear\n  \
             tried again (3 failures left)\n"
        )
    );
}

#[test]
fn nobody_else_sees_a_job() {
    let desk = desk();
    desk.run(&["mapreduce", "wordcount", "in", "out"]);
    let jobs = desk.path("../home/.local/state/runner/jobs");
    let id = desk.only_job()["id"].as_str().expect("an id").to_owned();
    for folder in [jobs.clone(), jobs.join(&id), jobs.join(&id).join("logs")] {
        let mode = fs_err::metadata(&folder).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", folder.display());
    }
}

#[test]
fn old_jobs_go() {
    let desk = desk();
    let names = ["one", "two", "three"];
    for name in names {
        desk.job(&["--name", name, "--set", "jobs_kept=2", "wordcount", "in"]);
    }
    let listed = desk.run(&["--json", "jobs"]);
    let is_listed = |name: &&&str| listed.text().contains(&format!("{name:?}"));
    assert_eq!(names.iter().filter(is_listed).collect::<Vec<_>>(), [&"two", &"three"], "{}", listed.text());
}

#[test]
fn facts_are_json_lines() {
    let outcome = desk().run(&["--json", "mapreduce", "wordcount", "in", "out"]);
    let facts: Vec<Value> = outcome.text().lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(facts.iter().all(|fact| fact["at_ms"].is_u64() && fact["fact"].is_string()), "{facts:?}");
    assert_eq!(facts[0]["fact"], "job_planned");
    assert_eq!(facts[facts.len() - 1]["fact"], "job_finished");
}

#[test]
fn jobs_are_listed() {
    let desk = desk();
    assert_eq!(desk.run(&["jobs"]).stderr, "runner: no job was started on this machine yet\n");
    desk.run(&["mapreduce", "wordcount", "in", "out"]);
    let job = desk.only_job();
    assert_eq!((job["name"].as_str(), job["state"].as_str()), (Some("wordcount"), Some("done")));
    assert_eq!(job["output"].as_str(), desk.path("out").to_str());
    let outcome = desk.run(&["jobs"]);
    assert!(outcome.text().starts_with("id  "), "{}", outcome.text());
    assert!(outcome.text().contains(job["id"].as_str().expect("an id")));
}

#[test]
fn the_setting_of_slots_reaches_this_machine() {
    let desk = desk();
    desk.workers(":");
    let outcome = desk.run(&["--set", "worker.slots=37", "mapreduce", "wordcount", "in", "out"]);
    assert!(outcome.stderr.contains("1 worker with 37 slots"), "{}", outcome.stderr);
}

#[test]
fn logs_are_shown_by_attempt() {
    let desk = desk();
    let map = "cat; echo from the map >&2";
    desk.run(&["mapreduce", "--map", map, "--reduce", "cat; echo from the reduce >&2", "in", "out"]);
    let id = desk.only_job()["id"].as_str().expect("an id").to_owned();
    let check = |of: &[&str], text: &str| assert_eq!(desk.run(&[&["logs", &id], of].concat()).text(), text, "{of:?}");
    check(&["map-0"], "from the map\n");
    check(&["map-0.0"], "from the map\n");
    check(&["reduce-0"], "from the reduce\n");
    check(&[], "==> map-0.0 <==\nfrom the map\n\n==> reduce-0.0 <==\nfrom the reduce\n");
    check(&["map-7"], "");
    let none = desk.run(&["logs", &id, "map-7"]);
    assert_eq!(
        none.stderr,
        format!("runner: no stderr of map-7 of {id} is kept: nothing was written to it, or there is no such attempt\n")
    );
}

#[test]
fn built_in_jobs_are_listed() {
    let outcome = desk().run(&["mapreduce", "--list"]);
    let names: Vec<&str> = outcome.text().lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["wordcount", "grep", "sort", "distinct", "sum", "top", "join"]);
}

#[test]
fn help_fits_a_terminal_and_names_every_command() {
    let desk = desk();
    for args in [&["--help"][..], &["mapreduce", "--help"], &["logs", "--help"]] {
        let outcome = desk.run(args);
        assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""), "{args:?}");
        assert!(outcome.text().lines().all(|line| line.chars().count() <= 100), "{args:?}");
    }
    let help = desk.run(&["--help"]);
    assert!(["mapreduce", "jobs", "logs"].iter().all(|name| help.text().contains(&format!("  {name}"))));
    assert!(!help.text().contains("supervise"));
}

#[test]
fn the_version_has_the_build() {
    let outcome = desk().run(&["--version"]);
    let build = outcome.text().trim_end().strip_prefix(concat!("runner ", env!("CARGO_PKG_VERSION"), "-"));
    let build = build.unwrap_or_else(|| panic!("{outcome:?}"));
    assert!(build.len() == 16 && build.chars().all(|c| c.is_ascii_hexdigit()), "{build}");
}

#[test]
fn workers_do_not_look_at_settings() {
    let desk = desk();
    desk.write("runner.toml", "this is malformed");
    assert_eq!(desk.run(&["jobs"]).code, Some(2));
    assert_eq!(desk.run(&["worker", "hash"]).code, Some(0));
}

#[test]
fn misspelled_variables_are_warned_of() {
    let mut command = desk().command(&["jobs"]);
    let output = command.current_dir("/").env("RUNNER_WORKRES", "x").output().expect("runner starts");
    assert!(String::from_utf8_lossy(&output.stderr).contains("(did you mean `$RUNNER_WORKERS`?)"));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let desk = desk();
    let mut child = desk.command(&["--json", "mapreduce", "wordcount", "in", "out"]).spawn().expect("runner starts");
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut [0]).expect("a byte");
    drop(stdout);
    let outcome = Outcome::wait(child);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("pipe"), "{}", outcome.stderr);
    assert!(desk.path("out/_SUCCESS").exists());
}
