//! The table of hosts: their workers counted, and what speaks against them.
//!
//! Hosts are known by name, so that one whose worker was lost and joined again keeps its past.

use super::rules::Rules;
use super::worker::Contact;

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
    pub standing: Standing,
}

/// Whether a host gets tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It does.
    Good,
    /// Too much failed there.
    Barred,
}

impl Host {
    /// A host of which nothing bad is known.
    pub fn new(name: &str) -> Self {
        let standing = Standing::Good;
        Host { name: name.to_owned(), well: 0, suspect: 0, failures: 0, contradicted: 0, standing }
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

    /// Whether too much failed there.
    pub fn is_barred(&self) -> bool {
        self.standing == Standing::Barred
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
        self.well > 0 && !self.is_barred()
    }
}

/// How many hosts there are of each sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HostCounts {
    /// Hosts with a worker that is not lost.
    pub present: u32,
    /// Those of them that get tasks.
    pub usable: u32,
    /// Those of them that are barred.
    pub barred: u32,
}

impl HostCounts {
    pub fn add(&mut self, host: &Host) {
        self.present += u32::from(host.is_present());
        self.usable += u32::from(host.is_usable());
        self.barred += u32::from(host.is_present() && host.is_barred());
    }

    pub fn remove(&mut self, host: &Host) {
        self.present -= u32::from(host.is_present());
        self.usable -= u32::from(host.is_usable());
        self.barred -= u32::from(host.is_present() && host.is_barred());
    }
}
