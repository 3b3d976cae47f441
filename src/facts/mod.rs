//! What can happen in a run.
//!
//! The scheduler records facts; the journal keeps them, and progress, report and `--json` read them. So there is one
//! account of a run, and nobody prints from the engine. A fact says what happened, never what to do. Facts are stored:
//! a change of these types raises [`VERSION`].

mod failure;
mod load;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use failure::{Blame, Cause, Failure, Lender, Limit};
pub use load::{HostLoad, Shortage};

use crate::clock::Moment;
use crate::error::Kind;
use crate::ids::{AttemptId, Epoch, JobId, Stage, WorkerId};

/// The version of the stored form.
pub const VERSION: u16 = 3;

/// A fact and when it happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// Since the driver's process began.
    pub at: Moment,
    /// What happened.
    pub fact: Fact,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// The job was planned; nothing ran yet.
    JobPlanned(Plan),
    /// Another driver goes on with the job.
    JobResumed {
        /// The epoch under which it starts attempts.
        epoch: Epoch,
        /// Who it is, for people.
        driver: String,
        /// Calendar time, milliseconds since 1970.
        wall_ms: u64,
    },
    /// A worker can take tasks.
    WorkerJoined {
        /// Which.
        worker: WorkerId,
        /// Its name for people.
        host: String,
        /// Attempts that it runs at once.
        slots: u32,
    },
    /// A host that was named takes no part, or no longer.
    WorkerRefused {
        /// Its name for people.
        host: String,
        /// Why, and what helps.
        reason: String,
    },
    /// Nothing was heard of the worker for a while; nothing new is started there.
    WorkerSuspect {
        /// Which.
        worker: WorkerId,
    },
    /// A suspect worker was heard of again.
    WorkerBack {
        /// Which.
        worker: WorkerId,
    },
    /// The worker is given up, with all that it ran and held.
    WorkerLost {
        /// Which.
        worker: WorkerId,
        /// Why.
        reason: String,
    },
    /// Its host was taken off the list: it gets nothing new, what runs there may end, and what it holds is served.
    WorkerDraining {
        /// Which.
        worker: WorkerId,
    },
    /// Its host was put on the list again before it was let go: it gets tasks again.
    WorkerKept {
        /// Which.
        worker: WorkerId,
    },
    /// A worker that was to go is let go: nothing that it holds is needed.
    WorkerReleased {
        /// Which.
        worker: WorkerId,
    },
    /// The worker gets no more tasks for a long while, since too many failed there.
    WorkerBarred {
        /// Which.
        worker: WorkerId,
        /// How many different tasks failed there.
        failures: u32,
        /// When it gets another chance.
        until: Moment,
    },
    /// The worker gets fewer tasks or none, for what its host did in an earlier job.
    WorkerRemembered {
        /// Which.
        worker: WorkerId,
        /// The share of its places that it keeps, in percent.
        share_percent: u32,
        /// For how long, unless a task at a normal pace clears it.
        until: Moment,
        /// What it did, in words.
        evidence: String,
    },
    /// The worker gets fewer tasks or none, since copies of what it ran won: its host is slow.
    WorkerMarked {
        /// Which.
        worker: WorkerId,
        /// The newest evidence.
        slowness: Slowness,
        /// The share of its places that it keeps, in percent.
        share_percent: u32,
        /// For how long, unless a task at a normal pace clears it.
        until: Moment,
    },
    /// The worker gets its full share again.
    WorkerCleared {
        /// Which.
        worker: WorkerId,
    },
    /// Nothing is started on the worker for now, since its host is short of something.
    WorkerHeld {
        /// Which.
        worker: WorkerId,
        /// Of what.
        shortage: Shortage,
    },
    /// The host of the worker is short of nothing any more.
    WorkerEased {
        /// Which.
        worker: WorkerId,
    },
    /// The first attempt of a stage was sent out.
    StageStarted {
        /// Which.
        stage: Stage,
    },
    /// The last task of a stage was done. A lost worker can make some of them start again.
    StageFinished {
        /// Which.
        stage: Stage,
    },
    /// An attempt is a straggler: another one of the task is about to be sent, and the first to end wins.
    AttemptCopied {
        /// The copy.
        attempt: AttemptId,
        /// Where it goes.
        worker: WorkerId,
        /// The straggler.
        of: AttemptId,
        /// Where that runs.
        from: WorkerId,
        /// How slow it is.
        lag: Lag,
    },
    /// An attempt was sent to a worker; it runs when a slot is free there.
    AttemptQueued {
        /// Which.
        attempt: AttemptId,
        /// Where.
        worker: WorkerId,
    },
    /// An attempt took its slot.
    AttemptStarted {
        /// Which.
        attempt: AttemptId,
        /// Where.
        worker: WorkerId,
    },
    /// An attempt ended well. Its output counts once it is committed (an output part) or at once (a segment).
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
        /// What becomes of the task.
        next: Next,
    },
    /// An attempt was ended by us, or lost with its worker.
    AttemptDropped {
        /// Which.
        attempt: AttemptId,
        /// Where.
        worker: WorkerId,
        /// Why.
        reason: DropReason,
    },
    /// The finished output of a map went with its worker, or could not be read; the task runs again.
    OutputLost {
        /// The attempt that had made it.
        attempt: AttemptId,
    },
    /// An output part has its final name.
    PartCommitted {
        /// The attempt that made it.
        attempt: AttemptId,
        /// Its size.
        bytes: u64,
    },
    /// The job ended.
    JobFinished {
        /// How.
        end: End,
    },
}

