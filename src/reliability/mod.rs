//! What is remembered of hosts from job to job, on the driver's machine: what they did, and what speaks against them.
//!
//! A [`Fold`] reads the facts of a run; [`Memory`] is what all runs add up to, kept in one file that is replaced as a
//! whole, under a lock. A mark has evidence and an end; the next job's scheduler is told of those that hold.
//! [`table()`] shows hosts to people. Nothing here decides who gets tasks.

mod fold;
mod store;
mod table;

use serde::{Deserialize, Serialize};

pub use fold::Fold;
pub use store::{Memory, Store};
pub use table::{Line, Presence, table};

/// What weighs against a host in its score counts as so many tasks.
const FAULT_WEIGHT: u64 = 5;

/// What is known of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Attempts that it ran at once, the last time.
    pub slots: u32,
    /// Attempts that ended well there.
    pub done: u64,
    /// Attempts that failed there, for whatever reason.
    pub failed: u64,
    /// Those of them that were the host's fault, such as a full disk.
    pub faults: u64,
    /// How often it was lost while a job ran.
    pub lost: u64,
    /// Its attempts that were copied, since they were far slower than their peers.
    pub copied: u64,
    /// How often a copy won by so much that the host was held to be slow.
    pub outpaced: u64,
    /// When a job had it last: milliseconds since 1970.
    pub seen_ms: u64,
    /// What is held against it.
    pub mark: Option<Mark>,
}

/// What is held against a host, for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// What it is.
    pub kind: MarkKind,
    /// Since when: milliseconds since 1970.
    pub since_ms: u64,
    /// Until when.
    pub until_ms: u64,
    /// What shows it, in words.
    pub evidence: String,
}

/// What kind of thing is held against a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// It is slow, and keeps this share of its places.
    Slow {
        /// In percent; 0 for none.
        share_percent: u32,
    },
    /// Too much failed there: it gets nothing.
    Barred,
}

impl Record {
    /// How much one can rely on the host, from 0 to 100: the share of what it did in what it did and what weighs against it,
    /// where each fault of its own, loss and won copy weighs as five tasks. None as long as nothing is known.
    pub fn score(&self) -> Option<u32> {
        let against = FAULT_WEIGHT.saturating_mul(self.faults + self.lost + self.outpaced);
        let all = self.done.saturating_add(against);
        (all > 0).then(|| u32::try_from(self.done.saturating_mul(100) / all).unwrap_or(100))
    }

    /// What is held against it at a moment.
    pub fn mark_at(&self, now_ms: u64) -> Option<&Mark> {
        self.mark.as_ref().filter(|mark| mark.until_ms > now_ms)
    }

    /// Forgets what speaks against it.
    fn forgive(&mut self) {
        *self = Record { slots: self.slots, done: self.done, seen_ms: self.seen_ms, ..Record::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_is_the_share_of_what_was_done() {
        let check = |done, faults, lost, outpaced, score| {
            let record = Record { done, faults, lost, outpaced, failed: 1000, copied: 1000, ..Record::default() };
            assert_eq!(record.score(), score, "{record:?}");
        };
        check(0, 0, 0, 0, None);
        check(1, 0, 0, 0, Some(100));
        check(95, 1, 0, 0, Some(95));
        check(10, 0, 1, 1, Some(50));
        check(0, 0, 1, 0, Some(0));
    }
}
