//! What happens to a cluster while a job runs on it: machines come and go, and the driver is killed.

use serde_json::Value;

use crate::commands::Person;
use crate::common::running::{Running, is, starts_on};
use crate::common::{Outcome, sorted_lines, wait_until};
use crate::moto;
use crate::testbed::Cloud;

/// A map that goes on where this file is.
const GO: &str = "/tmp/go";

impl Person {
    /// A job on the cluster of which nothing goes on before it is let.
    fn start_job(&self) -> Running {
        let lines: String = (0..24).map(|line| format!("line {line}\n")).collect();
        self.desk.write("in/lines", lines);
        let map = format!("until [ -e {GO} ]; do sleep 0.1; done; cat");
        // Who waits is not to be overtaken by a copy.
        let set = ["--set", "worker.list_every=200ms", "--set", "worker.slots=1", "--set", "straggler.enabled=false"];
        let words = [&["--json", "--workers", "ec2:demo"], &set[..]].concat();
        let job = ["mapreduce", "--map", &map, "--reduces", "0", "--split-size", "8", "in", "out"];
        Running::new(self.command(&[&words[..], &job].concat()).spawn().expect("runner starts"))
    }

    fn let_go_on(&self, id: &str) {
        let done = self.run_words(&["cloud", "ssh", "demo", id, "touch", GO]);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
    }

    /// The ids of the machines that run, the first launched first.
    fn ids(&self) -> Vec<String> {
        let listed = self.run("--json cloud list");
        let machines = listed.text().lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        machines.map(|machine| machine["instance"].as_str().expect("an id").to_owned()).collect()
    }

    fn assert_output_is_whole(&self) {
        let mut expected: Vec<Vec<u8>> = (0..24).map(|line| format!("line {line}").into_bytes()).collect();
        expected.sort();
        assert_eq!(sorted_lines(&self.desk.parts("out")), expected);
    }
}

/// The machine that was not there before.
fn new(before: &[String], after: &[String]) -> String {
    let new: Vec<&String> = after.iter().filter(|id| !before.contains(id)).collect();
    assert_eq!(new.len(), 1, "{before:?} {after:?}");
    new[0].clone()
}

#[test]
fn machines_that_are_added_join_a_job_and_those_that_are_removed_leave_it() {
    let Some(moto) = moto::start() else { return };
    let Some(cloud) = Cloud::start(&moto.url, "during") else { return };
    let ann = Person::new(&moto.url);
    let launched = ann.run(&cloud.launch("--count 2"));
    assert_eq!(launched.code, Some(0), "{}", launched.stderr);
    let first = ann.ids();
    let mut job = ann.start_job();
    job.wait_for_first(starts_on(&first[0]));
    job.wait_for_first(starts_on(&first[1]));

    let added = ann.run("cloud add 1 --name demo --yes");
    assert_eq!(added.code, Some(0), "{}", added.stderr);
    let third = new(&first, &ann.ids());
    job.wait_for_first(starts_on(&third));
    ann.let_go_on(&third);
    job.wait_for_first(is("attempt_finished", &third));

    // What runs on the one that is to go may end there.
    let remove = ["--set", "cloud.leave_max=2m", "cloud", "remove", &first[0], "--yes"];
    let mut removal = ann.command(&remove).spawn().expect("runner starts");
    job.wait_for_first(is("worker_draining", &first[0]));
    assert!(removal.try_wait().expect("a child").is_none(), "it does not wait for the job");
    assert!(ann.ids().contains(&first[0]));
    ann.let_go_on(&first[0]);
    job.wait_for_first(is("worker_released", &first[0]));
    let removed = Outcome::wait(removal);
    assert_eq!(removed.code, Some(0), "{}", removed.stderr);
    assert!(!removed.stderr.contains("still uses"), "{}", removed.stderr);
    assert!(!ann.ids().contains(&first[0]));

    ann.let_go_on(&first[1]);
    let (facts, outcome) = job.end();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(!facts.iter().any(|fact| fact["fact"] == "worker_lost"), "{facts:?}");
    ann.assert_output_is_whole();
    assert_eq!(ann.run("cloud terminate --yes").code, Some(0));
    ann.assert_nothing_is_left();
}

#[test]
fn a_machine_that_nobody_waited_for_joins_when_it_lets_us_in() {
    let Some(moto) = moto::start() else { return };
    let Some(cloud) = Cloud::start(&moto.url, "late") else { return };
    let ann = Person::new(&moto.url);
    let launched = ann.run(&cloud.launch("--count 1 --no-wait"));
    assert_eq!(launched.code, Some(0), "{}", launched.stderr);
    let first = ann.ids();
    // EC2 calls it running; it boots, and the job waits for it.
    let mut job = ann.start_job();
    job.wait_for_first(starts_on(&first[0]));
    let added = ann.run("cloud add 1 --yes --no-wait");
    assert_eq!(added.code, Some(0), "{}", added.stderr);
    let second = new(&first, &ann.ids());
    job.wait_for_first(starts_on(&second));
    for id in [&first[0], &second] {
        ann.let_go_on(id);
    }
    let (facts, outcome) = job.end();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(!facts.iter().any(|fact| fact["fact"] == "worker_refused"), "{facts:?}");
    ann.assert_output_is_whole();
    // Nobody had logged in before: the job replaced the keys that they were given.
    let record: Value = serde_json::from_str(&ann.state("demo/cluster.json")).expect("JSON");
    let keys = record["host_keys"].as_object().expect("keys");
    assert!(keys.len() == 2 && keys.values().all(|known| known["is_own"] == true), "{record}");
    assert_eq!(ann.run("cloud terminate --yes").code, Some(0));
    ann.assert_nothing_is_left();
}

#[test]
fn a_job_whose_driver_was_killed_goes_on_there_and_trusts_nobody_else() {
    let Some(moto) = moto::start() else { return };
    let Some(cloud) = Cloud::start(&moto.url, "resume") else { return };
    let ann = Person::new(&moto.url);
    let launched = ann.run(&cloud.launch("--count 3"));
    assert_eq!(launched.code, Some(0), "{}", launched.stderr);
    let ids = ann.ids();
    let mut job = ann.start_job();
    for id in &ids {
        job.wait_for_first(starts_on(id));
    }
    let id = job.id();
    job.kill();
    let swap = "cd /etc/ssh && ssh-keygen -q -t ed25519 -N '' -f other && mv other ssh_host_ed25519_key && \
                kill -HUP $(cat /run/sshd.pid)";
    ann.let_go_on(&ids[0]);
    ann.let_go_on(&ids[1]);
    assert_eq!(ann.run_words(&["cloud", "ssh", "demo", &ids[2], swap]).code, Some(0));
    wait_until("the other key is shown", || {
        let refused = ann.run_words(&["cloud", "ssh", "demo", &ids[2], "true"]);
        refused.code == Some(255) && refused.stderr.contains("has changed")
    });

    let (facts, resumed) = Running::new(ann.command(&["--json", "resume", &id]).spawn().expect("runner starts")).end();
    assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
    assert!(facts.iter().any(is("attempt_finished", &ids[0])), "{facts:?}");
    assert!(!facts.iter().any(is("attempt_finished", &ids[2])), "{facts:?}");
    ann.assert_output_is_whole();
    assert!(!ann.desk.home().join(".ssh/known_hosts").exists());
    assert_eq!(ann.run("cloud terminate --yes").code, Some(0));
    ann.assert_nothing_is_left();
}
