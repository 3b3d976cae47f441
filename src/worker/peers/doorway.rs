//! Letting others of the job in: our line in the user's `authorized_keys`, from the job's begin to its end.
//!
//! What jobs left behind that were killed goes at the next visit: lines whose workers' processes are gone, and lines past
//! their time, for what cannot be told from here because it was on another host of a shared home.

use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::home::{self, Missing};
use super::keys;
use super::line::{Before, Form, Holder, Line};
use crate::clock;
use crate::ids::{JobId, WorkerId};
use crate::protocol::peer::Access;

/// How long a line is good. A job that lasts longer keeps the connections that it has; new ones go through the driver.
const DAYS: u64 = 7;

/// A line of ours that is in place; dropping it without [`Doorway::close`] leaves it there.
#[derive(Debug)]
pub struct Doorway {
    home: PathBuf,
    job: JobId,
    holder: Holder,
}

/// Adds our line, and takes out those that nobody needs.
///
/// # Errors
/// Why nobody can come in.
pub fn open(access: &Access, job: &JobId, worker: WorkerId) -> io::Result<Doorway> {
    let Some(sshd) = &access.sshd else { return Err(io::Error::other("there is no sshd to come through")) };
    let Some(home) = &access.home else { return Err(io::Error::other("its user has no home")) };
    let holder = myself(worker);
    let line = Line {
        form: Form::of_sshd(sshd),
        binary: binary()?,
        public_key: access.public_key.clone(),
        job: job.clone(),
        until: now() + DAYS * 24 * 3600,
        holders: vec![holder.clone()],
        before: Before::Lines,
    };
    sweep(home)?;
    home::edit(home, Missing::Make, |text, before| keys::add(text, &Line { before, ..line }))?;
    Ok(Doorway { home: home.clone(), job: job.clone(), holder })
}

impl Doorway {
    /// Takes our line out, if nobody else needs it.
    ///
    /// # Errors
    /// Those of the file system: then it goes at the next visit.
    pub fn close(&self) -> io::Result<()> {
        home::edit(&self.home, Missing::Leave, |text, _| keys::remove(text, &self.job, &self.holder))
    }
}

/// Takes out what killed jobs have left in this home.
///
/// # Errors
/// When the file is not ours to change.
pub fn sweep(home: &Path) -> io::Result<()> {
    let here = myself(WorkerId(0));
    let is_gone =
        |job: &JobId, holder: &Holder| holder.host == here.host && (holder.boot != here.boot || !is_alive(job, holder));
    // Without the lock first: there is hardly ever anything to do.
    let text = fs_err::read(home.join(".ssh/authorized_keys")).unwrap_or_default();
    match keys::sweep(&text, now(), is_gone) {
        keys::Change::None => Ok(()),
        _ => home::edit(home, Missing::Leave, |text, _| keys::sweep(text, now(), is_gone)),
    }
}

/// Whether the process still serves that job.
fn is_alive(job: &JobId, holder: &Holder) -> bool {
    let words = fs_err::read(format!("/proc/{}/cmdline", holder.process)).unwrap_or_default();
    let folder = format!("{job}-{}", holder.worker);
    words.split(|byte| *byte == 0).any(|word| word.ends_with(folder.as_bytes()))
}

/// A name for the running system that this process is on, the same for another one that sees the same files.
pub fn machine() -> String {
    let here = myself(WorkerId(0));
    let files = fs_err::read_link("/proc/self/ns/mnt").unwrap_or_default();
    format!("{}.{}.{}", here.host, here.boot, short_hash(&[&files.to_string_lossy()]))
}

/// This process as a holder of lines.
fn myself(worker: WorkerId) -> Holder {
    let read = |path: &str| fs_err::read_to_string(path).unwrap_or_default();
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let processes = fs_err::read_link("/proc/self/ns/pid").unwrap_or_default();
    Holder {
        worker,
        host: short_hash(&[&read("/etc/machine-id"), &hostname]),
        boot: short_hash(&[&read("/proc/sys/kernel/random/boot_id"), &processes.to_string_lossy()]),
        process: std::process::id(),
    }
}

fn short_hash(parts: &[&str]) -> String {
    let mut hash = Xxh3::new();
    for part in parts {
        hash.update(part.trim().as_bytes());
        hash.update(b"\0");
    }
    format!("{:08x}", hash.digest() >> 32)
}

/// Our binary, for the command of the line.
fn binary() -> io::Result<String> {
    let path = fs_err::read_link("/proc/self/exe")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._+-".contains(c);
    match path.to_str().filter(|path| path.chars().all(plain)) {
        Some(path) => Ok(path.to_owned()),
        None => Err(io::Error::other(format!("shells would not read the path {} as it is", path.display()))),
    }
}

fn now() -> u64 {
    clock::wall_ms() / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::peer::Secret;

    fn access(home: &Path) -> Access {
        Access {
            build: "b".to_owned(),
            private_key: Secret(String::new()),
            public_key: "ssh-ed25519 AAAA".to_owned(),
            sshd: Some("OpenSSH_9.2p1".to_owned()),
            home: Some(home.to_owned()),
            machine: "m".to_owned(),
        }
    }

    #[test]
    fn a_line_comes_and_goes_and_dead_ones_go_with_it() {
        let home = tempfile::tempdir().expect("a folder");
        let keys = home.path().join(".ssh/authorized_keys");
        fs_err::create_dir(home.path().join(".ssh")).expect("is made");
        fs_err::write(&keys, "theirs").expect("is written");
        let read = || fs_err::read_to_string(&keys).expect("reads");
        // This process does not serve the job, so that its line is a dead one for the next.
        let dead = open(&access(home.path()), &JobId::new("dead", 1), WorkerId(0)).expect("opens");
        assert_eq!(read().lines().count(), 2);
        let open = open(&access(home.path()), &JobId::new("live", 2), WorkerId(1)).expect("opens");
        assert_eq!(read().lines().count(), 2, "{}", read());
        assert!(read().contains("worker peer live-"), "{}", read());
        dead.close().expect("has nothing to do");
        open.close().expect("closes");
        assert_eq!(read(), "theirs");
    }

    #[test]
    fn without_an_sshd_there_is_no_way_in() {
        let home = tempfile::tempdir().expect("a folder");
        let closed = Access { sshd: None, ..access(home.path()) };
        assert!(open(&closed, &JobId::new("x", 1), WorkerId(0)).is_err());
        assert_eq!(fs_err::read_dir(home.path()).expect("lists").count(), 0);
    }
}
