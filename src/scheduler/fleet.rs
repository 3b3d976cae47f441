//! The table of workers and hosts, and the ordered sets by which a place is found without a search.
//!
//! Whatever changes a worker's load or standing ends in [`Fleet::rank`], which puts it where it belongs in the sets.

use std::collections::{BTreeMap, BTreeSet};

use super::host::{Host, HostCounts, Standing};
use super::rules::Rules;
use super::task::Phase;
use super::worker::{Contact, Duty, HostId, Lent, PerStage, Rank, Worker};
use crate::clock::Moment;
use crate::facts::{HostLoad, Shortage};
use crate::ids::{AttemptId, Stage, TaskId, WorkerId};

/// All workers, and the hosts that they are on.
#[derive(Debug)]
pub(super) struct Fleet {
    rules: Rules,
    pub workers: BTreeMap<WorkerId, Worker>,
    pub hosts: Vec<Host>,
    names: BTreeMap<String, HostId>,
    /// Usable workers that take another attempt, emptiest first.
    open: PerStage<BTreeSet<(u32, WorkerId)>>,
    /// Workers where attempts wait behind others, fullest first.
    crowded: PerStage<BTreeSet<(u32, WorkerId)>>,
    pub counts: HostCounts,
    /// Hosts against which something is held, by when that is forgotten.
    marks: BTreeSet<(Moment, HostId)>,
    /// Workers that are not lost and are to stay.
    pub present: u32,
    /// Their slots.
    pub slots: u32,
    /// Workers that are to go once nothing of them is needed.
    pub draining: BTreeSet<WorkerId>,
}

impl Fleet {
    pub fn new(rules: Rules) -> Self {
        Fleet {
            rules,
            workers: BTreeMap::new(),
            hosts: Vec::new(),
            names: BTreeMap::new(),
            open: PerStage::default(),
            crowded: PerStage::default(),
            counts: HostCounts::default(),
            marks: BTreeSet::new(),
            present: 0,
            slots: 0,
            draining: BTreeSet::new(),
        }
    }

    /// Takes in a worker. A host that comes back keeps its past, since hosts are known by name.
    pub fn join(&mut self, id: WorkerId, name: &str, slots: u32) {
        let host = *self.names.entry(name.to_owned()).or_insert_with(|| {
            self.hosts.push(Host::new(name));
            HostId(
                u32::try_from(self.hosts.len() - 1).expect("hosts are no more than workers, which are numbered by u32"),
            )
        });
        let worker = Worker {
            host,
            slots: slots.max(1),
            contact: Contact::Lost,
            lent: Lent::default(),
            duty: Duty::Serving,
            queue: PerStage::default(),
            running: BTreeSet::new(),
            outputs: BTreeSet::new(),
            rank: Rank::default(),
        };
        self.workers.insert(id, worker);
        self.set_contact(id, Contact::Well);
    }

    /// A worker of ours.
    pub fn get(&self, id: WorkerId) -> &Worker {
        &self.workers[&id]
    }

    fn get_mut(&mut self, id: WorkerId) -> &mut Worker {
        self.workers.get_mut(&id).expect("attempts and outputs lie only on workers that joined")
    }

    /// Its name for people.
    pub fn name(&self, id: WorkerId) -> &str {
        &self.hosts[self.get(id).host.0 as usize].name
    }

    /// The host of a worker.
    pub fn host_of(&self, id: WorkerId) -> HostId {
        self.get(id).host
    }

    /// The host of that name, if a worker of it ever joined.
    pub fn host_named(&self, name: &str) -> Option<HostId> {
        self.names.get(name).copied()
    }

    /// A host.
    pub fn host(&self, id: HostId) -> &Host {
        &self.hosts[id.0 as usize]
    }

    /// The workers of a host that are not lost. A search, for the rare moments when a host is judged.
    pub fn workers_of(&self, host: HostId) -> Vec<WorkerId> {
        let here = |worker: &Worker| worker.host == host && worker.contact != Contact::Lost;
        self.workers.iter().filter(|(_, worker)| here(worker)).map(|(id, _)| *id).collect()
    }

    /// Notes what is heard of a worker.
    pub fn set_contact(&mut self, id: WorkerId, contact: Contact) {
        let duty = self.get(id).duty;
        self.set_tie(id, contact, duty);
    }

