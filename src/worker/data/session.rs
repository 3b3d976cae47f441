//! `runner worker data`: a data folder at the far end of an ssh channel, for as long as that lasts.
//!
//! However it ends, by the driver's word or without one, by a signal or by silence, what was made for other workers goes.

use std::fs::File as StdFile;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};

use super::copy::copy;
use super::encode;
use super::folder::DataFolder;
use super::neighbours::Neighbours;
use crate::clock::{self, Moment};
use crate::protocol::MARKER;
use crate::protocol::bulk::{Mux, Outgoing, Request, Serve};
use crate::protocol::data::{DataError, DataRequest, PING_EVERY, READY, SILENCE_MAX};
use crate::protocol::meeting::{Meeting, Met};

/// Threads for streams: each that is served or stored blocks one.
const THREADS_MAX: usize = 512;

/// What this process is told of itself when it is started.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// Its name, which nobody else has on this host: so others find in the list of processes that it lives.
    pub name: Option<String>,
    /// `SSH_CONNECTION`, as sshd has set it.
    pub connection: Option<String>,
}

/// Serves the folder over stdin and stdout until they end.
///
/// # Errors
/// When the folder cannot be made or is not ours; the words are for the driver to show.
pub fn run(folder: Option<&Path>, own: Own) -> anyhow::Result<()> {
    let folder = Arc::new(DataFolder::open(folder)?);
    let mut stdout = io::stdout();
    stdout.write_all(&[MARKER, &[READY]].concat())?;
    stdout.flush()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(THREADS_MAX)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let session = Arc::new(Session {
            folder,
            own,
            mux: OnceLock::new(),
            heard: Mutex::new(clock::now()),
            company: tokio::sync::Mutex::new(Company::Alone),
        });
        let (mut terminated, mut hung_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
        let mux = Mux::start(input()?, output()?, Arc::clone(&session) as _);
        let _first = session.mux.set(mux.clone());
        tokio::select! {
            () = mux.closed() => {}
            () = session.silence() => {}
            _ = terminated.recv() => {}
            _ = hung_up.recv() => {}
        }
        session.part().await;
        anyhow::Ok(())
    })?;
    // Whatever is still read or written is of no use to anybody.
    runtime.shutdown_background();
    Ok(())
}

struct Session {
    folder: Arc<DataFolder>,
    own: Own,
    /// Set before the first request can have come far enough to need it.
    mux: OnceLock<Mux>,
    /// When something was asked last.
    heard: Mutex<Moment>,
    /// Locked while others are let in, so that it is known at the end what has to go.
    company: tokio::sync::Mutex<Company>,
}

/// Whether other workers come and are gone to.
enum Company {
    /// Not yet.
    Alone,
    /// They are.
    Among(Arc<Neighbours>),
    /// Not any more.
    Over,
}

impl Session {
    async fn meet(&self, meeting: Meeting) -> Result<Met, DataError> {
        let mut company = self.company.lock().await;
        let Company::Alone = &*company else { return Err(DataError::Failed("they have met already".to_owned())) };
        let name = self.own.name.as_deref().unwrap_or_default();
        let connection = self.own.connection.as_deref();
        let (neighbours, met) = Neighbours::open(meeting, name, connection, Arc::clone(&self.folder)).await?;
        *company = Company::Among(Arc::new(neighbours));
        Ok(met)
    }

    async fn neighbours(&self) -> Option<Arc<Neighbours>> {
        match &*self.company.lock().await {
            Company::Among(neighbours) => Some(Arc::clone(neighbours)),
            Company::Alone | Company::Over => None,
        }
    }

    async fn part(&self) {
        if let Company::Among(neighbours) = std::mem::replace(&mut *self.company.lock().await, Company::Over) {
            neighbours.close().await;
        }
    }

    async fn answer(&self, mux: Mux, request: DataRequest, mut out: Outgoing) -> io::Result<()> {
        let answer = match request {
            DataRequest::Meet(meeting) => encode(self.meet(*meeting).await),
            DataRequest::Peers(peers) => {
                self.neighbours().await.inspect(|neighbours| neighbours.learn(peers));
                encode(Ok(()))
            }
            DataRequest::Part => {
                self.part().await;
                encode(Ok(()))
            }
            DataRequest::Copy { part, digest, from, ticket } => {
                let neighbours = self.neighbours().await;
                return copy(&self.folder, neighbours.as_deref(), &mux, (part, digest), (from, ticket), out).await;
            }
            other => return super::serve(Arc::clone(&self.folder), mux, other, out).await,
        };
        out.send(&answer?).await
    }

    /// Ends when nothing was heard for too long.
    async fn silence(&self) {
        loop {
            tokio::time::sleep(PING_EVERY).await;
            let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            if clock::now().since(heard) > SILENCE_MAX {
                return;
            }
        }
    }
}

impl Serve for Session {
    fn serve(self: Arc<Self>, request: Request, out: Outgoing) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async move {
            *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = clock::now();
            let Request::Data(request) = request else { return Err("only datasets are served here".to_owned()) };
            let mux = loop {
                match self.mux.get() {
                    Some(mux) => break mux.clone(),
                    None => tokio::task::yield_now().await,
                }
            };
            self.answer(mux, request, out).await.map_err(|error| error.to_string())
        })
    }
}

/// What a standard stream is: sshd gives sockets or pipes, and both can be waited for without a thread.
enum Kind {
    Pipe,
    Socket,
    Other,
}

fn kind(stream: &StdFile) -> io::Result<Kind> {
    let kind = stream.metadata()?.file_type();
    Ok(match () {
        () if kind.is_fifo() => Kind::Pipe,
        () if kind.is_socket() => Kind::Socket,
        () => Kind::Other,
    })
}

fn input() -> io::Result<Box<dyn AsyncRead + Send + Unpin>> {
    let stream = StdFile::from(io::stdin().as_fd().try_clone_to_owned()?);
    Ok(match kind(&stream)? {
        Kind::Pipe => Box::new(pipe::Receiver::from_file(stream)?),
        Kind::Socket => Box::new(socket(stream.into())?),
        Kind::Other => Box::new(tokio::io::stdin()),
    })
}

fn output() -> io::Result<Box<dyn AsyncWrite + Send + Unpin>> {
    let stream = StdFile::from(io::stdout().as_fd().try_clone_to_owned()?);
    Ok(match kind(&stream)? {
        Kind::Pipe => Box::new(pipe::Sender::from_file(stream)?),
        Kind::Socket => Box::new(socket(stream.into())?),
        Kind::Other => Box::new(tokio::io::stdout()),
    })
}

fn socket(stream: OwnedFd) -> io::Result<UnixStream> {
    let stream = StdStream::from(stream);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}
