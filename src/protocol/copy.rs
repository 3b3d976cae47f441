//! The copy of a job that its workers keep, so that a driver on another machine can go on with it.
//!
//! It comes over the control connection in pieces, a file after the other, and is read where the worker is, alive or not.

use serde::{Deserialize, Serialize};

use crate::ids::WorkerId;

/// A file of the copy, in the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum KeptFile {
    /// The job as it was stored.
    Job,
    /// Its splits.
    Splits,
    /// Its facts, as far as they had come.
    Journal,
}

impl KeptFile {
    /// All of them.
    pub const ALL: [KeptFile; 3] = [KeptFile::Job, KeptFile::Splits, KeptFile::Journal];

    /// The file's name, with the driver and with a worker.
    pub fn name(self) -> &'static str {
        match self {
            KeptFile::Job => "job.json",
            KeptFile::Splits => "splits.json",
            KeptFile::Journal => "journal",
        }
    }
}

/// A worker of a job that was found on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundWorker {
    /// Which.
    pub worker: WorkerId,
    /// How much it has of the journal; nothing before the other files are whole.
    pub journal_bytes: u64,
}

/// What one worker has of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobCopy {
    /// [`KeptFile::Job`].
    pub job: Vec<u8>,
    /// [`KeptFile::Splits`].
    pub splits: Vec<u8>,
    /// [`KeptFile::Journal`].
    pub journal: Vec<u8>,
}
