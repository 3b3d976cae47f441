//! `runner worker serve`: the one process of a job on a host.
//!
//! It owns its scratch folder and a socket in it, and obeys whoever brings the right build and job, and of several drivers
//! the newest. It runs in a session of its own, so that the end of a connection does not end it; without a driver it
//! finishes what runs, stays for `orphan_grace`, and then removes itself.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use futures::{SinkExt, StreamExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};

use super::answer::Answers;
use super::in_use::InUse;
use super::owner::Owner;
use super::peers::guests;
use super::scratch::{Scratch, private_folder};
use super::session::{Order, Session};
use super::supervise;
use crate::clock;
use crate::protocol::bulk::Mux;
use crate::protocol::control::{Hello, Reign, Role, Stay, ToDriver, Welcome};
use crate::protocol::{SOCKET, frames, peer};

/// How often progress is reported; each report is also the sign of life.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// Threads for attempts and streams.
const THREADS_MAX: usize = 4096;

/// How long a caller may take to say who it is.
const HELLO_MAX: Duration = Duration::from_secs(20);

/// A driver pings every second: after so long without a word it is gone, whatever the connection pretends.
const DRIVER_SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long an older driver may take to hear that it is one.
const FENCE_MAX: Duration = Duration::from_secs(1);

/// How long a worker waits that was given no job: there is nothing to go on with.
const UNASSIGNED_MAX: Duration = Duration::from_secs(20);

/// A pause after the kernel refused us a connection, as when descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until the job ends or no driver has come for `grace`, and takes no more than `owner` lends.
///
/// # Errors
/// When the folder or the socket cannot be made.
pub fn run(folder: &Path, build: &str, grace: Duration, stay: Stay, owner: Owner) -> anyhow::Result<()> {
    // Fails only where this process leads a session already, which serves as well.
    let _leader = rustix::process::setsid();
    supervise::step_back(owner.nice.unwrap_or(0)).context("setting the niceness")?;
    private_folder(folder)?;
    let folder = fs_err::canonicalize(folder)?;
    std::env::set_current_dir(&folder).with_context(|| format!("entering {}", folder.display()))?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // Streams that are served and fetched each block a thread; with fewer than there are streams, workers could wait for
    // each other.
    let runtime = runtime.worker_threads(2).max_blocking_threads(THREADS_MAX).enable_all().build()?;
    runtime.block_on(serve(folder, build.to_owned(), grace, stay, owner))
}

async fn serve(folder: PathBuf, build: String, grace: Duration, stay: Stay, owner: Owner) -> anyhow::Result<()> {
    // By relative path: the whole one may be too long for a socket.
    let listener = UnixListener::bind(SOCKET).context("binding the worker's socket")?;
    let for_peers = UnixListener::bind(peer::SOCKET).context("binding the socket for other workers")?;
    let _in_use = InUse::start();
    let (bulk, bulk_seen) = watch::channel(None);
    let answers = Arc::new(Answers::default());
    tokio::spawn(guests::receive(for_peers, build.clone(), Arc::clone(&answers) as _));
    let door = Arc::new(Door { build, folder: folder.clone(), reign: Mutex::default() });
    let (report, reports) = mpsc::unbounded_channel();
    let session = Session::new(Scratch::new(folder), owner, Arc::clone(&answers), report, bulk_seen, stay);
    let (callers, called) = mpsc::channel(1);
    let accepting = tokio::spawn(accept_all(listener, door, callers));
    let mut house = House { session, reports, called, bulk, answers };
    loop {
        let Some(caller) = house.next_caller(grace).await else {
            house.session.abandon_output();
            break;
        };
        if house.receive(caller).await == Finished::Job {
            break;
        }
    }
    accepting.abort();
    house.session.clean_up().await;
    Ok(())
}

/// Lets callers in, as many at a time as come: one that says nothing keeps no other waiting.
async fn accept_all(listener: UnixListener, door: Arc<Door>, callers: mpsc::Sender<Caller>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (door, callers) = (Arc::clone(&door), callers.clone());
        tokio::spawn(async move {
            if let Ok(caller) = shake_hands(stream, &door).await {
                let _over = callers.send(caller).await;
            }
        });
    }
}

/// Somebody who may come in.
struct Caller {
    hello: Hello,
    stream: UnixStream,
}

/// What the worker's loop works with.
struct House {
    session: Session,
    reports: mpsc::UnboundedReceiver<ToDriver>,
    called: mpsc::Receiver<Caller>,
    bulk: watch::Sender<Option<Mux>>,
    answers: Arc<Answers>,
}

impl House {
    /// Waits for somebody, but not longer than `grace`. Attempts go on meanwhile.
    async fn next_caller(&mut self, grace: Duration) -> Option<Caller> {
        let grace = if self.session.has_job() { grace } else { UNASSIGNED_MAX };
        let deadline = clock::instant(clock::now() + grace).into();
        loop {
            tokio::select! {
                caller = self.called.recv() => return caller,
                Some(report) = self.reports.recv() => {
                    self.session.note(&report);
                }
                () = tokio::time::sleep_until(deadline) => return None,
            }
        }
    }

    /// Serves a caller, and whoever takes its place.
    async fn receive(&mut self, caller: Caller) -> Finished {
        let mut next = Some(caller);
        while let Some(caller) = next.take() {
            match caller.hello.role {
                Role::Bulk => self.start_bulk(caller.stream),
                Role::Control => match self.drive(caller).await {
                    Ok(Left::Job) => return Finished::Job,
                    Ok(Left::For(caller)) => next = Some(*caller),
                    Ok(Left::Driver) | Err(_) => {}
                },
            }
        }
        Finished::Connection
    }

