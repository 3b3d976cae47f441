//! The slots of a host, lent to the attempts of all jobs that one user runs there at the same time.
//!
//! Each worker has a file in a folder that all of them share, and holds a lock on it (flock(2)) as long as it lives: it
//! says how many slots its job asked for and how many it has now. The host has as many as the job that asked for most, so
//! two jobs never run more attempts together than the larger one would alone. A worker that dies loses its lock, and so
//! gives back what it had; its file is removed by whoever sees that.
//!
//! A slot that comes free goes to the job that waits and has fewest, and among equals to the one whose last turn is
//! longest ago. Workers of one job do not wait for each other: who names a host twice wants two workers there.
//!
//! Where the folder cannot be made or locked, slots are lent without counting: a job is never stopped by this.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fs_err::File;
use serde::{Deserialize, Serialize};

use super::control::Control;
use super::processes::Pid;
use crate::clock;
use crate::folders::private_folder;

/// How often a worker that waits looks again. A look reads some small files.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A worker that waits says so again after this time at the latest, and
const SAID_EVERY_MS: u64 = 500;
/// is not waited for when it has not for so long: it may be stopped, or about to die.
const SAID_AGO_MAX_MS: u64 = 3000;

/// How often the folder is made anew when somebody who leaves removes it in the same moment.
const TRIES: u32 = 10;

/// The share of one worker in the slots of its host.
pub struct Leases {
    share: Option<Mutex<Share>>,
}

/// What a worker says of itself in its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    job: String,
    pid: Pid,
    /// Slots that the job asked for on this worker.
    slots: u32,
    /// Slots that it has now.
    held: u32,
    /// Attempts that could start if they had one.
    waiting: u32,
    /// Which turn its last one was, counted over all jobs.
    turn: u64,
    /// When it last said that it waits: milliseconds since 1970.
    said_ms: u64,
}

struct Share {
    folder: PathBuf,
    name: String,
    file: File,
    entry: Entry,
    /// The most that the owner of the host lends.
    lent_max: Option<u32>,
    /// The jobs that have what is waited for.
    holders: Vec<String>,
}

/// A slot, until it is dropped.
pub struct Lease {
    leases: Arc<Leases>,
}

/// Attempts that wait for slots, and the jobs that have these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub attempts: u32,
    /// By their ids.
    pub holders: Vec<String>,
}

impl Leases {
    /// Joins those who share the slots that are counted in `folder`. `name` tells the worker from all others, `job` is what
    /// others see.
    pub fn join(folder: &Path, name: &str, job: &str, slots: u32, lent_max: Option<u32>) -> Arc<Self> {
        let entry = Entry {
            job: job.to_owned(),
            pid: Pid::try_from(std::process::id()).unwrap_or(Pid::MAX),
            slots,
            held: 0,
            waiting: 0,
            turn: 0,
            said_ms: 0,
        };
        let share = Share::open(folder, name, entry, lent_max);
        if let Err(error) = &share {
            eprintln!("slots are not shared with other jobs: {error}");
        }
        Arc::new(Leases { share: share.ok().map(Mutex::new) })
    }

    /// Waits for a slot.
    ///
    /// # Errors
    /// When the attempt of `control` is ended meanwhile.
    pub async fn take(self: &Arc<Self>, control: &Control) -> io::Result<Lease> {
        if self.try_take(Asked::FirstTime) {
            return Ok(self.lease());
        }
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if control.has_ended() {
                self.with(|share| share.entry.waiting -= 1);
                return Err(io::Error::other("the attempt was ended"));
            }
            if self.try_take(Asked::Again) {
                return Ok(self.lease());
            }
        }
    }

    /// Whether attempts wait, and for whom.
    pub fn waiting(&self) -> Waiting {
        let waiting = |share: &mut Share| Waiting { attempts: share.entry.waiting, holders: share.holders.clone() };
        self.with(waiting).filter(|waiting| waiting.attempts > 0).unwrap_or_default()
    }

    /// The processes of all workers that share the slots, this one included.
    pub fn workers(&self) -> Vec<Pid> {
        let others =
            |share: &mut Share| share.others().unwrap_or_default().into_iter().map(|entry| entry.pid).collect();
        let mut all: Vec<Pid> = self.with(others).unwrap_or_default();
        all.push(Pid::try_from(std::process::id()).unwrap_or(Pid::MAX));
        all
    }

    /// Leaves, and takes the folder along if nobody else is there.
    pub fn leave(&self) {
        self.with(|share| {
            let _locked = lock(&share.folder);
            let _gone = fs_err::remove_file(share.folder.join(&share.name));
            for folder in share.folder.ancestors().take(2) {
                let _in_use = fs_err::remove_dir(folder);
            }
        });
    }

    fn lease(self: &Arc<Self>) -> Lease {
        Lease { leases: Arc::clone(self) }
    }

    fn try_take(&self, asked: Asked) -> bool {
        let taken = self.with(|share| match share.try_take(asked) {
            Ok(taken) => taken,
            // Better one attempt too many than a job that stands still.
            Err(error) => {
                eprintln!("a slot is taken uncounted: {error}");
                share.count_taken(asked);
                true
            }
        });
        taken.unwrap_or(true)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Share) -> T) -> Option<T> {
        self.share.as_ref().map(|share| act(&mut guard(share)))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leases.with(|share| {
            share.entry.held -= 1;
            // What others see may be old until this worker writes next; they would only wait longer.
            let _unsaid = lock(&share.folder).and_then(|_locked| share.say());
        });
    }
}

