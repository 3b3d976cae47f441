//! Jobs that make a dataset and whose driver dies: at any moment, and between any two steps of the end.
//!
//! What a driver leaves that dies in the midst of the last steps is made by hand from what it leaves when all is done: the
//! journal without its last fact, hosts without their manifests, parts under the names that they had before.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Child;

use runner::facts::{End, Fact};
use runner::journal::Journal;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::common::{Desk, Outcome, wait_until};
use crate::desk::{desk, fails, ok, sorted};

const WORKERS: usize = 3;

/// Words of which each is counted in one of the parts.
fn input(desk: &Desk) {
    for name in ["a", "b", "c"] {
        let lines: String = (0..300).map(|at| format!("w{}\t{name}{at}\n", at % 41)).collect();
        desk.write(format!("in/{name}"), lines);
    }
}

fn expected() -> Vec<String> {
    let desk = desk(1);
    input(&desk);
    sorted(
        &String::from_utf8(crate::common::whole(&desk.job(&["--map", "cat", "--reduces", "4", "in"]))).expect("text"),
    )
}

/// A job whose maps, or whose reduces but the first, wait for the file `go`.
struct Halted {
    desk: Desk,
    child: Child,
    id: String,
}

impl Halted {
    /// With these commands, and with `more` words behind them.
    fn start(map: &str, reduce: &str, more: &[&str]) -> Self {
        let desk = desk(WORKERS);
        input(&desk);
        let folder = desk.path("").display().to_string();
        let [map, reduce] = [map, reduce].map(|command| command.replace("FOLDER", &folder));
        let args = ["--set", "worker.orphan_grace=30s", "mapreduce", "--map", &map, "--reduce", &reduce];
        let args = [&args[..], &["--reduces", "4"], more, &["in", "fs:out"]].concat();
        let child = desk.command(&args).spawn().expect("runner starts");
        wait_until("the job is there", || !desk.run(&["--json", "jobs"]).stdout.is_empty());
        let id = desk.only_job()["id"].as_str().expect("an id").to_owned();
        Halted { desk, child, id }
    }

    fn kill(&mut self) {
        // It may have ended by itself in this moment.
        let _ended = kill_process(Pid::from_child(&self.child), Signal::KILL);
        wait_until("the driver ends", || self.child.try_wait().expect("a child").is_some());
    }

    /// The dataset is there once the job was gone on with, and nothing else is.
    fn resume_and_check(&self) {
        let outcome = self.desk.run(&["resume", &self.id]);
        // It may have been done just before it was killed.
        let was_done = outcome.code == Some(2) && outcome.stderr.contains("is done: its result is in fs:out");
        assert!(outcome.code == Some(0) || was_done, "{}", outcome.stderr);
        check(&self.desk);
    }
}

const WAITS: &str = "while ! test -e 'FOLDER/go'; do sleep 0.05; done; cat";
const ALL_BUT_ONE_WAIT: &str =
    "if [ $mapreduce_task_partition != 0 ]; then while ! test -e 'FOLDER/go'; do sleep 0.05; done; fi; cat";

/// The output is as it should be, in two copies, and nothing lies beside it.
fn check(desk: &Desk) {
    assert_eq!(sorted(ok(desk, &["cat", "out"]).text()), expected());
    let listed = ok(desk, &["ls"]);
    assert_eq!(listed.stderr, "", "{listed:?}");
    ok(desk, &["check", "out"]);
    for file in (1..=WORKERS).flat_map(|worker| files(desk, worker)) {
        let name = file.file_name().and_then(|name| name.to_str()).expect("text").to_owned();
        assert!(name == "manifest" || name.ends_with("-of-00004"), "{}", file.display());
    }
    desk.wait_until_clean();
}

/// What lies of the output in a worker's data folder.
fn files(desk: &Desk, worker: usize) -> Vec<PathBuf> {
    let generations = fs_err::read_dir(desk.path(format!("data{worker}/out"))).into_iter().flatten().flatten();
    let generations = generations.map(|entry| entry.path()).filter(|path| path.is_dir());
    generations.flat_map(|path| fs_err::read_dir(path).into_iter().flatten().flatten()).map(|it| it.path()).collect()
}

