//! One task: where it stands, its live attempts, and what went wrong.
//!
//! Several attempts of a task can be alive at once: a straggler and its copy, or what replaces an attempt whose commit is
//! in doubt. The tables of tasks are in `stage`.

use std::time::Duration;

use super::pace::Rate;
use super::worker::HostId;
use crate::clock::Moment;
use crate::ids::{AttemptId, WorkerId};

/// One task.
#[derive(Debug)]
pub(super) struct Task {
    /// Bytes of its split; 0 for a reduce.
    pub bytes: u64,
    /// The workers that have its split on a disk of theirs.
    pub homes: Vec<WorkerId>,
    /// Where it stands.
    pub state: State,
    /// Its attempts that were sent and have not ended.
    pub live: Vec<Live>,
    /// The number of its next attempt.
    pub next_number: u32,
    /// The hash of the last segment that it finished and that can be compared: a later one must be the same.
    pub hash: Option<u64>,
    /// What went wrong so far; most tasks have none.
    pub trouble: Option<Box<Trouble>>,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It can be sent, once its stage may run and a place is free.
    Ready,
    /// Attempts of it are out.
    Out,
    /// An attempt has written an output part, which is to get its final name.
    Committing { attempt: AttemptId, worker: WorkerId },
    /// An attempt has written a segment, which lies on the worker.
    Held { attempt: AttemptId, worker: WorkerId },
    /// Its output part has its final name.
    Committed { attempt: AttemptId },
}

impl State {
    /// Whether nothing more is to be done for the task, as things are.
    pub fn is_done(self) -> bool {
        match self {
            State::Ready | State::Out | State::Committing { .. } => false,
            State::Held { .. } | State::Committed { .. } => true,
        }
    }
}

/// An attempt that was sent and has not ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Live {
    pub id: AttemptId,
    pub worker: WorkerId,
    pub phase: Phase,
    /// When the phase began.
    pub since: Moment,
    pub role: Role,
    pub headway: Headway,
}

/// Why an attempt was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing else of the task was under way.
    Single,
    /// Another attempt of the task is a straggler.
    Copy,
}

/// How far a running attempt is, as last reported.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Headway {
    /// Bytes used up.
    pub done: u64,
    /// Bytes in all; 0 without input.
    pub total: u64,
    /// Time that it waited for input, which is not its own.
    pub waited: Duration,
}

impl Live {
    /// How long it has worked.
    pub fn worked(&self, now: Moment) -> Duration {
        now.since(self.since).saturating_sub(self.headway.waited)
    }

    /// How fast it is. One that falls silent decays by itself, since time goes on.
    pub fn rate(&self, now: Moment) -> Rate {
        Rate::of(self.headway.done, self.worked(now))
    }

    /// Whether its input, if it has any, is not used up: only then the rate says when it will end.
    pub fn is_reading(&self) -> bool {
        self.headway.done < self.headway.total
    }
}

/// How far a live attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Sent; its input is on the way, and it waits for a slot.
    Queued,
    /// It holds a slot.
    Running,
}

/// What went wrong with a task.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// Failures that count.
    pub failures: u32,
    /// Workers lost in a row while it ran there.
    pub losses: u32,
    /// Times that its output could not be read or committed.
    pub repeats: u32,
    /// Copies of it that were sent because it was a straggler.
    pub copies: u32,
    /// Hosts that failed it.
    pub avoids: Vec<HostId>,
    /// Hosts where it failed by its own command, or could not read that segment; should it succeed elsewhere, that
    /// speaks against them.
    pub accused: Vec<(HostId, Option<AttemptId>)>,
    /// Hosts that could not read its present segment.
    pub unreadable: Vec<HostId>,
    /// Attempts whose commit was asked for and whose worker was lost before the answer.
    pub in_doubt: Vec<AttemptId>,
}

impl Trouble {
    /// Whether an attempt failed on that host, whoever was to blame.
    pub fn has_seen(&self, host: HostId) -> bool {
        self.avoids.contains(&host) || self.accused.iter().any(|(accused, _)| *accused == host)
    }
}

impl Task {
    /// A task of which nothing was tried.
    pub fn new(bytes: u64, homes: Vec<WorkerId>) -> Self {
        Task { bytes, homes, state: State::Ready, live: Vec::new(), next_number: 0, hash: None, trouble: None }
    }

    /// What went wrong, to be added to.
    pub fn trouble_mut(&mut self) -> &mut Trouble {
        self.trouble.get_or_insert_default()
    }

    /// The hosts that failed it.
    pub fn avoids(&self) -> &[HostId] {
        self.trouble.as_ref().map_or(&[], |trouble| &trouble.avoids)
    }

    /// Counts a host among those that failed it.
    pub fn avoid(&mut self, host: HostId) {
        let avoids = &mut self.trouble_mut().avoids;
        if !avoids.contains(&host) {
            avoids.push(host);
        }
    }

    /// How many more failures it may have.
    pub fn failures_left(&self, attempts_max: u32) -> u32 {
        attempts_max.saturating_sub(self.trouble.as_ref().map_or(0, |trouble| trouble.failures))
    }
}
