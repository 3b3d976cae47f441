//! The ways to other workers: one connection to each that is needed, made when it is, and kept.
//!
//! A pair that does not connect in time is remembered, and the driver passes everything on: that is slower, and never
//! wrong. A connection that breaks is made anew a few times, since a reader can go on where it stopped.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use xxhash_rust::xxh3::Xxh3;

use super::handover;
use super::ssh::{Ssh, Trouble};
use crate::clock;
use crate::folders::SocketFolder;
use crate::ids::{JobId, WorkerId};
use crate::protocol::bulk::{Mux, Outgoing, Request, Serve};
use crate::protocol::control::Welcome;
use crate::protocol::frames;
use crate::protocol::peer::{Access, Hello, Peer, Role, SOCKET};

/// How long a pair may take to connect.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Connections that one worker makes at once. sshd drops callers at random from the tenth on that has not logged in yet
/// (`MaxStartups`); since each worker takes the others in an order of its own, about as many meet at one of them, and
/// what is dropped tries again.
const IN_THE_MAKING_MAX: usize = 4;

/// How often a connection may break before the driver is trusted more.
const BREAKS_MAX: u32 = 3;

/// How to get to a worker.
pub enum Road {
    /// On this connection.
    Direct(Mux),
    /// Through the driver.
    Relayed,
}

/// All ways from here.
pub struct Roads {
    inner: Arc<Inner>,
    /// The connections and those in the making.
    tasks: TaskTracker,
}

struct Inner {
    role: Role,
    job: JobId,
    me: WorkerId,
    access: Access,
    ssh: io::Result<Ssh>,
    pairs: Mutex<HashMap<WorkerId, Arc<Pair>>>,
    in_the_making: Semaphore,
    /// Set at the job's end.
    over: CancellationToken,
}

/// One way.
struct Pair {
    peer: Peer,
    state: watch::Sender<State>,
    /// Set when the driver has given the worker up.
    lost: CancellationToken,
}

#[derive(Clone)]
enum State {
    /// Nobody wanted it yet, or it broke so often.
    Idle { breaks: u32 },
    /// It is being made.
    Making,
    /// It is there.
    Open(Mux),
    /// It cannot be made.
    Closed,
}

impl Roads {
    /// No ways yet; `role` is what we are for others, `folder` is for the key and host keys.
    pub fn new(role: Role, job: JobId, me: WorkerId, access: Access, folder: &Path) -> Self {
        let ssh = Ssh::new(folder, &access);
        let inner = Inner {
            role,
            job,
            me,
            access,
            ssh,
            pairs: Mutex::default(),
            in_the_making: Semaphore::new(IN_THE_MAKING_MAX),
            over: CancellationToken::new(),
        };
        Roads { inner: Arc::new(inner), tasks: TaskTracker::new() }
    }

    /// Learns of other workers. What is known of one already stays.
    pub fn learn(&self, peers: Vec<Peer>) {
        let mut pairs = self.inner.pairs();
        for peer in peers.into_iter().filter(|peer| peer.worker != self.inner.me) {
            let (state, lost) = (watch::Sender::new(State::Idle { breaks: 0 }), CancellationToken::new());
            pairs.entry(peer.worker).or_insert_with(|| Arc::new(Pair { peer, state, lost }));
        }
    }

    /// A worker is lost: whoever reads from there need not wait until ssh finds out.
    pub fn give_up(&self, worker: WorkerId) {
        if let Some(pair) = self.inner.pair(worker) {
            pair.lost.cancel();
            pair.become_(State::Closed);
        }
    }

    /// Begins to connect to all of them, in an order of this worker's own.
    pub fn expect(&self, workers: &[WorkerId]) {
        let mut order: Vec<WorkerId> = workers.to_vec();
        order.sort_by_key(|worker| self.inner.place_of(*worker));
        for worker in order {
            if let Some(pair) = self.inner.pair(worker) {
                self.begin(&pair);
            }
        }
    }

    /// Begins to connect to all that are known, where so many maps will be published that hardly one of them will have none:
    /// then nobody waits for a connection once the last map has ended.
    pub fn expect_all(&self, maps: usize) {
        let known: Vec<WorkerId> = self.inner.pairs().keys().copied().collect();
        if known.len() <= maps {
            self.expect(&known);
        }
    }

    /// The way to a worker; waits for it a while.
    pub async fn to(&self, worker: WorkerId) -> Road {
        let Some(pair) = self.inner.pair(worker) else { return Road::Relayed };
        timeout(CONNECT_MAX, self.settle(&pair)).await.unwrap_or(Road::Relayed)
    }

    async fn settle(&self, pair: &Arc<Pair>) -> Road {
        let mut states = pair.state.subscribe();
        loop {
            self.begin(pair);
            let settled = states.wait_for(|state| match state {
                // One that has just broken is about to be noted.
                State::Open(mux) => !mux.is_closed(),
                State::Closed | State::Idle { .. } => true,
                State::Making => false,
            });
            match settled.await.map(|state| state.clone()) {
                Ok(State::Open(mux)) => return Road::Direct(mux),
                // It broke: it is begun anew.
                Ok(State::Idle { .. }) => {}
                Ok(State::Closed | State::Making) | Err(_) => return Road::Relayed,
            }
        }
    }