    /// Notes whether a worker is to take part.
    pub fn set_duty(&mut self, id: WorkerId, duty: Duty) {
        let contact = self.get(id).contact;
        self.set_tie(id, contact, duty);
    }

    /// A host is counted by its workers that are to stay: those that go are as good as lost to it.
    fn set_tie(&mut self, id: WorkerId, contact: Contact, duty: Duty) {
        let worker = self.get_mut(id);
        let was = worker.tie();
        (worker.contact, worker.duty) = (contact, duty);
        let (now, host, slots) = (worker.tie(), worker.host, worker.slots);
        let (comes, goes) = (u32::from(was == Contact::Lost), u32::from(now == Contact::Lost));
        self.present = self.present + comes - goes;
        self.slots = self.slots + comes * slots - goes * slots;
        match (contact, duty) {
            (Contact::Well | Contact::Suspect, Duty::Draining) => _ = self.draining.insert(id),
            (Contact::Lost, Duty::Draining) | (_, Duty::Serving) => _ = self.draining.remove(&id),
        }
        self.change_host(host, |host| host.recount(was, now));
        self.rank(id);
    }

    /// Changes a host and counts it anew.
    pub fn change_host(&mut self, id: HostId, change: impl FnOnce(&mut Host)) {
        let host = &mut self.hosts[id.0 as usize];
        self.counts.remove(host);
        change(host);
        self.counts.add(host);
    }

    /// Changes whether a host gets tasks.
    pub fn set_standing(&mut self, id: HostId, standing: Standing) {
        if let Some(until) = self.host(id).until() {
            self.marks.remove(&(until, id));
        }
        self.change_host(id, |host| (host.standing, host.evidence) = (standing, None));
        if let Some(until) = self.host(id).until() {
            self.marks.insert((until, id));
        }
        for worker in self.workers_of(id) {
            self.rank(worker);
        }
    }

    /// Notes how loaded a host is, and what it is short of.
    pub fn set_load(&mut self, id: HostId, load: HostLoad, shortage: Option<Shortage>) {
        let was = self.host(id).shortage;
        self.change_host(id, |host| (host.load, host.shortage) = (Some(load), shortage));
        if was.is_some() != shortage.is_some() {
            for worker in self.workers_of(id) {
                self.rank(worker);
            }
        }
    }

    /// Notes that other jobs have slots of a worker, or none any more.
    pub fn set_lent(&mut self, id: WorkerId, lent: Lent) {
        self.get_mut(id).lent = lent;
        self.rank(id);
    }

    /// When the first mark of a host is forgotten.
    pub fn next_mark_over(&self) -> Option<Moment> {
        self.marks.first().map(|(until, _)| *until)
    }

    /// A host whose mark should be forgotten by now.
    pub fn mark_over(&self, now: Moment) -> Option<HostId> {
        self.marks.first().filter(|(until, _)| *until <= now).map(|(_, id)| *id)
    }

    /// Notes that an attempt was sent.
    pub fn send(&mut self, attempt: AttemptId, id: WorkerId) {
        self.get_mut(id).queue.get_mut(attempt.task.stage).push(attempt);
        self.rank(id);
    }

    /// Notes that a queued attempt took its slot.
    pub fn run(&mut self, attempt: AttemptId, id: WorkerId) {
        let worker = self.get_mut(id);
        worker.queue.get_mut(attempt.task.stage).retain(|queued| *queued != attempt);
        worker.running.insert(attempt);
        self.rank(id);
    }

    /// Notes that an attempt is no longer there.
    pub fn release(&mut self, attempt: AttemptId, id: WorkerId, phase: Phase) {
        let worker = self.get_mut(id);
        match phase {
            Phase::Queued => worker.queue.get_mut(attempt.task.stage).retain(|queued| *queued != attempt),
            Phase::Running => {
                worker.running.remove(&attempt);
            }
        }
        self.rank(id);
    }

    /// Notes that the finished output of a task lies on a worker.
    pub fn keep_output(&mut self, task: TaskId, id: WorkerId) {
        self.get_mut(id).outputs.insert(task);
    }

    /// Notes that it does not any more, or need not.
    pub fn drop_output(&mut self, task: TaskId, id: WorkerId) {
        self.get_mut(id).outputs.remove(&task);
    }

