//! Whole jobs over real ssh hosts: the same bytes as on this machine, whatever happens to the hosts, and nothing left.

mod common;
mod fleets;
mod testbed;

use common::{Outcome, Parts};
use fleets::{Fleet, starts_on, words};
use rustix::process::Signal;

/// Runs a test with a fleet of five.
fn with_fleet(test: impl FnOnce(&Fleet)) {
    fleets::with_fleet("fleet", 5, test);
}

fn in_order(parts: &Parts) -> Vec<u8> {
    parts.values().flatten().copied().collect()
}

#[test]
fn the_same_bytes_come_out_on_any_workers() {
    with_fleet(|fleet| {
        fleet.desk.write("in/words.txt", words());
        let job = ["wordcount", "--reduces", "3", "--split-size", "300K", "in"];
        let here = fleet.desk.job(&job);
        for workers in ["h1", "h1,h2,h3,h4", "3/h1,1/h2", "h1,h1"] {
            assert_eq!(fleet.job(workers, &job), here, "{workers}");
        }
        fleet.wait_until_bare("h1");
    });
}

#[test]
fn every_builtin_gives_over_ssh_what_it_gives_here() {
    with_fleet(|fleet| {
        let lines: String = words().split_whitespace().take(20_000).map(|word| format!("{word}\t1\n")).collect();
        fleet.desk.write("in/a", &lines);
        fleet.desk.write("in/b", lines.to_uppercase());
        fleet.desk.write("other", "w1\tone\nw2\ttwo\n");
        for job in [
            &["sort", "--reduces", "3", "in"][..],
            &["distinct", "in"],
            &["sum", "in"],
            &["top", "--count", "7", "in"],
            &["join", "--with", "other", "in"],
            &["grep", "--pattern", "w1[0-9]\t", "in"],
        ] {
            let job = [job, &["--split-size", "40K"]].concat();
            assert_eq!(in_order(&fleet.job("h1,h2", &job)), in_order(&fleet.desk.job(&job)), "{job:?}");
        }
    });
}

#[test]
fn commands_find_their_files_and_their_own_environment() {
    with_fleet(|fleet| {
        fleet.desk.write("in/x", "a\nb\n");
        fleet.desk.write("tool/run.sh", "sed \"s/$/ $(cat made) $GREETING ${PYTHONUNBUFFERED-unset}/\"\n");
        let job = ["--quiet", "mapreduce", "--map", "sh tool/run.sh", "--file", "tool", "--setup", "uname -n > made"];
        let job = [&job[..], &["--env", "GREETING=hello", "--reduces", "0", "--split-size", "2", "in", "out"]].concat();
        let output = fleet.command("h1,h2", &job).env("PYTHONUNBUFFERED", "1").output().expect("runner starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(in_order(&fleet.take_output())).expect("is text");
        assert_eq!(lines.lines().count(), 2, "{lines}");
        for line in lines.lines() {
            assert!(line.ends_with("h1 hello unset") || line.ends_with("h2 hello unset"), "{line}");
        }
    });
}

#[test]
fn a_host_that_dies_costs_no_byte() {
    with_fleet(|fleet| {
        fleet.desk.write("in/words.txt", words());
        let job = ["--map", "sleep 0.5; cat", "--reduces", "2", "--split-size", "40K", "in"];
        let expected = fleet.desk.job(&job);
        fleet.install(&["h1", "h2", "h3"]);
        for disaster in ["crash", "cut"] {
            let lost = ["--set", "worker.suspect_after=1s", "--set", "worker.lost_after=2s"];
            let lost = [&lost[..], &["--set", "worker.orphan_grace=2s"]].concat();
            let mut job = fleet.start("h1,h2,h3", &[&lost[..], &job, &["out"]].concat());
            job.wait_for(starts_on("h3"));
            fleet.bed.run(&[disaster, "h3"]);
            let (_, outcome) = job.end();
            fleet.bed.run(&[if disaster == "crash" { "boot" } else { "heal" }, "h3"]);
            assert_eq!(outcome.code, Some(0), "{disaster}: {}", outcome.stderr);
            assert!(outcome.stderr.contains("h3 is lost"), "{disaster}: {}", outcome.stderr);
            assert_eq!(fleet.take_output(), expected, "{disaster}");
        }
        fleet.bed.sh("h3", "rm -rf /var/tmp/runner-*");
    });
}

#[test]
fn a_host_that_becomes_slow_is_overtaken_by_a_copy() {
    with_fleet(|fleet| {
        fleet.desk.write("in/words.txt", words());
        let job = ["--map", "awk '{ for (i = 0; i < 9000; i++) x += i; print }'", "--reduces", "2"];
        let job = [&job[..], &["--split-size", "400K", "in"]].concat();
        let expected = fleet.desk.job(&job);
        fleet.install(&["h1", "h2", "h3"]);
        let eager = ["--set", "straggler.floor=2s", "--set", "worker.lost_after=5m"];
        let mut job = fleet.start("1/h1,1/h2,1/h3", &[&eager[..], &job, &["out"]].concat());
        job.wait_for(starts_on("h3"));
        fleet.bed.run(&["slow", "h3", "5"]);
        let (_, Outcome { code, stderr: said, .. }) = job.end();
        fleet.bed.run(&["slow", "h3", "100"]);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("is copied to") && said.contains("on h3"), "{said}");
        assert_eq!(fleet.take_output(), expected);
        fleet.wait_until_bare("h3");
    });
}

