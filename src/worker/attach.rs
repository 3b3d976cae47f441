//! `runner worker attach`: joins its own stdin and stdout to the worker's socket.
//!
//! This is what runs at the far end of an ssh channel. It starts the worker first where there is none; the worker lives
//! in a session of its own, so the end of this process, of the channel or of the whole connection means nothing to it.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use fs_err::File;

use super::outlive::{Launch, runtime_folder};
use crate::folders::private_folder;
use crate::pipes;
use crate::protocol::control::Stay;
use crate::protocol::{MARKER, SOCKET};
use crate::units::Span;

/// How long a worker may take to listen. It has nothing to do before that, so only a host near its end needs longer.
const START_WAIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(2);

/// Whether a worker may be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// If none is there; it stays so long without a driver.
    IfNone(Span),
    /// Never.
    No,
}

/// Joins the standard streams to the worker of `folder`, until either side ends.
///
/// # Errors
/// When there is no worker and none can be started; the words are for the driver to show.
pub fn run(folder: &Path, start: Start) -> anyhow::Result<()> {
    let socket = match (connect(folder), start) {
        (Ok(socket), _) => socket,
        (Err(_), Start::IfNone(grace)) => start_worker(folder, grace)?,
        (Err(error), Start::No) => {
            return Err(error).with_context(|| format!("no worker listens in {}", folder.display()));
        }
    };
    let mut stdout = io::stdout();
    stdout.write_all(MARKER)?;
    stdout.flush()?;
    join(socket)
}

fn connect(folder: &Path) -> io::Result<UnixStream> {
    std::env::set_current_dir(folder)?;
    UnixStream::connect(SOCKET)
}

/// Starts the worker so that it outlives this login, if that is possible.
fn start_worker(folder: &Path, grace: Span) -> anyhow::Result<UnixStream> {
    private_folder(folder)?;
    match Launch::here() {
        Launch::Plain => start(Command::new("/proc/self/exe"), folder, grace, Stay::Outlives),
        Launch::Scope => start(in_scope()?, folder, grace, Stay::Outlives)
            .or_else(|_| start(Command::new("/proc/self/exe"), folder, grace, Stay::EndsWithLogin)),
        Launch::Doomed => start(Command::new("/proc/self/exe"), folder, grace, Stay::EndsWithLogin),
    }
}

/// Our program in a scope of the user's service manager.
fn in_scope() -> io::Result<Command> {
    let mut command = Command::new("systemd-run");
    command.args(["--user", "--scope", "--quiet", "--collect", "--"]);
    command.arg(fs_err::read_link("/proc/self/exe")?).env("XDG_RUNTIME_DIR", runtime_folder());
    Ok(command)
}

fn start(mut command: Command, folder: &Path, grace: Span, stay: Stay) -> anyhow::Result<UnixStream> {
    let log = folder.join("serve.log");
    command.args(["worker", "serve", "--grace", &grace.0.as_secs().to_string()]);
    if stay == Stay::EndsWithLogin {
        command.arg("--mortal");
    }
    let mut worker = command
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log)?.into_parts().0)
        .spawn()
        .context("starting the worker process")?;
    wait_for_socket(folder, &mut worker)
        .with_context(|| fs_err::read_to_string(&log).unwrap_or_default().trim_end().to_owned())
}

fn wait_for_socket(folder: &Path, worker: &mut Child) -> anyhow::Result<UnixStream> {
    for _ in 0..START_WAIT.as_millis() / POLL.as_millis() {
        if let Ok(socket) = connect(folder) {
            return Ok(socket);
        }
        // Another one may have won the race for the socket: then the next connect finds it.
        if let Some(status) = worker.try_wait()?
            && connect(folder).is_err()
        {
            bail!("the worker process ended at once ({status})");
        }
        std::thread::sleep(POLL);
    }
    bail!("the worker process did not listen within {}", Span(START_WAIT))
}

/// Copies both ways. The end of stdin is passed on, so that the worker learns that the driver is gone; the end of the
/// socket is the end.
fn join(socket: UnixStream) -> anyhow::Result<()> {
    // sshd gives us pipes.
    pipes::enlarge(io::stdin());
    pipes::enlarge(io::stdout());
    let mut to_worker = socket.try_clone()?;
    std::thread::spawn(move || {
        let _cut = io::copy(&mut io::stdin().lock(), &mut to_worker);
        let _gone = to_worker.shutdown(Shutdown::Write);
    });
    let mut from_worker = socket;
    let mut stdout = File::from_parts(stdout_file()?, "stdout");
    let _cut = io::copy(&mut from_worker, &mut stdout);
    Ok(())
}

/// Stdout without the line buffer that Rust puts before it.
fn stdout_file() -> io::Result<std::fs::File> {
    use std::os::fd::AsFd;
    Ok(std::fs::File::from(io::stdout().as_fd().try_clone_to_owned()?))
}
