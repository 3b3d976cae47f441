//! What an attempt may take: limits of the job and of the host's owner, for all that its commands start; and how a death
//! by them, or for want of memory, is said.

use std::path::PathBuf;

use crate::common::{Desk, Outcome, whole};

fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("in", "word\n");
    desk
}

/// A job of one attempt, which must fail in these words and leave no process.
fn check_end(desk: &Desk, args: &[&str], words: &str) {
    let outcome = desk.run(&[&["mapreduce", "--attempts", "1"], args, &["in", "out"]].concat());
    assert_eq!(outcome.code, Some(1), "{args:?}: {}", outcome.stderr);
    let last = outcome.stderr.lines().rfind(|line| line.starts_with("runner: ")).unwrap_or_default();
    assert!(last.contains(words), "{args:?}: no `{words}` in {}", outcome.stderr);
    desk.wait_until_clean();
}

/// Holds 300 MB in a grandchild that has left its parent's session: `tail` keeps the line that has not ended.
const HOG: &str = "(setsid sh -c '(head -c 300000000 /dev/zero; sleep 1000) | tail > /dev/null' &) ; sleep 1000";

#[test]
fn memory_is_limited_for_the_whole_tree() {
    let words = "its commands were ended: they took more than 100.00 MiB of memory together (--limit-memory)";
    check_end(&desk(), &["--map", HOG, "--limit-memory", "100M"], words);
    check_end(&desk(), &["--map", "cat", "--reduce", HOG, "--limit-memory", "100M"], words);
}

#[test]
fn processor_time_is_limited_for_the_whole_tree() {
    let words = "they took more than 1.0s of processor time together (--limit-cpu)";
    let busy = "(setsid sh -c 'while :; do :; done' &) ; sleep 1000";
    check_end(&desk(), &["--map", busy, "--limit-cpu", "1s"], words);
    let short_lived = "while :; do sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done'; done";
    check_end(&desk(), &["--map", short_lived, "--limit-cpu", "1s"], words);
}

#[test]
fn processes_are_limited_for_the_whole_tree() {
    let many = "for i in 1 2 3 4 5; do (setsid sleep 1000 &); done; sleep 1000";
    let words = "they were more than 4 processes at once (--limit-processes)";
    check_end(&desk(), &["--map", many, "--limit-processes", "4"], words);
}

#[test]
fn time_is_limited() {
    let words = "they ran for more than 1.0s (--limit-time)";
    // It moves all the time, so that it is not silent.
    let busy = "while :; do echo x; sleep 0.1; done";
    check_end(&desk(), &["--map", busy, "--limit-time", "1s", "--reduces", "0"], words);
}

#[test]
fn who_keeps_within_the_limits_notices_nothing() {
    let limits = "--limit-memory 1G --limit-cpu 1m --limit-time 1m --limit-processes 20 --nice 15";
    let limits: Vec<&str> = limits.split(' ').collect();
    let desk = desk();
    let parts = desk.job(&[&["--map", "cat; (nice); sleep 0.6", "--reduces", "0"], &limits[..], &["in"]].concat());
    assert_eq!(String::from_utf8_lossy(&whole(&parts)), "word\n15\n");
}

#[test]
fn settings_and_job_files_limit_too() {
    let words = "they ran for more than 300ms (--limit-time)";
    let run = |desk: &Desk, args: &[&str]| desk.run(&[args, &["in", "out"]].concat());
    let check = |outcome: Outcome| {
        assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(&words.replace("300ms", "0.3s")), "{}", outcome.stderr);
    };
    let job = ["mapreduce", "--attempts", "1", "--map", "sleep 1000"];
    check(run(&desk(), &[&["--set", "limits.wall_time=300ms"], &job[..]].concat()));
    let desk = desk();
    desk.write("job.toml", "map = 'sleep 1000'\nlimits = { wall_time = '300ms', attempts_max = 1 }\n");
    check(run(&desk, &["mapreduce", "job.toml"]));
}

#[test]
fn the_owner_of_a_host_decides_what_it_lends() {
    let desk = desk();
    let lend = |text: &str| desk.write_home(".config/runner/worker.toml", text);
    lend("memory = '200M'\n");
    let words =
        "they took more than 100.00 MiB of memory together (the limit of the host's owner, in worker.toml there)";
    check_end(&desk, &["--map", HOG, "--limit-memory", "10G"], words);
    lend("nice = 16\n");
    assert_eq!(whole(&desk.job(&["--map", "cat > /dev/null; nice", "in"])), b"16\n");
    lend("slots = 1\n");
    let outcome = desk.run(&["mapreduce", "--map", "cat", "in", "out"]);
    assert!(outcome.stderr.contains("1 worker with 1 slot:"), "{}", outcome.stderr);
    lend("slots = none\n");
    let outcome = desk.run(&["mapreduce", "--map", "cat", "in", "out2"]);
    assert_eq!(outcome.code, Some(5), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("worker.toml:1: "), "{}", outcome.stderr);
}

/// A control group of 200 MB, where this user may make one.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    fn make() -> Option<Self> {
        let name = format!("runner-test-{}", std::process::id());
        for (root, limit) in [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")] {
            let group = MemoryGroup(PathBuf::from(root).join(&name));
            if fs_err::create_dir(&group.0).is_ok() && fs_err::write(group.0.join(limit), "200000000").is_ok() {
                return Some(group);
            }
        }
        None
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _still_in_use = fs_err::remove_dir(&self.0);
    }
}

#[test]
fn a_death_for_want_of_memory_is_called_so() {
    // Only the superuser may, mostly: elsewhere nothing is tried.
    let Some(group) = MemoryGroup::make() else { return };
    let desk = desk();
    let procs = group.0.join("cgroup.procs");
    let map = format!("echo $$ > '{}'; head -c 900000000 /dev/zero | tail", procs.display());
    let words = "the map command was killed by the kernel's out-of-memory killer";
    check_end(&desk, &["--map", &map], words);
}
