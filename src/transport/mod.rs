//! A [`Link`] to each worker: over ssh, or to this machine.
//!
//! The transport logs in with the system's ssh, as the user configured it (`config`, `master`), through one gate for each
//! sshd that is met first (`gate`); looks at the machine once (`probe`); puts our binary there if it is missing
//! (`install`); and then opens byte streams to the worker's socket. All that is said to a machine goes through `shell`. What went
//! wrong is a [`ConnectError`], which knows what helps.
//!
//! Nothing here knows what flows through the streams, or decides which workers to use. Nothing is left behind: dropping
//! or closing a [`Link`] ends its ssh processes; an unfinished [`Transport::connect`] can be dropped at any time.

mod classify;
mod clean;
mod config;
mod control_folder;
mod data;
mod door;
mod error;
mod exec;
mod gate;
mod install;
mod job_key;
mod kept;
mod local;
mod machine;
mod master;
mod probe;
mod shell;
mod ssh;
mod trust;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OnceCell, Semaphore};
use tokio::time::sleep;

use crate::fleet::{HostSpec, Place};
use crate::folders::own_name;
use crate::ids::{JobId, WorkerId};
use crate::protocol::control::Role;
use crate::protocol::peer::Door;

pub(crate) use crate::ids::random;
pub use clean::{Cleaned, Extent};
pub use config::includes as ssh_includes;
pub use data::{DataStream, Load};
pub use error::ConnectError;
pub use exec::Executed;
pub use job_key::JobKey;
pub use local::LocalLink;
pub use machine::{Machine, ScratchQuality};
pub use shell::{Reader, Writer};
pub use ssh::SshLink;
pub use trust::{Hop, HostKey, add_known_hosts};

use config::Resolved;
use control_folder::ControlFolder;
use gate::Gate;
use install::{Binaries, build_folder};
use master::{Login, Master};
use probe::{Purpose, probe};
use shell::Site;

/// Logins on their way at once, whatever the hosts: each is a process that calculates for some milliseconds.
const LOGINS_AT_ONCE_MAX: usize = 64;

/// Tries of a login that sshd dropped: with the waits between, about 8 s.
const LOGIN_TRIES_MAX: u32 = 6;

/// What a login may take beyond the connection: slow name services and PAM modules.
const LOGIN_TIME_MAX: Duration = Duration::from_secs(30);

/// What all links have in common.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// A configuration for ssh that goes before the user's and the system's.
    pub ssh_config: Option<PathBuf>,
    /// How long to wait for a machine's first word.
    pub connect_timeout: Duration,
    /// Logins on their way at once to the sshd that is met first.
    pub connects_per_hop_max: usize,
    /// Our own executable.
    pub binary: PathBuf,
    /// Executables for other architectures, by `uname -m`.
    pub binaries: BTreeMap<String, PathBuf>,
    /// The build: letters, digits, dots and dashes.
    pub build: String,
    /// `$XDG_RUNTIME_DIR`, for short-lived sockets.
    pub runtime_folder: Option<PathBuf>,
    /// Our environment; a worker on this machine sees the part of it that a login would give.
    pub environment: Vec<(OsString, OsString)>,
}

/// What makes links.
#[derive(Debug)]
pub struct Transport {
    config: TransportConfig,
    folder: Arc<ControlFolder>,
    ssh_config: PathBuf,
    binaries: Binaries,
    gates: Mutex<HashMap<String, Arc<Gate>>>,
    logins: Semaphore,
    default_ciphers: OnceCell<String>,
}

/// A worker's machine, ready to be worked on.
#[derive(Debug)]
pub enum Link {
    /// Over ssh.
    Ssh(SshLink),
    /// This machine.
    Local(LocalLink),
}

/// Whether a worker may be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// If none is there; it then stays so long without a driver.
    IfNone(Duration),
    /// Never: a worker that is gone has nothing any more.
    No,
}

/// A stream of bytes to and from a worker's socket. Dropping the writer ends it.
pub struct Channel {
    /// From the worker.
    pub reader: Reader,
    /// To the worker.
    pub writer: Writer,
}

impl Transport {
    /// Makes a transport, with a folder of its own for sockets.
    ///
    /// # Errors
    /// [`ConnectError::Here`]: no folder can be made, or its name would be too long.
    pub fn new(config: TransportConfig) -> Result<Self, ConnectError> {
        let folder = Arc::new(ControlFolder::new(config.runtime_folder.as_deref())?);
        let ssh_config = folder.path().join("config");
        let text = config::generate(config.ssh_config.as_deref(), config.connect_timeout)?;
        fs_err::write(&ssh_config, text).map_err(ConnectError::here)?;
        Ok(Transport {
            binaries: Binaries::new(config.binary.clone(), config.binaries.clone()),
            config,
            folder,
            ssh_config,
            gates: Mutex::default(),
            logins: Semaphore::new(LOGINS_AT_ONCE_MAX),
            default_ciphers: OnceCell::new(),
        })
    }

