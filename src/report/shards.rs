//! The sizes before the first task.

use std::fmt;

use serde::Serialize;

use super::tally::{Tally, Worker};
use super::text::{count_of, times};
use crate::facts::Plan;
use crate::units::Bytes;

/// How the input is cut, and what share of it falls to each worker by its slots. Splits on the driver's machine belong
/// to no worker beforehand: the shares say what to expect, and fast workers take more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Shards {
    /// Input files.
    pub files: u64,
    /// Bytes of input, as they lie.
    pub bytes: u64,
    /// Map tasks.
    pub splits: u64,
    /// The largest split, in bytes.
    pub split_largest: u64,
    /// Workers.
    pub workers: u64,
    /// Their slots together.
    pub slots: u64,
    /// The slots of the worker that has most.
    pub slots_largest: u64,
}

impl Shards {
    /// The sizes of a plan on the workers that there are.
    pub fn of(tally: &Tally) -> Self {
        let live: Vec<&Worker> = tally.workers().filter(|worker| !worker.lost).collect();
        let slots = || live.iter().map(|worker| u64::from(worker.slots));
        let Plan { files, bytes, splits, .. } = tally.plan();
        Shards {
            files: *files,
            bytes: *bytes,
            splits: splits.len() as u64,
            split_largest: splits.iter().copied().max().unwrap_or(0),
            workers: live.len() as u64,
            slots: slots().sum(),
            slots_largest: slots().max().unwrap_or(0),
        }
    }

    /// Bytes for each worker on average.
    pub fn share_average(&self) -> u64 {
        self.bytes / self.workers.max(1)
    }

    /// Bytes for the worker with most slots.
    pub fn share_largest(&self) -> u64 {
        let share = u128::from(self.bytes) * u128::from(self.slots_largest) / u128::from(self.slots.max(1));
        u64::try_from(share).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Shards {
    /// Two lines, the last one without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let split_average = self.bytes / self.splits.max(1);
        writeln!(
            f,
            "{} in {}, {}: average {}, largest {} ({} times)",
            Bytes(self.bytes),
            count_of(self.files, "file"),
            count_of(self.splits, "split"),
            Bytes(split_average),
            Bytes(self.split_largest),
            times(self.split_largest, split_average as f64),
        )?;
        write!(
            f,
            "{} with {}: average share {}, largest {} ({} times)",
            count_of(self.workers, "worker"),
            count_of(self.slots, "slot"),
            Bytes(self.share_average()),
            Bytes(self.share_largest()),
            times(self.share_largest(), self.share_average() as f64),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::tally;

    #[test]
    fn sizes_are_told_before_the_first_task() {
        let check = |facts: &str, expected: &str| assert_eq!(Shards::of(&tally(facts)).to_string(), expected);
        check(
            "plan 1048576 3145728 2097152 / 2\n join 0 node01 4\n join 1 node02 8",
            "6.00 MiB in 3 files, 3 splits: average 2.00 MiB, largest 3.00 MiB (1.50 times)\n\
             2 workers with 12 slots: average share 3.00 MiB, largest 4.00 MiB (1.33 times)",
        );
        check(
            "plan / 1\n join 0 node01 1",
            "0 B in 0 files, 0 splits: average 0 B, largest 0 B (1.00 times)\n\
             1 worker with 1 slot: average share 0 B, largest 0 B (1.00 times)",
        );
    }
}
