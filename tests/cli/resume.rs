//! Jobs whose driver dies or is interrupted, and that are gone on with: nothing that was done is done again.

use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Desk, Outcome, Parts, wait_until};

/// A desk with input for four maps, of which the last two to begin wait for a file `go`. Each says in `ran` that it runs.
struct Halted {
    desk: Desk,
    child: Child,
    id: String,
}

const REDUCES: &str = "2";

fn desk() -> Desk {
    let desk = Desk::new();
    for name in ["a", "b", "c", "d"] {
        desk.write(format!("in/{name}"), format!("{name}\t1\nboth\t2\n").repeat(50));
    }
    desk
}

fn map(desk: &Desk) -> String {
    let folder = desk.path("").display().to_string();
    format!(
        "echo $mapreduce_task_id >> '{folder}/ran'; \
         place=$(grep -nx $mapreduce_task_id '{folder}/ran' | head -n 1 | cut -d : -f 1); \
         if [ $place -gt 2 ]; then while ! test -e '{folder}/go'; do sleep 0.05; done; fi; cat"
    )
}

/// Runs the job until all four maps have begun, and the first two are done.
fn halted() -> Halted {
    let desk = desk();
    let map = map(&desk);
    let args = ["--set", "worker.orphan_grace=30s", "--json", "mapreduce", "--map", &map, "--reduces", REDUCES];
    let child = desk.command(&[&args[..], &["in", "out"]].concat()).spawn().expect("runner starts");
    wait_until("all maps have begun", || ran(&desk).len() == 4);
    let id = desk.only_job()["id"].as_str().expect("an id").to_owned();
    Halted { desk, child, id }
}

/// Which maps have begun, in this order.
fn ran(desk: &Desk) -> Vec<String> {
    let text = fs_err::read_to_string(desk.path("ran")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// What comes out when nothing goes wrong.
fn undisturbed() -> Parts {
    let desk = desk();
    desk.write("go", "");
    let map = map(&desk);
    desk.job(&["--map", &map, "--reduces", REDUCES, "in"])
}

impl Halted {
    fn end(&mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), signal).expect("is there");
        wait_until("the driver ends", || self.child.try_wait().expect("a child").is_some());
        self.child.wait().expect("has ended").code()
    }

    fn resume(&self) -> Outcome {
        self.desk.run(&["resume", &self.id])
    }
}

#[test]
fn a_killed_driver_costs_nothing_that_was_done_or_runs() {
    let mut job = halted();
    assert_eq!(job.end(Signal::KILL), None);
    assert_eq!(job.desk.only_job()["state"], "interrupted");
    // The maps that run come to their end without a driver.
    job.desk.write("go", "");
    let outcome = job.resume();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(job.desk.parts("out"), undisturbed());
    assert_eq!(ran(&job.desk).len(), 4, "{:?}\n{}", ran(&job.desk), outcome.stderr);
    job.desk.wait_until_clean();
    assert_eq!(job.desk.only_job()["state"], "done");
    assert_eq!(job.desk.names(), ["go", "in", "out", "ran", "workers.txt"]);
}

#[test]
fn attempts_that_still_run_are_adopted() {
    let mut job = halted();
    assert_eq!(job.end(Signal::KILL), None);
    let resumed = job.desk.command(&["--json", "resume", &job.id]).spawn().expect("runner starts");
    wait_until("it is running again", || job.desk.only_job()["state"] == "running");
    job.desk.write("go", "");
    let outcome = Outcome::wait(resumed);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(job.desk.parts("out"), undisturbed());
    assert_eq!(ran(&job.desk).len(), 4, "{}", outcome.text());
    assert!(outcome.text().contains("job_resumed"), "{}", outcome.text());
}

