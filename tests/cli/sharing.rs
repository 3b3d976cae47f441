//! Two jobs at once on the same machine, and what is remembered of it.

use std::path::PathBuf;
use std::process::Child;

use crate::common::{Desk, Outcome, wait_until};

/// Begins and ends of tasks, as they wrote them.
fn log(desk: &Desk) -> String {
    fs_err::read_to_string(desk.path("log")).unwrap_or_default()
}

/// The most tasks that ran at once, by the log.
fn most_at_once(log: &str) -> usize {
    let (mut running, mut most) = (0_usize, 0);
    for line in log.lines() {
        running = if line.ends_with("begins") { running + 1 } else { running - 1 };
        most = most.max(running);
    }
    most
}

/// A job of eight tasks that say in the log when they begin and end.
fn start(desk: &Desk, name: &str, more: &str) -> Child {
    let log = desk.path("log");
    let map = format!("echo {name} begins >> '{0}'; sleep 0.2; {more} echo {name} ends >> '{0}'", log.display());
    let args = ["mapreduce", "--name", name, "--map", &map, "--reduces", "0", "in", &format!("out-{name}")];
    desk.command(&args).spawn().expect("runner starts")
}

fn desk_with_eight_files() -> Desk {
    let desk = Desk::new();
    (0..8).for_each(|index| desk.write(format!("in/{index}"), "word\n"));
    desk
}

#[test]
fn jobs_at_once_never_run_more_than_the_slots_together_and_both_get_on() {
    let desk = desk_with_eight_files();
    // The larger of the two has two slots; a third worker on this machine would be one of the same job.
    let first = start(&desk, "first", "");
    wait_until("the first job runs", || log(&desk).contains("first begins"));
    let second = start(&desk, "second", "");
    let [first, second] = [first, second].map(Outcome::wait);
    assert_eq!((first.code, second.code), (Some(0), Some(0)), "{} {}", first.stderr, second.stderr);
    let log = log(&desk);
    assert_eq!(log.lines().count(), 32, "{log}");
    assert_eq!(most_at_once(&log), 2, "{log}");
    // Neither had to wait until the other was done.
    let place = |line: &str| log.find(line).expect("is there");
    assert!(place("second begins") < log.rfind("first begins").expect("is there"), "{log}");
    assert!(place("first begins") < place("second begins"), "{log}");
    desk.wait_until_clean();
}

#[test]
fn who_waits_says_for_whom_and_a_killed_worker_gives_its_slots_back() {
    let desk = desk_with_eight_files();
    let mut first = start(&desk, "first", "sleep 1000;");
    wait_until("both slots are taken", || log(&desk).lines().count() == 2);
    let map = "echo done";
    let args = ["mapreduce", "--name", "second", "--map", map, "--reduces", "0", "in", "out-second"];
    let mut second = desk.command(&args).spawn().expect("runner starts");
    let mut said = String::new();
    let mut stderr = second.stderr.take().expect("it is piped");
    wait_until("the second job says what it waits for", || {
        let mut bytes = [0; 4096];
        let count = std::io::Read::read(&mut stderr, &mut bytes).expect("reads");
        said += &String::from_utf8_lossy(&bytes[..count]);
        said.contains("wait for slots that first-") || said.contains("waits for slots that first-")
    });
    // What it takes down with it: its driver, and so its worker after a while; its worker at once.
    first.kill().expect("it runs");
    first.wait().expect("it ends");
    let is_worker_of_first = |folder: &PathBuf| {
        let words = fs_err::read(folder.join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        words.contains(" serve ") && words.contains("/first-")
    };
    let workers: Vec<PathBuf> = desk.process_folders().into_iter().filter(is_worker_of_first).collect();
    assert_eq!(workers.len(), 1, "{workers:?}");
    let number = workers[0].file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
    let pid = number.and_then(rustix::process::Pid::from_raw).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it runs");
    std::io::Read::read_to_string(&mut stderr, &mut said).expect("reads");
    assert!(second.wait().expect("it ends").success(), "{said}");
}

#[test]
fn hosts_are_remembered_and_forgiven() {
    let desk = Desk::new();
    desk.workers("2/:\n1/:\n1/:");
    (0..8).for_each(|index| desk.write(format!("in/{index}"), "word\n"));
    desk.job(&["--map", "cat", "--reduces", "0", "in"]);
    let lines = |desk: &Desk| -> Vec<serde_json::Value> {
        let outcome = desk.run(&["--json", "workers"]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        outcome.text().lines().map(|line| serde_json::from_str(line).expect("json")).collect()
    };
    let known = lines(&desk);
    assert_eq!(known.len(), 3, "{known:?}");
    let done: u64 = known.iter().map(|line| line["done"].as_u64().expect("a number")).sum();
    assert_eq!(done, 8);
    let first = known[0]["host"].as_str().expect("a name").to_owned();
    assert_eq!((&known[0]["state"], &known[0]["slots"]), (&"up".into(), &2.into()));
    assert!(known[0]["load"].is_number());

    // A mark of a job that ended just now.
    let path = ".local/state/runner/hosts.json";
    let mut memory: serde_json::Value = serde_json::from_slice(&desk.read_home(path)).expect("json");
    let mark = serde_json::json!({
        "kind": "barred", "since_ms": 1, "until_ms": 4_000_000_000_000_u64, "evidence": "3 failures of its own in old-1"
    });
    memory["hosts"][&first]["mark"] = mark;
    desk.write_home(path, memory.to_string());
    let table = desk.run(&["workers"]);
    assert!(table.text().contains("barred: no tasks until 2096-"), "{}", table.text());
    let outcome = desk.run(&["mapreduce", "--map", "cat", "--reduces", "0", "in", "out"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let words = format!("{first} gets no more tasks for ");
    assert!(outcome.stderr.contains(&words), "{}", outcome.stderr);
    let report = lines(&desk);
    assert_eq!(report[0]["done"], known[0]["done"], "a barred host got tasks");

    assert_eq!(desk.run(&["workers", "forgive", &first]).code, Some(0));
    assert_eq!(lines(&desk)[0]["mark"], serde_json::Value::Null);
    assert_eq!(desk.run(&["workers", "forgive", "nobody"]).code, Some(2));
}

#[test]
fn nothing_is_started_on_a_host_that_is_short_of_something() {
    let desk = desk_with_eight_files();
    let args = ["--set", "worker.disk_free_min=1000T", "mapreduce", "--map", "cat", "--reduces", "0", "in", "out"];
    let mut child = desk.command(&args).spawn().expect("runner starts");
    let mut stderr = child.stderr.take().expect("it is piped");
    let mut said = String::new();
    wait_until("it says why", || {
        let mut bytes = [0; 4096];
        let count = std::io::Read::read(&mut stderr, &mut bytes).expect("reads");
        said += &String::from_utf8_lossy(&bytes[..count]);
        said.contains("nothing is started on") && said.contains("of its disk is free (worker.disk_free_min)")
    });
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}
