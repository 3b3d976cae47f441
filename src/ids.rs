//! Names of things: jobs, workers, tasks and attempts, each a type of its own.
//!
//! An attempt is named by task, epoch and number; every message about it carries all three, so that an answer meant
//! for an older attempt is known as such. Nothing here knows what a task does.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number by chance: the standard library keys its hash tables by chance, and each a different one.
pub fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// A job's name on this machine, such as `wordcount-7k2m9q`: letters, digits and dashes, at most 40 bytes, so that it
/// can stand in any path, socket name or shell line as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(String);

impl JobId {
    /// A new id from the job's name and a random number.
    pub fn new(name: &str, random: u64) -> Self {
        const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let mut id: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .take(32)
            .collect();
        if id.is_empty() || id.starts_with('-') {
            id.insert_str(0, "job");
        }
        id.push('-');
        for digit in 0..6 {
            id.push(char::from(ALPHABET[(random >> (digit * 5)) as usize % 32]));
        }
        JobId(id)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for JobId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if text.is_empty() || text.len() > 48 || text.starts_with('-') || !text.chars().all(plain) {
            return Err(format!("`{text}` is no job id: letters, digits and dashes are expected"));
        }
        Ok(JobId(text.to_owned()))
    }
}

/// A worker of one job: its place in the list of hosts, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerId(pub u32);

impl WorkerId {
    /// The place as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}", self.0)
    }
}

/// The stages of a job, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Reads splits; writes a segment, or an output part where there are no reduces.
    Map,
    /// Reads one partition of every segment; writes an output part.
    Reduce,
}

impl Stage {
    /// The word used in task names.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Map => "map",
            Stage::Reduce => "reduce",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A task: `map-3`, `reduce-0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// What it belongs to.
    pub stage: Stage,
    /// Its place in the stage, from 0: the number of a map's split, or of a reduce's partition.
    pub index: u32,
}

impl TaskId {
    /// The map task of split `index`.
    pub fn map(index: u32) -> Self {
        TaskId { stage: Stage::Map, index }
    }

    /// The reduce task of partition `index`.
    pub fn reduce(index: u32) -> Self {
        TaskId { stage: Stage::Reduce, index }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.stage, self.index)
    }
}

impl FromStr for TaskId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no task: `map-0` or `reduce-0` is expected");
        let (stage, index) = text.split_once('-').ok_or_else(wrong)?;
        let index = index.parse().map_err(|_| wrong())?;
        match stage {
            "map" => Ok(TaskId::map(index)),
            "reduce" => Ok(TaskId::reduce(index)),
            _ => Err(wrong()),
        }
    }
}

/// The reign of one driver over a job: raised by each resume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u32);

/// One try at a task: `map-3.0`, or `map-3.e1.0` under a later epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The task.
    pub task: TaskId,
    /// The driver's epoch that started it.
    pub epoch: Epoch,
    /// Which try of the epoch, from 0.
    pub number: u32,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.epoch {
            Epoch(0) => write!(f, "{}.{}", self.task, self.number),
            Epoch(epoch) => write!(f, "{}.e{epoch}.{}", self.task, self.number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_ids_are_safe_words_and_parse_back() {
        for name in ["wordcount", "", "Ünï çode", "-x", "a b'c$(d)"] {
            let id = JobId::new(name, 0x1234_5678_9abc);
            assert_eq!(id.as_str().parse::<JobId>().as_ref(), Ok(&id), "{name}");
        }
        assert!("../x".parse::<JobId>().is_err());
    }

    #[test]
    fn names_read_as_they_are_written() {
        let task = TaskId::map(3);
        assert_eq!(task.to_string(), "map-3");
        assert_eq!("map-3".parse(), Ok(task));
        assert!("map".parse::<TaskId>().is_err());
        assert_eq!(AttemptId { task, epoch: Epoch(0), number: 2 }.to_string(), "map-3.2");
        assert_eq!(AttemptId { task, epoch: Epoch(1), number: 0 }.to_string(), "map-3.e1.0");
    }
}