/// How far a straggler lags behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lag {
    /// It has input left.
    Rate {
        /// Time that the rest takes at its rate.
        left: Duration,
        /// Time that all of it takes at its peers' rate, the start of a copy included.
        elsewhere: Duration,
    },
    /// It has none left, or never had.
    Overdue {
        /// How long it has run.
        worked: Duration,
        /// How long its peers took for as much.
        usual: Duration,
    },
}

impl Lag {
    /// About how long it would still run; one that is overdue, as long again as it has.
    pub fn left(&self) -> Duration {
        match self {
            Lag::Rate { left, .. } => *left,
            Lag::Overdue { worked, .. } => *worked,
        }
    }
}

/// What shows that a host is slow: the same task on two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slowness {
    /// The straggler.
    pub attempt: AttemptId,
    /// How long it had worked without an end.
    pub there: Duration,
    /// The copy that won.
    pub winner: AttemptId,
    /// How long that took.
    pub elsewhere: Duration,
}

/// What was planned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The job's id.
    pub job: Option<JobId>,
    /// Its name.
    pub name: String,
    /// Calendar time, milliseconds since 1970.
    pub wall_ms: u64,
    /// Where the result goes.
    pub output: PathBuf,
    /// Input files.
    pub files: u64,
    /// Bytes of input as they lie.
    pub bytes: u64,
    /// Bytes of each split, by map task.
    pub splits: Vec<u64>,
    /// Reduce tasks.
    pub reduces: u32,
}

/// What an attempt did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Bytes read: of the split as it lies, or of the segments.
    pub bytes_in: u64,
    /// Lines read.
    pub records_in: u64,
    /// Bytes written, before compression.
    pub bytes_out: u64,
    /// Lines written.
    pub records_out: u64,
    /// Bytes of segments as stored; for a reduce, those that came from other workers.
    pub bytes_shuffled: u64,
    /// Those of them that came through the driver.
    pub bytes_relayed: u64,
    /// For a reduce, bytes of segments as stored that were on its worker.
    pub bytes_in_place: u64,
    /// Bytes of a dataset that it read from a disk of its own worker,
    pub bytes_local: u64,
    /// and those that came from another worker.
    pub bytes_distant: u64,
    /// Sorted runs that did not fit in memory.
    pub spills: u32,
    /// The identity of the output: equal for equal content, whatever the codec. 0 where it may differ from host to host
    /// although the program does the same, and is not to be compared.
    pub hash: u64,
    /// How long it held its slot.
    pub took: Duration,
    /// The user's counters: group, name, amount.
    pub counters: Vec<(String, String, i64)>,
}

/// What becomes of a task whose attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    /// It is tried again.
    Retry {
        /// How many more failures it may have.
        left: u32,
    },
    /// Another attempt of it runs or has won.
    Covered,
    /// It is given up, and the job with it.
    GiveUp,
}

/// Why an attempt ended without result and without failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// Another attempt of the task won.
    Beaten,
    /// It had not begun, and another worker was free.
    Moved,
    /// It was sent over a connection that broke, and its worker does not know it.
    NeverArrived,
    /// Its worker was lost.
    WorkerLost,
    /// What it read is no longer valid.
    InputGone,
    /// The job ends.
    JobEnds,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// All parts are committed.
    Done,
    /// It failed.
    Failed {
        /// The kind, hence the exit code.
        kind: Kind,
        /// Why.
        text: String,
    },
    /// It was interrupted, and can go on.
    Interrupted,
    /// It was cancelled, and cannot.
    Cancelled,
}