    /// Ends all connections and waits for their processes.
    pub async fn close(&self) {
        self.inner.over.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn begin(&self, pair: &Arc<Pair>) {
        let mut breaks_so_far = None;
        pair.state.send_if_modified(|state| match state {
            State::Idle { breaks } => {
                breaks_so_far = Some(*breaks);
                *state = State::Making;
                true
            }
            State::Making | State::Open(_) | State::Closed => false,
        });
        if let Some(breaks) = breaks_so_far {
            let (inner, pair) = (Arc::clone(&self.inner), Arc::clone(pair));
            self.tasks.spawn(async move { inner.keep(&pair, breaks).await });
        }
    }
}

impl Inner {
    fn pairs(&self) -> MutexGuard<'_, HashMap<WorkerId, Arc<Pair>>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pair(&self, worker: WorkerId) -> Option<Arc<Pair>> {
        self.pairs().get(&worker).cloned()
    }

    /// By chance, but the same each time, and another order for each of us.
    fn place_of(&self, worker: WorkerId) -> u64 {
        let mut hash = Xxh3::with_seed(u64::from(self.me.0));
        hash.update(self.job.as_str().as_bytes());
        hash.update(&worker.0.to_le_bytes());
        hash.digest()
    }

    /// Makes a connection and keeps it until it breaks or the job ends.
    async fn keep(&self, pair: &Pair, breaks: u32) {
        let made = tokio::select! {
            () = self.over.cancelled() => return pair.become_(State::Closed),
            () = pair.lost.cancelled() => return pair.become_(State::Closed),
            made = self.make(pair) => made,
        };
        let (mux, process) = match made {
            Ok(made) => made,
            Err(text) => {
                eprintln!("{} is reached through the driver: {text}", pair.peer.worker);
                return pair.become_(State::Closed);
            }
        };
        pair.become_(State::Open(mux.clone()));
        tokio::select! {
            () = mux.closed() => {}
            () = self.over.cancelled() => {}
            () = pair.lost.cancelled() => {}
        }
        let breaks = if pair.lost.is_cancelled() { BREAKS_MAX } else { breaks + 1 };
        pair.become_(if breaks < BREAKS_MAX { State::Idle { breaks } } else { State::Closed });
        drop(mux);
        if let Some(mut process) = process {
            let _gone = process.kill().await;
        }
    }

    async fn make(&self, pair: &Pair) -> Result<(Mux, Option<tokio::process::Child>), String> {
        let _one_of_few = self.in_the_making.acquire().await.map_err(|error| error.to_string())?;
        let hello = Hello {
            build: self.access.build.clone(),
            job: self.job.clone(),
            worker: pair.peer.worker,
            folder: pair.peer.folder.clone(),
            role: self.role,
        };
        // Another user's worker on this machine is reached as any other.
        if pair.peer.machine == self.access.machine
            && let Ok(Ok(mux)) = timeout(CONNECT_MAX, next_door(&pair.peer.folder, &hello)).await
        {
            return Ok((mux, None));
        }
        let door = pair.peer.door.as_ref().ok_or("it lets nobody in")?;
        let ssh = self.ssh.as_ref().map_err(ToString::to_string)?;
        let deadline = clock::instant(clock::now() + CONNECT_MAX);
        loop {
            match timeout_at(deadline.into(), ssh.connect(door, &hello)).await {
                Err(_) => return Err(format!("no connection in {} s", CONNECT_MAX.as_secs())),
                Ok(Ok(made)) => {
                    let mux = Mux::start(made.input, made.output, Arc::new(NothingHere));
                    return Ok((mux, Some(made.process)));
                }
                Ok(Err(Trouble::Lasting(text))) => return Err(text),
                // Those that were dropped together must not come back together.
                Ok(Err(Trouble::Dropped(_))) => {
                    sleep(Duration::from_millis(100 + self.place_of(pair.peer.worker) % 400)).await;
                }
            }
        }
    }
}

impl Pair {
    fn become_(&self, state: State) {
        self.state.send_replace(state);
    }
}

/// A worker of the same user on this very machine: its socket is reached as the entrance does it, without ssh.
async fn next_door(folder: &Path, hello: &Hello) -> io::Result<Mux> {
    let mut socket = UnixStream::connect(SocketFolder::open(folder)?.path(SOCKET)).await?;
    let (mut ours, theirs) = UnixStream::pair()?;
    handover::give(&socket, std::os::fd::AsFd::as_fd(&theirs), std::os::fd::AsFd::as_fd(&theirs))?;
    drop(theirs);
    frames::write_one(&mut socket, hello).await?;
    match frames::read_one(&mut ours).await? {
        Welcome::Accepted => {
            let (input, output) = ours.into_split();
            Ok(Mux::start(input, output, Arc::new(NothingHere)))
        }
        Welcome::Refused(text) => Err(io::Error::other(text)),
        // That is for drivers.
        Welcome::Fenced(_) => Err(io::Error::other("it takes us for a driver")),
    }
}

/// Whom we have asked gets nothing from us on that connection.
struct NothingHere;

impl Serve for NothingHere {
    fn serve(self: Arc<Self>, _request: Request, _out: Outgoing) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async { Err("nothing is served on this connection".to_owned()) })
    }
}
