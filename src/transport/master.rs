//! One ssh connection: the master process that holds it.
//!
//! The crate starts masters too, but loses what jump hosts say and lets a login go on that nobody waits for any more. So
//! ssh is started here as the crate does, and the crate is given the socket. A master ends when it is told to, when
//! nobody has used it for a minute, or when its host is silent for half a minute.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use openssh::Session;
use tokio::process::Command;
use tokio::time::timeout;

use super::classify::{accepted_keys, classify, offered_keys, server_version};
use super::config::{self, Resolved};
use super::control_folder::ControlFolder;
use super::error::ConnectError;
use crate::fleet::HostSpec;

/// A connection to a host. Dropping it ends the master.
#[derive(Debug)]
pub(super) struct Master {
    pub session: Arc<Session>,
    /// Whether it was told to end.
    told: bool,
    /// The version of sshd, as it greeted us.
    pub sshd: Option<String>,
    _folder: Arc<ControlFolder>,
}

/// What all logins have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Login<'a> {
    pub config: &'a Path,
    pub host: &'a HostSpec,
    pub resolved: &'a Resolved,
    pub ciphers: Option<&'a str>,
    pub time_max: Duration,
}

impl Master {
    /// Logs in, once. If this is dropped meanwhile, ssh is killed.
    pub(super) async fn launch(folder: &Arc<ControlFolder>, login: Login<'_>) -> Result<Master, ConnectError> {
        let own = folder.make_one()?;
        let path = own.path().to_owned();
        let (log, jump) = (path.join("log"), path.join("jump"));
        let command = command(&login, &path, &log, &jump)?;
        // Before the start: whatever comes, it tells the master to end and removes the folder.
        let session = Session::new_native_mux(own);
        let succeeded = wait(command, login.time_max).await?;
        let read = |path: &Path| fs_err::read(path).map(|text| String::from_utf8_lossy(&text).into_owned());
        let log = read(&log).unwrap_or_default();
        match succeeded {
            Some(true) => {
                let sshd = server_version(&log);
                Ok(Master { session: Arc::new(session), told: false, sshd, _folder: Arc::clone(folder) })
            }
            Some(false) => {
                let error = classify(&log, &read(&jump).unwrap_or_default(), login.resolved);
                Err(with_locked_keys(error, &log, login.resolved).await)
            }
            None => Err(ConnectError::TimedOut { port: login.resolved.port }),
        }
    }

    /// Ends the master now, sessions or not.
    pub(super) async fn close(mut self) {
        self.told = true;
        // If that fails, dropping the session still tells the master to stop.
        end(self.session.control_socket()).await;
    }
}

impl Drop for Master {
    /// Where a connect was given up half-way, nobody closes the half that is there: without a session that ends, its
    /// master would stay for its minute. It only has to read a line, so it is waited for, but not long.
    fn drop(&mut self) {
        const LOOKS: u32 = 50;
        const LOOK_EVERY: Duration = Duration::from_millis(4);
        if self.told {
            return;
        }
        let Ok(mut exit) = exit_command(self.session.control_socket()).spawn() else { return };
        for _ in 0..LOOKS {
            if exit.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let _gone = exit.kill();
        let _gone = exit.wait();
    }
}

/// Ends the master that listens on a socket, if one does.
pub(super) async fn end(socket: &Path) {
    /// It only has to read a line; but a master that hangs must not hold us.
    const TIME_MAX: Duration = Duration::from_secs(2);
    let exit = Command::from(exit_command(socket)).kill_on_drop(true).status();
    let _gone = timeout(TIME_MAX, exit).await;
}

/// Tells a master to end at once.
fn exit_command(socket: &Path) -> std::process::Command {
    let mut command = std::process::Command::new("ssh");
    command.args(["-F", "none", "-O", "exit", "-S"]).arg(socket).arg("runner");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn command(login: &Login<'_>, folder: &Path, log: &Path, jump: &Path) -> Result<Command, ConnectError> {
    // Nobody uses a master for a minute only if its driver is gone.
    const PERSIST: &str = "ControlPersist=60";
    let strict = format!("StrictHostKeyChecking={}", login.resolved.strictness());
    let mut command = Command::new("ssh");
    command.arg("-F").arg(login.config).arg("-E").arg(log).arg("-S").arg(folder.join("master"));
    // Without -v, ssh throws away what jump hosts say as soon as there is ControlPersist (sshconnect.c).
    command.args(["-v", "-M", "-f", "-N", "-o", PERSIST, "-o", &strict]);
    if let Some(ciphers) = login.ciphers {
        command.args(["-o", &format!("Ciphers={ciphers}")]);
    }
    command
        .args(config::destination(login.host))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // Not ssh's own log, but that of the ssh processes that it starts for jump hosts.
        .stderr(fs_err::File::create(jump).map_err(ConnectError::here)?.into_file())
        .kill_on_drop(true);
    Ok(command)
}

/// Whether the login succeeded; none if it took too long. ssh goes into the background once it has.
async fn wait(mut command: Command, time_max: Duration) -> Result<Option<bool>, ConnectError> {
    match timeout(time_max, command.status()).await {
        Ok(Ok(status)) => Ok(Some(status.success())),
        Ok(Err(error)) => Err(ConnectError::here(format!("ssh cannot be started: {error}"))),
        Err(_) => Ok(None),
    }
}

/// Adds the keys that were of no use only because of their passphrase: the server would take them, or ssh could not even
/// show their public half.
async fn with_locked_keys(error: ConnectError, log: &str, resolved: &Resolved) -> ConnectError {
    let ConnectError::Denied { user, methods, .. } = error else { return error };
    let home = std::env::home_dir().unwrap_or_default();
    let mut locked_keys = Vec::new();
    for name in &resolved.identity_files {
        let path = config::expand_home(name, &home);
        let is = |key: &str| Path::new(key) == path || key == name;
        let useful = accepted_keys(log).any(is) || !offered_keys(log).any(is);
        if useful && path.is_file() && has_passphrase(&path).await {
            locked_keys.push(path);
        }
    }
    ConnectError::Denied { user, methods, locked_keys }
}

async fn has_passphrase(key: &Path) -> bool {
    let output = Command::new("ssh-keygen").args(["-y", "-P", "", "-f"]).arg(key).stdin(Stdio::null()).output().await;
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stderr).contains("incorrect passphrase"))
}
