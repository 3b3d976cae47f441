//! The shuffle from worker to worker on real ssh hosts: the same bytes as through the driver, whatever stands in the
//! way, and afterwards nothing of it is left on any host.

mod common;
mod testbed;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use common::{Desk, Outcome, Parts};
use runner::worker::peers::Form;
use serde_json::Value;
use testbed::{Testbed, wait_until};

const HOSTS: [&str; 3] = ["h1", "h2", "h3"];
/// How long workers stay without a driver here.
const GRACE: &str = "worker.orphan_grace=1s";
const ALL: &str = "2/h1,2/h2,2/h3";

/// One test at a time: they break hosts.
static TURN: Mutex<()> = Mutex::new(());

/// A desk from which the hosts of a testbed are reached.
struct Rig {
    bed: Arc<Testbed>,
    desk: Desk,
}

/// How many bytes of segments there were, and which way they went.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ways {
    /// Before compression,
    raw: u64,
    /// and as they were stored.
    stored: u64,
    in_place: u64,
    direct: u64,
    relayed: u64,
}

/// Runs a test on the shared hosts, and checks that it leaves them as they were.
fn on_hosts(test: impl FnOnce(&Rig)) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(bed) = testbed::shared("peers", HOSTS.len()) {
        on(bed, test);
    }
}

fn on(bed: Arc<Testbed>, test: impl FnOnce(&Rig)) {
    let rig = Rig { bed, desk: Desk::new() };
    rig.desk.write("in/words.txt", words());
    test(&rig);
    rig.desk.wait_until_clean();
    HOSTS.iter().for_each(|host| rig.wait_until_bare(host));
}

impl Rig {
    fn command(&self, workers: &str, args: &[&str]) -> Command {
        let config = self.bed.ssh_config().display().to_string();
        self.desk.command(&[&["--workers", workers, "--ssh-config", &config][..], args].concat())
    }

    fn run(&self, workers: &str, args: &[&str]) -> Outcome {
        Outcome::wait(self.command(workers, args).spawn().expect("runner starts"))
    }

    /// Runs a job that must end well; gives its output, and which way its segments went.
    fn job(&self, workers: &str, args: &[&str]) -> (Parts, Ways) {
        let output = self.command(workers, &[&["--json", "mapreduce"], args, &["out"]].concat()).output();
        let output = output.expect("runner starts");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        (self.take_output(), Ways::of(output.stdout))
    }

    /// The output that is right, made with everything through the driver.
    fn relayed(&self, job: &[&str]) -> Parts {
        let (parts, ways) = self.job(ALL, &[&["--set", "shuffle=relay"], job].concat());
        assert_eq!(ways.direct, 0, "{ways:?}");
        parts
    }

    fn take_output(&self) -> Parts {
        let parts = self.desk.parts("out");
        fs_err::remove_dir_all(self.desk.path("out")).expect("is removed");
        parts
    }

    fn keys(&self, host: &str) -> String {
        self.bed.sh(host, "cat ~/.ssh/authorized_keys; echo; stat -c '%A %U %G %n' ~/.ssh ~/.ssh/* 2>/dev/null; true")
    }

    /// No process, no file and no key line of a job is on a host.
    fn wait_until_bare(&self, host: &str) {
        self.bed.wait_until_idle(host);
        // A host that was looked at when the job was nearly over keeps an empty folder.
        let find = "find /tmp /var/tmp -mindepth 1 -user worker -not -empty 2>/dev/null; true";
        let files = || self.bed.sh(host, find);
        wait_until("no file is left", || files().is_empty());
        let keys = self.bed.sh(host, "cat ~/.ssh/authorized_keys");
        assert_eq!(keys, self.bed.read("key.pub").trim(), "the keys of {host}");
        assert_eq!(self.bed.sh(host, "ls -A ~/.ssh"), "authorized_keys", "{host}");
    }
}

