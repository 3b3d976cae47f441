//! Who is on the list of hosts, by worker: what a new list means for those that are there.
//!
//! Hosts are told apart by how they are reached, and by their place among equals where one is listed twice. A worker
//! that was lost, refused or let go is none: if its host is on the list when that changes, it joins as another worker.

use std::collections::{BTreeMap, HashMap};

use crate::fleet::{Fleet, HostSpec, Place};
use crate::ids::WorkerId;

/// The hosts of a job.
#[derive(Debug, Default)]
pub struct Crew {
    /// By worker.
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    /// None is known where it was given up under an earlier driver.
    host: Option<HostSpec>,
    name: String,
    standing: Standing,
}

/// How a host is reached: what tells two of them apart.
type Way = (Place, String, Option<String>, Option<u16>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is on the list.
    Listed,
    /// It was taken off the list, and is still there.
    Leaving,
    /// It is there no longer.
    Gone,
}

/// What a new list means for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is to join, as this worker, under this name.
    Joins(WorkerId, HostSpec, String),
    /// It was taken off.
    Leaves(WorkerId),
    /// It was taken off before, and stays after all.
    Stays(WorkerId),
}

impl Crew {
    /// Takes in a list. Of a crew without members, all hosts join.
    pub fn follow(&mut self, fleet: &Fleet) -> Vec<Change> {
        let mut free: HashMap<Way, Vec<usize>> = HashMap::new();
        for (index, member) in self.members.iter().enumerate().rev() {
            if let (Some(host), Standing::Listed | Standing::Leaving) = (&member.host, member.standing) {
                free.entry(way(host)).or_default().push(index);
            }
        }
        let mut changes = Vec::new();
        let mut fresh = Vec::new();
        for (host, name) in fleet.hosts.iter().zip(fleet.names()) {
            match free.get_mut(&way(host)).and_then(Vec::pop) {
                Some(index) => changes.extend(self.keep(index)),
                None => fresh.push((host, name)),
            }
        }
        let mut missing: Vec<usize> = free.into_values().flatten().collect();
        missing.sort_unstable();
        for index in missing {
            let member = &mut self.members[index];
            if std::mem::replace(&mut member.standing, Standing::Leaving) == Standing::Listed {
                changes.push(Change::Leaves(worker_at(index)));
            }
        }
        changes.extend(fresh.into_iter().map(|(host, name)| self.join(host, name)));
        changes
    }

    /// A host that has its place already, as the next worker; none is known of one that was given up.
    pub fn seat(&mut self, name: String, host: Option<HostSpec>) {
        let standing = if host.is_some() { Standing::Listed } else { Standing::Gone };
        self.members.push(Member { host, name, standing });
    }

    /// Where the workers are that are there.
    pub fn places(&self) -> BTreeMap<WorkerId, HostSpec> {
        let there = self.members.iter().enumerate().filter(|(_, member)| member.standing != Standing::Gone);
        there.filter_map(|(index, member)| Some((worker_at(index), member.host.clone()?))).collect()
    }

    /// Notes that a worker is there no longer.
    pub fn set_gone(&mut self, worker: WorkerId) {
        if let Some(member) = self.members.get_mut(worker.index()) {
            member.standing = Standing::Gone;
        }
    }

    fn keep(&mut self, index: usize) -> Option<Change> {
        let was = std::mem::replace(&mut self.members[index].standing, Standing::Listed);
        (was == Standing::Leaving).then(|| Change::Stays(worker_at(index)))
    }

    fn join(&mut self, host: &HostSpec, name: String) -> Change {
        // A name says which host it is: another one that is there may have it, under which it was reached another way.
        let is_taken = |name: &str| {
            let other = |member: &Member| {
                let is_another = member.host.as_ref().is_some_and(|there| way(there) != way(host));
                member.name == name && (member.standing != Standing::Gone || is_another)
            };
            self.members.iter().any(other)
        };
        let numbered = (2..).map(|number| format!("{name}#{number}"));
        let name = std::iter::once(name.clone()).chain(numbered).find(|name| !is_taken(name)).unwrap_or(name);
        self.members.push(Member { host: Some(host.clone()), name: name.clone(), standing: Standing::Listed });
        Change::Joins(worker_at(self.members.len() - 1), host.clone(), name)
    }
}

fn way(host: &HostSpec) -> Way {
    (host.place, host.address.clone(), host.user.clone(), host.port)
}

fn worker_at(index: usize) -> WorkerId {
    WorkerId(u32::try_from(index).expect("hosts are numbered by u32"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Source;

    /// What a list changes, in words.
    fn follow(crew: &mut Crew, list: &str) -> Vec<String> {
        let fleet = Fleet::resolve(&Source::List(list.to_owned())).expect("a list");
        let told = crew.follow(&fleet).into_iter().map(|change| match change {
            Change::Joins(worker, _, name) => format!("{name} joins as {worker}"),
            Change::Leaves(worker) => format!("{worker} leaves"),
            Change::Stays(worker) => format!("{worker} stays"),
        });
        told.collect()
    }

    #[test]
    fn lists_are_compared_by_host() {
        let mut crew = Crew::default();
        assert_eq!(follow(&mut crew, "a,b"), ["a joins as w0", "b joins as w1"]);
        assert_eq!(follow(&mut crew, "b,a slots=9"), [""; 0]);
        assert_eq!(follow(&mut crew, "b,c"), ["w0 leaves", "c joins as w2"]);
        assert_eq!(follow(&mut crew, "b,c"), [""; 0]);
        assert_eq!(follow(&mut crew, "a,b"), ["w0 stays", "w2 leaves"]);
    }

    #[test]
    fn who_is_gone_joins_as_another_under_the_same_name() {
        let mut crew = Crew::default();
        follow(&mut crew, "a,b");
        crew.set_gone(WorkerId(0));
        assert_eq!(follow(&mut crew, "a,b"), ["a joins as w2"]);
        assert_eq!(follow(&mut crew, "b"), ["w2 leaves"]);
    }

    #[test]
    fn equals_are_counted_and_names_stay_different() {
        let mut crew = Crew::default();
        assert_eq!(follow(&mut crew, "a,a"), ["a joins as w0", "a#2 joins as w1"]);
        assert_eq!(follow(&mut crew, "a"), ["w1 leaves"]);
        assert_eq!(follow(&mut crew, "a,a,a"), ["w1 stays", "a#3 joins as w2"]);
        let mut crew = Crew::default();
        follow(&mut crew, "ann@n");
        assert_eq!(follow(&mut crew, "ann@n,bob@n"), ["bob@n joins as w1"]);
        assert_eq!(follow(&mut crew, "bob@n,n:1,n"), ["w0 leaves", "n:1 joins as w2", "n#2 joins as w3"]);
    }
}
