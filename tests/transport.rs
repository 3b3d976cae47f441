//! The transport against real sshds: every odd thing about a host that the design names, met for real.

mod testbed;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use runner::fleet::{HostSpec, Place};
use runner::ids::{Epoch, JobId, WorkerId};
use runner::protocol::control::{Hello, Role, Welcome};
use runner::protocol::frames;
use runner::transport::{ConnectError, Link, Transport, TransportConfig};
use testbed::{Testbed, wait_until};

const HOSTS: usize = 11;
const GRACE: Duration = Duration::from_secs(1);
const RUNNER: &str = env!("CARGO_BIN_EXE_runner");

/// A transport whose sockets lie in a folder that the test can look into.
struct Rig {
    transport: Transport,
    sockets: tempfile::TempDir,
}

fn rig_with(ssh_config: PathBuf, binary: &str) -> Rig {
    let sockets = tempfile::Builder::new().prefix("t").tempdir_in("/tmp").expect("a folder");
    let config = TransportConfig {
        ssh_config: Some(ssh_config),
        connect_timeout: Duration::from_secs(3),
        connects_per_hop_max: 8,
        binary: binary.into(),
        binaries: Default::default(),
        build: "testbuild".into(),
        runtime_folder: Some(sockets.path().to_owned()),
    };
    Rig { transport: Transport::new(config).expect("a transport"), sockets }
}

fn rig(bed: &Testbed) -> Rig {
    rig_with(bed.ssh_config(), RUNNER)
}

impl Rig {
    /// Nothing of ours is left here: no folder, no ssh process that knows one.
    async fn close(self) {
        self.transport.close().await;
        assert_eq!(std::fs::read_dir(self.sockets.path()).expect("lists").count(), 0, "sockets are left");
        self.wait_until_no_ssh();
    }

    fn wait_until_no_ssh(&self) {
        let folder = self.sockets.path().display().to_string();
        wait_until("all our ssh processes have ended", || ssh_processes(&folder).is_empty());
    }
}

fn ssh_processes(part: &str) -> Vec<String> {
    processes(|line| line.contains("ssh") && line.contains(part))
}

fn processes(is_meant: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = std::fs::read_dir("/proc").expect("lists").flatten().filter_map(|process| {
        let line = std::fs::read(process.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.filter(|line| is_meant(line)).collect()
}

fn host(name: &str) -> HostSpec {
    HostSpec::new(Place::Ssh, name)
}

fn job(name: &str) -> JobId {
    JobId::new(name, 1)
}

/// Runs a test on the shared hosts, each test on hosts of its own.
fn on_hosts(test: impl AsyncFnOnce(&Testbed)) {
    if let Some(bed) = testbed::shared("transport", HOSTS) {
        run(test(&bed));
    }
}

fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(test)
}

/// Opens a stream to a worker, which answers with whatever it thinks of us.
async fn greet(link: &Link, role: Role) {
    let mut channel = link.open(&job("check"), WorkerId(0), role, GRACE).await.expect("a stream to the worker");
    let hello = Hello { build: "x".into(), job: job("x"), epoch: Epoch(0), role };
    frames::write_one(&mut channel.writer, &hello).await.expect("the worker reads");
    let answer = frames::read_one(&mut channel.reader).await;
    let _welcome: Welcome = answer.expect("the worker answers");
}

/// Logs in, speaks with a worker on both connections, and leaves nothing on either side.
async fn works(bed: &Testbed, name: &str) {
    works_as(bed, name, &host(name)).await;
}

async fn works_as(bed: &Testbed, name: &str, spec: &HostSpec) {
    let rig = rig(bed);
    let link = rig.transport.connect(spec).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    greet(&link, Role::Control).await;
    greet(&link, Role::Bulk).await;
    link.close().await;
    rig.close().await;
    bed.wait_until_idle(name);
}

async fn error_of(bed: &Testbed, config: &str, host: &HostSpec) -> ConnectError {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), format!("{config}\n{}", bed.read("ssh_config"))).expect("writes");
    let rig = rig_with(file.path().to_owned(), RUNNER);
    let error = rig.transport.connect(host).await.err().unwrap_or_else(|| panic!("{config:?} connects"));
    rig.close().await;
    error
}

