//! Asking a running job for something from another terminal.

use std::process::Child;

use crate::common::{Desk, Outcome, wait_until};

/// A job whose only task runs until somebody ends it, and its id.
fn running(desk: &Desk) -> (Child, String) {
    desk.write("in", "word\n");
    let started = desk.path("started");
    let map = format!("touch '{}'; setsid sleep 1000", started.display());
    let child = desk
        .command(&["--set", "worker.orphan_grace=1s", "mapreduce", "--map", &map, "in", "out"])
        .spawn()
        .expect("runner starts");
    wait_until("the task runs", || started.exists());
    let id = desk.only_job()["id"].as_str().expect("an id").to_owned();
    (child, id)
}

#[test]
fn a_job_is_cancelled_from_another_terminal() {
    let desk = Desk::new();
    let (child, id) = running(&desk);
    let cancelled = desk.run(&["cancel", &id]);
    assert_eq!(cancelled.code, Some(0), "{}", cancelled.stderr);
    assert!(cancelled.stderr.contains("is cancelled"), "{}", cancelled.stderr);
    // The workers had cleaned up before `cancel` ended.
    assert_eq!(desk.names(), ["in", "started", "workers.txt"]);
    let outcome = Outcome::wait(child);
    assert_eq!(outcome.code, Some(9), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("cancelled by `runner cancel`"), "{}", outcome.stderr);
    desk.wait_until_clean();
    assert_eq!(desk.only_job()["state"], "cancelled");
    assert!(!desk.path("../home/.local/state/runner/jobs").join(&id).join("socket").exists());

    let again = desk.run(&["cancel", &id]);
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("does not run: it was cancelled"), "{}", again.stderr);
    assert_eq!(desk.run(&["explain", &id]).text().lines().next(), Some("it was cancelled"));
}

#[test]
fn a_running_job_says_where_it_stands() {
    let desk = Desk::new();
    let (child, id) = running(&desk);
    let whole = desk.run(&["explain", &id]);
    assert!(whole.text().contains("map: 0 of 1 done, 1 run, 0 wait\n"), "{whole:?}");
    assert!(whole.text().contains("local: 1 of 2 slots taken"), "{whole:?}");
    let task = desk.run(&["explain", &id, "map-0"]);
    assert!(task.text().starts_with("map-0.0 runs on local for "), "{task:?}");
    assert_eq!(desk.run(&["explain", &id, "map-7"]).text(), "there is no map-7 in this job\n");
    assert_eq!(desk.run(&["explain", "nothing-000000"]).code, Some(2));
    desk.run(&["cancel", &id]);
    Outcome::wait(child);
}

#[test]
fn a_job_without_a_driver_is_told_by_its_journal() {
    let desk = Desk::new();
    let (mut child, id) = running(&desk);
    child.kill().expect("is there");
    child.wait().expect("ends");
    let whole = desk.run(&["explain", &id]);
    assert!(whole.text().starts_with("it was interrupted: its driver is gone\nmap: 0 of 1 done\n"), "{whole:?}");
    let task = desk.run(&["explain", &id, "map-0"]);
    assert!(task.text().contains(": map-0.0 runs on local\n"), "{task:?}");
    let cancel = desk.run(&["cancel", &id]);
    assert_eq!(cancel.code, Some(2));
    assert!(cancel.stderr.contains("does not run: it was interrupted"), "{}", cancel.stderr);
    desk.wait_until_clean();
}