impl Ways {
    /// Those of a job that told its facts.
    fn of(facts: Vec<u8>) -> Self {
        let mut ways = Ways::default();
        for line in String::from_utf8(facts).expect("is text").lines() {
            ways.count(&serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
        }
        ways
    }

    fn count(&mut self, fact: &Value) {
        if fact["fact"] != "attempt_finished" {
            return;
        }
        let number = |name: &str| fact[name].as_u64().expect("a number");
        if fact["task"].as_str().is_some_and(|task| task.starts_with("map")) {
            self.raw += number("bytes_out");
            self.stored += number("bytes_shuffled");
        } else {
            self.in_place += number("bytes_in_place");
            self.relayed += number("bytes_relayed");
            self.direct += number("bytes_shuffled") - number("bytes_relayed");
        }
    }
}

/// Waits for a fact on a job's stdout; what comes later is read and dropped, so that the job goes on.
fn wait_for_fact(child: &mut Child, is_meant: impl Fn(&Value) -> bool) {
    let mut lines = BufReader::new(child.stdout.take().expect("is piped")).lines();
    let met = lines
        .by_ref()
        .map_while(Result::ok)
        .any(|line| is_meant(&serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))));
    assert!(met, "the job ended without that fact");
    std::thread::spawn(move || lines.for_each(drop));
}

/// Some 2 MB of words, the same at every run.
fn words() -> String {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 16
    };
    (0..200_000)
        .map(|place| format!("w{}{}", next() % (1 + next() % 5000), if place % 9 == 0 { '\n' } else { ' ' }))
        .collect()
}

/// 6 MB of lines that do not compress, the same at every run.
fn noise() -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b'!' + (state >> 33) as u8 % 94
    };
    (1..=6 << 20).map(|place| if place % 100 == 0 { b'\n' } else { next() }).collect()
}

/// Its maps last so long that every host gets some.
const JOB: [&str; 7] = ["--map", "sleep 0.3; cat", "--reduces", "6", "--split-size", "50K", "in"];

#[test]
fn segments_go_from_worker_to_worker() {
    on_hosts(|rig| {
        let expected = rig.relayed(&JOB);
        let before = HOSTS.map(|host| rig.keys(host));
        let (parts, ways) = rig.job(ALL, &JOB);
        assert_eq!(parts, expected);
        assert!(ways.direct > 0 && ways.in_place > 0 && ways.relayed == 0, "{ways:?}");
        assert_eq!(HOSTS.map(|host| rig.keys(host)), before);
        let outcome = rig.run(ALL, &[&["mapreduce"][..], &JOB, &["out"]].concat());
        assert!(outcome.stderr.contains("from worker to worker, 0 B through the driver"), "{}", outcome.stderr);
        assert_eq!(rig.take_output(), expected);
    });
}

#[test]
fn what_crosses_a_slow_link_is_compressed() {
    on_hosts(|rig| {
        // A tenth can be saved, which over a fast link is not worth the trouble.
        rig.desk.write("in/words.txt", String::from_utf8_lossy(&noise()).replace('\n', "the same in each\n"));
        let job = |setting| rig.job("h1,h2", &["--set", setting, "sort", "--reduces", "4", "--split-size", "1M", "in"]);
        ["h1", "h2"].iter().for_each(|host| _ = rig.bed.run(&["limit", host, "10mbit"]));
        let (compressed, slow) = job("compression=auto");
        ["h1", "h2"].iter().for_each(|host| _ = rig.bed.run(&["limit", host, "off"]));
        assert!(slow.direct > 0 && slow.stored * 100 < slow.raw * 93, "{slow:?}");
        let (plain, never) = job("compression=none");
        assert!(never.stored >= never.raw && plain == compressed, "{never:?}");
    });
}

#[test]
fn two_workers_on_one_host_need_no_ssh() {
    on_hosts(|rig| {
        rig.bed.sh_as_root("h1", "mount --bind /dev/null /usr/bin/ssh");
        let (parts, ways) = rig.job("h1,h1", &JOB);
        rig.bed.sh_as_root("h1", "umount /usr/bin/ssh");
        assert!(ways.direct > 0 && ways.relayed == 0, "{ways:?}");
        assert_eq!(parts, rig.relayed(&JOB));
    });
}