#[test]
fn a_worker_is_installed_once_and_answers_on_two_connections() {
    on_hosts(async |bed| {
        works(bed, "h1").await;
        let first = bed.sh("h1", "stat -c %i,%Y ~/.cache/runner/*/runner");
        works(bed, "h1").await;
        assert_eq!(bed.sh("h1", "stat -c %i,%Y ~/.cache/runner/*/runner"), first, "it was installed again");
        assert_eq!(bed.sh("h1", "ls -A ~/.cache/runner ~/.cache/runner/* | grep -c '^\\.' || true"), "0");
    });
}

#[test]
fn login_shells_of_all_kinds_and_rc_files_that_print() {
    on_hosts(async |bed| {
        let noise = "echo Welcome to h2; echo; echo 'it is late'";
        bed.sh("h2", &format!("mkdir -p ~/.config/fish; for f in .bashrc .cshrc .profile .config/fish/config.fish; do echo \"{noise}\" >~/$f; done"));
        for shell in ["/bin/sh", "/bin/ash", "/bin/tcsh", "/usr/bin/fish", "/bin/bash"] {
            bed.run(&["shell", "h2", shell]);
            bed.sh("h2", "rm -rf ~/.cache/runner");
            works(bed, "h2").await;
        }
    });
}

#[test]
fn a_host_with_nothing_but_busybox() {
    on_hosts(async |bed| {
        let names = "sh uname id df sed grep mkdir chmod rm rmdir cat touch mv find ls";
        bed.sh("h3", &format!("mkdir bare && for name in {names}; do ln -s $(command -v busybox) bare/$name; done"));
        bed.run(&["sshd", "h3", "SetEnv PATH=/home/worker/bare"]);
        works(bed, "h3").await;
        bed.run(&["sshd", "h3"]);
    });
}

#[test]
fn few_sessions_and_few_logins_at_once() {
    on_hosts(async |bed| {
        bed.run(&["sshd", "h4", "MaxSessions 2"]);
        works(bed, "h4").await;
        bed.run(&["sshd", "h4", "MaxSessions 1"]);
        works(bed, "h4").await;
        bed.run(&["sshd", "h4", "MaxStartups 3:50:10"]);
        let rig = rig(bed);
        let spec = host("h4");
        let links = try_join_all((0..8).map(|_| rig.transport.connect(&spec))).await.expect("all get in");
        let id = &links[0].machine().machine_id;
        assert!(links.iter().all(|link| link.machine().machine_id == *id), "two workers on one host are known as such");
        join_all(links.into_iter().map(Link::close)).await;
        rig.close().await;
        bed.run(&["sshd", "h4", "MaxSessions 0"]);
        assert_eq!(error_of(bed, "", &spec).await, ConnectError::SessionRefused);
        bed.run(&["sshd", "h4"]);
    });
}

#[test]
fn folders_that_forbid_execution_or_are_not_ours_are_passed_over() {
    on_hosts(async |bed| {
        bed.run(&["noexec", "h5", "home"]);
        bed.sh_as_root("h5", "mkdir -m 777 /var/tmp/runner-7700");
        works(bed, "h5").await;
        assert!(bed.sh("h5", "ls /tmp/runner-7700").contains("testbuild"));
        bed.run(&["noexec", "h5", "/tmp"]);
        let error = error_of(bed, "", &host("h5")).await;
        let ConnectError::NoFolder { refused } = &error else { panic!("{error:?}") };
        assert!(refused[0].contains("/home/worker/.cache/runner") && refused[0].contains("noexec"), "{refused:?}");
        assert!(refused[1].contains("somebody else"), "{refused:?}");
        assert!(refused[2].contains("noexec"), "{refused:?}");
    });
}

