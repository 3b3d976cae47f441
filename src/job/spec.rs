//! The job as it runs: every default applied, every path resolved, every number checked.
//!
//! What was typed (flags, a job file) is another type, in `job::file` and `cli`; it becomes a [`Job`] once, at the edge.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::dataset::{Generation, Name, StoreId};
use crate::shuffle::partition::Partitioner;
use crate::shuffle::record::KeyRule;
use crate::units::Bytes;

/// A map-reduce job. The same value goes to the journal and to every worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// For people, and the first part of the job's id.
    pub name: String,
    /// What is run on each split.
    pub map: Step,
    /// What folds a map attempt's sorted output before it is written; must be exactly associative.
    pub combine: Option<Step>,
    /// What is run on each partition; [`Step::Identity`] gives the sorted records.
    pub reduce: Step,
    /// How keys become partitions; none for a map-only job.
    pub partitioner: Option<Partitioner>,
    /// What the key of an intermediate line is.
    pub key: KeyRule,
    /// What lies in the job's folder on every worker before the first task.
    pub files: Vec<ShippedFile>,
    /// Run once a host and job, in the folder of the shipped files, before the first task there.
    pub setup: Option<String>,
    /// Added to the environment of every command.
    pub env: Vec<(String, String)>,
    /// Bounds on each attempt.
    pub limits: Limits,
}

impl Job {
    /// How many reduces there are; 0 for a map-only job.
    pub fn reduces(&self) -> u32 {
        self.partitioner.as_ref().map_or(0, Partitioner::partitions)
    }
}

/// What a map, combine or reduce does to its records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Records pass as they are.
    Identity,
    /// A command for `sh -c`: lines in on stdin, lines out on stdout.
    Command(String),
    /// Run in the worker process.
    Builtin(Builtin),
}

/// What the worker process can do by itself, as map, combine and reduce of the job of that name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Builtin {
    /// Runs of bytes that are no ASCII white space, counted: `word<TAB>count`.
    WordCount,
    /// The lines that match a regular expression, in input order.
    Grep {
        /// In the syntax of the `regex` crate, over bytes.
        pattern: String,
    },
    /// Every different line once.
    Distinct,
    /// The exact sum of the numbers of each key: key, separator, sum.
    Sum,
    /// Of lines that end in separator and number, those with the largest numbers, largest first; equal numbers by line.
    Top {
        /// How many.
        count: u64,
    },
    /// For each key in both inputs, every pair of values: key, value and other value, with separators between.
    Join,
}

/// A file or folder for the workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShippedFile {
    /// Where it lies on the driver's machine.
    pub source: PathBuf,
    /// Its name in the folder of every task; where the contents of an archive go there, its name as typed, which tells how
    /// it is compressed.
    pub name: String,
    /// What is done with it on the worker.
    pub form: FileForm,
}

/// How a shipped file travels and lands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileForm {
    /// As it is, with its mode.
    Plain,
    /// A folder, packed by the driver, unpacked under its name.
    Folder,
    /// An archive, unpacked as `tar xf` would.
    Archive,
}

/// Bounds on each attempt and on the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Attempts that may fail before the job fails; kills and lost workers do not count.
    pub attempts_max: u32,
    /// An attempt that neither reads, writes nor reports for so long is ended; none: never.
    pub silence_max: Option<Duration>,
    /// An attempt's memory for sorting and merging; none: the worker divides what it has by its slots.
    pub sort_memory: Option<Bytes>,
    /// How much of each attempt's stderr is kept.
    pub stderr_max: Bytes,
    /// What the commands of an attempt may take.
    pub processes: ProcessLimits,
}

/// What the commands of an attempt may take together, with all that they start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLimits {
    /// Memory; none: what there is.
    pub memory: Option<Bytes>,
    /// Processor time, that of processes which have ended included.
    pub cpu_time: Option<Duration>,
    /// Time from when the attempt took its slot.
    pub wall_time: Option<Duration>,
    /// Processes at once.
    pub processes: Option<u32>,
    /// The niceness at which they run at least: 0 to 19, see nice(1).
    pub nice: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            attempts_max: 4,
            silence_max: None,
            sort_memory: None,
            stderr_max: Bytes::mebi(1),
            processes: ProcessLimits::default(),
        }
    }
}

/// Where the result goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The folder, on the driver's machine, absolute.
    pub folder: PathBuf,
    /// Whether an output that is there may be replaced once the new one is complete.
    pub overwrite: bool,
    /// The dataset that it becomes instead of a folder, whose name is then for people.
    pub dataset: Option<OutputDataset>,
}

/// A dataset that is made by a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputDataset {
    /// Its name.
    pub name: Name,
    /// The generation that is made.
    pub generation: Generation,
    /// How many copies of each part.
    pub copies: u32,
    /// What each worker has for it, by its place in the list of hosts.
    pub places: Vec<OutputPlace>,
}

/// What a worker has for parts of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputPlace {
    /// The worker's name for people.
    pub host: String,
    /// The machine: workers with the same one fall together.
    pub machine: String,
    /// Its data folder; none if it did not answer.
    pub store: Option<StoreId>,
    /// Bytes free there.
    pub free: u64,
    /// How much of the work it takes.
    pub slots: u32,
}