fn all_files(desk: &Desk) -> Vec<PathBuf> {
    (1..=WORKERS).flat_map(|worker| files(desk, worker)).collect()
}

fn is_manifest(path: &Path) -> bool {
    path.ends_with("manifest")
}

#[test]
fn a_driver_that_dies_while_maps_run_is_replaced() {
    let mut job = Halted::start(WAITS, "cat", &[]);
    job.kill();
    job.desk.write("go", "");
    job.resume_and_check();
}

#[test]
fn a_driver_that_dies_when_some_parts_are_made_is_replaced() {
    let mut job = Halted::start("cat", ALL_BUT_ONE_WAIT, &[]);
    let is_first = |path: &PathBuf| path.ends_with("part-00000");
    wait_until("the first part is there twice", || all_files(&job.desk).iter().filter(|it| is_first(it)).count() == 2);
    assert!(!all_files(&job.desk).iter().any(|path| is_manifest(path)));
    job.kill();
    fails(&job.desk, &["cat", "out"], 3, "no dataset");
    job.desk.write("go", "");
    job.resume_and_check();
}

#[test]
fn a_driver_that_dies_when_the_first_manifest_is_there_is_replaced() {
    for _ in 0..3 {
        let mut job = Halted::start("cat", ALL_BUT_ONE_WAIT, &[]);
        job.desk.write("go", "");
        wait_until("a manifest is there", || all_files(&job.desk).iter().any(|path| is_manifest(path)));
        job.kill();
        job.resume_and_check();
    }
}

#[test]
fn nobody_who_goes_on_leaves_nothing() {
    let mut job = Halted::start("cat", ALL_BUT_ONE_WAIT, &["--set", "worker.orphan_grace=2s"]);
    wait_until("a part is there", || all_files(&job.desk).iter().any(|path| path.ends_with("part-00000")));
    job.kill();
    job.desk.write("go", "");
    wait_until("the parts are gone with the workers", || all_files(&job.desk).is_empty());
    job.desk.wait_until_clean();
    assert_eq!(ok(&job.desk, &["ls"]).stderr, "");
    // Another driver begins anew, so to speak.
    job.resume_and_check();
}

