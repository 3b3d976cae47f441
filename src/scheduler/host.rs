//! The table of hosts: their workers counted, and what speaks against them.
//!
//! Hosts are known by name, so that one whose worker was lost and joined again keeps its past.

use super::rules::Rules;
use super::worker::Contact;
use crate::clock::Moment;
use crate::facts::{HostLoad, Shortage, Slowness};

/// One host: a name, and the workers on it.
#[derive(Debug)]
pub(super) struct Host {
    pub name: String,
    /// Its workers that answer.
    well: u32,
    /// Its silent workers.
    suspect: u32,
    /// Failures that were the machine's at once, such as a full disk.
    pub failures: u32,
    /// Tasks that failed there and succeeded elsewhere.
    pub contradicted: u32,
    /// When it last ended a task at a normal pace.
    pub normal_at: Option<Moment>,
    pub standing: Standing,
    /// What an earlier job saw there, if its standing is for that.
    pub evidence: Option<String>,
    /// As its workers said last.
    pub load: Option<HostLoad>,
    /// What it is short of, so that nothing is started there.
    pub shortage: Option<Shortage>,
}

/// Whether a host gets tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It does.
    Good,
    /// It is slow, and gets fewer.
    Slow(Mark),
    /// It is so slow that it gets none.
    Outpaced(Mark),
    /// Too much failed there, until that moment.
    Barred(Moment),
}

/// Copies won from a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// How many did.
    pub marks: u32,
    /// When the first one did.
    pub since: Moment,
    /// When it is forgotten.
    pub until: Moment,
    /// The newest; none for a mark of an earlier job.
    pub slowness: Option<Slowness>,
}

impl Host {
    /// A host of which nothing bad is known.
    pub fn new(name: &str) -> Self {
        Host {
            name: name.to_owned(),
            well: 0,
            suspect: 0,
            failures: 0,
            contradicted: 0,
            normal_at: None,
            standing: Standing::Good,
            evidence: None,
            load: None,
            shortage: None,
        }
    }

    /// Counts a worker of which something else is heard now.
    pub fn recount(&mut self, was: Contact, now: Contact) {
        match was {
            Contact::Well => self.well -= 1,
            Contact::Suspect => self.suspect -= 1,
            Contact::Lost => {}
        }
        match now {
            Contact::Well => self.well += 1,
            Contact::Suspect => self.suspect += 1,
            Contact::Lost => {}
        }
    }

    /// Whether it gets nothing, since too much failed there or it is too slow.
    pub fn is_barred(&self) -> bool {
        match self.standing {
            Standing::Good | Standing::Slow(_) => false,
            Standing::Outpaced(_) | Standing::Barred(_) => true,
        }
    }

    /// Whether anything is held against it.
    pub fn is_marked(&self) -> bool {
        self.standing != Standing::Good
    }

    /// What shows that it is slow, if it is.
    pub fn mark(&self) -> Option<Mark> {
        match self.standing {
            Standing::Slow(mark) | Standing::Outpaced(mark) => Some(mark),
            Standing::Good | Standing::Barred(_) => None,
        }
    }

    /// When what is held against it is forgotten.
    pub fn until(&self) -> Option<Moment> {
        match self.standing {
            Standing::Good => None,
            Standing::Slow(mark) | Standing::Outpaced(mark) => Some(mark.until),
            Standing::Barred(until) => Some(until),
        }
    }

    /// How many of so many places it keeps. One task now and then shows whether it is still slow.
    pub fn places(&self, places: u32) -> u32 {
        match self.standing {
            Standing::Good => places,
            Standing::Slow(mark) => places.checked_shr(mark.marks).unwrap_or(0).max(1),
            Standing::Outpaced(_) | Standing::Barred(_) => 0,
        }
    }

    /// The same in percent, as far as places can be divided.
    pub fn share_percent(&self) -> u32 {
        self.places(100)
    }

    /// Failures held against it.
    pub fn blamed(&self, rules: &Rules) -> u32 {
        let proven = self.contradicted >= rules.contradictions_min;
        self.failures + if proven { self.contradicted } else { 0 }
    }

    /// Whether a worker of it is not lost.
    pub fn is_present(&self) -> bool {
        self.well + self.suspect > 0
    }

    /// Whether a worker of it may get new attempts.
    pub fn is_usable(&self) -> bool {
        self.well > 0 && !self.is_barred() && self.shortage.is_none()
    }
}

/// How many hosts there are of each sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HostCounts {
    /// Hosts with a worker that is not lost.
    pub present: u32,
    /// Those of them that get tasks.
    pub usable: u32,
    /// Those of them that get none.
    pub barred: u32,
    /// Those of them that are short of something.
    pub short: u32,
    /// Those of them that something is held against.
    pub marked: u32,
}

impl HostCounts {
    pub fn add(&mut self, host: &Host) {
        self.present += u32::from(host.is_present());
        self.usable += u32::from(host.is_usable());
        self.barred += u32::from(host.is_present() && host.is_barred());
        self.short += u32::from(host.is_present() && host.shortage.is_some());
        self.marked += u32::from(host.is_present() && host.is_marked());
    }

    pub fn remove(&mut self, host: &Host) {
        self.present -= u32::from(host.is_present());
        self.usable -= u32::from(host.is_usable());
        self.barred -= u32::from(host.is_present() && host.is_barred());
        self.short -= u32::from(host.is_present() && host.shortage.is_some());
        self.marked -= u32::from(host.is_present() && host.is_marked());
    }
}
