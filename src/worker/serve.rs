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
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(folder, build.to_owned(), grace))
}

async fn serve(folder: PathBuf, build: String, grace: Duration) -> anyhow::Result<()> {
    // By relative path: the whole one may be too long for a socket.
    let listener = UnixListener::bind(SOCKET).context("binding the worker's socket")?;
    let (bulk, bulk_seen) = watch::channel(None);
    let answers = Arc::new(Answers::default());
    let (report, mut reports) = mpsc::unbounded_channel();
    let mut session = Session::new(Scratch::new(folder), Arc::clone(&answers), report, bulk_seen);
    loop {
        let Some(stream) = next_connection(&listener, grace).await else { break };
        let Ok((role, stream)) = shake_hands(stream, &build).await else { continue };
        let bulk_connections = accept_bulk(&listener, &build, &bulk, &answers);
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
        if let Ok((stream, _)) = accepted {
            return Some(stream);
        }
    }
}

/// While a driver is connected, further connections can only be of bytes.
async fn accept_bulk(listener: &UnixListener, build: &str, bulk: &watch::Sender<Option<Mux>>, answers: &Arc<Answers>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        if let Ok((Role::Bulk, stream)) = shake_hands(stream, build).await {
            start_bulk(stream, bulk, answers);
        }
    }
}

fn start_bulk(stream: UnixStream, bulk: &watch::Sender<Option<Mux>>, answers: &Arc<Answers>) {
    let (input, output) = stream.into_split();
    let mux = Mux::start(input, output, Arc::clone(answers) as _);
    bulk.send_replace(Some(mux));
}

/// Reads who is there; refuses another build, in words.
async fn shake_hands(mut stream: UnixStream, build: &str) -> io::Result<(Role, UnixStream)> {
    let hello: Hello = frames::read_one(&mut stream).await?;
    let welcome = match hello.build == build {
        true => Welcome::Accepted,
        false => Welcome::Refused(format!("the worker is of build {build}, the driver of {}", hello.build)),
    };
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
    loop {
        tokio::select! {
            order = orders.next() => match order {
                None => return Ok(Finished::Connection),
                Some(order) => if session.obey(order?).is_last() {
                    session.clean_up().await;
                    sender.send(&ToDriver::Bye).await?;
                    return Ok(Finished::Job);
                }
            },
            Some(message) = reports.recv() => {
                sender.feed(&message).await?;
                while let Ok(message) = reports.try_recv() {
                    sender.feed(&message).await?;
                }
                sender.flush().await?;
            }
            _ = tick.tick() => sender.send(&ToDriver::Progress(session.progress())).await?,
        }
    }
}