/// Whether an attempt has waited already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    FirstTime,
    Again,
}

/// What a job has and wants on this host.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    slots: u32,
    held: u32,
    waits: bool,
    turn: u64,
}

impl Share {
    fn open(folder: &Path, name: &str, entry: Entry, lent_max: Option<u32>) -> io::Result<Self> {
        let mut tries = 1;
        loop {
            private_folder(folder)?;
            match Share::open_in(folder, name) {
                Ok(file) => {
                    let mut share = Share {
                        folder: folder.to_owned(),
                        name: name.to_owned(),
                        file,
                        entry,
                        lent_max,
                        holders: Vec::new(),
                    };
                    share.say()?;
                    return Ok(share);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Nobody removes the folder, or a file without a lock, while the folder is locked.
    fn open_in(folder: &Path, name: &str) -> io::Result<File> {
        let _locked = lock(folder)?;
        let file = fs_err::OpenOptions::new().create(true).truncate(true).write(true).open(folder.join(name))?;
        file.file().try_lock().map_err(io::Error::from)?;
        Ok(file)
    }

    fn try_take(&mut self, asked: Asked) -> io::Result<bool> {
        let Some(_locked) = try_lock(&self.folder)? else {
            // Somebody else looks at this moment.
            self.entry.waiting += u32::from(asked == Asked::FirstTime);
            return Ok(false);
        };
        let others = self.others()?;
        self.holders = others
            .iter()
            .filter(|other| other.held > 0 && other.job != self.entry.job)
            .map(|other| other.job.clone())
            .collect();
        self.holders.dedup();
        if self.may_take(&others, clock::wall_ms()) {
            self.count_taken(asked);
            self.entry.turn = 1 + others.iter().map(|other| other.turn).max().unwrap_or(0).max(self.entry.turn);
            self.say()?;
            return Ok(true);
        }
        let is_news = asked == Asked::FirstTime;
        self.entry.waiting += u32::from(is_news);
        if is_news || clock::wall_ms().saturating_sub(self.entry.said_ms) >= SAID_EVERY_MS {
            self.say()?;
        }
        Ok(false)
    }

    fn count_taken(&mut self, asked: Asked) {
        self.entry.held += 1;
        self.entry.waiting -= u32::from(asked == Asked::Again);
    }

    /// Whether a slot is free and it is our turn.
    fn may_take(&self, others: &[Entry], now_ms: u64) -> bool {
        let mut jobs: BTreeMap<&str, Standing> = BTreeMap::new();
        for entry in others.iter().chain([&self.entry]) {
            let job = jobs.entry(&entry.job).or_default();
            job.slots += entry.slots;
            job.held += entry.held;
            job.waits |= entry.waiting > 0 && now_ms.saturating_sub(entry.said_ms) < SAID_AGO_MAX_MS;
            job.turn = job.turn.max(entry.turn);
        }
        let ours = jobs.remove(self.entry.job.as_str()).unwrap_or_default();
        let most = jobs.values().map(|job| job.slots).max().unwrap_or(0).max(ours.slots);
        let there_are = self.lent_max.map_or(most, |lent| most.min(lent)).max(1);
        let held: u32 = jobs.values().map(|job| job.held).sum::<u32>() + ours.held;
        let goes_before = |job: &Standing| job.waits && (job.held, job.turn) < (ours.held, ours.turn);
        held < there_are && !jobs.values().any(goes_before)
    }

    /// What the other workers say that live. The files of dead ones are removed.
    fn others(&self) -> io::Result<Vec<Entry>> {
        let mut others = Vec::new();
        for found in fs_err::read_dir(&self.folder)? {
            let path = found?.path();
            if path.file_name().is_some_and(|name| *name == *self.name) {
                continue;
            }
            let Ok(mut file) = File::open(&path) else { continue };
            match file.file().try_lock_shared() {
                Err(std::fs::TryLockError::WouldBlock) => {
                    let mut text = Vec::new();
                    file.read_to_end(&mut text)?;
                    // One that is about to write its first word has nothing.
                    others.extend(serde_json::from_slice::<Entry>(&text).ok());
                }
                Ok(()) => fs_err::remove_file(&path)?,
                Err(std::fs::TryLockError::Error(error)) => return Err(error),
            }
        }
        others.sort_by(|a, b| a.job.cmp(&b.job));
        Ok(others)
    }

    /// Writes what others should know. Only while the folder is locked, or before anybody can look.
    fn say(&mut self) -> io::Result<()> {
        self.entry.said_ms = clock::wall_ms();
        let text = serde_json::to_vec(&self.entry)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&text)?;
        self.file.set_len(text.len() as u64)
    }
}

/// Locks the folder, unless somebody else has it locked.
fn try_lock(folder: &Path) -> io::Result<Option<File>> {
    let file = File::open(folder)?;
    match file.file().try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
        Err(std::fs::TryLockError::Error(error)) => return Err(error),
    }
    // What was locked may have been removed meanwhile, and another folder made in its place.
    let is_there = fs_err::metadata(folder)?.ino() == file.metadata()?.ino();
    if is_there { Ok(Some(file)) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Locks the folder. Whoever has it locked does very little meanwhile.
fn lock(folder: &Path) -> io::Result<File> {
    const PAUSE: Duration = Duration::from_micros(200);
    const PAUSES_MAX: u32 = 5000;
    for _ in 0..PAUSES_MAX {
        if let Some(locked) = try_lock(folder)? {
            return Ok(locked);
        }
        std::thread::sleep(PAUSE);
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, format!("{} stays locked", folder.display())))
}

fn guard(share: &Mutex<Share>) -> MutexGuard<'_, Share> {
    share.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes as many slots as there are for this worker, at most `most`.
    fn take_all(leases: &Arc<Leases>, most: usize) -> Vec<Lease> {
        (0..most).map_while(|_| leases.try_take(Asked::FirstTime).then(|| leases.lease())).collect()
    }

    #[test]
    fn two_jobs_never_have_more_than_the_larger_one_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let slots = folder.path().join("slots");
        let join = |name: &str, job: &str, slots_asked| Leases::join(&slots, name, job, slots_asked, None);
        let (a, b) = (join("a-w0", "a", 3), join("b-w0", "b", 2));
        let held_by_a = take_all(&a, 9);
        assert_eq!(held_by_a.len(), 3);
        assert_eq!(take_all(&b, 9).len(), 0);
        assert_eq!(b.waiting(), Waiting { attempts: 1, holders: vec!["a".to_owned()] });
        drop(held_by_a);
        // B waits and has none: it goes first, though A asks first. Then both have fewer than the other in turn.
        assert_eq!(take_all(&a, 1).len(), 0);
        assert!(b.try_take(Asked::Again));
        let of_b = b.lease();
        assert_eq!(b.waiting(), Waiting::default());
        let of_a = take_all(&a, 9);
        assert_eq!(of_a.len(), 2);
        drop((of_a, of_b));
        for leases in [a, b] {
            leases.leave();
        }
        assert!(!slots.exists());
    }

    #[test]
    fn among_equals_the_turn_goes_round() {
        let folder = tempfile::tempdir().expect("a folder");
        let slots = folder.path().join("slots");
        let [a, b] = ["a", "b"].map(|job| Leases::join(&slots, job, job, 1, None));
        let of_a = take_all(&a, 1);
        assert_eq!(take_all(&b, 1).len(), 0);
        drop(of_a);
        assert_eq!(take_all(&a, 1).len(), 0, "A has just had its turn");
        assert!(b.try_take(Asked::Again));
        drop(b.lease());
        assert!(a.try_take(Asked::Again));
    }

    #[test]
    fn workers_of_one_job_do_not_wait_for_each_other_and_the_owner_has_the_last_word() {
        let folder = tempfile::tempdir().expect("a folder");
        let check = |lent_max: Option<u32>, expected: [usize; 2]| {
            let slots = folder.path().join(format!("{lent_max:?}"));
            let [a, b] = ["w0", "w1"].map(|name| Leases::join(&slots, name, "job", 2, lent_max));
            let held = [take_all(&a, 2), take_all(&b, 2)];
            assert_eq!(held.each_ref().map(Vec::len), expected, "{lent_max:?}");
        };
        check(None, [2, 2]);
        check(Some(3), [2, 1]);
    }

    #[test]
    fn a_dead_worker_gives_back_what_it_had() {
        let folder = tempfile::tempdir().expect("a folder");
        let slots = folder.path().join("slots");
        let [a, b] = ["a", "b"].map(|job| Leases::join(&slots, job, job, 1, None));
        std::mem::forget(take_all(&a, 1));
        assert_eq!(take_all(&b, 1).len(), 0);
        // What a kill does: the lock goes, the file stays.
        a.with(|share| share.file.file().unlock().expect("was locked"));
        assert!(b.try_take(Asked::Again));
        assert!(!slots.join("a").exists());
    }

    #[test]
    fn without_a_folder_slots_are_lent_uncounted() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        fs_err::write(&file, "").expect("writes");
        let leases = Leases::join(&file.join("slots"), "a", "a", 1, None);
        assert_eq!(take_all(&leases, 3).len(), 3);
        leases.leave();
    }
}