#[test]
fn a_full_disk_is_said_and_the_work_goes_elsewhere() {
    with_fleet(|fleet| {
        fleet.desk.write("in/words.txt", words());
        let job = ["--map", "cat", "--reduces", "2", "--split-size", "400K", "in"];
        let expected = fleet.desk.job(&job);
        // The binary must be there before the disk is full.
        fleet.install(&["h4", "h5"]);
        // Else nothing would be started on a host with so little room.
        fleet.desk.write("runner.toml", "[worker]\ndisk_free_min = \"0\"\n");
        fleet.bed.run(&["fill", "h4", "200"]);
        let outcome = fleet.run("h4,h5", &[&["mapreduce"][..], &job, &["out"]].concat());
        fleet.bed.run(&["drain", "h4"]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("h4") && outcome.stderr.contains("disk full"), "{}", outcome.stderr);
        assert_eq!(fleet.take_output(), expected);
        fleet.wait_until_bare("h4");
    });
}

#[test]
fn hosts_that_do_not_answer_are_named() {
    with_fleet(|fleet| {
        fleet.desk.write("in/x", "a b\n");
        // The job must last until the name was looked up.
        let job = ["mapreduce", "--map", "sleep 2; cat", "in", "out"];
        let some = fleet.run("h1,nowhere.invalid", &job);
        assert_eq!(some.code, Some(0), "{}", some.stderr);
        assert!(some.stderr.contains("nowhere.invalid"), "{}", some.stderr);
        fleet.take_output();
        let none = fleet.run("nowhere.invalid", &job);
        assert_eq!(none.code, Some(5), "{}", none.stderr);
        assert!(none.stderr.contains("nowhere.invalid"), "{}", none.stderr);
        assert_eq!(fleet.desk.names(), ["in", "workers.txt"]);
    });
}

#[test]
fn a_setup_that_fails_is_quoted() {
    with_fleet(|fleet| {
        fleet.desk.write("in/x", "a b\n");
        let job = ["mapreduce", "--map", "cat", "--setup", "echo no compiler here >&2; exit 9", "in", "out"];
        let outcome = fleet.run("h1,h2", &job);
        assert_eq!(outcome.code, Some(5), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("code 9") && outcome.stderr.contains("no compiler here"), "{}", outcome.stderr);
        fleet.wait_until_bare("h1");
    });
}

#[test]
fn a_setup_that_hangs_ends_with_the_job() {
    with_fleet(|fleet| {
        fleet.desk.write("in/x", "a b\n");
        let mut job =
            fleet.start("h1,h2", &["--map", "cat", "--setup", "test $(uname -n) = h1 || sleep 1000", "in", "out"]);
        job.wait_for(|fact| fact["fact"] == "job_finished");
        let (_, outcome) = job.end();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        fleet.take_output();
        fleet.wait_until_bare("h2");
    });
}

#[test]
fn an_interrupt_or_a_killed_driver_leaves_nothing() {
    with_fleet(|fleet| {
        fleet.desk.write("in/x", words());
        let job = ["--set", "worker.orphan_grace=1s", "--map", "sleep 100; cat", "--split-size", "500K", "in", "out"];
        fleet.install(&["h1", "h2"]);
        for (signal, code) in [(Signal::INT, Some(130)), (Signal::TERM, Some(143)), (Signal::KILL, None)] {
            let mut job = fleet.start("h1,h2", &job);
            job.wait_for(starts_on("h2"));
            job.signal(signal);
            let (_, outcome) = job.end();
            assert_eq!(outcome.code, code, "{signal:?}: {}", outcome.stderr);
            fleet.wait_until_bare("h1");
            fleet.wait_until_bare("h2");
        }
        // What a killed driver leaves here is the business of whoever comes next.
        let outcome = fleet.run_here(&["clean"]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    });
}
