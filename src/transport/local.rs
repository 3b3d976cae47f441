//! A worker on this machine: the same process and protocol, and no ssh.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::error::ConnectError;
use super::machine::{Machine, ScratchQuality, machine_id};
use super::shell::words_or;
use super::{Channel, Start, job_folder};
use crate::clock;
use crate::folders::{SocketFolder, private_folder};
use crate::ids::{JobId, WorkerId};
use crate::protocol::SOCKET;
use crate::protocol::peer::Whereabouts;
use crate::units::Bytes;

/// How long a worker's process may take until its socket is there.
const START_TIME_MAX: Duration = Duration::from_secs(20);

/// What a login would give a worker, so that a job runs here as it would there; and all that starts with `LC_`.
const ENVIRONMENT: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR"];

/// This machine as a worker.
#[derive(Debug)]
pub struct LocalLink {
    machine: Machine,
    binary: PathBuf,
    environment: Vec<(OsString, OsString)>,
    /// Held while a worker is started, so that two connections do not start two.
    starting: Mutex<()>,
}

impl LocalLink {
    /// The job folders come below `root`, which is made.
    pub(super) fn new(root: &Path, binary: &Path, environment: &[(OsString, OsString)]) -> Result<Self, ConnectError> {
        let root = std::path::absolute(root).map_err(ConnectError::here)?;
        private_folder(&root).map_err(ConnectError::here)?;
        let environment = environment.iter().filter(|(name, _)| is_kept(&name.to_string_lossy())).cloned().collect();
        Ok(LocalLink { machine: machine(root), binary: binary.to_owned(), environment, starting: Mutex::default() })
    }

    pub(super) fn machine(&self) -> &Machine {
        &self.machine
    }

    pub(super) async fn open(&self, job: &JobId, worker: WorkerId, start: Start) -> Result<Channel, ConnectError> {
        let folder = job_folder(&self.machine.scratch, job, worker);
        let _starting = self.starting.lock().await;
        let stream = match (connect(&folder).await, start) {
            (Ok(stream), _) => stream,
            (Err(_), Start::IfNone(grace)) => self.start(&folder, grace).await?,
            (Err(error), Start::No) => {
                return Err(ConnectError::Start {
                    text: format!("no worker listens in {}: {error}", folder.display()),
                });
            }
        };
        let (reader, writer) = stream.into_split();
        Ok(Channel { reader: Box::new(reader), writer: Box::new(writer) })
    }

    async fn start(&self, folder: &Path, grace: Duration) -> Result<UnixStream, ConnectError> {
        private_folder(folder).map_err(ConnectError::here)?;
        let log = folder.join("serve.log");
        let mut child = self.spawn(folder, &log, grace)?;
        let deadline = clock::now() + START_TIME_MAX;
        let mut wait = Duration::from_millis(1);
        loop {
            match connect(folder).await {
                Ok(stream) => return Ok(stream),
                Err(error) if clock::now() > deadline => return Err(ConnectError::Start { text: error.to_string() }),
                Err(error) => {
                    if let Ok(Some(status)) = child.try_wait() {
                        let words = fs_err::read_to_string(&log).unwrap_or_default();
                        return Err(ConnectError::Start { text: words_or(&words, &format!("{status}; {error}")) });
                    }
                }
            }
            sleep(wait).await;
            wait = (wait * 2).min(Duration::from_millis(50));
        }
    }

    /// The worker makes a session of its own, so that Ctrl-C reaches the driver only.
    fn spawn(&self, folder: &Path, log: &Path, grace: Duration) -> Result<Child, ConnectError> {
        let log = fs_err::File::create(log).map_err(ConnectError::here)?.into_file();
        Command::new(&self.binary)
            .args(["worker", "serve", "--grace", &grace.as_secs().to_string()])
            .arg(folder)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| ConnectError::here(format!("{} cannot be started: {error}", self.binary.display())))
    }
}

fn is_kept(variable: &str) -> bool {
    ENVIRONMENT.contains(&variable) || variable.starts_with("LC_")
}

/// This machine's facts; `scratch` is where job folders will lie.
pub(super) fn machine(scratch: PathBuf) -> Machine {
    let read = |path: &str| fs_err::read_to_string(path).unwrap_or_default();
    let name = rustix::system::uname();
    let hostname = name.nodename().to_string_lossy().into_owned();
    let mounts = fs_err::read_link("/proc/self/ns/mnt").unwrap_or_default();
    let disk = rustix::fs::statvfs(&scratch).map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    Machine {
        arch: super::probe::arch(std::env::consts::ARCH).to_owned(),
        machine_id: machine_id(
            &read("/proc/sys/kernel/random/boot_id"),
            &mounts.to_string_lossy(),
            &read("/etc/machine-id"),
            &hostname,
        ),
        hostname,
        uid: rustix::process::getuid().as_raw(),
        cores: std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
        load_percent: super::probe::load_percent(read("/proc/loadavg").split(' ').next().unwrap_or_default()),
        memory: Bytes(memory_kb(&read("/proc/meminfo")).saturating_mul(1024)),
        disk_free: Bytes(disk),
        ssh_client: None,
        sshd: None,
        has_gzip: true,
        home: None,
        whereabouts: Whereabouts::default(),
        latency: Duration::ZERO,
        scratch,
        scratch_quality: ScratchQuality::Good,
    }
}

fn memory_kb(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Connects to the socket in a folder.
async fn connect(folder: &Path) -> std::io::Result<UnixStream> {
    UnixStream::connect(SocketFolder::open(folder)?.path(SOCKET)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    #[tokio::test]
    async fn this_machine_gives_the_same_id_both_ways() {
        let folder = TempDir::new().expect("a folder");
        let site = super::super::shell::Site::Here;
        let purpose = super::super::probe::Purpose::Look;
        let asked = super::super::probe::probe(&site, "b", Some(folder.path()), purpose).await.expect("looks").machine;
        let known = machine(folder.path().to_owned());
        assert_eq!((&asked.machine_id, &asked.hostname), (&known.machine_id, &known.hostname));
        assert_eq!((asked.memory, asked.uid, asked.arch), (known.memory, known.uid, known.arch));
    }

    #[tokio::test]
    async fn a_worker_that_does_not_start_tells_its_last_words() {
        let folder = TempDir::new().expect("a folder");
        let binary = folder.path().join("runner");
        fs_err::write(&binary, "#!/bin/sh\necho no luck today >&2\nexit 3\n").expect("writes");
        fs_err::set_permissions(&binary, PermissionsExt::from_mode(0o700)).expect("sets the mode");
        let link = LocalLink::new(&folder.path().join("root"), &binary, &[]).expect("makes one");
        let job = "job-1".parse().expect("an id");
        let error = link.open(&job, WorkerId(0), Start::IfNone(Duration::ZERO)).await.err().expect("fails");
        assert_eq!(error, ConnectError::Start { text: "no luck today".into() });
    }

    #[tokio::test]
    async fn sockets_are_reached_in_folders_with_long_names() {
        let folder = TempDir::new().expect("a folder");
        let deep = folder.path().join("d".repeat(100)).join("e".repeat(100));
        private_folder(&deep).expect("makes it");
        let short = folder.path().join("s");
        let listener = tokio::net::UnixListener::bind(&short).expect("binds");
        fs_err::rename(&short, deep.join(SOCKET)).expect("moves");
        connect(&deep).await.expect("connects");
        drop(listener);
    }
}