#[test]
fn ctrl_c_names_the_command_that_goes_on() {
    let mut job = halted();
    let mut stderr = job.child.stderr.take().expect("is piped");
    assert_eq!(job.end(Signal::INT), Some(130));
    let mut said = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut said).expect("is text");
    assert!(said.contains(&format!("`runner resume {}`", job.id)), "{said}");
    job.desk.write("go", "");
    let outcome = job.resume();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(job.desk.parts("out"), undisturbed());
    // What ran was ended; what was done stays done.
    let mut ran = ran(&job.desk);
    let mut again = ran.split_off(4);
    let mut waited = ran.split_off(2);
    again.sort();
    waited.sort();
    assert_eq!(again, waited, "{}", outcome.stderr);
    job.desk.wait_until_clean();
}

#[test]
fn it_can_be_killed_again_and_again() {
    let mut job = halted();
    for _ in 0..3 {
        assert_eq!(job.end(Signal::KILL), None);
        job.child = job.desk.command(&["--quiet", "resume", &job.id]).spawn().expect("runner starts");
        wait_until("it is running again", || job.desk.only_job()["state"] == "running");
    }
    job.desk.write("go", "");
    let outcome = Outcome::wait(job.child);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(job.desk.parts("out"), undisturbed());
    job.desk.wait_until_clean();
}

#[test]
fn workers_that_are_gone_cost_what_they_held() {
    let mut job = halted();
    assert_eq!(job.end(Signal::KILL), None);
    for process in job.desk.process_ids() {
        let _gone = kill_process(process, Signal::KILL);
    }
    wait_until("no process is left", || job.desk.processes().is_empty());
    job.desk.write("go", "");
    let outcome = job.resume();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(job.desk.parts("out"), undisturbed());
    assert_eq!(ran(&job.desk).len(), 8, "{}", outcome.stderr);
}

#[test]
fn a_job_that_a_driver_holds_is_refused() {
    let mut job = halted();
    let outcome = job.resume();
    assert_eq!(outcome.code, Some(6), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("is held by a driver"), "{}", outcome.stderr);
    assert!(job.child.try_wait().expect("a child").is_none(), "the driver is not disturbed");
    job.desk.write("go", "");
    assert_eq!(Outcome::wait(job.child).code, Some(0));
}

#[test]
fn what_is_done_or_unknown_is_refused() {
    let desk = desk();
    desk.write("go", "");
    let map = map(&desk);
    assert_eq!(desk.run(&["-q", "mapreduce", "--map", &map, "in", "out"]).code, Some(0));
    let id = desk.only_job()["id"].as_str().expect("an id").to_owned();
    let done = desk.run(&["resume", &id]);
    assert_eq!(done.code, Some(2), "{}", done.stderr);
    assert!(done.stderr.contains("is done: its result is in"), "{}", done.stderr);
    let unknown = desk.run(&["resume", "nothing-000000"]);
    assert_eq!(unknown.code, Some(2), "{}", unknown.stderr);
}

#[test]
fn a_job_is_handed_to_the_build_that_began_it() {
    let mut job = halted();
    assert_eq!(job.end(Signal::KILL), None);
    let folder = job.desk.home().join(".local/state/runner/jobs").join(&job.id);
    let stored = fs_err::read_to_string(folder.join("job.json")).expect("is there");
    let begin = stored.find(r#""build": ""#).expect("a build") + r#""build": ""#.len();
    let end = begin + stored[begin..].find('"').expect("its end");
    fs_err::write(folder.join("job.json"), format!("{}0.0.1-old{}", &stored[..begin], &stored[end..])).expect("writes");
    fs_err::remove_file(folder.join("runner")).expect("is there");
    fs_err::write(folder.join("runner"), "#!/bin/sh\necho the old build is told: \"$@\"\n").expect("writes");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs_err::set_permissions(folder.join("runner"), open).expect("sets the mode");
    let outcome = job.resume();
    assert_eq!(outcome.text(), format!("the old build is told: resume {}\n", job.id), "{}", outcome.stderr);
    fs_err::remove_file(folder.join("runner")).expect("is there");
    let outcome = job.resume();
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("was begun by runner 0.0.1-old"), "{}", outcome.stderr);
}
