//! Connections that break, drivers that die, two drivers at once: over real ssh, with real faults.

mod common;
mod testbed;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use common::{Desk, Outcome, Parts};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testbed::{Testbed, wait_until};

const HOSTS: usize = 3;
const WORKERS: &str = "1/h1,1/h2,1/h3";

/// Settings with which faults are noticed soon, and workers that are left end soon.
const SOON: [&str; 8] = [
    "--set",
    "worker.suspect_after=1s",
    "--set",
    "worker.lost_after=20s",
    "--set",
    "worker.orphan_grace=1m",
    "--set",
    "straggler.enabled=false",
];

/// A dozen maps of more than a second each.
const JOB: [&str; 7] = ["--map", "sleep 1.5; cat", "--reduces", "2", "--split-size", "100K", "in"];

/// One test at a time: they break hosts.
static TURN: Mutex<()> = Mutex::new(());

struct Fleet {
    bed: Arc<Testbed>,
    desk: Desk,
    config: String,
}

/// A driver that tells its facts.
struct Driver {
    child: Child,
    facts: Arc<Mutex<Vec<Value>>>,
}

fn with_fleet(test: impl FnOnce(&Fleet)) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(bed) = testbed::shared("reattach", HOSTS) else { return };
    let config = bed.ssh_config().display().to_string();
    let fleet = Fleet { bed, desk: Desk::new(), config };
    fleet.desk.write("in/words.txt", (0..200_000).map(|word| format!("w{}\n", word % 5003)).collect::<String>());
    // So that all hosts join at the same time.
    fleet.desk.write("install", "a line\n");
    fleet.take(fleet.run(&["--workers", WORKERS, "mapreduce", "--map", "cat", "install", "out"]));
    test(&fleet);
    fleet.desk.wait_until_clean();
    ["h1", "h2", "h3"].into_iter().for_each(|host| fleet.wait_until_bare(host));
}

impl Fleet {
    fn args<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        [&["--ssh-config", &self.config][..], args].concat()
    }

    fn run(&self, args: &[&str]) -> Outcome {
        self.desk.run(&self.args(args))
    }

    fn start(&self, args: &[&str]) -> Driver {
        Driver::of(self.desk.command(&self.args(&[&["--json"], args].concat())))
    }

    fn job(&self) -> Driver {
        self.start(&[&["--workers", WORKERS], &SOON[..], &["mapreduce"], &JOB, &["out"]].concat())
    }

    /// What comes out when nothing goes wrong.
    fn undisturbed(&self) -> Parts {
        let job = ["--map", "cat", "--reduces", "2", "--split-size", "100K", "in"];
        self.desk.job(&job)
    }

    fn take(&self, outcome: Outcome) -> Parts {
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let parts = self.desk.parts("out");
        fs_err::remove_dir_all(self.desk.path("out")).expect("is removed");
        parts
    }

    fn wait_until_bare(&self, host: &str) {
        self.bed.wait_until_idle(host);
        let files = || self.bed.sh(host, "find /tmp /var/tmp -mindepth 1 -user worker 2>/dev/null; true");
        wait_until("no file is left", || files().is_empty());
    }

    /// Kills the ssh processes of the desk: every connection breaks at once.
    fn kill_connections(&self) -> usize {
        let processes = self.desk.process_ids().into_iter();
        let ssh = processes.filter(|id| {
            let comm = fs_err::read_to_string(format!("/proc/{}/comm", id.as_raw_nonzero())).unwrap_or_default();
            comm.trim() == "ssh"
        });
        ssh.filter(|id| kill_process(*id, Signal::KILL).is_ok()).count()
    }
}