#[test]
fn another_port_and_a_jump_host() {
    on_hosts(async |bed| {
        bed.run(&["sshd", "h6", "Port 2222"]);
        works_as(bed, "h6", &HostSpec { port: Some(2222), ..host("h6") }).await;
        assert_eq!(
            error_of(bed, "", &HostSpec { port: Some(22), ..host("h6") }).await,
            ConnectError::Refused { port: 22 }
        );
        bed.run(&["sshd", "h6"]);
        bed.run(&["jump", "h6", "h7"]);
        works_as(bed, "h6", &host("h6-via-h7")).await;
        bed.wait_until_idle("h7");
        let jump = |error| ConnectError::Jump { name: "h7".into(), error: Box::new(error) };
        let unknown = "Host h7\n UserKnownHostsFile /nowhere";
        assert_eq!(error_of(bed, unknown, &host("h6-via-h7")).await, jump(ConnectError::HostKeyUnknown));
        let refused = "Host h7\n Port 9";
        assert_eq!(error_of(bed, refused, &host("h6-via-h7")).await, jump(ConnectError::Refused { port: 22 }));
        let behind = HostSpec { port: Some(9), ..host("h6-via-h7") };
        assert_eq!(error_of(bed, "", &behind).await, ConnectError::Refused { port: 9 });
    });
}

#[test]
fn what_hinders_a_login_is_told_apart() {
    on_hosts(async |bed| {
        let spec = host("h8");
        assert_eq!(
            error_of(bed, "", &host("nosuch.invalid")).await,
            ConnectError::Unresolved { name: "nosuch.invalid".into() }
        );
        assert_eq!(
            error_of(bed, "", &HostSpec { port: Some(9), ..host("h8") }).await,
            ConnectError::Refused { port: 9 }
        );
        for strict in ["ask", "yes"] {
            let unknown = format!("UserKnownHostsFile /nowhere\nStrictHostKeyChecking {strict}");
            assert_eq!(error_of(bed, &unknown, &spec).await, ConnectError::HostKeyUnknown);
        }
        let changed = wrong_known_hosts(bed, "h8");
        let error = error_of(bed, &format!("UserKnownHostsFile {}", changed.path().display()), &spec).await;
        let ConnectError::HostKeyChanged { place: Some(place), .. } = &error else { panic!("{error:?}") };
        assert_eq!(*place, format!("{}:1", changed.path().display()));
        let denied = error_of(bed, "", &HostSpec { user: Some("nobody".into()), ..spec.clone() }).await;
        let methods = "publickey".to_owned();
        assert_eq!(denied, ConnectError::Denied { user: "nobody".into(), methods, locked_keys: Vec::new() });
        bed.run(&["cut", "h8"]);
        let error = error_of(bed, "", &spec).await;
        assert!(matches!(error, ConnectError::TimedOut { port: 22 } | ConnectError::NoRoute), "{error:?}");
        bed.run(&["heal", "h8"]);
        let wrong = error_of(bed, "Nonsense yes", &spec).await;
        assert!(matches!(&wrong, ConnectError::Configuration { text } if text.contains("nonsense")), "{wrong:?}");
    });
}

/// The key of one host replaced by that of another.
fn wrong_known_hosts(bed: &Testbed, name: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let known = bed.read("known_hosts");
    let line = known.lines().find(|line| !line.starts_with(&format!("{name} "))).expect("another host");
    let (_, key) = line.split_once(' ').expect("a key");
    std::fs::write(file.path(), format!("{name} {key}\n")).expect("writes");
    file
}

