//! What workers are told of each other, so that they need not ask the driver for segments.
//!
//! A worker is introduced to the others once two things are known: how its machine is reached, which is found out beside
//! the job, and whether it lets others in, which it says itself. Workers join one by one, so each is told of news only,
//! and in time before the first segments that somebody new holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::ids::{JobId, WorkerId};
use crate::protocol::peer::{Access, Doorway, Peer};
use crate::transport::{JobKey, Link, Transport};

/// Whether workers fetch from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shuffle {
    /// Where they reach each other.
    Direct,
    /// Everything goes through the driver.
    Relayed,
}

/// See the module.
pub struct Introductions {
    shuffle: Shuffle,
    job: JobId,
    build: String,
    /// Made for the first worker; none if it cannot be.
    key: OnceCell<Option<JobKey>>,
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    /// Workers that somebody finds out about, or has.
    sought: BTreeSet<WorkerId>,
    /// Those of which one half is known.
    found: BTreeMap<WorkerId, Peer>,
    doorways: BTreeMap<WorkerId, Doorway>,
    /// Those of which both are, in the order in which they were.
    known: Vec<Peer>,
}

impl Introductions {
    /// Nobody is known yet.
    pub fn new(shuffle: Shuffle, job: JobId, build: String) -> Self {
        Introductions { shuffle, job, build, key: OnceCell::new(), tables: Mutex::default() }
    }

    /// What a worker needs to go to others and to let them in; none if all goes through the driver. From this machine that
    /// is no detour, and the inner addresses of the others may lead nowhere.
    pub async fn access(&self, transport: &Transport, link: &Link) -> Option<Access> {
        if self.are_apart(link) {
            return None;
        }
        let key = self.key(transport).await?;
        let machine = link.machine();
        Some(Access {
            build: self.build.clone(),
            private_key: key.private,
            public_key: key.public,
            sshd: machine.sshd.clone(),
            home: machine.home.clone(),
            machine: machine.machine_id.clone(),
        })
    }

    /// The job's key, which is made once.
    pub async fn key(&self, transport: &Transport) -> Option<JobKey> {
        match self.shuffle {
            Shuffle::Direct => self.key.get_or_init(async || transport.make_key(&self.job).await.ok()).await.clone(),
            Shuffle::Relayed => None,
        }
    }

    /// Whether all that a worker needs of others, or others of it, goes through the driver in any case.
    fn are_apart(&self, link: &Link) -> bool {
        self.shuffle == Shuffle::Relayed || matches!(link, Link::Local(_))
    }

    /// Finds out in the background how a worker is reached, at `address` if the user said that; once for each.
    pub fn introduce(self: &Arc<Self>, worker: WorkerId, link: &Link, address: Option<String>) {
        if self.are_apart(link) || !self.tables().sought.insert(worker) {
            return;
        }
        let (machine, folder) = (link.machine().machine_id.clone(), link.job_folder(&self.job, worker));
        let (door, introductions) = (link.door(address), Arc::clone(self));
        tokio::spawn(async move {
            let peer = Peer { worker, machine, folder, door: door.await };
            let mut tables = introductions.tables();
            tables.found.insert(worker, peer);
            tables.join(worker);
        });
    }

    /// A worker says whether others can come in.
    pub fn doorway(&self, worker: WorkerId, doorway: Doorway) {
        let mut tables = self.tables();
        tables.doorways.insert(worker, doorway);
        tables.join(worker);
    }

    /// Those that somebody who knows the first so many does not know yet.
    pub fn news(&self, known: usize) -> Vec<Peer> {
        self.tables().known.get(known..).unwrap_or_default().to_vec()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    /// Whoever lets nobody in over ssh is still known to workers on the same machine.
    fn join(&mut self, worker: WorkerId) {
        let Some(doorway) = self.doorways.get(&worker) else { return };
        let Some(peer) = self.found.remove(&worker) else { return };
        let door = peer.door.filter(|_| *doorway == Doorway::Open);
        self.known.push(Peer { door, ..peer });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::peer::Door;

    fn peer(worker: u32) -> Peer {
        let door = Door {
            address: "10.0.0.1".to_owned(),
            port: 22,
            user: "ann".to_owned(),
            known_as: "h".to_owned(),
            known_hosts: "h ssh-ed25519 A\n".to_owned(),
        };
        Peer { worker: WorkerId(worker), machine: "m".to_owned(), folder: "/f".into(), door: Some(door) }
    }

    #[test]
    fn a_worker_is_introduced_when_both_halves_are_known() {
        let introductions = Introductions::new(Shuffle::Direct, JobId::new("x", 1), "b".to_owned());
        let found = |worker: u32| {
            let mut tables = introductions.tables();
            tables.found.insert(WorkerId(worker), peer(worker));
            tables.join(WorkerId(worker));
        };
        found(1);
        assert_eq!(introductions.news(0), []);
        introductions.doorway(WorkerId(1), Doorway::Open);
        introductions.doorway(WorkerId(0), Doorway::Closed("no home".to_owned()));
        found(0);
        assert_eq!(introductions.news(0), [peer(1), Peer { door: None, ..peer(0) }]);
        assert_eq!(introductions.news(2), []);
        introductions.doorway(WorkerId(1), Doorway::Open);
        assert_eq!(introductions.news(2), []);
    }
}
