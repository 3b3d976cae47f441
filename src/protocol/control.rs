//! The control connection: who is there, what to run, what became of it.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::copy::KeptFile;
use crate::dataset::{Generation, Name};
use crate::facts::{Failure, HostLoad, Work};
use crate::ids::{AttemptId, Epoch, JobId, TaskId, WorkerId};
use crate::input::Split;
use crate::job::Job;
use crate::protocol::peer::{Access, Doorway, Peer};
use crate::shuffle::policy::{CompressionPolicy, Travel};
use crate::units::Bytes;

/// The first frame of every connection to a worker, from the one who connects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The caller's build; the worker refuses another.
    pub build: String,
    /// The job that the caller drives.
    pub job: JobId,
    /// Who drives it.
    pub reign: Reign,
    /// What the connection is for.
    pub role: Role,
}

/// A driver's turn at a job. Each resume begins another one, and a worker obeys the newest that it has met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reign {
    /// Raised by each resume; attempts are named by it.
    pub epoch: Epoch,
    /// Random: two drivers may take the same epoch.
    pub token: u64,
    /// Who the driver is, for people.
    pub driver: String,
}

impl Reign {
    /// Whether a worker that obeys `self` shall obey `other` from now on.
    pub fn yields_to(&self, other: &Reign) -> bool {
        *self == *other || self.epoch < other.epoch
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// [`ToWorker`] and [`ToDriver`] messages.
    Control,
    /// Streams of bytes: see [`super::bulk`].
    Bulk,
}

/// The answer to a [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Welcome {
    /// Go on.
    Accepted,
    /// Not with us; says why.
    Refused(String),
    /// Another driver has taken over.
    Fenced(Reign),
}

/// From the driver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToWorker {
    /// The job, before anything else. The worker fetches the shipped files, runs the setup command and answers
    /// [`ToDriver::Ready`] or [`ToDriver::NotReady`].
    Prepare(Box<Assignment>),
    /// Run this as soon as a slot is free; begin to fetch its input at once.
    Start {
        /// Its name.
        attempt: AttemptId,
        /// What it reads.
        input: TaskInput,
    },
    /// End it, whatever it does; no answer.
    Kill(AttemptId),
    /// Its output is not needed any more.
    Forget(AttemptId),
    /// Other workers that can be reached without the driver, before the first segments that they hold.
    Peers(Vec<Peer>),
    /// Another worker is lost: what is fetched from there will not come.
    PeerLost(WorkerId),
    /// Where the segments of finished maps are, from the first reduce on; reduces wait for those that are missing.
    Published(Vec<SegmentNews>),
    /// A piece of the job for another driver, should this one be lost with its machine.
    Keep {
        /// Of which file.
        file: KeptFile,
        /// Where it belongs in that.
        offset: u64,
        /// The piece.
        bytes: Vec<u8>,
    },
    /// I am here.
    Ping,
    /// The driver goes and may come back: keep everything. Answered by [`ToDriver::Bye`].
    Leave,
    /// The job has ended: clean up and exit.
    Shutdown,
}

/// From the worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToDriver {
    /// All that there is: the first message on every connection, so that nothing is lost with an earlier one.
    Holds(Holdings),
    /// Another driver has taken over; the connection ends.
    Fenced(Reign),
    /// Tasks may come.
    Ready {
        /// How many run at once: what was asked for, or fewer where the owner of the host lends less.
        slots: u32,
        /// How loaded the host is, so that nothing is started where nothing should be.
        load: HostLoad,
    },
    /// Shipping or setup failed here.
    NotReady(Failure),
    /// The attempt took its slot.
    Started(AttemptId),
    /// How far the running attempts are, at least once a second: also the sign of life.
    Progress(Vec<Progress>),
    /// How loaded the host is, about once a second.
    Load(HostLoad),
    /// The attempt ended well, and holds its output.
    Finished {
        /// Its name.
        attempt: AttemptId,
        /// What it did.
        work: Work,
        /// How much stderr was kept.
        stderr_bytes: u64,
    },
    /// The attempt failed.
    Failed {
        /// Its name.
        attempt: AttemptId,
        /// How.
        failure: Failure,
        /// How much stderr was kept.
        stderr_bytes: u64,
    },
    /// Whether other workers can come in.
    Doorway(Doorway),
    /// All is removed, and the process exits; or the driver may leave.
    Bye,
}

/// What a worker has of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holdings {
    /// Whether it outlives its driver.
    pub stay: Stay,
    /// How far its preparation is.
    pub setup: Setup,
    /// Whether it lets other workers in, once it has said so.
    pub doorway: Option<Doorway>,
    /// All attempts that it was given and has not forgotten.
    pub attempts: Vec<(AttemptId, Held)>,
}

/// What becomes of a worker at the end of the login that started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stay {
    /// It waits for the next driver.
    Outlives,
    /// It is killed by its machine.
    EndsWithLogin,
}

/// How far a worker's preparation is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Setup {
    /// It was not given the job yet.
    Awaited,
    /// Files are shipped, or the setup command runs.
    UnderWay,
    /// Tasks may come.
    Done {
        /// How many run at once.
        slots: u32,
    },
    /// Shipping or setup failed here.
    Failed(Failure),
}

/// How far an attempt is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Held {
    /// It awaits its input or a slot.
    Waiting,
    /// It has a slot.
    Running,
    /// As [`ToDriver::Finished`].
    Finished {
        /// What it did.
        work: Work,
        /// How much stderr was kept.
        stderr_bytes: u64,
    },
    /// As [`ToDriver::Failed`].
    Failed {
        /// How.
        failure: Failure,
        /// How much stderr was kept.
        stderr_bytes: u64,
    },
}

/// All that a worker must know of the job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// The job.
    pub job: Job,
    /// Its id.
    pub id: JobId,
    /// Who this worker is.
    pub worker: WorkerId,
    /// Attempts at once; the worker may grant fewer.
    pub slots: u32,
    /// What they may plan with together, where `workers.txt` says it.
    pub memory: Option<Bytes>,
    /// Where output parts go if the driver's files are this machine's own; else the driver pulls them.
    pub output_here: Option<PathBuf>,
    /// By which it goes to other workers; without it, their segments come through the driver.
    pub peers: Option<Access>,
    /// When segments are compressed,
    pub compression: CompressionPolicy,
    /// and where they go.
    pub travel: Travel,
    /// The host's data folder; none for the usual one.
    pub data: Option<PathBuf>,
    /// The generation of a dataset that output parts go to instead, and stay on the worker.
    pub output_data: Option<(Name, Generation)>,
}

/// What an attempt reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskInput {
    /// A map: a split, read in place where the driver's files are this machine's own, else pulled from the driver.
    Split(Split),
    /// A reduce: its partition of the published segments of so many maps.
    Partition {
        /// How many maps there are.
        maps: u32,
    },
}

/// What becomes known of the segment of a map; the newest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SegmentNews {
    /// It is there.
    Made(SegmentPlace),
    /// It is gone, and will be made again.
    Gone(TaskId),
}

/// Where the segment of a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentPlace {
    /// The attempt that made it.
    pub map: AttemptId,
    /// The worker that holds it.
    pub holder: WorkerId,
}

/// How far an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Which.
    pub attempt: AttemptId,
    /// Bytes of its input that are used up.
    pub bytes_done: u64,
    /// Bytes of its input, as far as known.
    pub bytes_total: u64,
    /// How long it waited for input so far.
    pub waited: Duration,
}