#[test]
fn a_key_with_a_passphrase_and_no_agent_says_ssh_add() {
    on_hosts(async |bed| {
        let folder = tempfile::TempDir::new().expect("a folder");
        let key = folder.path().join("key");
        std::fs::copy(bed.path("key"), &key).expect("copies");
        std::fs::copy(bed.path("key.pub"), folder.path().join("key.pub")).expect("copies");
        let locked = Command::new("ssh-keygen").args(["-q", "-p", "-N", "secret", "-f"]).arg(&key).output();
        assert!(locked.expect("runs").status.success());
        let config = format!("IdentityFile {}\nIdentitiesOnly yes\nIdentityAgent none", key.display());
        let text = bed.read("ssh_config").replace("IdentityFile", "#IdentityFile");
        let file = folder.path().join("config");
        std::fs::write(&file, format!("{config}\n{text}")).expect("writes");
        let rig = rig_with(file, RUNNER);
        let error = rig.transport.connect(&host("h8")).await.err().expect("is denied");
        let ConnectError::Denied { locked_keys, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*locked_keys, [key.clone()]);
        assert!(error.fix("h8").starts_with(&format!("ssh-add {}", key.display())), "{}", error.fix("h8"));
        rig.close().await;
    });
}

#[test]
fn an_install_that_is_cut_short_or_finds_no_space_leaves_nothing() {
    on_hosts(async |bed| {
        bed.run(&["limit", "h9", "4mbit"]);
        let rig = rig(bed);
        let spec = host("h9");
        let files = "ls -A ~/.cache/runner/* 2>/dev/null || true";
        tokio::select! {
            _ = rig.transport.connect(&spec) => panic!("so much cannot have gone through"),
            () = until_there(bed, "h9", files) => {}
        }
        bed.run(&["limit", "h9", "off"]);
        bed.wait_until_idle("h9");
        assert_eq!(bed.sh("h9", files), "", "an unfinished file is left");
        rig.wait_until_no_ssh();
        bed.run(&["fill", "h9", "2000"]);
        let error = rig.transport.connect(&spec).await.err().expect("does not fit");
        assert_eq!(error, ConnectError::DiskFull { folder: "/home/worker/.cache/runner".into() });
        assert_eq!(bed.sh("h9", files), "", "an unfinished file is left");
        bed.run(&["drain", "h9"]);
        rig.close().await;
        works(bed, "h9").await;
    });
}

