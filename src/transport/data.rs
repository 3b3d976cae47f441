//! A stream to the data folder of a host: one ssh process, one command, one way there and back.
//!
//! Jobs log in twice and look at the machine first; whoever lists datasets does not wait for that. The script finds the
//! binary where an earlier probe put it and becomes it. Only where it is missing, or sshd hung up, the long way is gone.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::classify::{classify, server_version};
use super::config::{self, Resolved};
use super::error::ConnectError;
use super::shell::{Held, Reader, Running, Site, Writer};
use super::{Channel, Transport};
use crate::fleet::{HostSpec, Place};
use crate::protocol::data::{MISSING, READY};

/// How much will go through a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Some words: what counts is the time until the first.
    Words,
    /// Files: what counts is the rate.
    Bytes,
}

/// A stream to a data folder.
pub struct DataStream {
    /// Its two ways.
    pub channel: Channel,
    /// The version of sshd, as it greeted us; none for this machine.
    pub sshd: Option<String>,
}

/// A process of its own for one stream: ssh, or our binary.
#[derive(Clone, Debug)]
pub(super) struct Direct {
    program: PathBuf,
    words: Vec<OsString>,
}

impl Transport {
    /// Opens the data folder of a host, with our binary on the other side, which is told its `name`: a job's id and a
    /// worker's, as in the name of a job folder.
    ///
    /// # Errors
    /// What hinders, as for [`Transport::connect`]; [`ConnectError::Start`] with the words of who should have opened the
    /// folder there.
    pub async fn data(&self, host: &HostSpec, load: Load, name: &str) -> Result<DataStream, ConnectError> {
        if host.place == Place::ThisMachine {
            let channel = ready(self.data_here(host).await?).await?;
            let channel = channel.ok_or_else(|| ConnectError::here("our binary is missing"))?;
            return Ok(DataStream { channel, sshd: None });
        }
        match self.data_there(host, load, name).await {
            Ok(Some(stream)) => return Ok(stream),
            Ok(None) => {}
            Err(error) if error.passes() => {}
            Err(error) => return Err(error),
        }
        // Goes in through the gate, tries again, and installs.
        self.connect(host).await?.close().await;
        let text = || "our binary was installed and is not found again".to_owned();
        self.data_there(host, load, name).await?.ok_or_else(|| ConnectError::Install { text: text() })
    }

    async fn data_here(&self, host: &HostSpec) -> Result<Running, ConnectError> {
        let mut words: Vec<OsString> = ["worker", "data"].map(OsString::from).into();
        if let Some(folder) = &host.data {
            words.extend(["--folder".into(), folder.into()]);
        }
        Site::Direct(Direct { program: self.config.binary.clone(), words }).run("", b"").await
    }

    /// None if our binary is not there.
    async fn data_there(&self, host: &HostSpec, load: Load, name: &str) -> Result<Option<DataStream>, ConnectError> {
        let folder: TempDir = self.folder.make_one()?;
        let ciphers = match load {
            Load::Words => None,
            Load::Bytes => {
                let resolved = Resolved::ask(&self.ssh_config, host).await?;
                resolved.bulk_ciphers(self.default_ciphers.get_or_try_init(config::default_ciphers).await?)
            }
        };
        let log = folder.path().join("log");
        let direct =
            Direct { program: "ssh".into(), words: ssh_words(&self.ssh_config, &log, ciphers.as_deref(), host) };
        let data = host.data.as_ref().map(|folder| folder.to_string_lossy().into_owned()).unwrap_or_default();
        let missing = char::from(MISSING).to_string();
        let variables = [("build", self.config.build.as_str()), ("data", &data), ("name", name), ("missing", &missing)];
        let place = self.logins.acquire().await;
        let running = Site::Direct(direct).script(&variables, include_str!("data.sh")).await;
        drop(place);
        match running {
            Ok(running) => {
                let channel = ready(running).await?;
                let log = fs_err::read(&log).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default();
                Ok(channel.map(|channel| DataStream { channel, sshd: server_version(&log) }))
            }
            Err(ConnectError::Lost { text }) => Err(self.why(host, &log, text).await),
            Err(error) => Err(error),
        }
    }

    /// What ended the stream before its first word: the login, by ssh's log, or what was run there.
    async fn why(&self, host: &HostSpec, log: &Path, text: String) -> ConnectError {
        let log = fs_err::read(log).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default();
        if log.contains("Authenticated to ") || log.is_empty() {
            return ConnectError::Start { text };
        }
        match Resolved::ask(&self.ssh_config, host).await {
            Ok(resolved) => classify(&log, "", &resolved),
            Err(error) => error,
        }
    }
}

/// Looks at the first byte.
async fn ready(mut running: Running) -> Result<Option<Channel>, ConnectError> {
    let first = match running.stdout.read_u8().await {
        Ok(first) => first,
        Err(error) => {
            let text = super::shell::words_or(&running.stderr.end().await, &error.to_string());
            return Err(ConnectError::Start { text });
        }
    };
    let writer = running.stdin.take().filter(|_| first == READY);
    Ok(writer.map(|writer| Channel { reader: running.stdout, writer }))
}

/// How ssh is called, but for the command. A master of the user's is left alone: it is not ours to load.
fn ssh_words(config: &Path, log: &Path, ciphers: Option<&str>, host: &HostSpec) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["-F".into(), config.into(), "-E".into(), log.into()];
    words.extend(["-S", "none", "-o", "ControlMaster=no", "-T"].map(OsString::from));
    if let Some(ciphers) = ciphers {
        words.extend(["-o".into(), format!("Ciphers={ciphers}").into()]);
    }
    words.extend(config::destination(host).into_iter().map(OsString::from));
    words
}

impl Direct {
    /// Starts it; `command` is for ssh alone.
    pub(super) fn spawn(&self, command: &str) -> Result<(Writer, Reader, Reader), ConnectError> {
        let mut process = Command::new(&self.program);
        process.args(&self.words).args(Some(command).filter(|command| !command.is_empty()));
        Held::spawn(process, &self.program.to_string_lossy())
    }
}
