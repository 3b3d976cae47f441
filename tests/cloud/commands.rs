//! The commands as a person types them, against moto's server: what is made, what is said, what is left.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use aws_sdk_ec2::types::{HttpTokensState, InstanceAttributeName, InstanceLifecycleType, InstanceStateName};

use crate::common::{Desk, Outcome};
use crate::launches::config;
use crate::{model, moto};

/// Somebody at a desk, with access to an EC2.
pub struct Person {
    pub desk: Desk,
    url: String,
}

impl Person {
    pub fn new(url: &str) -> Self {
        Person { desk: Desk::new(), url: url.to_owned() }
    }

    /// `runner` with these words.
    pub fn run(&self, line: &str) -> Outcome {
        self.run_words(&shlex::split(line).expect("words").iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub fn run_words(&self, words: &[&str]) -> Outcome {
        Outcome::wait(self.command(words).spawn().expect("runner starts"))
    }

    /// `runner` with these words, ready to be started.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = self.desk.command(words);
        command.env("AWS_ENDPOINT_URL_EC2", &self.url).env("AWS_REGION", "eu-west-1").env("USER", "ann");
        command
            .env("AWS_ACCESS_KEY_ID", "A")
            .env("AWS_SECRET_ACCESS_KEY", "S")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }

    /// `make` with these words, for the same person and the `runner` that is tested.
    pub fn make(&self, words: &[&str]) -> Outcome {
        let runner = self.command(&[]);
        let mut make = Command::new("make");
        make.arg("--no-print-directory").arg("-f").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Makefile"));
        make.arg(format!("RUNNER={}", env!("CARGO_BIN_EXE_runner"))).args(words);
        make.env_clear().envs(runner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        make.current_dir(self.desk.path("")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Outcome::wait(make.spawn().expect("make starts"))
    }

    /// A path in the folder of clusters.
    pub fn state_path(&self, name: &str) -> PathBuf {
        self.desk.path("../home/.local/state/runner/clusters").join(name)
    }

    pub fn state(&self, name: &str) -> String {
        fs_err::read_to_string(self.state_path(name)).expect("is there")
    }

    fn client(&self) -> aws_sdk_ec2::Client {
        aws_sdk_ec2::Client::new(&config(&self.url))
    }

    /// How many instances cost.
    pub fn live(&self) -> usize {
        let listed = self.run("--json cloud list");
        assert_eq!(listed.code, Some(0), "{}", listed.stderr);
        listed.text().lines().count()
    }

    /// Neither at EC2 nor here.
    pub fn assert_nothing_is_left(&self) {
        crate::run(async {
            let client = self.client();
            let described = client.describe_instances().send().await.expect("describes");
            for instance in described.reservations().iter().flat_map(|reservation| reservation.instances()) {
                let state = instance.state().and_then(|state| state.name());
                assert_eq!(state, Some(&InstanceStateName::Terminated), "{:?}", instance.instance_id());
            }
            let groups = client.describe_security_groups().send().await.expect("describes");
            let names: Vec<_> = groups.security_groups().iter().filter_map(|group| group.group_name()).collect();
            assert!(names.iter().all(|name| *name == "default"), "{names:?}");
            assert!(client.describe_key_pairs().send().await.expect("describes").key_pairs().is_empty());
        });
        let clusters = self.state_path("");
        let left: Vec<_> = fs_err::read_dir(clusters)
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        assert_eq!(left, Vec::<PathBuf>::new());
    }
}

const LAUNCH: &str = "cloud launch demo --yes --no-wait --count 2 --from 203.0.113.7";

#[test]
fn a_launch_makes_what_it_says_and_its_end_leaves_nothing() {
    let Some(moto) = moto::start() else { return };
    let ann = Person::new(&moto.url);
    let shown = ann.run(&format!("{LAUNCH} --dry-run"));
    assert!(shown.text().contains("machines   2 x m7i.large, on demand\n"), "{shown:?}");
    for part in [
        "image      resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64, user ec2-user\n",
        "disk       50 GiB gp3, encrypted, goes with the machine\n",
        "metadata   only with a token (IMDSv2)",
        "ssh from   203.0.113.7/32, and between the machines\n",
        "ends       when nobody used it for 4h 0m\n",
        "tags       Name=runner demo, runner:cluster=demo, runner:by=ann@",
        "also made  a security group and a key pair\n",
    ] {
        assert!(shown.text().contains(part), "{part}: {}", shown.text());
    }
    ann.assert_nothing_is_left();

    // moto gives the least number that a launch asks for, so three zones give one each.
    let launched = ann.run(LAUNCH);
    assert_eq!(launched.code, Some(0), "{}", launched.stderr);
    assert_eq!(launched.text(), "runner --workers ec2:demo mapreduce wordcount IN OUT\n");
    assert!(launched.stderr.contains("a machine that nobody used for 4h 0m ends itself"), "{}", launched.stderr);
    crate::run(instances_are_as_they_should(&ann));

    let listed = ann.run("cloud list");
    assert!(listed.text().starts_with("CLUSTER  INSTANCE"), "{listed:?}");
    assert_eq!(listed.text().matches("demo     i-").count(), 2, "{}", listed.text());
    assert!(listed.text().contains("  3h 5"), "{}", listed.text());
    let hosts = ann.run("cloud hosts");
    let lines: Vec<&str> = hosts.text().lines().collect();
    assert!(lines[0].starts_with("# demo: use it with --ssh-config /"), "{hosts:?}");
    assert!(lines.len() == 3 && lines[1].starts_with("ec2-user@ec2-") && lines[1].contains(" peer="), "{hosts:?}");
    let again = ann.run(LAUNCH);
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("there is a cluster demo already"), "{}", again.stderr);

    ann.desk.write("in/a.txt", "a b\n");
    let local = ann.run("--local mapreduce wordcount in here");
    let hint = "the cluster demo is not ended, and this does not use it: --workers ec2:demo runs it there";
    assert!(local.code == Some(0) && local.stderr.contains(hint), "{}", local.stderr);

    let spot = ann.run("cloud launch spot --yes --no-wait --count 1 --from 203.0.113.7 --spot --disk 9G");
    assert_eq!(spot.code, Some(0), "{}", spot.stderr);
    assert_eq!(crate::run(spot_machines(&ann)), 1);
    let which = ann.run("cloud terminate --yes");
    assert!(which.code == Some(2) && which.stderr.contains("which cluster? There are demo, spot"), "{}", which.stderr);

    let id = listed.text().split_whitespace().find(|word| word.starts_with("i-")).expect("an id");
    assert_eq!(ann.run(&format!("cloud remove {id} --yes")).code, Some(0));
    assert_eq!(ann.live(), 2);
    let ended = ann.run("cloud terminate --all --yes");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ann.assert_nothing_is_left();
}

async fn spot_machines(ann: &Person) -> usize {
    let described = ann.client().describe_instances().send().await.expect("describes");
    let instances = described.reservations().iter().flat_map(|reservation| reservation.instances());
    instances.filter(|instance| instance.instance_lifecycle() == Some(&InstanceLifecycleType::Spot)).count()
}

async fn instances_are_as_they_should(ann: &Person) {
    let client = ann.client();
    let described = client.describe_instances().send().await.expect("describes");
    let instances: Vec<_> = described.reservations().iter().flat_map(|reservation| reservation.instances()).collect();
    assert_eq!(instances.len(), 2);
    for instance in instances {
        let tag = |key: &str| instance.tags().iter().find(|tag| tag.key() == Some(key)).and_then(|tag| tag.value());
        assert_eq!((tag("runner:cluster"), tag("runner:ttl")), (Some("demo"), Some("14400")));
        assert!(tag("runner:by").expect("a tag").starts_with("ann@"));
        let metadata = instance.metadata_options().expect("options");
        assert_eq!(metadata.http_tokens(), Some(&HttpTokensState::Required));
        let id = instance.instance_id().expect("an id");
        let ask = |what| client.describe_instance_attribute().instance_id(id).attribute(what).send();
        let shutdown = ask(InstanceAttributeName::InstanceInitiatedShutdownBehavior).await.expect("tells");
        assert_eq!(shutdown.instance_initiated_shutdown_behavior().and_then(|value| value.value()), Some("terminate"));
    }
    let volumes = client.describe_volumes().send().await.expect("describes");
    let disks: Vec<_> = volumes.volumes().iter().map(|disk| (disk.encrypted(), disk.size())).collect();
    assert_eq!(disks, [(Some(true), Some(50)); 2]);
    let groups = client.describe_security_groups().send().await.expect("describes");
    let group = groups.security_groups().iter().find(|group| group.group_name() != Some("default")).expect("a group");
    let rules: Vec<_> =
        group.ip_permissions().iter().map(|rule| (rule.from_port(), rule.to_port(), rule.ip_protocol())).collect();
    assert!(!rules.is_empty() && rules.iter().all(|rule| *rule == (Some(22), Some(22), Some("tcp"))), "{rules:?}");
    let from: Vec<_> =
        group.ip_permissions().iter().flat_map(|rule| rule.ip_ranges()).map(|range| range.cidr_ip()).collect();
    assert_eq!(from, [Some("203.0.113.7/32")]);
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_made() {
    let Some(moto) = moto::start() else { return };
    let ann = Person::new(&moto.url);
    let check = |line: &str, code: i32, part: &str| {
        let outcome = ann.run(line);
        assert_eq!(outcome.code, Some(code), "{line}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(part), "{line}: {}", outcome.stderr);
    };
    check("cloud launch demo --count 2 --from 1.2.3.4", 2, "--yes launches without asking");
    check("cloud launch demo --count 0", 2, "--count: 0 makes no sense");
    check("cloud launch demo --count 2 --min 3", 2, "--min 3: a number from 1 to --count (2)");
    check("cloud launch i-demo", 2, "`i-demo` cannot name a cluster");
    check("cloud launch demo --ttl 1m", 2, "--ttl 1m 0s: at least 5m");
    check("cloud launch demo --ttl soon", 2, "--ttl: `soon` is no length of time");
    check("cloud launch demo --spot-fallback", 2, "--spot");
    check("cloud launch demo --from home", 2, "`home` is no range of addresses");
    check("cloud launch demo --yes --from 1.2.3.4 --type m99.huge", 8, "InvalidInstanceType");
    check("cloud launch demo --yes --from 1.2.3.4 --image ami-0000", 8, "InvalidAMIID");
    check("cloud launch demo --yes --from 1.2.3.4 --subnet subnet-0", 8, "a subnet belongs to one region");
    check("cloud terminate demo --yes", 2, "no cluster demo was launched from here, and none is in eu-west-1");
    check("cloud hosts", 2, "no cluster was launched from here");
    check("cloud remove i-0abc --yes", 2, "no running machine of a cluster launched from here: i-0abc");
    check("--workers ec2:demo workers check", 5, "no instance with tag runner:cluster=demo");
    ann.assert_nothing_is_left();
}

#[test]
fn what_was_lost_is_found_and_reaped() {
    let Some(moto) = moto::start() else { return };
    let ann = Person::new(&moto.url);
    assert_eq!(ann.run(LAUNCH).code, Some(0));
    let nothing = ann.run("cloud reap --yes");
    assert!(nothing.stderr.contains("nothing in eu-west-1 is unclaimed"), "{}", nothing.stderr);
    fs_err::remove_dir_all(ann.state_path("demo")).expect("is lost");
    let asked = ann.run("cloud reap");
    assert_eq!(asked.code, Some(2));
    assert!(
        asked.text().contains("2 instances (i-") && asked.text().contains("1 security group, 1 key pair"),
        "{asked:?}"
    );
    let reaped = ann.run("cloud reap --yes");
    assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
    ann.assert_nothing_is_left();
}

#[test]
fn a_cluster_of_somebody_else_is_ended_by_its_name_and_never_reaped() {
    let Some(moto) = moto::start() else { return };
    let (ann, bob) = (Person::new(&moto.url), Person::new(&moto.url));
    assert_eq!(ann.run(LAUNCH).code, Some(0));
    // The same person on the same machine would be the same to EC2.
    let mut command = bob.command(&["cloud", "reap", "--yes"]);
    let reaped = Outcome::wait(command.env("USER", "bob").spawn().expect("starts"));
    assert!(reaped.stderr.contains("nothing in eu-west-1 is unclaimed"), "{}", reaped.stderr);
    let asked = bob.run("cloud terminate demo --yes");
    assert_eq!(asked.code, Some(0), "{}", asked.stderr);
    bob.assert_nothing_is_left();
}

#[test]
fn a_cluster_lets_the_address_in_that_this_machine_has_now() {
    let ec2 = model::start(5);
    ec2.world().public = Some("no-such-host.invalid".into());
    let ann = Person::new(&ec2.url);
    assert_eq!(ann.run(LAUNCH).code, Some(0));
    let now = crate::http::start(|_| Some(crate::http::answer(200, "198.51.100.9\n")));
    let elsewhere = |line: &str| ann.run(&format!("--set cloud.address_service={now} {line}"));
    let told =
        "this machine is 198.51.100.9 to others now, and demo lets only 203.0.113.7/32 in: `runner cloud allow demo`";
    for line in ["cloud ssh demo 1 true", "--workers ec2:demo workers check"] {
        let outcome = elsewhere(line);
        assert!(outcome.code != Some(0) && outcome.stderr.contains(told), "{line}: {}", outcome.stderr);
    }
    let allowed = elsewhere("cloud allow demo");
    assert_eq!(allowed.code, Some(0), "{}", allowed.stderr);
    assert!(allowed.stderr.contains("demo lets in 203.0.113.7/32, 198.51.100.9/32"), "{}", allowed.stderr);
    assert!(!elsewhere("cloud ssh demo 1 true").stderr.contains("cloud allow"));
    assert_eq!(ann.run("cloud allow --from 192.0.2.0/24,203.0.113.7").code, Some(0));
    let let_in: Vec<String> = ec2.world().let_in().into_iter().filter(|who| !who.starts_with("sg-")).collect();
    assert_eq!(let_in, ["192.0.2.0/24", "198.51.100.9/32", "203.0.113.7/32"]);
    assert_eq!(ann.run("cloud terminate --yes").code, Some(0));
    ec2.assert_empty();
}

#[test]
fn without_a_default_network_a_subnet_has_to_be_named() {
    let ec2 = model::start(6);
    ec2.world().has_network = false;
    let ann = Person::new(&ec2.url);
    let launched = ann.run(LAUNCH);
    assert_eq!(launched.code, Some(8));
    assert!(
        launched.stderr.contains("no default network in this account: name a subnet with --subnet"),
        "{launched:?}"
    );
    assert_eq!(ec2.world().log, ["DescribeSubnets"]);
}

#[test]
fn where_no_zone_has_any_the_last_answer_is_kept() {
    let ec2 = model::start(7);
    ec2.world().next_runs = [model::Run::Refuse(500, "InsufficientInstanceCapacity"); 3].into();
    let launched = Person::new(&ec2.url).run(LAUNCH);
    assert_eq!(launched.code, Some(8));
    let end = "no machine came: InsufficientInstanceCapacity (on demand) in eu-west-1a, eu-west-1b, eu-west-1c; in EC2's last \
               words: EC2 in eu-west-1: InsufficientInstanceCapacity: what EC2 says (request 11-22): EC2 has no such machines \
               left there at the moment: take another type (--type), wait, or ask for fewer";
    assert!(launched.stderr.contains(end), "{}", launched.stderr);
    ec2.assert_empty();
}

#[test]
fn a_quota_is_named_and_its_code_kept() {
    let ec2 = model::start(1);
    ec2.world().next_runs = [model::Run::Refuse(400, "VcpuLimitExceeded")].into();
    let ann = Person::new(&ec2.url);
    let launched = ann.run(LAUNCH);
    assert_eq!(launched.code, Some(8));
    let words = "EC2 in eu-west-1: VcpuLimitExceeded: what EC2 says (request 11-22): ask for more at Service Quotas";
    assert!(launched.stderr.contains(words), "{}", launched.stderr);
    assert!(
        launched.stderr.contains("the quota is \"Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances\"")
    );
    assert!(launched.stderr.contains("runner: nothing of it is left: "), "{}", launched.stderr);
    ec2.assert_empty();
}

#[test]
fn machines_that_never_let_us_in_are_ended_with_a_sentence_each() {
    let ec2 = model::start(2);
    let ann = Person::new(&ec2.url);
    // Their address is this machine's own, where no sshd is that has the key: whichever way it fails, it is said.
    let launched =
        ann.run("--set cloud.wait_max=3 cloud launch demo --yes --count 2 --from 203.0.113.7 --address private");
    assert_eq!(launched.code, Some(5), "{}", launched.stderr);
    assert!(launched.stderr.contains("0 machines of 2 let us in:"), "{}", launched.stderr);
    assert_eq!(launched.stderr.matches("  i-0").count(), 2, "{}", launched.stderr);
    ec2.assert_empty();
}

#[test]
fn machines_of_others_are_known_by_their_consoles() {
    let ec2 = model::start(4);
    let (ann, bob) = (Person::new(&ec2.url), Person::new(&ec2.url));
    assert_eq!(ann.run(LAUNCH).code, Some(0));
    let silent = bob.run("--workers ec2:demo workers check");
    assert!(silent.stderr.contains("no host keys on the console of i-0"), "{}", silent.stderr);
    ec2.world().console =
        "boot\n-----BEGIN SSH HOST KEY KEYS-----\nssh-ed25519 AAAAC3Nz root@ip\n-----END SSH HOST KEY KEYS-----\n"
            .into();
    let spoken = bob.run("--workers ec2:demo workers check");
    assert!(!spoken.stderr.contains("console"), "{}", spoken.stderr);
    let known = bob.state(".elsewhere/known_hosts");
    let lines: Vec<String> = ec2.world().live().iter().map(|id| format!("{id} ssh-ed25519 AAAAC3Nz\n")).collect();
    assert_eq!(known, lines.concat());
    // From then on they go by their ids, under these keys alone.
    assert!(lines.iter().all(|line| spoken.stderr.contains(&line[..19]) || spoken.stdout.starts_with(b"HOST")));
}

#[test]
fn an_interrupted_launch_cleans_up_after_itself() {
    let ec2 = model::start(3);
    let ann = Person::new(&ec2.url);
    let mut command = ann.command(&["cloud", "launch", "demo", "--yes", "--count", "2", "--from", "203.0.113.7"]);
    let launch = command.spawn().expect("runner starts");
    crate::common::wait_until("the machines are there", || ec2.world().live().len() == 2);
    let pid = rustix::process::Pid::from_raw(i32::try_from(launch.id()).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("is told");
    let ended = Outcome::wait(launch);
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(ended.stderr.contains("nothing of it is left: interrupted"), "{}", ended.stderr);
    ec2.assert_empty();
}
