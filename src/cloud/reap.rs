//! What nobody claims any more: instances that should have ended themselves, and what our own lost launches left.
//!
//! A cluster is claimed by the record on the machine that launched it. So what others launched from elsewhere is none of
//! our business, unless it is past its time: then whatever was to end it has failed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::api::{Group, Key};
use super::labels::Labels;
use super::machine::Machine;
use crate::report::count_of;

/// How long after its time an instance may still be there: its timer looks once a minute, and shutting down takes some.
const GRACE: Duration = Duration::from_secs(600);

/// One launch that nobody claims, with what there is of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orphan {
    /// What its tags say.
    pub labels: Labels,
    /// Instances that may cost, with why they are nobody's.
    pub machines: Vec<String>,
    /// Security groups.
    pub groups: usize,
    /// Key pairs.
    pub keys: usize,
    /// Why it is nobody's.
    pub reason: String,
}

impl fmt::Display for Orphan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut things = Vec::new();
        if !self.machines.is_empty() {
            things.push(format!("{} ({})", count_of(self.machines.len() as u64, "instance"), self.machines.join(", ")));
        }
        things.extend((self.groups > 0).then(|| count_of(self.groups as u64, "security group")));
        things.extend((self.keys > 0).then(|| count_of(self.keys as u64, "key pair")));
        write!(f, "{} by {}: {}: {}", self.labels.cluster, self.labels.by, things.join(", "), self.reason)
    }
}

/// All that there is in a region, by what its tags say.
#[derive(Clone, Debug, Default)]
pub struct Everything {
    /// Instances in any state.
    pub machines: Vec<Machine>,
    /// Security groups.
    pub groups: Vec<Group>,
    /// Key pairs.
    pub keys: Vec<Key>,
}

/// What of it nobody claims: `claimed` are the ids of the clusters that this machine knows, `me` is who would know others.
pub fn orphans(everything: &Everything, claimed: &BTreeSet<String>, me: &str, now_ms: u64) -> Vec<Orphan> {
    let mut found: BTreeMap<String, Orphan> = BTreeMap::new();
    let overdue = |machine: &Machine| {
        let ttl = machine.labels.ttl_seconds.map(Duration::from_secs);
        machine.left(now_ms).is_some_and(|left| left.is_zero())
            && ttl.is_some_and(|ttl| machine.age(now_ms) > ttl + GRACE)
    };
    let lost = |labels: &Labels| labels.by == me && !claimed.contains(&labels.id);
    let mut live_ids = BTreeSet::new();
    // Without an id it is somebody's own tag.
    let ours = |machine: &&Machine| machine.state.is_live() && !machine.labels.id.is_empty();
    for machine in everything.machines.iter().filter(ours) {
        live_ids.insert(machine.labels.id.clone());
        let reason = match () {
            () if lost(&machine.labels) => "this machine launched it and has no record of it",
            () if overdue(machine) => "it should have ended itself",
            () => continue,
        };
        let orphan = found.entry(machine.labels.id.clone()).or_default();
        orphan.labels = machine.labels.clone();
        orphan.machines.push(machine.id.clone());
        orphan.reason = reason.to_owned();
    }
    let mut leftover = |labels: &Labels| {
        // What instances stand on goes with them; what belongs to somebody else's launch may be in the making.
        let is_ours = found.contains_key(&labels.id) || (lost(labels) && !live_ids.contains(&labels.id));
        is_ours.then(|| {
            let orphan = found.entry(labels.id.clone()).or_default();
            if orphan.reason.is_empty() {
                orphan.labels = labels.clone();
                orphan.reason = "no instance is left that needs it".to_owned();
            }
            labels.id.clone()
        })
    };
    let groups: Vec<String> = everything.groups.iter().filter_map(|group| leftover(&group.labels)).collect();
    let keys: Vec<String> = everything.keys.iter().filter_map(|key| leftover(&key.labels)).collect();
    for (ids, is_group) in [(groups, true), (keys, false)] {
        for id in ids {
            if let Some(orphan) = found.get_mut(&id) {
                *(if is_group { &mut orphan.groups } else { &mut orphan.keys }) += 1;
            }
        }
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::super::machine::{State, example};
    use super::*;

    fn labels(id: &str, by: &str) -> Labels {
        Labels { cluster: "demo".into(), id: id.into(), by: by.into(), ttl_seconds: Some(3600), ..Labels::default() }
    }

    fn machine(id: &str, by: &str, state: State, age_seconds: u64) -> Machine {
        let launched_ms = 100_000_000 - age_seconds * 1000;
        Machine { labels: labels(id, by), launched_ms, ..example(&format!("i-{id}"), state) }
    }

    fn found(everything: &Everything) -> Vec<String> {
        let claimed = BTreeSet::from(["kept".to_owned()]);
        orphans(everything, &claimed, "ann@desk", 100_000_000).iter().map(Orphan::to_string).collect()
    }

    #[test]
    fn only_what_nobody_claims_is_found() {
        let machines = vec![
            machine("kept", "ann@desk", State::Running, 100),
            machine("lost", "ann@desk", State::Running, 100),
            machine("gone", "ann@desk", State::Terminated, 100),
            machine("bobs", "bob@den", State::Running, 100),
            machine("late", "bob@den", State::Running, 3600 + 601),
            machine("soon", "bob@den", State::Running, 3600 + 599),
        ];
        let everything = Everything { machines, ..Everything::default() };
        assert_eq!(
            found(&everything),
            [
                "demo by bob@den: 1 instance (i-late): it should have ended itself",
                "demo by ann@desk: 1 instance (i-lost): this machine launched it and has no record of it",
            ]
        );
    }

    #[test]
    fn what_instances_stood_on_is_found_too() {
        let group = |id: &str, by: &str| Group { id: format!("sg-{id}"), labels: labels(id, by) };
        let key = |id: &str, by: &str| Key { name: format!("runner-{id}"), labels: labels(id, by) };
        let everything = Everything {
            machines: vec![machine("lost", "ann@desk", State::Running, 5)],
            groups: vec![
                group("lost", "ann@desk"),
                group("old", "ann@desk"),
                group("kept", "ann@desk"),
                group("bobs", "bob@den"),
            ],
            keys: vec![key("lost", "ann@desk"), key("old", "ann@desk"), key("bobs", "bob@den")],
        };
        assert_eq!(
            found(&everything),
            [
                "demo by ann@desk: 1 instance (i-lost), 1 security group, 1 key pair: this machine launched it and has no \
                 record of it",
                "demo by ann@desk: 1 security group, 1 key pair: no instance is left that needs it",
            ]
        );
    }
}
