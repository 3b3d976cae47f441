//! Copies from worker to worker: for as long as the driver's stream lasts, those of other hosts come in to read parts, and
//! this one goes to them.
//!
//! It is the same way as that of segments ([`crate::worker::peers`]): a line in `authorized_keys`, a socket in a folder of
//! its own, a key of which nothing stays. What a process left that was killed goes when the next one comes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err::File;
use futures::future::BoxFuture;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use super::folder::DataFolder;
use super::{blocking, read};
use crate::folders::{SocketFolder, own_name, private_folder};
use crate::protocol::bulk::{Outgoing, Request, Serve};
use crate::protocol::data::DataRequest;
use crate::protocol::meeting::{Meeting, Met};
use crate::protocol::peer::{self, Access, Role, SOCKET, Whereabouts};
use crate::worker::peers::{self, Doorway, Road, Roads, guests};
use crate::worker::scratch::Scratch;

/// Where our folder may be, the best place first.
const PARENTS: [&str; 2] = ["/var/tmp", "/tmp"];

/// In our folder: locked for as long as its process lives, which marks it as one of ours too.
const ALIVE: &str = "data-stream";

/// Another job that ends takes empty folders along, perhaps between two of our steps.
const TRIES: u32 = 5;

/// See the module.
pub struct Neighbours {
    scratch: Scratch,
    _alive: File,
    roads: Roads,
    doorway: io::Result<Doorway>,
    receiving: JoinHandle<()>,
}

impl Neighbours {
    /// Lets others in; `name` is how this process is called in its command line, `connection` what sshd says of it.
    ///
    /// # Errors
    /// When there is no place for our folder. That others cannot come in is none: it is said in what comes back.
    pub async fn open(
        meeting: Meeting,
        name: &str,
        connection: Option<&str>,
        data: Arc<DataFolder>,
    ) -> io::Result<(Self, Met)> {
        let Meeting { session, me, build, private_key, public_key, sshd } = meeting;
        if name != format!("{session}-{me}") {
            return Err(io::Error::other("this process has another name"));
        }
        let (root, alive) = make_folder(name)?;
        let scratch = Scratch::new(root.clone());
        let listener = listen(&root).inspect_err(|_| _ = scratch.remove())?;
        let access = Access {
            build: build.clone(),
            private_key,
            public_key,
            sshd,
            home: std::env::home_dir(),
            machine: peers::machine(),
        };
        let doorway = {
            let (access, session) = (access.clone(), session.clone());
            tokio::task::spawn_blocking(move || peers::open(&access, &session, me)).await
        };
        let doorway = doorway.map_err(io::Error::other).flatten();
        let said = match &doorway {
            Ok(_) => peer::Doorway::Open,
            Err(error) => peer::Doorway::Closed(error.to_string()),
        };
        let whereabouts = Whereabouts { seen_at: connection.and_then(peer::server_end), host_keys: host_keys() };
        let met = Met { machine: access.machine.clone(), folder: root.clone(), whereabouts, doorway: said };
        let receiving = tokio::spawn(guests::receive(listener, build, Arc::new(ForGuests { data })));
        let roads = Roads::new(Role::Copies, session, me, access, &root);
        Ok((Neighbours { scratch, _alive: alive, roads, doorway, receiving }, met))
    }

    /// Learns of others.
    pub fn learn(&self, peers: Vec<peer::Peer>) {
        self.roads.learn(peers);
    }

    /// The way to one of them.
    pub async fn to(&self, worker: crate::ids::WorkerId) -> Road {
        self.roads.to(worker).await
    }

    /// Lets nobody in any more, ends all ways, and removes what was made for them.
    pub async fn close(&self) {
        self.receiving.abort();
        self.roads.close().await;
        if let Err(error) = self.scratch.remove() {
            eprintln!("files remain: {error}");
        }
        // After the files, since a full disk has room for this then.
        if let Ok(doorway) = &self.doorway
            && let Err(error) = doorway.close()
        {
            eprintln!("a line remains in authorized_keys: {error}");
        }
    }
}

/// What guests get: bytes of parts.
struct ForGuests {
    data: Arc<DataFolder>,
}

impl Serve for ForGuests {
    fn serve(self: Arc<Self>, request: Request, out: Outgoing) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async move {
            let Request::Data(DataRequest::Read { part, start, end }) = request else {
                return Err("only parts are served here".to_owned());
            };
            let data = Arc::clone(&self.data);
            let opened = blocking(move || read::open_range(&data, &part, start, end)).await;
            let sent = out.send_all(opened.map_err(|error| error.to_string())?).await;
            sent.map(drop).map_err(|error| error.to_string())
        })
    }
}

/// The socket for others.
fn listen(folder: &Path) -> io::Result<UnixListener> {
    UnixListener::bind(SocketFolder::open(folder)?.path(SOCKET))
}

fn make_folder(name: &str) -> io::Result<(PathBuf, File)> {
    let mut refused = None;
    for parent in PARENTS {
        match make_folder_in(&Path::new(parent).join(own_name()).join("jobs"), name) {
            Ok(made) => return Ok(made),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| io::Error::other("there is no place for files")))
}

/// The folder appears with its lock held, so that nobody takes it for one that was left.
fn make_folder_in(jobs: &Path, name: &str) -> io::Result<(PathBuf, File)> {
    let mut tries = 1;
    let new = loop {
        private_folder(jobs)?;
        match tempfile::Builder::new().prefix(".new-").tempdir_in(jobs) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => tries += 1,
            done => break done?,
        }
    };
    sweep(jobs);
    let alive = File::create(new.path().join(ALIVE))?;
    alive.file().try_lock().map_err(io::Error::from)?;
    let folder = jobs.join(name);
    fs_err::rename(new.path(), &folder)?;
    // It is there under its own name now.
    let _moved = new.keep();
    Ok((folder, alive))
}

/// Removes what processes have left that were killed.
fn sweep(jobs: &Path) {
    for entry in fs_err::read_dir(jobs).into_iter().flatten().flatten() {
        let is_left = |alive: File| alive.file().try_lock().is_ok();
        if File::open(entry.path().join(ALIVE)).is_ok_and(is_left) {
            let _next_time = fs_err::remove_dir_all(entry.path());
        }
    }
}

/// This machine's own account of its host keys.
fn host_keys() -> Vec<String> {
    let mut keys = Vec::new();
    for entry in fs_err::read_dir("/etc/ssh").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("ssh_host_") && name.ends_with("_key.pub") {
            let text = fs_err::read_to_string(entry.path()).unwrap_or_default();
            keys.push(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "));
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_processes_that_were_killed_go() {
        let jobs = tempfile::tempdir().expect("a folder");
        let (first, alive) = make_folder_in(jobs.path(), "fs-1-w0").expect("is made");
        fs_err::create_dir(jobs.path().join("wordcount-1-w0")).expect("is made");
        let (_, _alive) = make_folder_in(jobs.path(), "fs-2-w0").expect("is made");
        assert!(first.is_dir());
        drop(alive);
        let (_, _alive_too) = make_folder_in(jobs.path(), "fs-3-w0").expect("is made");
        let mut names: Vec<_> =
            fs_err::read_dir(jobs.path()).expect("lists").flatten().map(|e| e.file_name()).collect();
        names.sort();
        assert_eq!(names, ["fs-2-w0", "fs-3-w0", "wordcount-1-w0"]);
    }
}
