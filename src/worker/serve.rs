//! `runner worker serve`: the one process of a job on a host.
//!
//! It owns its scratch folder and a socket in it, and obeys whoever brings the right build and job. It runs in a session
//! of its own, so that the end of a connection does not end it; without a driver it stays for `orphan_grace` and then
//! removes itself.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::{SinkExt, StreamExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};

use super::answer::Answers;
use super::scratch::{Scratch, private_folder};
use super::session::Session;
use crate::clock;
use crate::protocol::bulk::Mux;
use crate::protocol::control::{Hello, Role, ToDriver, Welcome};
use crate::protocol::{SOCKET, frames};

/// How often progress is reported; each report is also the sign of life.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// Threads for attempts and streams.
const THREADS_MAX: usize = 4096;

/// How long a caller may take to say who it is.
const HELLO_MAX: Duration = Duration::from_secs(20);

/// A driver pings every second: after so long without a word it is gone, whatever the connection pretends.
const DRIVER_SILENCE_MAX: Duration = Duration::from_secs(60);

/// A pause after the kernel refused us a connection, as when descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until the job ends or no driver has come for `grace`.
///
/// # Errors
/// When the folder or the socket cannot be made.
pub fn run(folder: &Path, build: &str, grace: Duration) -> anyhow::Result<()> {
    // Fails only where this process leads a session already, which serves as well.
    let _leader = rustix::process::setsid();
    private_folder(folder)?;
    let folder = fs_err::canonicalize(folder)?;
    std::env::set_current_dir(&folder).with_context(|| format!("entering {}", folder.display()))?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // Streams that are served and fetched each block a thread; with fewer than there are streams, workers could wait for
    // each other.
    let runtime = runtime.worker_threads(2).max_blocking_threads(THREADS_MAX).enable_all().build()?;
    runtime.block_on(serve(folder, build.to_owned(), grace))
}

async fn serve(folder: PathBuf, build: String, grace: Duration) -> anyhow::Result<()> {
    // By relative path: the whole one may be too long for a socket.
    let listener = UnixListener::bind(SOCKET).context("binding the worker's socket")?;
    let (bulk, bulk_seen) = watch::channel(None);
    let answers = Arc::new(Answers::default());
    let door = Door { build, folder: folder.clone() };
    let (report, mut reports) = mpsc::unbounded_channel();
    let mut session = Session::new(Scratch::new(folder), Arc::clone(&answers), report, bulk_seen);
    loop {
        let Some(stream) = next_connection(&listener, grace).await else { break };
        let Ok((role, stream)) = shake_hands(stream, &door, Busy::No).await else { continue };
        let bulk_connections = accept_bulk(&listener, &door, &bulk, &answers);
        match role {
            Role::Bulk => start_bulk(stream, &bulk, &answers),
            Role::Control => tokio::select! {
                ended = drive(stream, &mut session, &mut reports) => if matches!(ended, Ok(Finished::Job)) { break },
                () = bulk_connections => {}
            },
        }
    }
    session.clean_up().await;
    Ok(())
}

/// Waits for somebody, but not longer than `grace`.
async fn next_connection(listener: &UnixListener, grace: Duration) -> Option<UnixStream> {
    let deadline = clock::now() + grace;
    loop {
        let accepted = tokio::time::timeout_at(clock::instant(deadline).into(), listener.accept()).await.ok()?;
        match accepted {
            Ok((stream, _)) => return Some(stream),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// While a driver is connected, further connections can only be of bytes.
async fn accept_bulk(listener: &UnixListener, door: &Door, bulk: &watch::Sender<Option<Mux>>, answers: &Arc<Answers>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if let Ok((Role::Bulk, stream)) = shake_hands(stream, door, Busy::Yes).await {
            start_bulk(stream, bulk, answers);
        }
    }
}

fn start_bulk(stream: UnixStream, bulk: &watch::Sender<Option<Mux>>, answers: &Arc<Answers>) {
    let (input, output) = stream.into_split();
    let mux = Mux::start(input, output, Arc::clone(answers) as _);
    bulk.send_replace(Some(mux));
}

/// Who may come in.
struct Door {
    build: String,
    /// Named for the job.
    folder: PathBuf,
}

/// Whether a driver is connected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Busy {
    Yes,
    No,
}

impl Door {
    fn answer(&self, hello: &Hello, busy: Busy) -> Welcome {
        let ours = self.folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if hello.build != self.build {
            Welcome::Refused(format!("the worker is of build {}, the driver of {}", self.build, hello.build))
        } else if !ours.starts_with(&format!("{}-", hello.job)) {
            Welcome::Refused(format!("the worker is for {ours}, not for {}", hello.job))
        } else if busy == Busy::Yes && hello.role == Role::Control {
            Welcome::Refused("another driver is connected to the worker".to_owned())
        } else {
            Welcome::Accepted
        }
    }
}

/// Reads who is there; refuses those who do not belong here, in words.
async fn shake_hands(mut stream: UnixStream, door: &Door, busy: Busy) -> io::Result<(Role, UnixStream)> {
    let hello: Hello = tokio::time::timeout(HELLO_MAX, frames::read_one(&mut stream)).await??;
    let welcome = door.answer(&hello, busy);
    frames::write_one(&mut stream, &welcome).await?;
    match welcome {
        Welcome::Accepted => Ok((hello.role, stream)),
        Welcome::Refused(text) => Err(io::Error::other(text)),
    }
}

/// Why a control connection ended.
enum Finished {
    /// The driver went away.
    Connection,
    /// The job is over.
    Job,
}

async fn drive(
    stream: UnixStream,
    session: &mut Session,
    reports: &mut mpsc::UnboundedReceiver<ToDriver>,
) -> io::Result<Finished> {
    let (input, output) = stream.into_split();
    let mut orders = frames::receiver(Box::new(input));
    let mut sender = frames::sender::<ToDriver>(Box::new(output));
    let mut tick = tokio::time::interval(REPORT_EVERY);
    let mut heard = clock::now();
    loop {
        tokio::select! {
            order = orders.next() => {
                let Some(order) = order else { return Ok(Finished::Connection) };
                heard = clock::now();
                if session.obey(order?).is_last() {
                    session.clean_up().await;
                    // The driver may not have waited for it.
                    let _gone = sender.send(&ToDriver::Bye).await;
                    return Ok(Finished::Job);
                }
            }
            Some(message) = reports.recv() => {
                sender.feed(&message).await?;
                while let Ok(message) = reports.try_recv() {
                    sender.feed(&message).await?;
                }
                sender.flush().await?;
            }
            _ = tick.tick() => {
                if clock::now().since(heard) > DRIVER_SILENCE_MAX {
                    return Ok(Finished::Connection);
                }
                sender.send(&ToDriver::Progress(session.progress())).await?;
            }
        }
    }
}