/// Something done to the hosts.
type Act<'a> = &'a dyn Fn();

#[test]
fn what_does_not_connect_goes_through_the_driver() {
    on_hosts(|rig| {
        let expected = rig.relayed(&JOB);
        let hindrances: [(&str, Act, Act); 3] = [
            ("keys that cannot be written", &|| _ = rig.bed.sh("h2", "chmod 400 ~/.ssh/authorized_keys"), &|| {
                _ = rig.bed.sh("h2", "chmod 600 ~/.ssh/authorized_keys")
            }),
            ("no ssh client", &|| _ = rig.bed.sh_as_root("h2", "mount --bind /dev/null /usr/bin/ssh"), &|| {
                _ = rig.bed.sh_as_root("h2", "umount /usr/bin/ssh")
            }),
            ("no way", &|| _ = rig.bed.run(&["part", "h2", "h1"]), &|| _ = rig.bed.run(&["rejoin", "h2", "h1"])),
        ];
        for (name, hinder, heal) in hindrances {
            hinder();
            let (parts, ways) = rig.job(ALL, &JOB);
            heal();
            assert_eq!(parts, expected, "{name}");
            assert!(ways.direct > 0 && ways.relayed > 0, "{name}: {ways:?}");
        }
    });
}

#[test]
fn a_user_without_keys_gets_them_back_as_they_were() {
    on_hosts(|rig| {
        // sshd keeps the driver's key elsewhere; what is in the usual place is the user's business.
        let other = "AuthorizedKeysFile /home/worker/keys .ssh/authorized_keys";
        rig.bed.sh("h1", "cp -p ~/.ssh/authorized_keys ~/keys");
        rig.bed.run(&["sshd", "h1", other]);
        for (make, show) in [
            ("rm -r ~/.ssh", "ls -A ~ | grep -v cache"),
            ("mkdir -m 700 ~/.ssh; printf open >~/.ssh/authorized_keys", "cat ~/.ssh/*"),
        ] {
            rig.bed.sh("h1", make);
            let before = rig.bed.sh("h1", show);
            let (_, ways) = rig.job("h1,h2", &JOB);
            assert_eq!(ways.relayed, 0, "{make}: {ways:?}");
            assert_eq!(rig.bed.sh("h1", show), before, "{make}");
        }
        rig.bed.sh("h1", "mv ~/keys ~/.ssh/authorized_keys");
        rig.bed.run(&["sshd", "h1"]);
    });
}

#[test]
fn a_stream_that_breaks_goes_on_where_it_was() {
    on_hosts(|rig| {
        // It does not compress, and the way to h1 is so slow that a stream can be met under way.
        rig.desk.write("noise/lines", noise());
        let job = ["--map", "cat", "--reduces", "1", "--split-size", "1M", "noise"];
        let expected = rig.relayed(&job);
        rig.bed.run(&["limit", "h1", "10mbit"]);
        for fault in ["killed", "parted"] {
            let args = [&["--json", "mapreduce", "--set", "straggler.enabled=false"][..], &job, &["out"]].concat();
            let mut child = rig.command("1/h1,1/h2", &args).spawn().expect("runner starts");
            let mut found = None;
            wait_until("a worker fetches", || {
                found = ["h1", "h2"].iter().find_map(|host| Some((*host, ssh_of(&rig.bed, host)?)));
                found.is_some()
            });
            let (host, pid) = found.expect("was found");
            // More than a login reads, and less than all.
            let read = format!("sed -n 's/^rchar: //p' /proc/{pid}/io");
            wait_until("some of it has come", || {
                rig.bed.sh_as_root(host, &read).parse::<u64>().is_ok_and(|bytes| bytes > 200_000)
            });
            match fault {
                "killed" => rig.bed.sh_as_root(host, &format!("kill {pid}")),
                _ => rig.bed.run(&["part", "h2", "h1"]),
            };
            let mut ways = Ways::default();
            let mut failures = 0;
            for line in BufReader::new(child.stdout.take().expect("is piped")).lines().map_while(Result::ok) {
                let fact: Value = serde_json::from_str(&line).expect("is JSON");
                failures += u32::from(fact["fact"] == "attempt_failed");
                ways.count(&fact);
            }
            assert!(child.wait().expect("ends").success());
            assert_eq!((rig.take_output(), failures), (expected.clone(), 0));
            assert!(ways.direct > 0 && (ways.relayed > 0) == (fault == "parted"), "{fault}: {ways:?}");
        }
        rig.bed.run(&["rejoin", "h2", "h1"]);
        rig.bed.run(&["limit", "h1", "off"]);
    });
}