impl Driver {
    fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("runner starts");
        let facts = Arc::new(Mutex::new(Vec::new()));
        let (lines, kept) = (BufReader::new(child.stdout.take().expect("is piped")).lines(), Arc::clone(&facts));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let fact = serde_json::from_str(&line).expect("facts are JSON");
                kept.lock().expect("is whole").push(fact);
            }
        });
        Driver { child, facts }
    }

    /// How many facts there are so far of that name, and of that host where one is named.
    fn count(&self, fact: &str, host: Option<&str>) -> usize {
        let facts = self.facts.lock().expect("is whole");
        let of_host = |it: &&Value| host.is_none_or(|host| it["host"] == host);
        facts.iter().filter(|it| it["fact"] == fact).filter(of_host).count()
    }

    fn wait_for(&self, fact: &str, host: Option<&str>, count: usize) {
        wait_until(&format!("{count} {fact} of {host:?}"), || self.count(fact, host) >= count);
    }

    fn id(&self) -> String {
        self.wait_for("job_planned", None, 1);
        self.facts.lock().expect("is whole")[0]["job"].as_str().expect("an id").to_owned()
    }

    fn kill(mut self) -> Arc<Mutex<Vec<Value>>> {
        kill_process(Pid::from_child(&self.child), Signal::KILL).expect("is there");
        self.child.wait().expect("ends");
        self.facts
    }

    fn end(self) -> (Outcome, Vec<Value>) {
        let outcome = Outcome::wait(self.child);
        let facts = self.facts.lock().expect("is whole").clone();
        (outcome, facts)
    }
}

fn count(facts: &[Value], name: &str) -> usize {
    facts.iter().filter(|fact| fact["fact"] == name).count()
}

#[test]
fn a_cable_that_is_healed_in_time_costs_nothing() {
    with_fleet(|fleet| {
        let expected = fleet.undisturbed();
        let driver = fleet.job();
        driver.wait_for("attempt_started", Some("h3"), 1);
        fleet.bed.run(&["cut", "h3"]);
        driver.wait_for("worker_suspect", Some("h3"), 1);
        fleet.bed.run(&["heal", "h3"]);
        driver.wait_for("worker_back", Some("h3"), 1);
        let (outcome, facts) = driver.end();
        assert_eq!(fleet.take(outcome), expected);
        for never in ["worker_lost", "output_lost", "attempt_failed"] {
            assert_eq!(count(&facts, never), 0, "{never}");
        }
        let dropped: Vec<_> = facts.iter().filter(|fact| fact["fact"] == "attempt_dropped").collect();
        assert!(dropped.iter().all(|fact| fact["reason"] == "moved"), "{dropped:?}");
    });
}

#[test]
fn connections_that_break_are_made_again_and_attempts_go_on() {
    with_fleet(|fleet| {
        let expected = fleet.undisturbed();
        let driver = fleet.job();
        driver.wait_for("attempt_started", None, 4);
        assert!(fleet.kill_connections() >= HOSTS, "there are connections to break");
        driver.wait_for("worker_back", None, HOSTS);
        let (outcome, facts) = driver.end();
        let said = outcome.stderr.clone();
        assert_eq!(fleet.take(outcome), expected);
        for never in ["worker_lost", "output_lost", "attempt_failed"] {
            assert_eq!(count(&facts, never), 0, "{never}: {said}");
        }
        let maps = facts[0]["split_bytes"].as_array().expect("splits").len();
        assert!(maps > 10, "{maps} maps");
        assert_eq!(count(&facts, "attempt_finished"), maps + 2, "{said}");
    });
}

#[test]
fn a_killed_driver_is_replaced_and_only_the_rest_is_done() {
    with_fleet(|fleet| {
        let expected = fleet.undisturbed();
        let driver = fleet.job();
        let id = driver.id();
        driver.wait_for("attempt_finished", None, 3);
        let before = driver.kill();
        let resumed = fleet.start(&["resume", &id]);
        let (outcome, facts) = resumed.end();
        let said = outcome.stderr.clone();
        assert_eq!(fleet.take(outcome), expected);
        let names = |facts: &[Value], name: &str| -> Vec<String> {
            let some = facts.iter().filter(|fact| fact["fact"] == name);
            some.map(|fact| fact["task"].as_str().expect("a task").to_owned()).collect()
        };
        // What was finished under the first driver, or ran, is not sent again.
        let begun = names(&before.lock().expect("is whole"), "attempt_started");
        let again = names(&facts, "attempt_queued");
        assert!(again.iter().all(|task| !begun.contains(task)), "{begun:?} and {again:?}: {said}");
        assert_eq!(count(&facts, "worker_lost") + count(&facts, "output_lost"), 0, "{said}");
    });
}

