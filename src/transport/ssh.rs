//! A worker over ssh: two connections, so that many bytes never keep a heartbeat waiting.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::config::Resolved;
use super::error::ConnectError;
use super::machine::Machine;
use super::master::Master;
use super::shell::Site;
use super::{Channel, Start, job_folder};
use crate::ids::{JobId, WorkerId};
use crate::protocol::control::Role;

/// A machine that we are logged in to twice, with our binary on it.
#[derive(Debug)]
pub struct SshLink {
    pub(super) control: Master,
    pub(super) bulk: Master,
    pub(super) machine: Machine,
    pub(super) resolved: Arc<Resolved>,
    /// Our binary there; all characters of it mean the same to every shell.
    pub(super) binary: PathBuf,
}

impl SshLink {
    pub(super) async fn open(
        &self,
        job: &JobId,
        worker: WorkerId,
        role: Role,
        start: Start,
    ) -> Result<Channel, ConnectError> {
        let start = match start {
            Start::IfNone(grace) => format!("--start {} ", grace.as_secs()),
            Start::No => String::new(),
        };
        let folder = job_folder(&self.machine.scratch, job, worker);
        let command = format!("exec {} worker attach {start}{}", self.binary.display(), folder.display());
        let master = self.master(role);
        match Site::Remote(master.session.clone()).run(&command, b"").await {
            Ok(mut running) => Ok(Channel {
                reader: running.stdout,
                writer: running.stdin.take().ok_or_else(|| ConnectError::here("the stream to a worker is closed"))?,
            }),
            Err(ConnectError::Lost { text }) => match self.last_words(role) {
                Some(words) => Err(ConnectError::Lost { text: words }),
                None => Err(ConnectError::Start { text }),
            },
            Err(error) => Err(error),
        }
    }

    /// Why the connection of this role has ended, if it has, in ssh's words.
    pub fn last_words(&self, role: Role) -> Option<String> {
        let socket: &Path = self.master(role).session.control_socket();
        if socket.exists() {
            return None;
        }
        let log = fs_err::read(socket.with_file_name("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let mut spoken = log.lines().rev().map(str::trim).filter(|line| !line.starts_with("debug") && !line.is_empty());
        Some(spoken.next().unwrap_or("the ssh connection has ended").to_owned())
    }

    pub(super) async fn close(self) {
        tokio::join!(self.control.close(), self.bulk.close());
    }

    fn master(&self, role: Role) -> &Master {
        match role {
            Role::Control => &self.control,
            Role::Bulk => &self.bulk,
        }
    }
}
