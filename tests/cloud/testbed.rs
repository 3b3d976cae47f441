//! From nothing to a job and back to nothing, over real ssh: a host of the testbed for each instance of moto.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::commands::Person;
use crate::common::wait_until;
use crate::moto;

/// A cloud whose machines are real; it goes with this value.
pub struct Cloud {
    process: Child,
    pub folder: PathBuf,
    /// Subnets in which machines come up.
    subnets: String,
    /// One in which none ever does.
    unserved: String,
}

impl Cloud {
    /// None, said on stderr, where it cannot be made.
    pub fn start(url: &str, name: &str) -> Option<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cloud-{name}"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/cloud-testbed");
        let mut process = Command::new(script)
            .args([url.as_ref(), folder.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("scripts/cloud-testbed starts");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let mut told = |key: &str| lines.next()?.strip_prefix(key).map(str::to_owned);
        match (told("SUBNETS="), told("UNSERVED=")) {
            (Some(subnets), Some(unserved)) => Some(Cloud { process, folder, subnets, unserved }),
            _ => {
                assert_eq!(process.wait().expect("ends").code(), Some(3), "scripts/cloud-testbed failed");
                crate::skip("no hosts in namespaces can be made here");
                None
            }
        }
    }

    /// The words of a launch.
    pub fn launch(&self, options: &str) -> String {
        format!("cloud launch demo --yes {} {options}", self.options())
    }

    /// Images have users of their own; the testbed's hosts let root in.
    fn options(&self) -> String {
        format!("--type t3.small --user root --address private --from 10.0.0.0/8 --subnet {}", self.subnets)
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

#[test]
fn from_nothing_to_a_job_and_back_to_nothing() {
    let Some(moto) = moto::start() else { return };
    let Some(cloud) = Cloud::start(&moto.url, "job") else { return };
    let ann = Person::new(&moto.url);
    let launched = ann.run(&cloud.launch("--count 3"));
    assert_eq!(launched.code, Some(0), "{}", launched.stderr);
    assert_eq!(launched.text(), "runner --workers ec2:demo mapreduce wordcount IN OUT\n");
    assert!(launched.stderr.contains(" is there (3 of 3)"), "{}", launched.stderr);
    assert!(!launched.stderr.contains("keeps the host key"), "{}", launched.stderr);

    each_machine_has_a_host_key_of_its_own(&ann);

    ann.desk.write("in/a.txt", "one two two\n".repeat(1000));
    ann.desk.write("in/b.txt", "two three\n".repeat(1000));
    let job = ann.run("--workers ec2:demo mapreduce wordcount in out");
    assert_eq!(job.code, Some(0), "{}", job.stderr);
    assert!(job.stderr.contains("on 3 workers (from EC2, tag runner:cluster=demo, eu-west-1)"), "{}", job.stderr);
    let parts = ann.desk.parts("out");
    assert_eq!(String::from_utf8_lossy(&crate::common::whole(&parts)), "one\t1000\nthree\t1000\ntwo\t3000\n");

    let added = ann.run("cloud add 1 --yes");
    assert_eq!(added.code, Some(0), "{}", added.stderr);
    let hosts = ann.run("cloud ssh demo 4 hostname");
    assert!(hosts.text().starts_with('c'), "{} {}", hosts.text(), hosts.stderr);
    let local = ann.run("--local mapreduce wordcount in here");
    assert!(local.stderr.contains("the cluster demo is not ended, and this does not use it"), "{}", local.stderr);

    let ended = ann.run("cloud terminate demo --yes");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("nothing of it is left"), "{}", ended.stderr);
    ann.assert_nothing_is_left();
}

/// What was given in user data is of no use to anybody any more.
fn each_machine_has_a_host_key_of_its_own(ann: &Person) {
    let known = ann.state("demo/known_hosts");
    let keys: std::collections::BTreeSet<&str> =
        known.lines().filter_map(|line| Some(line.split_once(' ')?.1)).collect();
    assert_eq!((known.lines().count(), keys.len()), (3, 3), "{known}");
    assert!(!ann.state_path("demo/host_key").exists());
    let shown = ann.run("cloud ssh demo 1 cat /etc/ssh/ssh_host_ed25519_key.pub");
    let shown = shown.text().split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    assert!(keys.contains(shown.as_str()), "{shown}\n{known}");
}

#[test]
fn a_machine_that_shows_another_host_key_is_never_trusted() {
    let Some(moto) = moto::start() else { return };
    let Some(cloud) = Cloud::start(&moto.url, "keys") else { return };
    let ann = Person::new(&moto.url);
    let launched = ann.run(&cloud.launch("--count 1"));
    assert_eq!(launched.code, Some(0), "{}", launched.stderr);
    let other = ann.run("cloud ssh demo 1 ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/other");
    assert_eq!(other.code, Some(0), "{}", other.stderr);
    let swap = "cd /etc/ssh && mv other ssh_host_ed25519_key && kill -HUP $(cat /run/sshd.pid)";
    assert_eq!(ann.run_words(&["cloud", "ssh", "demo", "1", swap]).code, Some(0));
    wait_until("the other key is shown", || {
        let checked = ann.run("--workers ec2:demo workers check");
        checked.code == Some(5) && checked.stderr.contains("its host key has changed")
    });
    assert_eq!(ann.run("cloud terminate --yes").code, Some(0));
    ann.assert_nothing_is_left();
}

#[test]
fn machines_that_nobody_uses_end_themselves() {
    let Some(moto) = moto::start() else { return };
    let Some(cloud) = Cloud::start(&moto.url, "ttl") else { return };
    let ann = Person::new(&moto.url);
    let launched = ann.run(&cloud.launch("--count 2 --ttl 10m"));
    assert_eq!(launched.code, Some(0), "{}", launched.stderr);
    // Ten minutes pass for the first of them: by its own clock it was last used then.
    let aged = ann.run("cloud ssh demo 1 touch -d -601seconds /var/lib/runner/last-used");
    assert_eq!(aged.code, Some(0), "{}", aged.stderr);
    wait_until("it has ended itself, and the other has not", || ann.live() == 1);
    // A job keeps the other one going, however long it was idle before.
    ann.desk.write("in/a.txt", "x\n");
    ann.run("cloud ssh demo 1 touch -d -300seconds /var/lib/runner/last-used");
    let job = ann.run_words(&[
        "--workers",
        "ec2:demo",
        "mapreduce",
        "--map",
        "stat -c %Y /var/lib/runner/last-used; date +%s",
        "in",
        "out",
    ]);
    assert_eq!(job.code, Some(0), "{}", job.stderr);
    let parts = crate::common::whole(&ann.desk.parts("out"));
    let times: Vec<u64> =
        String::from_utf8_lossy(&parts).lines().map(|line| line.trim().parse().expect("a time")).collect();
    assert!(times[1] - times[0] < 300, "the job did not say that the machine is used: {times:?}");
    assert_eq!(ann.run("cloud terminate --yes").code, Some(0));
    ann.assert_nothing_is_left();
}

#[test]
fn a_slow_machine_does_not_hold_the_rest_back() {
    let Some(moto) = moto::start() else { return };
    let Some(mut cloud) = Cloud::start(&moto.url, "slow") else { return };
    let ann = Person::new(&moto.url);
    // Two that come up, and one that never does: with all three the launch would wait for five minutes.
    let first_two: Vec<&str> = cloud.subnets.split(',').take(2).collect();
    cloud.subnets = format!("{},{}", first_two.join(","), cloud.unserved);
    let launched = ann.run(&cloud.launch("--count 3 --min 2"));
    assert_eq!(launched.code, Some(0), "{}", launched.stderr);
    let missing = launched.stderr.lines().find(|line| line.contains(" did not come: ")).expect("one is missing");
    // The others may be there before it is known that nobody is at its address.
    let known = ["no route to the host", "timed out", "it runs, and has not answered yet"];
    assert!(known.iter().any(|words| missing.contains(words)), "{missing}");
    let job = ann.run("--workers ec2:demo workers check");
    let hosts = job.text().lines().filter(|line| line.starts_with("i-")).count();
    assert_eq!((job.code, hosts), (Some(0), 3), "{} {}", job.text(), job.stderr);
    assert_eq!(ann.run("cloud terminate --yes").code, Some(0));
    ann.assert_nothing_is_left();
}

#[test]
fn a_bastion_stands_on_the_way() {
    let Some(moto) = moto::start() else { return };
    let Some(cloud) = Cloud::start(&moto.url, "bastion") else { return };
    let ann = Person::new(&moto.url);
    let config = cloud.folder.join("ssh_config").display().to_string();
    let launched = ann.run(&format!("--ssh-config {config} --bastion h1 {}", cloud.launch("--count 1 --no-wait")));
    assert_eq!(launched.code, Some(0), "{}", launched.stderr);
    wait_until("it lets us in, with a key of its own", || {
        let seen = ann.run(&format!("--ssh-config {config} --workers ec2:demo workers exec 'echo $SSH_CLIENT'"));
        let bastion = fs_err::read_to_string(cloud.folder.join("subnet")).expect("reads").trim().to_owned() + ".11 ";
        seen.code == Some(0) && seen.text().contains(&bastion)
    });
    // Nobody had logged in before: the first one to do so replaced the key.
    assert!(ann.state("demo/cluster.json").contains("\"is_own\": true"));
    let seen = ann.run(&format!("--ssh-config {config} cloud ssh demo 1 'echo $SSH_CLIENT'"));
    assert!(seen.text().contains(".11 "), "{} {}", seen.text(), seen.stderr);
    ann.desk.write("in/a.txt", "x\n");
    let job = ann.run(&format!("--ssh-config {config} --workers ec2:demo mapreduce --map cat --reduces 0 in out"));
    assert_eq!(job.code, Some(0), "{}", job.stderr);
    // Another jump host than at the launch.
    for line in ["cloud ssh demo 1 true", "--workers ec2:demo workers check"] {
        let refused = ann.run(&format!("--ssh-config {config} --bastion no-such-host.invalid {line}"));
        assert!(refused.code != Some(0) && refused.stderr.contains("no-such-host.invalid"), "{}", refused.stderr);
    }
    assert_eq!(ann.run("cloud terminate --yes").code, Some(0));
    ann.assert_nothing_is_left();
}

#[test]
fn the_targets_of_make_lead_from_nothing_to_hosts_and_back() {
    let Some(moto) = moto::start() else { return };
    let Some(cloud) = Cloud::start(&moto.url, "make") else { return };
    let ann = Person::new(&moto.url);
    let well = |words: &[&str]| {
        let outcome = ann.make(words);
        assert_eq!(outcome.code, Some(0), "{words:?}: {}", outcome.stderr);
        outcome
    };
    let options = format!("OPTIONS=--count 2 {}", cloud.options());
    let asked = ann.make(&["cluster", "CLUSTER=demo", &options]);
    assert!(asked.code == Some(2) && asked.stderr.contains("--yes launches without asking"), "{}", asked.stderr);
    let launched = well(&["cluster", "CLUSTER=demo", "YES=--yes", &options]);
    assert!(launched.stderr.contains(" is there (2 of 2)"), "{}", launched.stderr);
    well(&["workers.txt", "CLUSTER=demo"]);
    let lines = fs_err::read_to_string(ann.desk.path("workers.txt")).expect("is made");
    let (_, config) = lines.lines().next().and_then(|line| line.split_once("--ssh-config ")).expect("a configuration");
    let checked = ann.run(&format!("--ssh-config {config} workers check"));
    assert_eq!((checked.code, checked.text().matches(" ok ").count()), (Some(0), 2), "{}", checked.text());
    let shown = well(&["ssh", "CLUSTER=demo", "HOST=2 hostname"]);
    assert!(shown.text().lines().any(|line| line.starts_with('c') && line[1..].parse::<u8>().is_ok()), "{shown:?}");
    well(&["teardown", "CLUSTER=demo", "YES=--yes"]);
    ann.assert_nothing_is_left();
}