#[test]
fn of_two_drivers_the_older_one_ends() {
    with_fleet(|fleet| {
        let expected = fleet.undisturbed();
        let older = fleet.job();
        let id = older.id();
        older.wait_for("attempt_finished", None, 2);
        // Another machine, to which the state of the first was brought.
        let state = fleet.desk.home().join(".local/state/runner/jobs").join(&id);
        let other = fleet.desk.home().join("other");
        fs_err::create_dir_all(other.join("jobs").join(&id).join("logs")).expect("is made");
        for file in ["job.json", "splits.json", "journal"] {
            fs_err::copy(state.join(file), other.join("jobs").join(&id).join(file)).expect("is copied");
        }
        let place = format!("state_folder={}", other.display());
        let newer = fleet.start(&["--set", &place, "resume", &id]);
        let (outcome, _) = older.end();
        assert_eq!(outcome.code, Some(6), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("another driver goes on with the job"), "{}", outcome.stderr);
        let (outcome, facts) = newer.end();
        let said = outcome.stderr.clone();
        assert_eq!(fleet.take(outcome), expected);
        assert_eq!(count(&facts, "worker_lost") + count(&facts, "output_lost"), 0, "{said}");
    });
}

#[test]
fn most_workers_must_be_asked() {
    with_fleet(|fleet| {
        let expected = fleet.undisturbed();
        let driver = fleet.job();
        let id = driver.id();
        driver.wait_for("attempt_finished", None, 3);
        driver.kill();
        ["h2", "h3"].into_iter().for_each(|host| _ = fleet.bed.run(&["cut", host]));
        let hasty = ["--set", "ssh.connect_timeout=2s", "resume"];
        let refused = fleet.run(&[&hasty[..], &[&id]].concat());
        assert_eq!(refused.code, Some(5), "{}", refused.stderr);
        assert!(refused.stderr.contains("only 1 of 3 workers") && refused.stderr.contains("--force"), "{refused:?}");
        let forced = fleet.run(&[&hasty[..], &["--force", &id]].concat());
        // Nobody tells those workers that all is over.
        for host in ["h2", "h3"] {
            fleet.bed.run(&["crash", host]);
            fleet.bed.run(&["boot", host]);
            fleet.bed.sh(host, "rm -rf /var/tmp/runner-*");
        }
        assert_eq!(fleet.take(forced), expected);
    });
}

#[test]
fn another_machine_goes_on_by_the_copy_on_the_workers() {
    with_fleet(|fleet| {
        let expected = fleet.undisturbed();
        let driver = fleet.job();
        let id = driver.id();
        driver.wait_for("attempt_finished", None, 6);
        let before = driver.kill();
        // What was finished for a while is in the copies.
        let some = before.lock().expect("is whole");
        let finished = some.iter().filter(|fact| fact["fact"] == "attempt_finished");
        let done: Vec<String> =
            finished.take(3).map(|fact| fact["task"].as_str().expect("a task").to_owned()).collect();
        let other = Desk::new();
        let unknown = other.run(&["--ssh-config", &fleet.config, "--workers", WORKERS, "resume", "nothing-000000"]);
        assert_eq!(unknown.code, Some(2), "{}", unknown.stderr);
        assert!(unknown.stderr.contains("no host that was named has a copy"), "{}", unknown.stderr);
        let args = ["--json", "--ssh-config", &fleet.config, "--workers", WORKERS, "resume", &id, "--output", "there"];
        let (outcome, facts) = Driver::of(other.command(&args)).end();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert_eq!(other.parts("there"), expected);
        let again = facts.iter().filter(|fact| fact["fact"] == "attempt_queued");
        let again: Vec<&str> = again.map(|fact| fact["task"].as_str().expect("a task")).collect();
        assert!(done.iter().all(|task| !again.contains(&task.as_str())), "{done:?}, {again:?}: {}", outcome.stderr);
        assert_eq!(count(&facts, "worker_lost") + count(&facts, "output_lost"), 0, "{}", outcome.stderr);
        assert_eq!(other.only_job()["state"], "done");
        // The first machine still holds what it made of the output.
        fs_err::remove_dir_all(fleet.desk.path(format!(".out.runner-{id}"))).expect("is there");
        other.wait_until_clean();
    });
}

