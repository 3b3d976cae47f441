//! How an attempt fails, in words, and whose fault that is.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::AttemptId;
use crate::units::{Bytes, Span};

/// A failed attempt: the cause, and what the user's program said last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What happened.
    pub cause: Cause,
    /// The last lines of stderr; empty if it was silent.
    pub stderr_tail: String,
}

impl Failure {
    /// A failure without words of the user's program.
    pub fn of(cause: Cause) -> Self {
        Failure { cause, stderr_tail: String::new() }
    }
}

/// What ended an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A command ended with a code other than 0.
    Exit {
        /// Which command: map, combine, reduce, setup.
        step: String,
        /// The code.
        code: i32,
    },
    /// A command was killed.
    Signal {
        /// Which command.
        step: String,
        /// The signal's number.
        signal: i32,
    },
    /// Nothing was read, written or reported for so long.
    Silent {
        /// The limit.
        limit: Duration,
    },
    /// The input could not be read or is corrupt.
    Input {
        /// What is wrong with what.
        text: String,
    },
    /// A record that a built-in cannot work with.
    Record {
        /// What is wrong with what.
        text: String,
    },
    /// No space on the worker's disk.
    DiskFull {
        /// Where.
        text: String,
    },
    /// A segment could not be fetched or is corrupt.
    Fetch {
        /// The map attempt whose segment it is.
        source: AttemptId,
        /// What is wrong.
        text: String,
    },
    /// The worker could not do its part.
    Worker {
        /// What went wrong.
        text: String,
    },
    /// The commands, with all that they started, took more than they may, and were killed by us.
    Limit {
        /// What they took too much of.
        limit: Limit,
        /// Who set the limit.
        by: Lender,
    },
    /// The kernel killed a command, since memory was short.
    OutOfMemory {
        /// Which command.
        step: String,
    },
}

/// What the commands of an attempt may take together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Memory at once.
    Memory(Bytes),
    /// Processor time.
    CpuTime(Duration),
    /// Time from the slot on.
    WallTime(Duration),
    /// Processes at once.
    Processes(u32),
}

/// Who set a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lender {
    /// The job, or the settings of who runs it.
    Job,
    /// The owner of the host, in `worker.toml` there.
    Owner,
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The user's program or data.
    Task,
    /// The machine that ran it.
    Worker,
    /// The machine that held the segment.
    Source,
}

impl Cause {
    /// Whether a disk was full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Cause::DiskFull { .. })
    }

    /// Whose fault it is: a command that exits non-zero is the task's, a full disk the worker's.
    pub fn blame(&self) -> Blame {
        match self {
            Cause::Exit { .. }
            | Cause::Signal { .. }
            | Cause::Silent { .. }
            | Cause::Input { .. }
            | Cause::Record { .. }
            | Cause::Limit { .. }
            | Cause::OutOfMemory { .. } => Blame::Task,
            Cause::DiskFull { .. } | Cause::Worker { .. } => Blame::Worker,
            Cause::Fetch { .. } => Blame::Source,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Exit { step, code: 127 } => {
                write!(f, "the {step} command exited with code 127 (the shell did not find the program)")
            }
            Cause::Exit { step, code: 126 } => {
                write!(f, "the {step} command exited with code 126 (the program cannot be executed)")
            }
            Cause::Exit { step, code } => write!(f, "the {step} command exited with code {code}"),
            Cause::Signal { step, signal } => {
                write!(f, "the {step} command was killed by signal {signal} ({})", signal_name(*signal))
            }
            Cause::Silent { limit } => {
                write!(f, "nothing was read, written or reported for {} (--timeout)", Span(*limit))
            }
            Cause::Input { text } => write!(f, "the input cannot be read: {text}"),
            Cause::Record { text } => write!(f, "a record cannot be used: {text}"),
            Cause::DiskFull { text } => write!(f, "disk full: {text}"),
            Cause::Fetch { source, text } => write!(f, "the segment of {source} cannot be read: {text}"),
            Cause::Worker { text } => write!(f, "the worker could not run it: {text}"),
            Cause::Limit { limit, by } => {
                write!(f, "its commands were ended: {} ({})", limit.exceeded(), by.place(*limit))
            }
            Cause::OutOfMemory { step } => {
                write!(f, "the {step} command was killed by the kernel's out-of-memory killer")
            }
        }
    }
}

impl Limit {
    /// That it was exceeded, in words.
    fn exceeded(self) -> String {
        match self {
            Limit::Memory(limit) => format!("they took more than {limit} of memory together"),
            Limit::CpuTime(limit) => format!("they took more than {} of processor time together", Span(limit)),
            Limit::WallTime(limit) => format!("they ran for more than {}", Span(limit)),
            Limit::Processes(limit) => format!("they were more than {limit} processes at once"),
        }
    }

    /// The flag that sets it.
    fn flag(self) -> &'static str {
        match self {
            Limit::Memory(_) => "--limit-memory",
            Limit::CpuTime(_) => "--limit-cpu",
            Limit::WallTime(_) => "--limit-time",
            Limit::Processes(_) => "--limit-processes",
        }
    }
}

impl Lender {
    /// Where the limit was set.
    fn place(self, limit: Limit) -> &'static str {
        match self {
            Lender::Job => limit.flag(),
            Lender::Owner => "the limit of the host's owner, in worker.toml there",
        }
    }
}

/// The usual name of a signal, with what it tends to mean.
fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL, illegal instruction",
        6 => "SIGABRT, aborted",
        7 => "SIGBUS, bad memory access",
        8 => "SIGFPE, arithmetic error",
        9 => "SIGKILL, often the kernel's out-of-memory killer",
        11 => "SIGSEGV, bad memory access",
        13 => "SIGPIPE, wrote to a closed pipe",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU, processor time limit",
        25 => "SIGXFSZ, file size limit",
        _ => "see `kill -l`",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_read_as_sentences() {
        let step = || "map".to_owned();
        let check = |cause: Cause, text: &str| assert_eq!(cause.to_string(), text);
        check(Cause::Exit { step: step(), code: 1 }, "the map command exited with code 1");
        check(
            Cause::Signal { step: step(), signal: 11 },
            "the map command was killed by signal 11 (SIGSEGV, bad memory access)",
        );
        check(
            Cause::Silent { limit: Duration::from_secs(600) },
            "nothing was read, written or reported for 10m 0s (--timeout)",
        );
        check(
            Cause::Limit { limit: Limit::Memory(Bytes::mebi(2048)), by: Lender::Job },
            "its commands were ended: they took more than 2.00 GiB of memory together (--limit-memory)",
        );
        check(
            Cause::Limit { limit: Limit::CpuTime(Duration::from_secs(90)), by: Lender::Job },
            "its commands were ended: they took more than 1m 30s of processor time together (--limit-cpu)",
        );
        check(
            Cause::Limit { limit: Limit::Memory(Bytes::mebi(1)), by: Lender::Owner },
            "its commands were ended: they took more than 1.00 MiB of memory together (the limit of the host's owner, in \
             worker.toml there)",
        );
        check(Cause::OutOfMemory { step: step() }, "the map command was killed by the kernel's out-of-memory killer");
    }
}
