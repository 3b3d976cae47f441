//! Real ssh hosts: disks that are full, hosts that vanish, and what a listing takes.

use std::sync::{Mutex, PoisonError};

use crate::common::{Desk, Outcome, wait_until};
use crate::testbed::{self, Testbed};

const HOSTS: usize = 4;

/// A desk from which the hosts are reached.
pub struct Fleet {
    pub bed: std::sync::Arc<Testbed>,
    pub desk: Desk,
}

/// One test at a time: they break hosts.
static TURN: Mutex<()> = Mutex::new(());

/// Runs a test on the hosts, which lose all datasets behind it.
pub fn with_fleet(test: impl FnOnce(&Fleet)) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(bed) = testbed::shared("fs", HOSTS) else { return };
    let fleet = Fleet { bed, desk: Desk::new() };
    test(&fleet);
    for host in names() {
        fleet.bed.sh(&host, "rm -rf ~/.local/share/runner");
    }
    fleet.desk.wait_until_clean();
}

/// The hosts.
pub fn names() -> Vec<String> {
    (1..=HOSTS).map(|host| format!("h{host}")).collect()
}

impl Fleet {
    /// For what says little: nobody reads it before its end.
    pub fn command(&self, args: &[&str]) -> std::process::Command {
        let config = self.bed.ssh_config().display().to_string();
        self.desk.command(&[&["--workers", "h[1-4]", "--ssh-config", &config][..], args].concat())
    }

    pub fn run(&self, args: &[&str]) -> Outcome {
        let config = self.bed.ssh_config().display().to_string();
        self.desk.run(&[&["--workers", "h[1-4]", "--ssh-config", &config][..], args].concat())
    }

    pub fn ok(&self, args: &[&str]) -> Outcome {
        let outcome = self.run(args);
        assert_eq!(outcome.code, Some(0), "{args:?}: {}", outcome.stderr);
        outcome
    }
}

fn text(lines: usize) -> String {
    (0..lines).map(|at| format!("{at} {}\n", "word ".repeat(at * 7919 % 13))).collect()
}

#[test]
fn what_was_put_over_ssh_comes_back() {
    with_fleet(|fleet| {
        let text = text(100_000);
        fleet.desk.write("in", &text);
        let outcome = fleet.ok(&["fs", "put", "in", "data", "--parts", "8"]);
        assert!(outcome.stderr.contains("2 copies on 4 workers"), "{outcome:?}");
        assert!(fleet.ok(&["fs", "cat", "data"]).text() == text);
        fleet.ok(&["fs", "get", "--merge", "data", "out"]);
        assert!(fs_err::read_to_string(fleet.desk.path("out")).expect("is there") == text);
        let mode = fleet.bed.sh("h1", "stat -c %a ~/.local/share/runner/data");
        assert_eq!(mode, "700");
        fleet.ok(&["fs", "rm", "data"]);
        assert_eq!(fleet.bed.sh("h1", "find ~/.local/share/runner/data -name 'part-*' | wc -l"), "0");
    });
}

#[test]
fn a_full_disk_gets_no_parts() {
    with_fleet(|fleet| {
        let text = text(100_000);
        fleet.desk.write("in", &text);
        fleet.ok(&["fs", "ls"]);
        fleet.bed.run(&["fill", "h2", "300"]);
        let outcome = fleet.run(&["fs", "put", "in", "data", "--parts", "8"]);
        fleet.bed.run(&["drain", "h2"]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(fleet.ok(&["fs", "cat", "data"]).text() == text);
        let on_h2 = fleet.bed.sh("h2", "find ~/.local/share/runner/data -name 'part-*' -size +0 | wc -l");
        assert_eq!(on_h2, "0");
    });
}

#[test]
fn a_host_lost_while_its_parts_arrive_is_left_out() {
    with_fleet(|fleet| {
        let text = text(200_000);
        fleet.desk.write("in", &text);
        fleet.ok(&["fs", "ls"]);
        // So slow that it is still at it when its power goes.
        fleet.bed.run(&["limit", "h3", "2mbit"]);
        let mut put = fleet.command(&["fs", "put", "in", "data", "--parts", "8"]).spawn().expect("starts");
        let arriving = "find ~/.local/share/runner/data -name '.arriving-*' 2>/dev/null | wc -l";
        testbed::wait_until("a part arrives on h3", || fleet.bed.sh("h3", arriving) != "0");
        assert!(put.try_wait().expect("a child").is_none());
        fleet.bed.run(&["crash", "h3"]);
        let outcome = Outcome::wait(put);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("h3: ") && outcome.stderr.contains("go to other workers"),
            "{}",
            outcome.stderr
        );
        let read = fleet.ok(&["fs", "cat", "data"]);
        assert!(read.text() == text);
        assert!(read.stderr.contains("h3 did not answer"), "{}", read.stderr);
        fleet.bed.run(&["boot", "h3"]);
        fleet.bed.run(&["limit", "h3", "off"]);
        fleet.ok(&["fs", "repair"]);
        fleet.ok(&["fs", "check"]);
    });
}

#[test]
fn a_host_lost_while_it_is_read_from_is_replaced() {
    with_fleet(|fleet| {
        let text = text(200_000);
        fleet.desk.write("in", &text);
        fleet.ok(&["fs", "put", "in", "data", "--parts", "4"]);
        fleet.bed.run(&["limit", "h1", "2mbit"]);
        let mut get = fleet.command(&["fs", "get", "--merge", "data", "out"]).spawn().expect("starts");
        let sending = || !fleet.bed.sh("h1", "pgrep -f 'worker data' || true").is_empty();
        testbed::wait_until("h1 sends", sending);
        wait_until("bytes of it are here", || {
            let drafts = fleet.desk.names();
            drafts.iter().any(|name| name.starts_with(".out.")) || get.try_wait().expect("a child").is_some()
        });
        fleet.bed.run(&["crash", "h1"]);
        let outcome = Outcome::wait(get);
        fleet.bed.run(&["boot", "h1"]);
        fleet.bed.run(&["limit", "h1", "off"]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(fs_err::read_to_string(fleet.desk.path("out")).expect("is there") == text);
    });
}