/// A reduce that waits for the file `go` in the home, but for the first.
const ALL_BUT_ONE_WAIT: &str =
    "if [ $mapreduce_task_partition != 0 ]; then while ! test -e ~/go; do sleep 0.1; done; fi; cat";

/// The maps of a job, and reduces of which one waits.
const HALTED: [&str; 8] = ["--map", "cat", "--reduce", ALL_BUT_ONE_WAIT, "--reduces", "2", "--split-size", "100K"];

const HOST_NAMES: [&str; HOSTS] = ["h1", "h2", "h3"];

impl Fleet {
    /// Lets the reduces that wait go on.
    fn go(&self, hosts: &[&str]) {
        hosts.iter().for_each(|host| _ = self.bed.sh(host, "touch ~/go"));
    }

    /// A dataset as its hosts have it now: nothing is missing, and nothing lies beside it.
    fn dataset(&self, desk: &Desk, name: &str) -> Vec<u8> {
        let run = |args: &[&str]| desk.run(&self.args(&[&["--workers", WORKERS, "fs"], args].concat()));
        let listed = run(&["ls"]);
        assert_eq!((listed.code, listed.stderr.as_str()), (Some(0), ""), "{listed:?}");
        for host in HOST_NAMES {
            let all =
                self.bed.sh(host, &format!("find ~/.local/share/runner/data/{name} -type f ! -name .lock || true"));
            let is_its = |path: &&str| path.ends_with("/manifest") || path.contains("-of-");
            assert!(all.lines().collect::<Vec<_>>().iter().all(is_its), "{host}: {all}");
        }
        let read = run(&["cat", name]);
        assert_eq!(read.code, Some(0), "{}", read.stderr);
        read.stdout
    }

    fn forget_datasets(&self) {
        HOST_NAMES.into_iter().for_each(|host| _ = self.bed.sh(host, "rm -rf ~/.local/share/runner/data ~/go"));
    }
}

#[test]
fn a_dataset_whose_driver_was_killed_is_completed_here_or_elsewhere() {
    with_fleet(|fleet| {
        let expected = common::whole(&fleet.undisturbed());
        let args = [&["--workers", WORKERS], &SOON[..], &["mapreduce"], &HALTED, &["in", "fs:out"]].concat();
        let driver = fleet.start(&args);
        let id = driver.id();
        driver.wait_for("part_committed", None, 1);
        driver.kill();
        fleet.go(&HOST_NAMES);
        let (outcome, facts) = fleet.start(&["resume", &id]).end();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert_eq!(count(&facts, "worker_lost") + count(&facts, "output_lost"), 0, "{}", outcome.stderr);
        assert!(fleet.dataset(&fleet.desk, "out") == expected);
        fleet.forget_datasets();
        // The same, but nobody goes on here.
        let driver = fleet.start(&args);
        let id = driver.id();
        driver.wait_for("part_committed", None, 1);
        // What was done for a while is in the copies on the workers.
        let copied = |host: &str| {
            let bytes = format!("cat /var/tmp/runner-*/jobs/{id}-*/kept/journal 2>/dev/null | wc -c");
            fleet.bed.sh(host, &bytes).parse::<u64>().unwrap_or(0)
        };
        let journal = fleet.desk.home().join(".local/state/runner/jobs").join(&id).join("journal");
        wait_until("a worker has the journal", || {
            let length = fs_err::metadata(&journal).expect("is there").len();
            HOST_NAMES.into_iter().any(|host| copied(host) >= length)
        });
        driver.kill();
        fleet.go(&HOST_NAMES);
        let other = Desk::new();
        let resume = ["--json", "--ssh-config", &fleet.config, "--workers", WORKERS, "resume", &id];
        let (outcome, facts) = Driver::of(other.command(&resume)).end();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert_eq!(count(&facts, "worker_lost") + count(&facts, "output_lost"), 0, "{}", outcome.stderr);
        assert!(fleet.dataset(&other, "out") == expected);
        other.wait_until_clean();
        fleet.forget_datasets();
    });
}