    /// Whether new attempts may go to the worker.
    pub fn is_usable(&self, worker: &Worker) -> bool {
        let host = &self.hosts[worker.host.0 as usize];
        worker.tie() == Contact::Well && !host.is_barred() && host.shortage.is_none()
    }

    /// Workers that take an attempt of `stage`, emptiest first, with how full they are.
    pub fn open(&self, stage: Stage) -> impl Iterator<Item = (u32, WorkerId)> {
        self.open.get(stage).iter().copied()
    }

    /// Workers where attempts of `stage` wait behind others, fullest first.
    pub fn crowded(&self, stage: Stage) -> impl Iterator<Item = WorkerId> {
        self.crowded.get(stage).iter().map(|(_, id)| *id)
    }

    /// Puts a worker where it belongs in the ordered sets.
    pub fn rank(&mut self, id: WorkerId) {
        let worker = &self.workers[&id];
        let (new, old) = (self.rank_of(worker), worker.rank);
        if new == old {
            return;
        }
        for stage in [Stage::Map, Stage::Reduce] {
            replace(self.open.get_mut(stage), id, *old.open.get(stage), *new.open.get(stage));
            replace(self.crowded.get_mut(stage), id, *old.crowded.get(stage), *new.crowded.get(stage));
        }
        self.get_mut(id).rank = new;
    }

    fn rank_of(&self, worker: &Worker) -> Rank {
        let both =
            |rank: &dyn Fn(Stage) -> Option<u32>| PerStage { map: rank(Stage::Map), reduce: rank(Stage::Reduce) };
        let host = &self.hosts[worker.host.0 as usize];
        let open = both(&|stage| worker.open_rank(stage, host.places(self.rules.places(stage, worker.slots_now()))));
        Rank {
            open: if self.is_usable(worker) { open } else { PerStage::default() },
            crowded: both(&|stage| worker.crowded_rank(stage)),
        }
    }

    /// Panics unless the ordered sets and the counts say what the table says.
    pub fn check(&self) {
        let mut counts = HostCounts::default();
        self.hosts.iter().for_each(|host| counts.add(host));
        assert_eq!(counts, self.counts, "hosts are miscounted");
        let mut ranks = [0; 4];
        for (id, worker) in &self.workers {
            assert_eq!(worker.rank, self.rank_of(worker), "{id} is ranked by an old load");
            let rank = &worker.rank;
            let keys = [rank.open.map, rank.open.reduce, rank.crowded.map, rank.crowded.reduce];
            let sets = [&self.open.map, &self.open.reduce, &self.crowded.map, &self.crowded.reduce];
            for ((key, set), count) in keys.into_iter().zip(sets).zip(&mut ranks) {
                assert!(key.is_none_or(|key| set.contains(&(key, *id))), "{id} is missing from a set");
                *count += usize::from(key.is_some());
            }
        }
        let lens = [&self.open.map, &self.open.reduce, &self.crowded.map, &self.crowded.reduce].map(BTreeSet::len);
        assert_eq!(lens, ranks, "a set holds a worker twice");
        let marks = (0..).map(HostId).zip(&self.hosts).filter_map(|(id, host)| Some((host.until()?, id)));
        assert_eq!(self.marks, marks.collect(), "the marks of hosts end at other times");
        let present = || self.workers.values().filter(|worker| worker.tie() != Contact::Lost);
        assert_eq!(present().count(), self.present as usize, "present workers are miscounted");
        assert_eq!(present().map(|worker| worker.slots).sum::<u32>(), self.slots, "slots are miscounted");
        let draining = |worker: &Worker| worker.duty == Duty::Draining && worker.contact != Contact::Lost;
        let draining = self.workers.iter().filter(|(_, worker)| draining(worker)).map(|(id, _)| *id);
        assert_eq!(self.draining, draining.collect(), "draining workers are miscounted");
    }
}

fn replace(set: &mut BTreeSet<(u32, WorkerId)>, id: WorkerId, old: Option<u32>, new: Option<u32>) {
    if old == new {
        return;
    }
    if let Some(old) = old {
        set.remove(&(old, id));
    }
    if let Some(new) = new {
        set.insert((new, id));
    }
}
