//! Hosts that join and leave while a job runs, since somebody edits the file of workers.

use crate::fleets::{is, starts_on};
use crate::with_fleet;

const LOOK_OFTEN: [&str; 2] = ["--set", "worker.list_every=100ms"];

#[test]
fn a_host_on_the_list_joins_and_one_that_is_taken_off_ends() {
    with_fleet(|fleet| {
        let lines: String = (0..24).map(|line| format!("line {line}\n")).collect();
        fleet.desk.write("in/lines", lines);
        let job = ["--reduces", "0", "--split-size", "8", "in"];
        let expected = fleet.desk.job(&[&["--map", "cat"], &job[..]].concat());
        let job = [&["--map", "sleep 0.4; cat"], &job[..]].concat();
        fleet.install(&["h1", "h2"]);
        fleet.desk.write("fleet.txt", "1/h1\n");
        let mut running = fleet.start("fleet.txt", &[&LOOK_OFTEN[..], &job, &["out"]].concat());
        running.wait_for(starts_on("h1"));
        fleet.desk.write("fleet.txt", "1/h1\n1/h2\n");
        running.wait_for(starts_on("h2"));
        fleet.desk.write("fleet.txt", "1/h2\n");
        running.wait_for(is("worker_draining", "h1"));
        let before = running.facts.len();
        running.wait_for(is("worker_released", "h1"));
        let (facts, outcome) = running.end();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let after: Vec<_> = facts[before..].iter().filter(|fact| fact["host"] == "h1").collect();
        assert!(!after.iter().any(|fact| fact["fact"] == "attempt_queued"), "{after:?}");
        assert!(outcome.stderr.is_empty() || !outcome.stderr.contains("lost"), "{}", outcome.stderr);
        assert_eq!(fleet.take_output(), expected);
        fleet.wait_until_bare("h1");
        fleet.wait_until_bare("h2");
    });
}

#[test]
fn what_a_drained_host_holds_is_served_until_the_end() {
    with_fleet(|fleet| {
        fleet.desk.write("in/words.txt", crate::fleets::words());
        let job = ["--map", "sleep 0.3; cat", "--reduces", "2", "--split-size", "100K", "in"];
        let expected = fleet.desk.job(&job);
        fleet.install(&["h1", "h2"]);
        fleet.desk.write("fleet.txt", "1/h1\n1/h2\n");
        let mut running = fleet.start("fleet.txt", &[&LOOK_OFTEN[..], &job, &["out"]].concat());
        running.wait_for(is("attempt_finished", "h1"));
        fleet.desk.write("fleet.txt", "1/h2\n");
        let (facts, outcome) = running.end();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let is_there = |name: &str| facts.iter().any(|fact| fact["fact"] == name);
        assert!(is_there("worker_draining") && !is_there("output_lost") && !is_there("worker_lost"), "{facts:?}");
        assert_eq!(fleet.take_output(), expected);
        fleet.wait_until_bare("h1");
    });
}

#[test]
fn a_host_that_was_lost_joins_again_when_the_list_is_touched() {
    with_fleet(|fleet| {
        let lines: String = (0..50).map(|line| format!("line {line}\n")).collect();
        fleet.desk.write("in/lines", lines);
        let job = ["--reduces", "0", "--split-size", "8", "in"];
        let expected = fleet.desk.job(&[&["--map", "cat"], &job[..]].concat());
        let job = [&["--map", "sleep 0.4; cat"], &job[..]].concat();
        fleet.install(&["h1", "h3"]);
        fleet.desk.write("fleet.txt", "1/h1\n1/h3\n");
        let lost = ["--set", "worker.suspect_after=1s", "--set", "worker.lost_after=2s"];
        let mut running = fleet.start("fleet.txt", &[&LOOK_OFTEN[..], &lost, &job, &["out"]].concat());
        running.wait_for(starts_on("h3"));
        let id = running.id();
        fleet.bed.run(&["crash", "h3"]);
        running.wait_for(is("worker_lost", "h3"));
        fleet.bed.run(&["boot", "h3"]);
        fleet.desk.write("fleet.txt", "# again\n1/h1\n1/h3\n");
        running.wait_for(is("worker_joined", "h3"));
        running.wait_for(starts_on("h3"));
        let (_, outcome) = running.end();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert_eq!(fleet.take_output(), expected);
        // The first worker there went with the host's power, and left its files.
        let cleaned = fleet.run("h1", &["clean", &id]);
        assert_eq!(cleaned.code, Some(0), "{}", cleaned.stderr);
        fleet.wait_until_bare("h3");
    });
}