#[test]
fn a_part_that_went_with_its_host_is_made_again() {
    with_fleet(|fleet| {
        let expected = common::whole(&fleet.undisturbed());
        let args = [&["--workers", WORKERS], &SOON[..], &["mapreduce"], &HALTED, &["--copies", "1", "in", "fs:out"]];
        let driver = fleet.start(&args.concat());
        driver.wait_for("part_committed", None, 1);
        let facts = driver.facts.lock().expect("is whole").clone();
        let first = facts.iter().find(|fact| fact["fact"] == "attempt_finished" && fact["task"] == "reduce-0");
        let holder = first.expect("it has finished")["host"].as_str().expect("a host").to_owned();
        fleet.bed.run(&["crash", &holder]);
        driver.wait_for("worker_lost", Some(&holder), 1);
        driver.wait_for("output_lost", None, 1);
        let others: Vec<&str> = HOST_NAMES.into_iter().filter(|host| *host != holder).collect();
        fleet.go(&others);
        let (outcome, facts) = driver.end();
        fleet.bed.run(&["boot", &holder]);
        fleet.bed.sh(&holder, "rm -rf /var/tmp/runner-*");
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let committed = facts.iter().filter(|fact| fact["fact"] == "part_committed" && fact["task"] == "reduce-0");
        assert_eq!(committed.count(), 2, "{}", outcome.stderr);
        let read = fleet.run(&["--workers", WORKERS, "fs", "cat", "out"]);
        assert!(read.stdout == expected, "{}", read.stderr);
        fleet.forget_datasets();
    });
}

#[test]
fn an_input_part_that_goes_with_its_last_host_is_named() {
    with_fleet(|fleet| {
        let put = ["--workers", WORKERS, "fs", "put", "in", "data", "--parts", "9", "--copies"];
        let job = ["--map", "sleep 1.5; cat", "--reduces", "1", "fs:data", "out"];
        let job = [&["--workers", WORKERS], &SOON[..], &["--set", "worker.lost_after=6s", "mapreduce"], &job].concat();
        for (copies, code) in [("1", 7), ("2", 0)] {
            let outcome = fleet.run(&[&put[..], &[copies]].concat());
            assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
            let driver = fleet.start(&job);
            driver.wait_for("attempt_started", Some("h3"), 1);
            fleet.bed.run(&["crash", "h3"]);
            let (outcome, _) = driver.end();
            fleet.bed.run(&["boot", "h3"]);
            fleet.bed.sh("h3", "rm -rf /var/tmp/runner-*");
            assert_eq!(outcome.code, Some(code), "{}", outcome.stderr);
            let is_named = outcome.stderr.contains("no copy of fs:data/part-") && outcome.stderr.contains("lay on h3");
            assert_eq!(is_named, code == 7, "{}", outcome.stderr);
            fleet.forget_datasets();
        }
        fleet.take(Outcome { code: Some(0), stdout: Vec::new(), stderr: String::new() });
    });
}