#[test]
fn a_job_that_is_resumed_goes_from_worker_to_worker() {
    on_hosts(|rig| {
        let job = ["--map", "sleep 1; cat", "--reduces", "6", "--split-size", "100K", "in"];
        let args = [&["--json", "mapreduce"][..], &job, &["out"]].concat();
        let mut child = rig.command(ALL, &args).spawn().expect("runner starts");
        wait_for_fact(&mut child, |fact| fact["fact"] == "attempt_finished");
        child.kill().expect("is there");
        child.wait().expect("ends");
        let id = rig.desk.only_job()["id"].as_str().expect("an id").to_owned();
        let output = rig.command(ALL, &["--json", "resume", &id]).output().expect("runner starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let ways = Ways::of(output.stdout);
        assert!(ways.direct > 0, "{ways:?}");
        let parts = rig.take_output();
        assert_eq!(parts, rig.relayed(&job));
    });
}

/// The ssh process by which a worker fetches, if there is one.
fn ssh_of(bed: &Testbed, host: &str) -> Option<String> {
    let processes = bed.run(&["ps", host]);
    let line = processes.lines().find(|line| line.contains("worker ssh ") && line.contains("peer-key"))?;
    line.split(' ').next().map(str::to_owned)
}

#[test]
fn nothing_is_left_however_a_job_ends() {
    on_hosts(|rig| {
        let failing = ["--map", "cat", "--reduce", "cat >/dev/null; exit 3", "--reduces", "4", "--split-size", "100K"];
        let outcome = rig.run(ALL, &[&["mapreduce"], &failing[..], &["in", "out"]].concat());
        assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
        HOSTS.iter().for_each(|host| rig.wait_until_bare(host));
        let slow =
            ["--map", "cat", "--reduce", "sleep 100; cat", "--reduces", "4", "--split-size", "100K", "in", "out"];
        for (signal, code) in [("INT", Some(130)), ("KILL", None)] {
            let args = [&["--json", "mapreduce", "--set", GRACE], &slow[..]].concat();
            let mut child = rig.command(ALL, &args).spawn().expect("runner starts");
            wait_for_fact(&mut child, |fact| {
                fact["fact"] == "attempt_started"
                    && fact["task"].as_str().is_some_and(|task| task.starts_with("reduce"))
            });
            let killed = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
            assert!(killed.expect("kill runs").success());
            assert_eq!(child.wait().expect("ends").code(), code, "{signal}");
            HOSTS.iter().for_each(|host| rig.wait_until_bare(host));
        }
    });
}

#[test]
fn what_a_killed_worker_leaves_goes_at_the_next_visit() {
    on_hosts(|rig| {
        let args = ["--json", "mapreduce", "--set", GRACE, "--map", "sleep 100; cat", "--reduces", "1", "in", "out"];
        let mut child = rig.command("h1,h2", &args).spawn().expect("runner starts");
        wait_until("the line is there", || rig.bed.sh("h1", "cat ~/.ssh/authorized_keys").contains("runner-job"));
        rig.bed.run(&["crash", "h1"]);
        let killed = Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status();
        assert!(killed.expect("kill runs").success());
        child.wait().expect("ends");
        rig.bed.run(&["boot", "h1"]);
        assert!(rig.bed.sh("h1", "cat ~/.ssh/authorized_keys").contains("runner-job"));
        rig.job("h1,h2", &JOB);
        rig.bed.sh("h1", "rm -rf /var/tmp/runner-*");
    });
}

#[test]
fn one_home_of_several_hosts_gets_one_line() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(bed) = Testbed::up("peers-home", HOSTS.len()) else { return };
    bed.run(&["share-home"]);
    on(Arc::new(bed), |rig| {
        let expected = rig.relayed(&JOB);
        let (parts, ways) = rig.job(ALL, &JOB);
        assert_eq!(parts, expected);
        assert!(ways.direct > 0 && ways.relayed == 0, "{ways:?}");
        let args = [
            "--json",
            "mapreduce",
            "--set",
            GRACE,
            "--map",
            "sleep 100; cat",
            "--reduces",
            "1",
            "--split-size",
            "100K",
        ];
        let mut child = rig.command(ALL, &[&args[..], &["in", "out"]].concat()).spawn().expect("runner starts");
        let keys = || rig.bed.sh("h2", "cat ~/.ssh/authorized_keys");
        wait_until("all are in the line", || {
            keys().rsplit(" for=").next().is_some_and(|it| it.split(',').count() == 3)
        });
        assert_eq!(keys().lines().filter(|line| line.contains("runner-job")).count(), 1, "{}", keys());
        let killed = Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status();
        assert!(killed.expect("kill runs").success());
        child.wait().expect("ends");
    });
}

