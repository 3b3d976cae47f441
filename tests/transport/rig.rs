//! What the tests share: a transport whose traces can be looked for, and hosts to try it on.

use std::path::PathBuf;
use std::time::Duration;

use runner::fleet::{HostSpec, Place};
use runner::ids::{Epoch, JobId, WorkerId};
use runner::protocol::control::{Hello, Reign, Role, Welcome};
use runner::protocol::frames;
use runner::transport::{ConnectError, Link, Start, Transport, TransportConfig};

use crate::testbed::{self, Testbed, wait_until};

const HOSTS: usize = 11;
const GRACE: Duration = Duration::from_secs(1);
pub const RUNNER: &str = env!("CARGO_BIN_EXE_runner");

/// A transport whose sockets lie in a folder that the test can look into.
pub struct Rig {
    pub transport: Transport,
    pub sockets: tempfile::TempDir,
}

pub fn rig_with(ssh_config: PathBuf, binary: &str) -> Rig {
    let sockets = tempfile::Builder::new().prefix("t").tempdir_in("/tmp").expect("a folder");
    let config = TransportConfig {
        ssh_config: Some(ssh_config),
        connect_timeout: Duration::from_secs(3),
        connects_per_hop_max: 8,
        binary: binary.into(),
        binaries: Default::default(),
        build: "testbuild".into(),
        runtime_folder: Some(sockets.path().to_owned()),
        environment: std::env::vars_os().collect(),
    };
    Rig { transport: Transport::new(config).expect("a transport"), sockets }
}

pub fn rig(bed: &Testbed) -> Rig {
    rig_with(bed.ssh_config(), RUNNER)
}

impl Rig {
    /// Nothing of ours is left here: no folder, no ssh process that knows one.
    pub async fn close(self) {
        self.transport.close().await;
        assert_eq!(std::fs::read_dir(self.sockets.path()).expect("lists").count(), 0, "sockets are left");
        self.wait_until_no_ssh();
    }

    pub fn wait_until_no_ssh(&self) {
        let folder = self.sockets.path().display().to_string();
        wait_until("all our ssh processes have ended", || ssh_processes(&folder).is_empty());
    }
}

pub fn ssh_processes(part: &str) -> Vec<String> {
    processes(|line| line.contains("ssh") && line.contains(part))
}

pub fn processes(is_meant: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = std::fs::read_dir("/proc").expect("lists").flatten().filter_map(|process| {
        let line = std::fs::read(process.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.filter(|line| is_meant(line)).collect()
}

pub fn host(name: &str) -> HostSpec {
    HostSpec::new(Place::Ssh, name)
}

pub fn job(name: &str) -> JobId {
    JobId::new(name, 1)
}

/// Runs a test on the shared hosts, each test on hosts of its own.
pub fn on_hosts(test: impl AsyncFnOnce(&Testbed)) {
    if let Some(bed) = testbed::shared("transport", HOSTS) {
        run(test(&bed));
    }
}

pub fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(test)
}

/// Opens a stream to a worker, which answers with whatever it thinks of us.
pub async fn greet(link: &Link, role: Role) {
    let mut channel =
        link.open(&job("check"), WorkerId(0), role, Start::IfNone(GRACE)).await.expect("a stream to the worker");
    let hello = Hello {
        build: "x".into(),
        job: job("x"),
        reign: Reign { epoch: Epoch(0), token: 1, driver: "a test".into() },
        role,
    };
    frames::write_one(&mut channel.writer, &hello).await.expect("the worker reads");
    let answer = frames::read_one(&mut channel.reader).await;
    let _welcome: Welcome = answer.expect("the worker answers");
}

/// Logs in, speaks with a worker on both connections, and leaves nothing on either side.
pub async fn works(bed: &Testbed, name: &str) {
    works_as(bed, name, &host(name)).await;
}

pub async fn works_as(bed: &Testbed, name: &str, spec: &HostSpec) {
    let rig = rig(bed);
    let link = rig.transport.connect(spec).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    greet(&link, Role::Control).await;
    greet(&link, Role::Bulk).await;
    link.close().await;
    rig.close().await;
    bed.wait_until_idle(name);
}

pub async fn error_of(bed: &Testbed, config: &str, host: &HostSpec) -> ConnectError {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), format!("{config}\n{}", bed.read("ssh_config"))).expect("writes");
    let rig = rig_with(file.path().to_owned(), RUNNER);
    let error = rig.transport.connect(host).await.err().unwrap_or_else(|| panic!("{config:?} connects"));
    rig.close().await;
    error
}

/// The key of one host replaced by that of another.
pub fn wrong_known_hosts(bed: &Testbed, name: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let known = bed.read("known_hosts");
    let line = known.lines().find(|line| !line.starts_with(&format!("{name} "))).expect("another host");
    let (_, key) = line.split_once(' ').expect("a key");
    std::fs::write(file.path(), format!("{name} {key}\n")).expect("writes");
    file
}

pub async fn until_there(bed: &Testbed, name: &str, files: &str) {
    while bed.sh(name, files).is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
