//! Copies on real ssh hosts: they go from host to host, whatever happens to these, and nothing of the way stays anywhere.

use std::io::Write;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::Outcome;
use crate::hosts::{Fleet, names, with_fleet};
use crate::testbed::wait_until;

/// About 10 MB of lines.
fn lines() -> String {
    (0..200_000_u32).map(|at| format!("{at} {:>40}\n", at.wrapping_mul(2_654_435_761))).collect()
}

/// Bytes that this machine has sent to the hosts: what passes between them is not on its cable.
fn sent(fleet: &Fleet) -> u64 {
    let cable = fleet.bed.run(&["cable"]);
    let path = format!("/sys/class/net/{cable}/statistics/tx_bytes");
    fs_err::read_to_string(path).expect("is there").trim().parse().expect("a number")
}

/// No line, no file and no process for copies is on any host that runs.
fn wait_until_bare(fleet: &Fleet) {
    for host in names() {
        let find = "grep runner-job ~/.ssh/authorized_keys; ls -A ~/.ssh | grep -v '^authorized_keys$'; \
                    find /tmp /var/tmp -mindepth 1 -user worker; true";
        wait_until(&format!("{host} is bare"), || fleet.bed.sh(&host, find).is_empty());
        fleet.bed.wait_until_idle(&host);
    }
}

/// Begins to put a stream that never ends, and waits until hosts let each other in.
fn put_until_they_meet(fleet: &Fleet) -> Child {
    names().iter().for_each(|host| _ = fleet.bed.run(&["limit", host, "4mbit"]));
    let mut put = fleet.command(&["fs", "put", "-", "data", "--part-size", "300K"]);
    let mut child = put.stdin(Stdio::piped()).spawn().expect("starts");
    let mut stdin = child.stdin.take().expect("is piped");
    std::thread::spawn(move || {
        // Whatever becomes of the put, its input stays open.
        let _ended = stdin.write_all(lines().as_bytes());
        std::mem::forget(stdin);
    });
    wait_until("h1 lets others in", || fleet.bed.sh("h1", "grep -c runner-job ~/.ssh/authorized_keys; true") != "0");
    child
}

fn heal(fleet: &Fleet) {
    names().iter().for_each(|host| _ = fleet.bed.run(&["limit", host, "off"]));
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("runs");
}

#[test]
fn the_second_copy_does_not_pass_this_machine_nor_does_a_repair() {
    with_fleet(|fleet| {
        let text = lines();
        fleet.desk.write("in", &text);
        // The binary is there before anything is counted.
        fleet.ok(&["fs", "ls"]);
        let before = sent(fleet);
        let put = fleet.ok(&["fs", "put", "in", "data", "--parts", "8"]);
        let one_copy = text.len() as u64;
        let passed = sent(fleet) - before;
        assert!(passed > one_copy && passed < one_copy * 5 / 4, "{passed} of {one_copy}");
        assert!(put.stderr.contains("from worker to worker, 0 B through this machine"), "{}", put.stderr);
        wait_until_bare(fleet);
        fleet.bed.sh("h2", "rm ~/.local/share/runner/data/data/*/part-*");
        let before = sent(fleet);
        let repaired = fleet.ok(&["fs", "repair", "data"]);
        let passed = sent(fleet) - before;
        assert!(passed < one_copy / 8, "{passed} of {one_copy}");
        assert!(repaired.stderr.contains("from worker to worker, 0 B through this machine"), "{}", repaired.stderr);
        fleet.ok(&["fs", "check"]);
        wait_until_bare(fleet);
        let relayed = fleet.ok(&["--set", "shuffle=relay", "fs", "put", "in", "more", "--parts", "8"]);
        assert!(relayed.stderr.contains("copies: 0 B from worker to worker"), "{}", relayed.stderr);
        assert!(fleet.ok(&["fs", "cat", "more"]).text() == text);
    });
}