/// A desk with a job that is done, whose journal lacks the end.
fn nearly_done() -> (Desk, String) {
    let desk = desk(WORKERS);
    input(&desk);
    let outcome = desk.run(&["mapreduce", "--map", "cat", "--reduces", "4", "in", "fs:out"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let id = desk.only_job()["id"].as_str().expect("an id").to_owned();
    let path = desk.home().join(".local/state/runner/jobs").join(&id).join("journal");
    let mut facts = Journal::read(&path).expect("reads").facts;
    assert_eq!(facts.pop().map(|stamped| stamped.fact), Some(Fact::JobFinished { end: End::Done }));
    fs_err::remove_file(&path).expect("is there");
    let mut journal = Journal::create(&path).expect("is made");
    facts.iter().for_each(|fact| journal.append(fact).expect("is added"));
    journal.sync().expect("is written");
    (desk, id)
}

/// Goes on with it; gives the tasks that were sent again.
fn resume(desk: &Desk, id: &str) -> BTreeSet<String> {
    let outcome = desk.run(&["--json", "resume", id]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    check(desk);
    let facts = outcome.text().lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let sent = facts.filter(|fact| fact["fact"] == "attempt_queued");
    sent.map(|fact| fact["task"].as_str().expect("a task").to_owned()).collect()
}

/// How the name of a part was before it was final.
fn unseal(path: &Path) {
    let name = path.file_name().and_then(|name| name.to_str()).expect("text");
    if let Some((staged, _)) = name.split_once("-of-") {
        fs_err::rename(path, path.with_file_name(staged)).expect("is renamed");
    }
}

fn remove_manifests(desk: &Desk, workers: impl IntoIterator<Item = usize>) {
    let all = workers.into_iter().flat_map(|worker| files(desk, worker)).filter(|path| is_manifest(path));
    all.for_each(|path| fs_err::remove_file(path).expect("is there"));
}

#[test]
fn what_was_done_and_not_said_is_done() {
    let (desk, id) = nearly_done();
    assert_eq!(resume(&desk, &id), BTreeSet::new());
}

#[test]
fn manifests_that_are_missing_are_written() {
    let (desk, id) = nearly_done();
    remove_manifests(&desk, 2..=WORKERS);
    assert_eq!(resume(&desk, &id), BTreeSet::new());
    for worker in 1..=WORKERS {
        let mut files = files(&desk, worker);
        files.retain(|path| is_manifest(path));
        assert_eq!(files.len(), 1, "worker {worker}");
    }
}

#[test]
fn parts_are_taken_up_under_either_name() {
    let (desk, id) = nearly_done();
    remove_manifests(&desk, 1..=WORKERS);
    files(&desk, 1).iter().for_each(|path| unseal(path));
    fails(&desk, &["cat", "out"], 3, "no dataset");
    assert_eq!(resume(&desk, &id), BTreeSet::new());
}

#[test]
fn a_part_that_is_not_what_was_made_goes_and_its_copy_stays() {
    let (desk, id) = nearly_done();
    remove_manifests(&desk, 1..=WORKERS);
    let mine = files(&desk, 1);
    let mut bytes = fs_err::read(&mine[0]).expect("is there");
    bytes[3] ^= 1;
    fs_err::write(&mine[0], bytes).expect("writes");
    fs_err::write(mine[0].with_file_name("part-00009"), "of nobody").expect("writes");
    fs_err::write(mine[0].with_file_name("_part-00001.reduce-1.7"), "a draft").expect("writes");
    assert_eq!(resume(&desk, &id), BTreeSet::new());
}

#[test]
fn a_part_without_a_copy_is_made_again() {
    let (desk, id) = nearly_done();
    remove_manifests(&desk, 1..=WORKERS);
    let lost = all_files(&desk).into_iter().filter(|path| path.ends_with("part-00002-of-00004"));
    assert_eq!(lost.map(|path| fs_err::remove_file(path).expect("is there")).count(), 2);
    let sent = resume(&desk, &id);
    assert!(sent.contains("reduce-2") && !sent.contains("reduce-1"), "{sent:?}");
}

#[test]
fn a_name_that_somebody_else_took_is_theirs() {
    let (desk, id) = nearly_done();
    desk.write("other", "of others\n");
    ok(&desk, &["put", "other", "out", "--overwrite"]);
    let outcome = desk.run(&["resume", &id]);
    assert_eq!(outcome.code, Some(4), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("fs:out was put or removed by somebody else"), "{}", outcome.stderr);
    assert_eq!(ok(&desk, &["cat", "out"]).text(), "of others\n");
    let elsewhere = desk.run(&["resume", &id, "--output", "folder"]);
    assert_eq!(elsewhere.code, Some(2), "{}", elsewhere.stderr);
    desk.wait_until_clean();
}

#[test]
fn a_part_that_went_with_its_worker_is_made_again() {
    let job = Halted::start("cat", ALL_BUT_ONE_WAIT, &["--copies", "1"]);
    let holder = || (1..=WORKERS).find(|worker| files(&job.desk, *worker).iter().any(|it| it.ends_with("part-00000")));
    wait_until("the first part is there", || holder().is_some());
    // The worker's own folder is `JOB-wN` among its scratch files.
    let scratch = format!("-w{}", holder().expect("is there") - 1);
    let servers = job.desk.process_folders().into_iter().filter(|process| {
        let words = fs_err::read(process.join("cmdline")).unwrap_or_default();
        let folder = fs_err::read_link(process.join("cwd")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains("serve") && folder.to_string_lossy().ends_with(&scratch)
    });
    let ids: Vec<Pid> =
        servers.filter_map(|process| Pid::from_raw(process.file_name()?.to_str()?.parse().ok()?)).collect();
    assert_eq!(ids.len(), 1, "one worker is to be killed");
    ids.into_iter().for_each(|id| kill_process(id, Signal::KILL).expect("is there"));
    job.desk.write("go", "");
    let Halted { desk, child, .. } = job;
    let outcome = Outcome::wait(child);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(sorted(ok(&desk, &["cat", "out"]).text()), expected());
}