async fn until_there(bed: &Testbed, name: &str, files: &str) {
    while bed.sh(name, files).is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_connect_that_nobody_waits_for_leaves_nothing() {
    on_hosts(async |bed| {
        let rig = rig(bed);
        let spec = host("h10");
        for wait_ms in [0, 5, 10, 20, 40, 60, 80, 100, 150, 200, 300] {
            let limit = Duration::from_millis(wait_ms);
            let _whether = tokio::time::timeout(limit, rig.transport.connect(&spec)).await;
        }
        rig.wait_until_no_ssh();
        bed.wait_until_idle("h10");
        rig.close().await;
    });
}

#[test]
fn a_command_ends_with_its_connection() {
    on_hosts(async |bed| {
        let rig = rig(bed);
        let spec = host("h11");
        let command = "(sleep 4242 &) ; sleep 4343";
        tokio::select! {
            end = rig.transport.exec(&spec, command) => panic!("{end:?}"),
            () = until_there(bed, "h11", "pgrep -f 'sleep 4343$' || true") => {}
        }
        bed.wait_until_idle("h11");
        let done = rig.transport.exec(&spec, "echo said; echo wrong >&2; exit 127").await.expect("runs");
        assert_eq!((done.code, done.stdout.as_slice(), done.stderr.as_str()), (127, &b"said\n"[..], "wrong"));
        rig.close().await;
        bed.wait_until_idle("h11");
    });
}

#[test]
fn workers_that_share_a_home_share_the_binary() {
    let Some(bed) = Testbed::up("transport-shared", 2) else { return };
    run(async {
        bed.run(&["share-home"]);
        let rig = rig(&bed);
        let (first, second) = (host("h1"), host("h2"));
        let both = tokio::try_join!(rig.transport.connect(&first), rig.transport.connect(&second));
        let (first, second) = both.expect("both install at once");
        assert_ne!(first.machine().machine_id, second.machine().machine_id);
        greet(&first, Role::Control).await;
        greet(&second, Role::Bulk).await;
        tokio::join!(first.close(), second.close());
        rig.close().await;
        assert_eq!(bed.sh("h2", "ls -A ~/.cache/runner/*"), "runner");
    });
}

#[test]
fn unknown_keys_are_added_when_asked_for_and_changed_ones_never() {
    on_hosts(async |bed| {
        bed.run(&["jump", "h8", "h7"]);
        let folder = tempfile::TempDir::new().expect("a folder");
        let known = folder.path().join("ssh").join("known_hosts");
        let config = folder.path().join("config");
        let own = format!("HashKnownHosts no\nUserKnownHostsFile {}\n{}", known.display(), bed.read("ssh_config"));
        std::fs::write(&config, own).expect("writes");
        let workers = |arguments: &[&str]| {
            let mut command = Command::new(RUNNER);
            command.arg("workers").args(arguments).arg("--ssh-config").arg(&config).stdin(Stdio::null());
            Said::of(command.output().expect("runs"))
        };
        let said = workers(&["check", "--workers", "h8-via-h7,h7"]);
        assert_eq!(said.code, 5, "{said:?}");
        assert!(said.stderr.contains("runner workers trust 'h7'"), "{said:?}");
        let said = workers(&["trust", "h8-via-h7"]);
        assert_eq!((said.code, known.exists()), (2, false), "{said:?}");
        let said = workers(&["trust", "--yes", "h8-via-h7", "h7"]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.stdout.contains("SHA256:"), "{said:?}");
        assert_eq!(lines_without_comments(&known), known_lines(bed, &["h7", "h8"]));
        let said = workers(&["trust", "--yes", "h7", "h8"]);
        assert!(said.code == 0 && said.stdout.contains("already known: h[7-8]"), "{said:?}");
        assert_eq!(workers(&["check", "--workers", "h8-via-h7,h7"]).code, 0);
        std::fs::write(&known, std::fs::read(wrong_known_hosts(bed, "h7").path()).expect("reads")).expect("writes");
        let said = workers(&["trust", "--yes", "h7"]);
        assert!(said.code == 5 && said.stderr.contains("CHANGED HOST KEYS"), "{said:?}");
    });
}

#[derive(Debug)]
struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Said { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

fn lines_without_comments(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).expect("reads");
    text.lines().map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect()
}

fn known_lines(bed: &Testbed, names: &[&str]) -> Vec<String> {
    let lines = lines_without_comments(&bed.path("known_hosts"));
    lines.into_iter().filter(|line| names.iter().any(|name| line.starts_with(&format!("{name} ")))).collect()
}

#[test]
fn workers_exec_folds_equal_outputs() {
    on_hosts(async |bed| {
        let output = Command::new(RUNNER)
            .args(["workers", "exec", "--workers", "h1,h7,h8", "--ssh-config"])
            .arg(bed.ssh_config())
            .args(["--", "id -un; [ $(uname -n) != h7 ] || exit 3"])
            .stdin(Stdio::null())
            .output();
        let said = Said::of(output.expect("runs"));
        assert_eq!((said.code, said.stdout.as_str()), (1, "h[1,7-8]:\nworker\n"), "{said:?}");
        assert!(
            said.stderr.contains("h7: exit code 3\n") && said.stderr.contains("failed on 1 of 3 workers: h7"),
            "{said:?}"
        );
    });
}

#[test]
fn this_machine_needs_no_ssh() {
    run(async {
        let scratch = tempfile::TempDir::new().expect("a folder");
        let rig = rig_with("/nowhere/config".into(), RUNNER);
        let spec = HostSpec { scratch: Some(scratch.path().to_owned()), ..HostSpec::new(Place::ThisMachine, "local") };
        let link = rig.transport.connect(&spec).await.expect("a link");
        greet(&link, Role::Control).await;
        greet(&link, Role::Bulk).await;
        link.close().await;
        rig.close().await;
        let folder = scratch.path().display().to_string();
        wait_until("the worker has ended", || workers_in(&folder).is_empty());
    });
}

fn workers_in(folder: &str) -> Vec<String> {
    processes(|line| line.contains("worker serve") && line.contains(folder))
}
