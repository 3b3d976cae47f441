//! Ways from host to host, so that copies need not pass through us.
//!
//! Nobody is introduced to anybody before the first copy is to be made. Where a pair does not connect, or nobody may, the
//! target fetches the copy from us, who fetch it from its holder.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::stations::Stations;
use super::uploads::Offer;
use crate::dataset::Digest;
use crate::fleet::Place;
use crate::ids::{JobId, WorkerId, random};
use crate::protocol::bulk::Request;
use crate::protocol::data::{DataError, DataRequest, PartId};
use crate::protocol::meeting::{Meeting, Met, Way, follow};
use crate::protocol::peer::{Doorway, Peer};
use crate::transport::{JobKey, Transport};

/// How long a host may take to let others in, or to let nobody in any more. Who is slower gets its copies from us.
const MEET_MAX: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Default)]
pub struct Ways {
    /// By what hosts are introduced; none where all goes through us.
    introducer: Option<Introducer>,
    introduced: OnceCell<()>,
    direct: AtomicU64,
    relayed: AtomicU64,
}

struct Introducer {
    transport: Arc<Transport>,
    /// The versions of the hosts' sshd, in the order of the hosts.
    sshd: Vec<Option<String>>,
}

/// Bytes of copies, by the way that they went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// From host to host.
    pub direct: u64,
    /// Through us.
    pub relayed: u64,
}

/// What the streams of one command are part of. It has the form of a job, whose keys are made and taken away as a job's.
pub fn session() -> JobId {
    JobId::new("fs", random())
}

/// The place of a host as others call it.
pub fn worker(at: usize) -> WorkerId {
    WorkerId(u32::try_from(at).unwrap_or(u32::MAX))
}

impl Ways {
    /// Hosts are introduced when it is needed.
    pub fn of(transport: Arc<Transport>, sshd: Vec<Option<String>>) -> Self {
        Ways { introducer: Some(Introducer { transport, sshd }), ..Ways::default() }
    }

    /// What went which way so far.
    pub fn moved(&self) -> Moved {
        Moved { direct: self.direct.load(Ordering::Relaxed), relayed: self.relayed.load(Ordering::Relaxed) }
    }
}

impl Stations {
    /// Has a host take in a copy of a part that another one has. It is compared there with the digest before it counts.
    ///
    /// # Errors
    /// Those of the target; [`DataError::Source`] where the holder or the way is to blame.
    pub(super) async fn copy(
        &self,
        part: PartId,
        digest: &Digest,
        (from, to): (usize, usize),
        done: &AtomicU64,
    ) -> Result<(), DataError> {
        self.ways.introduced.get_or_init(|| self.introduce()).await;
        let mux = self.mux(from).map_err(|error| DataError::Source(error.to_string()))?.clone();
        let ticket = self.uploads.offer(Offer::There { mux, part: part.clone(), sent: Arc::default() });
        let copy = DataRequest::Copy { part, digest: digest.clone(), from: worker(from), ticket: ticket.number };
        let counted = AtomicU64::new(0);
        let arrived = |bytes| {
            counted.fetch_add(bytes, Ordering::Relaxed);
            done.fetch_add(bytes, Ordering::Relaxed);
        };
        let way = follow(self.mux(to)?.fetch(Request::Data(copy)), arrived).await;
        let counted = counted.into_inner();
        match &way {
            Ok(Way::Direct) => self.ways.direct.fetch_add(counted, Ordering::Relaxed),
            Ok(Way::Relayed) => self.ways.relayed.fetch_add(counted, Ordering::Relaxed),
            Err(_) => done.fetch_sub(counted, Ordering::Relaxed),
        };
        way.map(drop)
    }

    /// Whether a host is gone; waits for what it says, or until its stream is given up.
    pub(super) async fn is_gone(&self, at: usize) -> bool {
        matches!(self.ask::<()>(at, DataRequest::Ping).await, Err(DataError::Gone(_)))
    }

    /// Takes back what was done so that hosts reach each other. They do so themselves when their streams end; this waits for
    /// it.
    pub async fn part(&self) {
        if self.ways.introduced.get().is_some() && self.ways.introducer.is_some() {
            let _gone = timeout(MEET_MAX, self.ask_all::<()>(&self.over_ssh(), |_| DataRequest::Part)).await;
        }
    }

    fn over_ssh(&self) -> Vec<usize> {
        self.reached().filter(|(_, station)| station.host.place == Place::Ssh).map(|(at, _)| at).collect()
    }

    /// Lets all hosts meet, and tells each of all others.
    async fn introduce(&self) {
        let (Some(Introducer { transport, sshd }), places) = (&self.ways.introducer, self.over_ssh()) else { return };
        if places.len() < 2 {
            return;
        }
        // Without a key everything goes through us.
        let Ok(key) = transport.make_key(&self.session).await else { return };
        let meeting = places.iter().map(async |at| {
            let sshd = sshd.get(*at).cloned().flatten();
            timeout(MEET_MAX, self.meet(transport, &key, sshd, *at)).await.ok().flatten()
        });
        let peers: Vec<Peer> = join_all(meeting).await.into_iter().flatten().collect();
        let met: Vec<usize> = peers.iter().map(|peer| peer.worker.index()).collect();
        let _gone = timeout(MEET_MAX, self.ask_all::<()>(&met, |_| DataRequest::Peers(peers.clone()))).await;
    }

    /// Lets one host make a way in; gives it as the others see it.
    async fn meet(&self, transport: &Transport, key: &JobKey, sshd: Option<String>, at: usize) -> Option<Peer> {
        let meeting = Meeting {
            session: self.session.clone(),
            me: worker(at),
            build: transport.build().to_owned(),
            private_key: key.private.clone(),
            public_key: key.public.clone(),
            sshd,
        };
        let met: Met = self.ask(at, DataRequest::Meet(Box::new(meeting))).await.ok()?;
        let door = match met.doorway {
            Doorway::Open => transport.door(&self.list[at].host, &met.whereabouts).await,
            Doorway::Closed(_) => None,
        };
        Some(Peer { worker: worker(at), machine: met.machine, folder: met.folder, door })
    }
}