#[test]
fn each_form_of_a_line_is_one_that_sshd_takes() {
    on_hosts(|rig| {
        let key = rig.desk.path("key");
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(made.expect("runs").success());
        let public = fs_err::read_to_string(key.with_extension("pub")).expect("reads");
        rig.bed.sh("h1", "cp -p ~/.ssh/authorized_keys ~/before");
        let until = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs() + 60;
        for form in [Form::Parts, Form::Restrict, Form::LocalExpiry, Form::Expiry] {
            for (until, lets_in) in [(until, true), (until - 100_000, matches!(form, Form::Parts | Form::Restrict))] {
                let line = format!("{},command=\"echo in\" {}", form.options(until), public.trim());
                rig.bed.sh(
                    "h1",
                    &format!("cp -p ~/before ~/.ssh/authorized_keys; echo '{line}' >>~/.ssh/authorized_keys"),
                );
                let output = Command::new("ssh")
                    .arg("-F")
                    .arg(rig.bed.ssh_config())
                    .args(["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i"])
                    .arg(&key)
                    .args(["h1", "echo out"])
                    .stdin(Stdio::null())
                    .output()
                    .expect("ssh starts");
                let said = String::from_utf8_lossy(&output.stdout);
                // Without the line, the testbed's own key lets anybody in.
                assert_eq!(said.trim() == "in", lets_in, "{form:?}: {said}");
            }
        }
        rig.bed.sh("h1", "mv ~/before ~/.ssh/authorized_keys");
    });
}

#[test]
fn check_tells_who_reaches_whom() {
    on_hosts(|rig| {
        let all = rig.run(ALL, &["workers", "check"]);
        assert!(all.text().contains("peers: all 6 tried pairs reach each other"), "{all:?}");
        rig.bed.run(&["part", "h1", "h2"]);
        rig.bed.sh("h3", "chmod 400 ~/.ssh/authorized_keys");
        let some = rig.run(ALL, &["workers", "check"]);
        rig.bed.run(&["rejoin", "h1", "h2"]);
        rig.bed.sh("h3", "chmod 600 ~/.ssh/authorized_keys");
        assert_eq!(some.code, Some(0), "{some:?}");
        assert!(some.text().contains("peers: 2 of 6 tried pairs reach each other"), "{some:?}");
        for note in ["h[1-2]: note: h3 is not reached", "cannot be written", "h2: note: h1 is not reached"] {
            assert!(some.stderr.contains(note), "{note}: {}", some.stderr);
        }
    });
}