#[test]
fn a_pair_that_does_not_connect_copies_through_this_machine() {
    with_fleet(|fleet| {
        let text = lines();
        fleet.desk.write("in", &text);
        for other in ["h2", "h3", "h4"] {
            fleet.bed.run(&["part", "h1", other]);
        }
        let put = fleet.run(&["fs", "put", "in", "data", "--parts", "8"]);
        for other in ["h2", "h3", "h4"] {
            fleet.bed.run(&["rejoin", "h1", other]);
        }
        assert_eq!(put.code, Some(0), "{}", put.stderr);
        let told = put.stderr.contains("from worker to worker") && put.stderr.contains("2 copies on 4 workers");
        assert!(told && !put.stderr.contains(" 0 B "), "{}", put.stderr);
        fleet.ok(&["fs", "check"]);
        assert!(fleet.ok(&["fs", "cat", "data"]).text() == text);
        wait_until_bare(fleet);
    });
}

#[test]
fn a_host_that_cannot_be_let_into_costs_time_alone() {
    with_fleet(|fleet| {
        let text = lines();
        fleet.desk.write("in", &text);
        fleet.bed.sh("h1", "chmod 400 ~/.ssh/authorized_keys");
        fleet.bed.sh_as_root("h2", "mount --bind /dev/null /usr/bin/ssh");
        let put = fleet.run(&["fs", "put", "in", "data", "--parts", "8"]);
        fleet.bed.sh("h1", "chmod 600 ~/.ssh/authorized_keys");
        fleet.bed.sh_as_root("h2", "umount /usr/bin/ssh");
        assert_eq!(put.code, Some(0), "{}", put.stderr);
        assert!(put.stderr.contains("2 copies on 4 workers"), "{}", put.stderr);
        fleet.ok(&["fs", "check"]);
        wait_until_bare(fleet);
    });
}

#[test]
fn a_host_lost_while_others_copy_from_it_is_left_out() {
    with_fleet(|fleet| {
        let text = lines();
        fleet.desk.write("in", &text);
        fleet.ok(&["fs", "ls"]);
        fleet.bed.run(&["limit", "h1", "4mbit"]);
        let put = fleet.command(&["fs", "put", "in", "data", "--parts", "8"]).spawn().expect("starts");
        let guests = || fleet.bed.run(&["ps", "h1"]).contains("worker peer");
        wait_until("somebody copies from h1", guests);
        fleet.bed.run(&["crash", "h1"]);
        let outcome = Outcome::wait(put);
        fleet.bed.run(&["boot", "h1"]);
        fleet.bed.run(&["limit", "h1", "off"]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("h1: ") && outcome.stderr.contains("2 copies on 3 workers"), "{outcome:?}");
        assert!(fleet.ok(&["fs", "cat", "data"]).text() == text);
        fleet.ok(&["fs", "check"]);
        // What the power cut has left on h1 goes when it lets others in the next time.
        fleet.ok(&["fs", "put", "in", "data", "--overwrite"]);
        wait_until_bare(fleet);
    });
}

#[test]
fn nothing_stays_of_a_put_that_was_stopped() {
    with_fleet(|fleet| {
        fleet.desk.write("in", lines());
        fleet.ok(&["fs", "ls"]);
        // Not SIGINT, which whoever is started in the background of a script ignores.
        for how in [Signal::TERM, Signal::KILL] {
            let child = put_until_they_meet(fleet);
            signal(&child, how);
            assert_ne!(Outcome::wait(child).code, Some(0));
            heal(fleet);
            wait_until_bare(fleet);
        }
        // One whose host's processes were killed leaves its line and its files to the next.
        let mut child = put_until_they_meet(fleet);
        fleet.bed.sh("h1", "pkill -KILL -f 'worker [d]ata'; true");
        signal(&child, Signal::TERM);
        child.wait().expect("ends");
        heal(fleet);
        assert_ne!(fleet.bed.sh("h1", "grep -c runner-job ~/.ssh/authorized_keys; true"), "0");
        fleet.ok(&["fs", "put", "in", "data", "--parts", "16"]);
        wait_until_bare(fleet);
    });
}
