//! Whatever way a job ends, nothing of it is left: no process, no scratch file, no way in, no ssh connection.

use rustix::process::Signal;

use crate::fleets::{Fleet, Running, starts_on};
use crate::with_fleet;

const HOSTS: [&str; 2] = ["h1", "h2"];

/// Each attempt leaves a process behind that wants to outlive it.
const MAP: &str = "setsid sleep 1000 >/dev/null 2>&1 & cat";
/// The same, and does not end.
const LONG_MAP: &str = "setsid sleep 1000 >/dev/null 2>&1 & sleep 1000";

/// A job on both hosts, with something in each of its tasks.
fn start(fleet: &Fleet, map: &str, more: &[&str]) -> Running {
    fleet.desk.write("in/a", "a line\n".repeat(100));
    fleet.desk.write("in/b", "another line\n".repeat(100));
    let job = ["--attempts", "1", "--map", map, "--reduces", "2", "--split-size", "700", "in", "out"];
    fleet.start("1/h1,1/h2", &[more, &job].concat())
}

/// The same, once both hosts are at it.
fn start_long(fleet: &Fleet) -> Running {
    // Its workers stay far longer than any test takes.
    let mut running = start(fleet, LONG_MAP, &["--set", "worker.orphan_grace=1h"]);
    running.wait_for(|fact| fact["fact"] == "attempt_started");
    running.wait_for(|fact| fact["fact"] == "attempt_started");
    running
}

fn expect_nothing(fleet: &Fleet) {
    HOSTS.iter().for_each(|host| fleet.wait_until_bare(host));
    fleet.wait_until_bare_here();
    // Nor an output, complete or not.
    let ours = |name: &String| name == "out" || name.starts_with('.');
    assert!(!fleet.desk.names().iter().any(ours), "{:?}", fleet.desk.names());
}

fn clean(fleet: &Fleet, args: &[&str]) -> String {
    // Where its hosts are is known from the job; the desk's own workers.txt is of no interest.
    let outcome = fleet.run_here(&[&["clean"], args].concat());
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    outcome.stderr
}

#[test]
fn after_success_failure_and_cancel() {
    with_fleet(|fleet| {
        fleet.install(&HOSTS);
        let (_, outcome) = start(fleet, MAP, &[]).end();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        fleet.take_output();
        expect_nothing(fleet);

        let (_, outcome) = start(fleet, "setsid sleep 1000 & exit 3", &[]).end();
        assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
        expect_nothing(fleet);

        let mut running = start_long(fleet);
        let id = running.id();
        let cancelled = fleet.run("h1", &["cancel", &id]);
        assert_eq!(cancelled.code, Some(0), "{}", cancelled.stderr);
        // Not only soon: `cancel` has waited for it.
        for host in HOSTS {
            assert_eq!(fleet.bed.run(&["ps", host]), "", "{host}");
        }
        assert_eq!(running.end().1.code, Some(9));
        expect_nothing(fleet);
    });
}

#[test]
fn after_an_interrupt_and_clean() {
    with_fleet(|fleet| {
        fleet.install(&HOSTS);
        let mut running = start_long(fleet);
        let id = running.id();
        running.signal(Signal::INT);
        assert_eq!(running.end().1.code, Some(130));
        clean(fleet, &[&id]);
        expect_nothing(fleet);
    });
}

#[test]
fn after_a_killed_driver_and_clean() {
    with_fleet(|fleet| {
        fleet.install(&HOSTS);
        for which in ["one job", "all"] {
            let mut running = start_long(fleet);
            let id = running.id();
            let refused = fleet.run("h1", &["clean", &id]);
            assert_eq!(refused.code, Some(6), "{}", refused.stderr);
            assert!(refused.stderr.contains("has a driver"), "{}", refused.stderr);
            running.kill();
            assert_ne!(fleet.bed.run(&["ps", "h1"]), "", "its worker waits for another driver");
            let said = if which == "all" { clean(fleet, &[]) } else { clean(fleet, &[&id]) };
            assert!(said.contains("cannot be resumed any more"), "{said}");
            // Nothing has to be waited for.
            HOSTS.iter().for_each(|host| assert_eq!(fleet.bed.run(&["ps", host]), "", "{host}"));
            expect_nothing(fleet);
            let explained = fleet.run("h1", &["explain", &id]);
            assert!(explained.text().starts_with("it was cancelled"), "{explained:?}");
        }
        assert!(clean(fleet, &[]).contains("has left anything"), "all is clean");
    });
}

#[test]
fn after_a_host_that_crashed_and_a_worker_that_was_killed() {
    with_fleet(|fleet| {
        fleet.install(&HOSTS);
        let lost = ["--set", "worker.suspect_after=1s", "--set", "worker.lost_after=2s"];
        let map = "setsid sleep 1000 >/dev/null 2>&1 & sleep 1; cat";
        for disaster in ["crash", "kill"] {
            let mut running = start(fleet, map, &lost);
            let id = running.id();
            running.wait_for(starts_on("h2"));
            match disaster {
                "crash" => _ = fleet.bed.run(&["crash", "h2"]),
                _ => _ = fleet.bed.sh("h2", "pkill -KILL -f 'worker [s]erve'"),
            }
            let (_, outcome) = running.end();
            assert_eq!(outcome.code, Some(0), "{disaster}: {}", outcome.stderr);
            fleet.take_output();
            if disaster == "crash" {
                fleet.bed.run(&["boot", "h2"]);
            }
            clean(fleet, &[&id]);
            expect_nothing(fleet);
        }
    });
}

/// Of a worker that died while it was being started no driver has heard.
#[test]
fn after_a_driver_and_a_host_that_died_at_the_start() {
    with_fleet(|fleet| {
        fleet.install(&HOSTS);
        fleet.bed.run(&["crash", "h2"]);
        let mut running = start(fleet, "sleep 1; cat", &[]);
        let id = running.id();
        running.wait_for(starts_on("h1"));
        running.kill();
        let outcome = fleet.run_here(&["resume", &id]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        fleet.take_output();
        fleet.bed.run(&["boot", "h2"]);
        fleet.bed.sh("h2", &format!("mkdir -p -m 700 /var/tmp/runner-$(id -u)/jobs/{id}-w1/peers"));
        clean(fleet, &[&id]);
        expect_nothing(fleet);
    });
}

#[test]
fn a_host_that_is_out_of_reach_is_named_and_cleaned_later() {
    with_fleet(|fleet| {
        fleet.install(&HOSTS);
        let mut running = start_long(fleet);
        let id = running.id();
        running.kill();
        fleet.bed.run(&["crash", "h2"]);
        let outcome = fleet.run("h1", &["--set", "ssh.connect_timeout=2s", "clean", &id]);
        assert_eq!(outcome.code, Some(5), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("h2") && outcome.stderr.contains("run this again"), "{}", outcome.stderr);
        fleet.bed.run(&["boot", "h2"]);
        clean(fleet, &[]);
        expect_nothing(fleet);
    });
}

#[test]
fn the_binary_goes_too_if_that_is_wanted() {
    with_fleet(|fleet| {
        fleet.install(&HOSTS);
        let cached = || fleet.bed.sh("h1", "ls -d .cache/runner/*/runner 2>/dev/null; true");
        assert_ne!(cached(), "");
        let outcome = fleet.run("h1,h2", &["clean", "--all"]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert_eq!(cached(), "");
        expect_nothing(fleet);
    });
}