    /// Streams of the old connection go on over the new one.
    fn start_bulk(&self, stream: UnixStream) {
        let (input, output) = stream.into_split();
        let mux = Mux::start(input, output, Arc::clone(&self.answers) as _);
        if let Some(old) = self.bulk.send_replace(Some(mux)) {
            old.close();
        }
    }

    async fn drive(&mut self, caller: Caller) -> io::Result<Left> {
        let (input, output) = caller.stream.into_split();
        let mut orders = frames::receiver(Box::new(input));
        let mut sender = frames::sender::<ToDriver>(Box::new(output));
        while let Ok(report) = self.reports.try_recv() {
            self.session.note(&report);
        }
        sender.send(&ToDriver::Holds(self.session.holdings())).await?;
        let mut tick = tokio::time::interval(REPORT_EVERY);
        let mut heard = clock::now();
        loop {
            tokio::select! {
                order = orders.next() => {
                    let Some(order) = order else { return Ok(Left::Driver) };
                    heard = clock::now();
                    match self.session.obey(order?) {
                        Order::More => {}
                        Order::Leave => return sender.send(&ToDriver::Bye).await.map(|()| Left::Driver),
                        Order::Last => {
                            self.session.clean_up().await;
                            // The driver may not have waited for it.
                            let _gone = sender.send(&ToDriver::Bye).await;
                            return Ok(Left::Job);
                        }
                    }
                }
                Some(report) = self.reports.recv() => {
                    let mut next = Some(report);
                    while let Some(report) = next {
                        if self.session.note(&report) {
                            sender.feed(&report).await?;
                        }
                        next = self.reports.try_recv().ok();
                    }
                    sender.flush().await?;
                }
                Some(other) = self.called.recv() => match other.hello.role {
                    Role::Bulk => self.start_bulk(other.stream),
                    // The same driver, whose connection broke without our noticing, or another one.
                    Role::Control => {
                        if other.hello.reign != caller.hello.reign {
                            let fenced = ToDriver::Fenced(other.hello.reign.clone());
                            let _gone = tokio::time::timeout(FENCE_MAX, sender.send(&fenced)).await;
                        }
                        return Ok(Left::For(Box::new(other)));
                    }
                },
                _ = tick.tick() => {
                    if clock::now().since(heard) > DRIVER_SILENCE_MAX {
                        return Ok(Left::Driver);
                    }
                    sender.send(&ToDriver::Progress(self.session.progress())).await?;
                    if let Some(load) = self.session.load() {
                        sender.send(&ToDriver::Load(load)).await?;
                    }
                }
            }
        }
    }
}

/// Who may come in.
struct Door {
    build: String,
    /// Named for the job.
    folder: PathBuf,
    /// The newest driver that came.
    reign: Mutex<Option<Reign>>,
}

impl Door {
    fn answer(&self, hello: &Hello) -> Welcome {
        let ours = self.folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if hello.build != self.build {
            return Welcome::Refused(format!("the worker is of build {}, the driver of {}", self.build, hello.build));
        }
        if !ours.starts_with(&format!("{}-", hello.job)) {
            return Welcome::Refused(format!("the worker is for {ours}, not for {}", hello.job));
        }
        let mut reign = self.reign.lock().unwrap_or_else(PoisonError::into_inner);
        match &*reign {
            Some(newest) if !newest.yields_to(&hello.reign) => Welcome::Fenced(newest.clone()),
            Some(_) | None => {
                *reign = Some(hello.reign.clone());
                Welcome::Accepted
            }
        }
    }
}

/// Reads who is there; refuses those who do not belong here, in words.
async fn shake_hands(mut stream: UnixStream, door: &Door) -> io::Result<Caller> {
    let hello: Hello = tokio::time::timeout(HELLO_MAX, frames::read_one(&mut stream)).await??;
    let welcome = door.answer(&hello);
    frames::write_one(&mut stream, &welcome).await?;
    match welcome {
        Welcome::Accepted => Ok(Caller { hello, stream }),
        Welcome::Refused(text) => Err(io::Error::other(text)),
        Welcome::Fenced(_) => Err(io::Error::other("an older driver")),
    }
}

/// Why a control connection ended.
enum Left {
    /// The driver went away.
    Driver,
    /// Somebody took its place.
    For(Box<Caller>),
    /// The job is over.
    Job,
}

/// What is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finished {
    Connection,
    Job,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;

    fn reign(epoch: u32, token: u64) -> Reign {
        Reign { epoch: Epoch(epoch), token, driver: format!("driver {token}") }
    }

    #[test]
    fn the_newest_driver_is_obeyed_and_no_other() {
        let door = Door { build: "1".into(), folder: "/x/job-1-w0".into(), reign: Mutex::default() };
        let check = |build: &str, job: &str, reign: Reign, expected: &Welcome| {
            let hello = Hello { build: build.into(), job: job.parse().expect("an id"), reign, role: Role::Control };
            let welcome = door.answer(&hello);
            match (&welcome, expected) {
                (Welcome::Refused(_), Welcome::Refused(_)) => {}
                _ => assert_eq!(&welcome, expected),
            }
        };
        let refused = Welcome::Refused(String::new());
        check("2", "job-1", reign(0, 7), &refused);
        check("1", "job-2", reign(0, 7), &refused);
        check("1", "job-1", reign(0, 7), &Welcome::Accepted);
        check("1", "job-1", reign(0, 7), &Welcome::Accepted);
        check("1", "job-1", reign(0, 8), &Welcome::Fenced(reign(0, 7)));
        check("1", "job-1", reign(1, 8), &Welcome::Accepted);
        check("1", "job-1", reign(0, 7), &Welcome::Fenced(reign(1, 8)));
        check("1", "job-1", reign(1, 9), &Welcome::Fenced(reign(1, 8)));
    }
}
