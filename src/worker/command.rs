//! A user's command as an attempt runs it: three pipes, a supervisor, and a word on how it ended.
//!
//! Its environment is this process's own (the host's) plus ours: nothing of the driver's comes along.

use std::ffi::OsString;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};

use super::control::Control;
use super::processes::{Pid, memory_kills};
use super::supervise::{Ended, LIFELINE, read_end};
use crate::facts::Cause;
use crate::pipes;

/// SIGKILL, and what a shell makes of it where it was not the shell that was killed.
const KILL_SIGNAL: i32 = 9;
const KILLED_CODE: i32 = 128 + KILL_SIGNAL;

/// What is run, and where.
pub struct Spec<'a> {
    /// For messages: map, combine, reduce, setup.
    pub step: &'static str,
    /// For `sh -c`.
    pub command: &'a str,
    /// The working directory.
    pub folder: &'a Path,
    /// Added to the environment.
    pub env: &'a [(OsString, OsString)],
    /// Can kill it.
    pub control: &'a Arc<Control>,
    /// The niceness at which it runs at least.
    pub nice: u8,
}

/// A command that runs.
pub struct Running {
    step: &'static str,
    control: Arc<Control>,
    supervisor: Child,
    lifeline: UnixStream,
    /// Its stdin, until it is taken; dropping it is the end of the command's input.
    pub stdin: Option<ChildStdin>,
    /// Its stdout, until it is taken.
    pub stdout: Option<ChildStdout>,
    /// Its stderr, until it is taken.
    pub stderr: Option<ChildStderr>,
    /// How often the kernel had killed for want of memory when it began.
    memory_kills: u64,
}

/// Starts a command.
///
/// # Errors
/// When the supervisor cannot be started, as when the host is out of processes.
pub fn start(spec: &Spec) -> io::Result<Running> {
    let (lifeline, theirs) = UnixStream::pair()?;
    let mut command = Command::new(own_binary());
    command.args(["worker", "supervise", "--nice", &spec.nice.to_string(), "--", spec.command]);
    command.current_dir(spec.folder).envs(spec.env.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mapping = FdMapping { parent_fd: OwnedFd::from(theirs), child_fd: LIFELINE };
    command.fd_mappings(vec![mapping]).map_err(io::Error::other)?;
    let memory_kills = memory_kills();
    let mut supervisor = command.spawn()?;
    drop(command);
    let control = Arc::clone(spec.control);
    control.begin_command(pid_of(&supervisor));
    control.attach(lifeline.try_clone()?);
    let (stdin, stdout, stderr) = (supervisor.stdin.take(), supervisor.stdout.take(), supervisor.stderr.take());
    stdin.iter().for_each(pipes::enlarge);
    stdout.iter().for_each(pipes::enlarge);
    Ok(Running { step: spec.step, control, supervisor, lifeline, stdin, stdout, stderr, memory_kills })
}

/// Kills a running command from any thread.
pub struct Killer(UnixStream);

impl Killer {
    /// Kills it if `result` is an error, so that no stream of it stays open.
    ///
    /// # Errors
    /// The one it was given.
    pub fn kill_if_err<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            let _gone = self.0.shutdown(Shutdown::Both);
        }
        result
    }
}

impl Running {
    /// A handle that kills it.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn killer(&self) -> io::Result<Killer> {
        self.lifeline.try_clone().map(Killer)
    }

    /// Waits for the end; all that the command started is dead then. None means that it ended with code 0.
    ///
    /// # Errors
    /// When the supervisor cannot be waited for.
    pub fn wait(mut self) -> io::Result<Option<Cause>> {
        drop(self.stdin.take());
        let report = read_end(&mut self.lifeline);
        self.supervisor.wait()?;
        self.control.end_command(pid_of(&self.supervisor), report.map_or(Duration::ZERO, |report| report.cpu_time));
        let step = self.step.to_owned();
        Ok(match report.map(|report| report.ended) {
            Some(Ended::Exit(0)) => None,
            // Who else kills a command while its host runs out of memory is not worth telling apart.
            Some(Ended::Exit(KILLED_CODE) | Ended::Signal(KILL_SIGNAL)) | None
                if memory_kills() > self.memory_kills =>
            {
                Some(Cause::OutOfMemory { step })
            }
            Some(Ended::Exit(code)) => Some(Cause::Exit { step, code }),
            Some(Ended::Signal(signal)) => Some(Cause::Signal { step, signal }),
            None => Some(Cause::Worker { text: format!("the supervisor of the {step} command died") }),
        })
    }
}

impl Drop for Running {
    /// Whatever goes wrong on the way, nothing runs on.
    fn drop(&mut self) {
        let _gone = self.lifeline.shutdown(Shutdown::Both);
        let _reaped = self.supervisor.wait();
        self.control.end_command(pid_of(&self.supervisor), Duration::ZERO);
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::try_from(child.id()).unwrap_or(Pid::MAX)
}

/// This program's file, also after it was replaced on disk by an upgrade.
fn own_binary() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}
