//! How jobs end: in place of an old output, interrupted, without workers. Nothing is left but what should be.

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Desk, Outcome, wait_until, whole};

fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("in", "word\n");
    desk
}

#[test]
fn an_old_output_stays_until_the_new_one_is_complete() {
    let desk = desk();
    desk.write("out/part-00007", "precious");
    let failed = desk.run(&["-q", "mapreduce", "--overwrite", "--attempts", "1", "--map", "exit 1", "in", "out"]);
    assert_eq!(failed.code, Some(1));
    assert_eq!(fs_err::read(desk.path("out/part-00007")).expect("is still there"), b"precious");
    assert_eq!(desk.run(&["-q", "mapreduce", "--overwrite", "wordcount", "in", "out"]).code, Some(0));
    assert_eq!(whole(&desk.parts("out")), b"word\t1\n");
    assert_eq!(desk.names(), ["in", "out", "workers.txt"]);
}

/// Interrupts a job while its only task runs.
fn check_signal(signal: Signal, code: i32) {
    let desk = desk();
    let started = desk.path("started");
    let map = format!("touch '{}'; setsid sleep 1000", started.display());
    let args = ["--set", "worker.orphan_grace=1s", "mapreduce", "--map", &map, "in", "out"];
    let child = desk.command(&args).spawn().expect("runner starts");
    wait_until("the task runs", || started.exists());
    kill_process(Pid::from_child(&child), signal).expect("is there");
    let outcome = Outcome::wait(child);
    assert_eq!(outcome.code, Some(code), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("interrupted"), "{}", outcome.stderr);
    desk.wait_until_clean();
    let job = desk.only_job();
    assert_eq!(job["state"], "interrupted");
    // What is committed is kept for whoever goes on.
    let kept = format!(".out.runner-{}", job["id"].as_str().expect("an id"));
    assert_eq!(desk.names(), [&*kept, "in", "started", "workers.txt"]);
}

#[test]
fn ctrl_c() {
    check_signal(Signal::INT, 130);
}

#[test]
fn sigterm() {
    check_signal(Signal::TERM, 143);
}

#[test]
fn no_worker() {
    let desk = desk();
    // Port 1 of this machine: nobody listens there.
    let outcome = desk.run(&["--workers", "127.0.0.1:1", "mapreduce", "wordcount", "in", "out"]);
    assert_eq!(outcome.code, Some(5), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("127.0.0.1:1"), "{}", outcome.stderr);
    assert_eq!(desk.names(), ["in", "workers.txt"]);
    desk.wait_until_clean();
}

#[test]
fn the_workers_that_answer_do_the_job() {
    let desk = desk();
    desk.workers("127.0.0.1:1\n:");
    let outcome = desk.run(&["mapreduce", "wordcount", "in", "out"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("127.0.0.1:1"), "{}", outcome.stderr);
    assert_eq!(whole(&desk.parts("out")), b"word\t1\n");
}

#[test]
fn a_job_leaves_nothing_on_its_workers() {
    let desk = desk();
    desk.job(&["wordcount", "in"]);
    desk.wait_until_clean();
}

#[test]
fn corrupt_input_is_named_and_is_no_fault_of_a_worker() {
    let desk = Desk::new();
    desk.write("in/good", "word\n");
    desk.write("in/bad.gz", "this is no gzip, although its name says so\n");
    let check = |args: &[&str]| {
        let outcome = desk.run(&[&["mapreduce", "--attempts", "2"], args, &["in", "out"]].concat());
        assert_eq!(outcome.code, Some(7), "{args:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("bad.gz`: corrupt or truncated gzip"), "{args:?}: {}", outcome.stderr);
        assert!(!outcome.stderr.contains("the worker could not"), "{}", outcome.stderr);
    };
    check(&["wordcount"]);
    check(&["--map", "cat", "--reduces", "0"]);
    check(&["sort", "--reduces", "2"]);
}

#[test]
fn a_failed_attempt_leaves_no_part_behind() {
    let desk = desk();
    let map = format!(
        "case $mapreduce_task_attempt_id in *.0) cat; exit 1;; esac; cd '{}'; find . -name '*part-*' | wc -l",
        desk.path("").display()
    );
    assert_eq!(whole(&desk.job(&["--map", &map, "--reduces", "0", "in"])), b"1\n");
}

#[test]
fn a_silent_combiner_is_ended() {
    let desk = desk();
    let silent = ["--map", "cat", "--combine", "sleep 1000", "--reduce", "cat"];
    let job = [&["mapreduce", "--timeout", "1s", "--attempts", "1"], &silent[..], &["in", "out"]].concat();
    let outcome = desk.run(&job);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("nothing was read, written or reported for 1.0s (--timeout)"),
        "{}",
        outcome.stderr
    );
    desk.wait_until_clean();
}