    /// The build that workers are to be of.
    pub fn build(&self) -> &str {
        &self.config.build
    }

    /// Lets a configuration for ssh go before all others but our own few overrides, from now on.
    ///
    /// # Errors
    /// [`ConnectError::Here`]: its name cannot be written in such a file, or ours not be written.
    pub fn put_first(&self, ssh_config: &Path) -> Result<(), ConnectError> {
        let extra = [Some(ssh_config), self.config.ssh_config.as_deref()].into_iter().flatten();
        let text = config::generate(extra, self.config.connect_timeout)?;
        fs_err::write(&self.ssh_config, text).map_err(ConnectError::here)
    }

    /// Logs in to a host, twice at once; looks at it; installs our binary if it is not there.
    ///
    /// # Errors
    /// What hinders, as far as it can be concluded. All that was begun is undone.
    pub async fn connect(&self, host: &HostSpec) -> Result<Link, ConnectError> {
        match host.place {
            Place::Ssh => self.connect_ssh(host).await.map(Link::Ssh),
            Place::ThisMachine => self.local(host),
        }
    }

    /// This machine as a worker.
    ///
    /// # Errors
    /// [`ConnectError::Here`]: its scratch folder cannot be made or belongs to somebody else.
    pub fn local(&self, host: &HostSpec) -> Result<Link, ConnectError> {
        LocalLink::new(&local_root(host), &self.config.binary, &self.config.environment).map(Link::Local)
    }

    /// Logs in to a host once and looks at it; nothing is installed.
    ///
    /// # Errors
    /// As for [`Transport::connect`].
    pub async fn look(&self, host: &HostSpec) -> Result<Machine, ConnectError> {
        match host.place {
            Place::Ssh => {
                let resolved = Resolved::ask(&self.ssh_config, host).await?;
                let master = self.login(host, &resolved, Role::Control).await?;
                let site = Site::Remote(Arc::clone(&master.session));
                let probed = probe(&site, &self.config.build, host.scratch.as_deref(), Purpose::Look).await;
                let sshd = master.sshd.clone();
                master.close().await;
                probed.map(|probed| Machine { sshd, ..probed.machine })
            }
            Place::ThisMachine => Ok(local::machine(scratch_parent(host).to_owned())),
        }
    }

    /// Ends the ssh connections of drivers that are gone, and removes their folders; says how many there were.
    pub async fn end_abandoned(&self) -> usize {
        let folders = control_folder::abandoned(self.config.runtime_folder.as_deref());
        for folder in &folders {
            for connection in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let socket = connection.path().join("master");
                if socket.exists() {
                    master::end(&socket).await;
                }
            }
            let _gone = fs_err::remove_dir_all(folder);
        }
        folders.len()
    }

    /// Removes what was made here. Links must be closed before.
    pub async fn close(&self) {
        // What cannot be removed now is removed by the next one who comes.
        let _ = fs_err::tokio::remove_dir_all(self.folder.path()).await;
    }

    async fn connect_ssh(&self, host: &HostSpec) -> Result<SshLink, ConnectError> {
        let resolved = Resolved::ask(&self.ssh_config, host).await?;
        let build = &self.config.build;
        let prepare = async {
            let control = self.login(host, &resolved, Role::Control).await?;
            let site = Site::Remote(Arc::clone(&control.session));
            let probed = probe(&site, build, host.scratch.as_deref(), Purpose::Job).await?;
            Ok((control, probed))
        };
        let ((control, probed), mut bulk) = tokio::try_join!(prepare, self.login(host, &resolved, Role::Bulk))?;
        if !probed.cached {
            self.binaries.install(&Site::Remote(Arc::clone(&control.session)), build, &probed).await?;
            // Over a slow line that may have taken longer than a connection idles.
            if bulk.session.check().await.is_err() {
                bulk = self.login(host, &resolved, Role::Bulk).await?;
            }
        }
        Ok(SshLink {
            machine: Machine { sshd: control.sshd.clone(), ..probed.machine.clone() },
            control,
            bulk,
            resolved: Arc::new(resolved),
            binary: probed.folder.join(build_folder(build, &probed.machine.arch)).join("runner"),
        })
    }

    async fn login(&self, host: &HostSpec, resolved: &Resolved, role: Role) -> Result<Master, ConnectError> {
        self.login_within(host, resolved, role, LOGIN_TRIES_MAX).await
    }

    async fn login_within(
        &self,
        host: &HostSpec,
        resolved: &Resolved,
        role: Role,
        tries_max: u32,
    ) -> Result<Master, ConnectError> {
        let ciphers = match role {
            Role::Control => None,
            Role::Bulk => resolved.bulk_ciphers(self.default_ciphers.get_or_try_init(config::default_ciphers).await?),
        };
        let login = Login {
            config: &self.ssh_config,
            host,
            resolved,
            ciphers: ciphers.as_deref(),
            time_max: self.config.connect_timeout + LOGIN_TIME_MAX,
        };
        self.with_tries(resolved, tries_max, || Master::launch(&self.folder, login)).await
    }

    /// Tries again what sshd dropped, after a wait and with fewer at once; nothing else, since what failed for a reason
    /// fails again, and sshd counts it (`PerSourcePenalties`).
    async fn with_tries<T, F>(
        &self,
        resolved: &Resolved,
        tries_max: u32,
        attempt: impl Fn() -> F,
    ) -> Result<T, ConnectError>
    where
        F: Future<Output = Result<T, ConnectError>>,
    {
        let gate = self.gate(resolved.first_hop());
        let mut number = 1;
        loop {
            let pass = Arc::clone(&gate).enter().await;
            let one_of_all = self.logins.acquire().await;
            match attempt().await {
                Err(error) if error.passes() && number < tries_max => pass.narrow(),
                done => return done.map_err(|error| error.after(number)),
            }
            drop(one_of_all);
            sleep(wait_before(number)).await;
            number += 1;
        }
    }

    fn gate(&self, hop: String) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(gates.entry(hop).or_insert_with(|| Gate::new(self.config.connects_per_hop_max)))
    }
}

