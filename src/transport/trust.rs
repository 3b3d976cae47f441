//! Host keys that nobody has seen yet: fetched to be shown, and written down once they are accepted.
//!
//! ssh itself does both halves of the work, so that aliases, ports, hashed names and jump hosts come out as its own
//! configuration has them: it logs in with no way to prove who we are, and notes the key in a file of ours that stands
//! before the user's. That is one login without proof for each host, only when somebody asks for it.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use tokio::time::timeout;

use super::classify::classify;
use super::config::{self, Resolved};
use super::error::ConnectError;
use super::{LOGIN_TIME_MAX, LOGIN_TRIES_MAX, Transport};
use crate::fleet::HostSpec;

/// What is known of a host's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostKey {
    /// It is on file, and the host showed it.
    Known,
    /// It is not on file.
    New {
        /// Fingerprints as `ssh-keygen -l` prints them: `256 SHA256:… h1 (ED25519)`.
        fingerprints: Vec<String>,
        /// The lines for the file.
        lines: String,
        /// The file: the first of the user's for that host.
        file: PathBuf,
    },
}

/// A host, and the jump hosts before it where those are not its own configuration's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The host.
    pub host: HostSpec,
    /// For `ssh -J`.
    pub via: Option<String>,
}

impl Transport {
    /// The way to a host as ssh would go it, jump hosts first, the host itself last.
    ///
    /// # Errors
    /// ssh refuses its configuration.
    pub async fn hops(&self, host: &HostSpec) -> Result<Vec<Hop>, ConnectError> {
        let resolved = Resolved::ask(&self.ssh_config, host).await?;
        let jumps: Vec<&str> =
            resolved.proxy_jump.as_deref().map(|jumps| jumps.split(',').collect()).unwrap_or_default();
        let mut hops: Vec<Hop> = (0..jumps.len())
            .map(|number| Hop {
                host: config::jump_host(jumps[number]),
                via: (number > 0).then(|| jumps[..number].join(",")),
            })
            .collect();
        hops.push(Hop { host: host.clone(), via: None });
        Ok(hops)
    }

    /// Asks a host for its key.
    ///
    /// # Errors
    /// [`ConnectError::HostKeyChanged`] if another is on file, and all that hinders a connection.
    pub async fn host_key(&self, hop: &Hop) -> Result<HostKey, ConnectError> {
        let resolved = Resolved::ask(&self.ssh_config, &hop.host).await?;
        let home = std::env::home_dir().unwrap_or_default();
        let file = resolved.known_hosts.first().map(|name| config::expand_home(name, &home)).unwrap_or_default();
        if !file.is_absolute() || file == Path::new("/dev/null") || file.to_string_lossy().contains(['%', '$']) {
            let text = format!("host keys cannot be added to its UserKnownHostsFile `{}`", file.display());
            return Err(ConnectError::Here { text });
        }
        let lines = self.with_tries(&resolved, LOGIN_TRIES_MAX, || self.fetch(hop, &resolved)).await?;
        if lines.is_empty() {
            return Ok(HostKey::Known);
        }
        Ok(HostKey::New { fingerprints: self.fingerprints(&lines).await?, lines, file })
    }

    /// The lines that ssh would add for a host; none if its key is on file.
    async fn fetch(&self, hop: &Hop, resolved: &Resolved) -> Result<String, ConnectError> {
        let folder = self.folder.make_one()?;
        let (keys, log, jump) = (folder.path().join("keys"), folder.path().join("log"), folder.path().join("jump"));
        let files: Vec<String> = resolved.known_hosts.iter().map(|file| format!(" \"{file}\"")).collect();
        let mut command = Command::new("ssh");
        command.arg("-F").arg(&self.ssh_config).arg("-E").arg(&log).args(["-S", "none", "-T"]);
        command.args(["-o", "StrictHostKeyChecking=accept-new", "-o", "PreferredAuthentications=none"]);
        command.args(["-o", "UpdateHostKeys=no", "-o"]);
        command.arg(format!("UserKnownHostsFile=\"{}\"{}", keys.display(), files.concat()));
        if let Some(via) = &hop.via {
            command.args(["-J", via]);
        }
        command
            .args(config::destination(&hop.host))
            .arg("exit")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs_err::File::create(&jump).map_err(ConnectError::here)?.into_file())
            .kill_on_drop(true);
        let time_max = self.config.connect_timeout + LOGIN_TIME_MAX;
        let status = timeout(time_max, command.status())
            .await
            .map_err(|_| ConnectError::TimedOut { port: resolved.port })?
            .map_err(|error| ConnectError::here(format!("ssh cannot be started: {error}")))?;
        let read = |path: &Path| fs_err::read(path).map(|text| String::from_utf8_lossy(&text).into_owned());
        let lines = read(&keys).unwrap_or_default();
        if status.success() || !lines.is_empty() {
            return Ok(lines);
        }
        match classify(&read(&log).unwrap_or_default(), &read(&jump).unwrap_or_default(), resolved) {
            // As it had to be: the key was right, and then we had nothing to show.
            ConnectError::Denied { .. } => Ok(String::new()),
            error => Err(error),
        }
    }

    async fn fingerprints(&self, lines: &str) -> Result<Vec<String>, ConnectError> {
        let folder = self.folder.make_one()?;
        let file = folder.path().join("keys");
        fs_err::write(&file, lines).map_err(ConnectError::here)?;
        let output = Command::new("ssh-keygen")
            .arg("-lf")
            .arg(&file)
            .output()
            .await
            .map_err(|error| ConnectError::here(format!("ssh-keygen cannot be started: {error}")))?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }
}

/// Adds lines to a file of known hosts, which is made if it is not there.
///
/// # Errors
/// With the file's name.
pub fn add_known_hosts(file: &Path, lines: &str) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut options = fs_err::OpenOptions::new();
    options.options_mut().mode(0o600);
    let before = fs_err::read(file).unwrap_or_default();
    let mut file = options.create(true).append(true).open(file)?;
    let missing_end = if before.last().is_some_and(|byte| *byte != b'\n') { "\n" } else { "" };
    let end = if lines.ends_with('\n') { "" } else { "\n" };
    // One write, so that what another ssh appends meanwhile does not get into the middle.
    file.write_all(format!("{missing_end}{lines}{end}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_added_whole() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let file = folder.path().join(".ssh").join("known_hosts");
        add_known_hosts(&file, "a ssh-ed25519 A").expect("adds");
        add_known_hosts(&file, "b ssh-ed25519 B\n").expect("adds");
        assert_eq!(fs_err::read_to_string(&file).expect("reads"), "a ssh-ed25519 A\nb ssh-ed25519 B\n");
        fs_err::write(&file, "no end").expect("writes");
        add_known_hosts(&file, "c\n").expect("adds");
        assert_eq!(fs_err::read_to_string(&file).expect("reads"), "no end\nc\n");
    }
}
