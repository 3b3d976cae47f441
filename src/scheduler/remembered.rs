//! What earlier jobs hold against hosts: it holds in this one too, until it is forgotten or disproved.
//!
//! Marks wait until their hosts have joined, and until the fleet can spare these: the worst first, and never more than a
//! share of the hosts.

use super::Scheduler;
use super::host::{Mark, Standing};
use super::rules::StragglerRules;
use crate::clock::Moment;

/// What an earlier job holds against a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The host's name.
    pub host: String,
    /// What it is.
    pub standing: RememberedStanding,
    /// When it is forgotten, on this process's clock.
    pub until: Moment,
    /// What shows it, in words.
    pub evidence: String,
}

/// How a host is to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RememberedStanding {
    /// Too much failed there.
    Barred,
    /// It is slow, and keeps this share of its places, in percent.
    Slow(u32),
}

/// Marks that are not held against their hosts yet.
#[derive(Debug, Default)]
pub(super) struct Remembrance {
    waiting: Vec<Remembered>,
    /// Whether a worker has joined since they were looked at.
    joined: bool,
}

impl Remembrance {
    pub fn new(mut marks: Vec<Remembered>) -> Self {
        // The order must not depend on that in which they were found.
        marks.sort_by(|a, b| (a.standing, &a.host).cmp(&(b.standing, &b.host)));
        Remembrance { waiting: marks, joined: false }
    }

    /// A worker has joined.
    pub fn note_joined(&mut self) {
        self.joined = !self.waiting.is_empty();
    }
}

impl Scheduler {
    /// Holds against the hosts that have joined what is remembered of them, as far as the fleet can spare them.
    pub(super) fn apply_remembered(&mut self) {
        if !std::mem::take(&mut self.remembered.joined) {
            return;
        }
        let waiting = std::mem::take(&mut self.remembered.waiting);
        self.remembered.waiting = waiting.into_iter().filter(|mark| !self.apply(mark)).collect();
    }

    /// Whether a mark was held against its host, or never will be.
    fn apply(&mut self, remembered: &Remembered) -> bool {
        let Some(id) = self.fleet.host_named(&remembered.host) else { return false };
        let host = self.fleet.host(id);
        if remembered.until <= self.now || host.is_marked() || host.normal_at.is_some() {
            return true;
        }
        if !host.is_present() || !self.can_spare(id) {
            return false;
        }
        let rules = self.rules.stragglers.unwrap_or_default();
        self.fleet.set_standing(id, remembered.standing_at(self.now, rules));
        self.fleet.change_host(id, |host| host.evidence = Some(remembered.evidence.clone()));
        let is_barred = self.fleet.host(id).is_barred();
        for worker in self.fleet.workers_of(id) {
            self.record_if_barred(worker);
            if is_barred {
                self.call_back_queue(worker);
            }
        }
        true
    }
}

impl Remembered {
    fn standing_at(&self, now: Moment, rules: StragglerRules) -> Standing {
        let mark = |marks| Mark { marks, since: now, until: self.until, slowness: None };
        match self.standing {
            RememberedStanding::Barred => Standing::Barred(self.until),
            RememberedStanding::Slow(0) => Standing::Outpaced(mark(rules.marks_max)),
            // Each mark has halved its places.
            RememberedStanding::Slow(share) => Standing::Slow(mark((100 / share.min(100)).ilog2().max(1))),
        }
    }
}
