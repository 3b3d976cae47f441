//! The small process that stands between the worker and each user command.
//!
//! It is the subreaper of all that the command starts: when the command ends, when the attempt is killed, or when the
//! worker dies, every process below is killed, those that called `setsid` included (prctl(2), PR_SET_CHILD_SUBREAPER).
//! Its lifeline is a socket to the worker: the end of it means to kill; before it exits it says there how the command
//! ended. It never reads or writes the command's data.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::Context;
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, getpriority_process, kill_process, kill_process_group, set_child_subreaper,
    setpriority_process, wait,
};
use rustix::stdio::{dup2_stdin, dup2_stdout};
use serde::{Deserialize, Serialize};

use super::processes::Stat;
use crate::protocol::frames;

/// The descriptor at which the lifeline is handed over: the first behind the standard three.
pub const LIFELINE: i32 = 3;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// With an exit code.
    Exit(i32),
    /// By a signal.
    Signal(i32),
}

/// What a supervisor says before it exits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How the command ended.
    pub ended: Ended,
    /// Processor time of the command and of all that it started.
    pub cpu_time: Duration,
}

/// Runs `sh -c command` with this process's standard streams, until it and all that it started have ended; they run at
/// this niceness at least.
///
/// # Errors
/// When the shell cannot be started.
pub fn run(command: &str, nice: u8, lifeline: UnixStream) -> anyhow::Result<()> {
    set_child_subreaper(Some(getpid())).context("becoming a subreaper")?;
    step_back(nice).context("setting the niceness")?;
    let shell = Command::new("/bin/sh").arg("-c").arg(command).process_group(0).spawn();
    let shell = Pid::from_child(&shell.context("starting /bin/sh")?);
    release_streams()?;
    kill_when_cut(lifeline.try_clone()?, shell);
    let ended = wait_for(shell)?;
    kill_rest(shell);
    // The worker may be gone: then nobody wants to know.
    let _gone = (&lifeline).write_all(&frames::encode(&Report { ended, cpu_time: reaped() })?);
    Ok(())
}

/// Lets this process, and what it starts from now on, step back behind others so far at least.
///
/// # Errors
/// Those of setpriority(2).
pub fn step_back(nice: u8) -> io::Result<()> {
    let nice = i32::from(nice);
    if getpriority_process(None)? < nice {
        setpriority_process(None, nice)?;
    }
    Ok(())
}

/// The processor time of all that this process has waited for.
fn reaped() -> Duration {
    Stat::read(getpid().as_raw_nonzero().get()).map_or(Duration::ZERO, |stat| stat.reaped)
}

/// Reads how the command ended; none when the supervisor died before it could say so.
pub fn read_end(lifeline: &mut UnixStream) -> Option<Report> {
    let mut bytes = Vec::new();
    lifeline.read_to_end(&mut bytes).ok()?;
    frames::decode(&bytes).ok()
}

/// Lets go of the command's stdin and stdout, so that their other ends see when the command closes them.
fn release_streams() -> anyhow::Result<()> {
    let nowhere = fs_err::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&nowhere).context("releasing stdin")?;
    dup2_stdout(&nowhere).context("releasing stdout")
}

/// Watches the lifeline on a thread; its end kills everything.
fn kill_when_cut(mut lifeline: UnixStream, shell: Pid) {
    std::thread::spawn(move || {
        // The worker never writes: whatever comes back is the end.
        let _end = lifeline.read(&mut [0]);
        let _gone = kill_process_group(shell, Signal::KILL);
        kill_rest(shell);
        std::process::exit(0);
    });
}

/// Reaps children, adopted ones too, until the shell is among them.
fn wait_for(shell: Pid) -> anyhow::Result<Ended> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == shell => return Ok(ended(status.as_raw())),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for the command"),
        }
    }
}

fn ended(raw: i32) -> Ended {
    use std::os::unix::process::ExitStatusExt;
    let status = ExitStatus::from_raw(raw);
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Exit(code),
        (None, signal) => Ended::Signal(signal.unwrap_or_default()),
    }
}

/// Kills and reaps what is left below this process. The orphans of a killed process become our children, so one pass
/// after the other reaches all; a process that forks as fast as it dies is in a group that dies as one. Two threads may do
/// this at once, and each reaps what the other has just seen.
fn kill_rest(shell: Pid) {
    /// Looks that see no child although there is one: it came to us while we looked. More than some mean that /proc hides it.
    const BLIND_MAX: u32 = 1000;
    let _gone = kill_process_group(shell, Signal::KILL);
    let mut blind = 0;
    while blind < BLIND_MAX && !matches!(wait(WaitOptions::NOHANG), Err(Errno::CHILD)) {
        let children = children();
        if children.is_empty() {
            blind += 1;
            std::thread::yield_now();
            continue;
        }
        if kill_each(&children, |child| kill_process(child, Signal::KILL)) == 0 {
            return;
        }
        let _reaped = wait(WaitOptions::empty());
    }
}

/// How many were killed, or had gone by themselves (ESRCH). One that runs as somebody else cannot be (EPERM): who waits for
/// that may wait for ever.
fn kill_each(children: &[Pid], kill: impl Fn(Pid) -> Result<(), Errno>) -> usize {
    children.iter().filter(|child| matches!(kill(**child), Ok(()) | Err(Errno::SRCH))).count()
}

/// The direct children of this process, from /proc.
fn children() -> Vec<Pid> {
    let us = getpid().as_raw_nonzero().get();
    let processes = fs_err::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_ours = |pid: &i32| Stat::read(*pid).is_some_and(|stat| stat.parent == us);
    pids.filter(is_ours).filter_map(Pid::from_raw).collect()
}

/// The lifeline that this process was given.
///
/// # Errors
/// When it was started by hand, without one.
pub fn inherited_lifeline() -> io::Result<UnixStream> {
    super::descriptor::inherited(LIFELINE).map(UnixStream::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_those_of_others_and_all_look_again_for_the_rest() {
        let pids: Vec<Pid> = (1..=3).filter_map(Pid::from_raw).collect();
        assert_eq!(kill_each(&pids, |_| Err(Errno::PERM)), 0);
        assert_eq!(kill_each(&pids, |pid| if pid == pids[0] { Err(Errno::PERM) } else { Ok(()) }), 2);
        // Another thread was faster: what that one's children are is seen at the next look.
        assert_eq!(kill_each(&pids, |_| Err(Errno::SRCH)), 3);
    }
}