impl Link {
    /// What is known of the machine.
    pub fn machine(&self) -> &Machine {
        match self {
            Link::Ssh(link) => &link.machine,
            Link::Local(link) => link.machine(),
        }
    }

    /// The folder of a worker of a job there.
    pub fn job_folder(&self, job: &JobId, worker: WorkerId) -> PathBuf {
        job_folder(&self.machine().scratch, job, worker)
    }

    /// Finds out how other machines reach this one, at `peer` if that is said; none if they cannot. It does not need
    /// the link any more.
    pub fn door(&self, peer: Option<String>) -> impl Future<Output = Option<Door>> + Send + use<> {
        let facts = match self {
            Link::Ssh(link) => Some((Arc::clone(&link.resolved), link.machine.clone())),
            Link::Local(_) => None,
        };
        async move {
            let (resolved, machine) = facts?;
            door::find(&resolved, &machine.whereabouts, peer).await
        }
    }

    /// Opens a stream to the worker of a job. Control and bulk go over connections of their own.
    ///
    /// # Errors
    /// The connection was lost; or [`ConnectError::Start`], when the worker does not start, or is not there.
    pub async fn open(&self, job: &JobId, worker: WorkerId, role: Role, start: Start) -> Result<Channel, ConnectError> {
        match self {
            Link::Ssh(link) => link.open(job, worker, role, start).await,
            Link::Local(link) => link.open(job, worker, start).await,
        }
    }

    /// Ends the ssh processes of the link now. Dropping it does so too, once their streams have ended.
    pub async fn close(self) {
        match self {
            Link::Ssh(link) => link.close().await,
            Link::Local(_) => {}
        }
    }
}

/// The folder of one worker's share in a job.
fn job_folder(scratch: &Path, job: &JobId, worker: WorkerId) -> PathBuf {
    scratch.join("jobs").join(format!("{job}-{worker}"))
}

/// Where this machine's job folders lie: by the same rule as on other hosts.
fn local_root(host: &HostSpec) -> PathBuf {
    scratch_parent(host).join(own_name())
}

fn scratch_parent(host: &HostSpec) -> &Path {
    host.scratch.as_deref().unwrap_or(Path::new("/var/tmp"))
}

/// 0.25 s, doubled each time, half of it by chance, so that those who were dropped together do not meet again.
fn wait_before(number: u32) -> Duration {
    let whole = Duration::from_millis(250 << (number - 1).min(5));
    whole / 2 + whole.mul_f64(f64::from(u32::try_from(random() >> 32).unwrap_or(0)) / f64::from(u32::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_differ() {
        for number in 1..10 {
            let whole = Duration::from_millis(250 << (number - 1).min(5));
            let wait = wait_before(number);
            assert!(wait >= whole / 2 && wait <= whole, "{number}: {wait:?}");
        }
        assert_ne!(random(), random());
    }

    #[test]
    fn job_folders_are_safe_words() {
        let job = JobId::new("word count", 7);
        let folder = job_folder(Path::new("/var/tmp/runner-1"), &job, WorkerId(3));
        let name = folder.to_str().expect("is text");
        assert!(name.ends_with("-w3") && name.chars().all(|c| c.is_ascii_alphanumeric() || "/-".contains(c)), "{name}");
    }
}
