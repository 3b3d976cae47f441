//! What the scheduler is told, and what it asks for.

use std::time::Duration;

use crate::facts::{End, Fact, Failure, HostLoad, Work};
use crate::ids::{AttemptId, TaskId, WorkerId};

/// Something that the scheduler should know.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A worker can take tasks. Ids are given by the driver, and never again to another.
    WorkerJoined {
        /// Which.
        worker: WorkerId,
        /// Its name for people.
        host: String,
        /// Attempts that it runs at once.
        slots: u32,
    },
    /// A host that was named cannot take part.
    WorkerRefused {
        /// Its name for people.
        host: String,
        /// Why, and what helps.
        reason: String,
    },
    /// All connects were tried: no more workers will join, as far as is known.
    FleetComplete,
    /// More hosts were named: workers may join again.
    FleetGrows,
    /// The worker's host was taken off the list. It gets nothing new, and is let go once nothing of it is needed.
    WorkerDraining(WorkerId),
    /// A host that was taken off the list is on it again.
    WorkerKept(WorkerId),
    /// Nothing was heard of the worker for a while.
    WorkerSuspect(WorkerId),
    /// A suspect worker was heard of again.
    WorkerBack(WorkerId),
    /// After its connection broke, or under a new driver: all that the worker runs or holds. What it does not know is not
    /// there, and what it should not have is ended.
    WorkerHolds {
        /// Which.
        worker: WorkerId,
        /// Attempts that wait, run, or have ended well.
        attempts: Vec<AttemptId>,
    },
    /// The worker is gone.
    WorkerLost {
        /// Which.
        worker: WorkerId,
        /// Why.
        reason: String,
    },
    /// How loaded the host of a worker is.
    WorkerLoad {
        /// Which.
        worker: WorkerId,
        /// Measured there.
        load: HostLoad,
    },
    /// An attempt took its slot.
    AttemptStarted {
        /// Which.
        attempt: AttemptId,
        /// Where.
        worker: WorkerId,
    },
    /// How far a running attempt is. It changes no decision by itself: stragglers are looked for now and then.
    AttemptProgressed {
        /// Which.
        attempt: AttemptId,
        /// Where.
        worker: WorkerId,
        /// Bytes of its input that are used up.
        bytes_done: u64,
        /// Bytes of its input; 0 where there is none.
        bytes_total: u64,
        /// How long it waited for input, since it took its slot.
        waited: Duration,
    },
    /// An attempt ended well.
    AttemptFinished {
        /// Which.
        attempt: AttemptId,
        /// Where.
        worker: WorkerId,
        /// What it did.
        work: Work,
    },
    /// An attempt failed.
    AttemptFailed {
        /// Which.
        attempt: AttemptId,
        /// Where.
        worker: WorkerId,
        /// How.
        failure: Failure,
    },
    /// A commit that was asked for is done.
    Committed {
        /// Which.
        attempt: AttemptId,
        /// The size of the part.
        bytes: u64,
    },
    /// A commit that was asked for could not be done, since the output did not arrive.
    CommitFailed {
        /// Which.
        attempt: AttemptId,
        /// What went wrong.
        text: String,
    },
    /// The whole output is in its place.
    Completed,
    /// Parts that were committed went with the hosts that had them; the output is not in its place.
    PartsLost(Vec<TaskId>),
    /// The user wants the job to end for now.
    Interrupted,
    /// The user does not want the job any more.
    Cancelled,
    /// Something happened outside that no attempt can mend, such as a full disk under the output folder.
    Broken(End),
}

/// Something that the driver must do, in the order given.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Keep this; durable before the next action.
    Record(Fact),
    /// Send the attempt to the worker.
    Start {
        /// Which.
        attempt: AttemptId,
        /// Where.
        worker: WorkerId,
    },
    /// End the attempt; no answer is awaited.
    Kill {
        /// Which.
        attempt: AttemptId,
        /// Where.
        worker: WorkerId,
    },
    /// Reduces are about to read this map's segment from there; told to every worker before a reduce starts.
    Publish {
        /// The finished map attempt.
        attempt: AttemptId,
        /// Where its segment is.
        worker: WorkerId,
    },
    /// The task's segment is no longer valid.
    Withdraw {
        /// The map task.
        task: TaskId,
    },
    /// Give the attempt's output its final name.
    Commit {
        /// Which.
        attempt: AttemptId,
        /// Where its output is.
        worker: WorkerId,
    },
    /// All parts are committed: give the whole output its final name.
    Complete,
    /// Let a worker go that was drained: it cleans up, and nothing more is heard of it.
    Release {
        /// Which.
        worker: WorkerId,
    },
    /// The job has ended.
    Conclude(End),
}
