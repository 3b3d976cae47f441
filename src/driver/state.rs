//! What jobs leave on the driver's machine: a folder each, with all that it takes to go on with the job, its journal, and
//! the stderr of its attempts. Nobody else can look into them: a job has its variables in it, which may be secrets.
//!
//! While a driver runs a job it holds a lock on the folder; the lock goes with the process, however that ends.

use std::collections::BTreeMap;
use std::fs::TryLockError;
use std::path::{Path, PathBuf};

use anyhow::Context;
use fs_err::File;

use super::output::OutputFolder;
use super::stored::{Files, StoredJob, forget_builds, keep_binary, splits_from_lines, splits_to_lines};
use crate::clock;
use crate::error::{Fault, Kind};
use crate::facts::{End, Fact, Stamped};
use crate::fleet::{Fleet, HostSpec};
use crate::folders::private_folder;
use crate::ids::{AttemptId, JobId, WorkerId};
use crate::input::Split;
use crate::journal::Journal;
use crate::protocol::copy::JobCopy;
use crate::report::{Driver, JobLine, Report, State, Tally};

/// In a job's folder when it was found out that nothing else is left of it,
const CLEAN: &str = "clean";
/// or when something is, on a host that could not be reached.
const UNCLEAN: &str = "unclean";

/// The folder of all jobs.
#[derive(Clone, Debug)]
pub struct StateFolder {
    jobs: PathBuf,
    /// The programs that jobs were begun with.
    builds: PathBuf,
}

/// The folder of one job.
#[derive(Debug)]
pub struct JobFolder {
    root: PathBuf,
    /// Held by the driver that runs the job.
    _lock: Option<File>,
}

/// What a job, or a worker of it, has left on hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// Nothing.
    Nothing,
    /// Something, as far as is known.
    Something,
}

impl StateFolder {
    /// The state below `root`, which need not exist.
    pub fn new(root: &Path) -> Self {
        StateFolder { jobs: root.join("jobs"), builds: root.join("builds") }
    }

    /// Makes the folder of a new job and locks it; `binary` is the program that runs it.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn create(&self, id: &JobId, job: &StoredJob, splits: &[Split], binary: &Path) -> anyhow::Result<JobFolder> {
        let root = self.jobs.join(id.as_str());
        for folder in [&self.jobs, &root, &root.join("logs")] {
            private_folder(folder)?;
        }
        let lock = File::create(root.join("lock"))?;
        lock.file().try_lock().with_context(|| format!("locking {}", root.display()))?;
        let files = Files::of(&root);
        fs_err::write(files.splits, splits_to_lines(splits)?)?;
        fs_err::write(files.job, job.to_json()?)?;
        keep_binary(binary, &self.builds, &job.build, &root).context("keeping the program with the job")?;
        Ok(JobFolder { root, _lock: Some(lock) })
    }

    /// Makes the folder of a job whose driver was on another machine, from the copy that a worker had.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn adopt(&self, id: &JobId, copy: &JobCopy, build: &str, binary: &Path) -> anyhow::Result<()> {
        let root = self.jobs.join(id.as_str());
        for folder in [&self.jobs, &root, &root.join("logs")] {
            private_folder(folder)?;
        }
        let files = Files::of(&root);
        fs_err::write(root.join("journal"), &copy.journal)?;
        fs_err::write(files.splits, &copy.splits)?;
        fs_err::write(files.job, &copy.job)?;
        keep_binary(binary, &self.builds, build, &root).context("keeping the program with the job")
    }

    /// Opens the folder of a job to go on with it, and locks it.
    ///
    /// # Errors
    /// A [`Fault`]: there is no such job, or a driver of this machine holds it.
    pub fn open(&self, id: &JobId) -> anyhow::Result<JobFolder> {
        let folder = self.find(id)?;
        let lock = File::create(folder.root.join("lock"))?;
        match lock.file().try_lock() {
            Ok(()) => Ok(JobFolder { _lock: Some(lock), ..folder }),
            Err(TryLockError::WouldBlock) => {
                Err(Fault::new(Kind::Fenced, format!("job {id} is held by a driver that runs on this machine")).into())
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", folder.root.display())),
        }
    }

    /// Removes the oldest jobs until so many are left, but none that a driver holds.
    ///
    /// # Errors
    /// When the folder cannot be listed, or a job not removed.
    pub fn keep_newest(&self, jobs: usize) -> anyhow::Result<()> {
        if !self.jobs.exists() {
            return Ok(());
        }
        let mut found = Vec::new();
        for id in self.ids()? {
            let root = self.jobs.join(id.as_str());
            // What was never completely made, or is being made or removed by somebody, is as old as its folder.
            let about = fs_err::metadata(Files::of(&root).job).or_else(|_| fs_err::metadata(&root));
            let Some(made) = about.ok().and_then(|about| about.modified().ok()) else { continue };
            found.push((made, root));
        }
        found.sort();
        let surplus = found.len().saturating_sub(jobs);
        found.into_iter().take(surplus).try_for_each(|(_, root)| remove_unless_held(&root))?;
        forget_builds(&self.builds)
    }

    /// The jobs that were run here, in no order.
    ///
    /// # Errors
    /// When the folder is there but cannot be listed.
    pub fn ids(&self) -> anyhow::Result<Vec<JobId>> {
        let mut ids = Vec::new();
        if !self.jobs.exists() {
            return Ok(ids);
        }
        for entry in fs_err::read_dir(&self.jobs)? {
            ids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<JobId>().ok()));
        }
        Ok(ids)
    }

    /// The folder of a job that was run here.
    ///
    /// # Errors
    /// A [`Fault`] when there is none of that id.
    pub fn find(&self, id: &JobId) -> Result<JobFolder, Fault> {
        let root = self.jobs.join(id.as_str());
        if !root.is_dir() {
            return Err(Fault::new(Kind::Usage, format!("no job {id} on this machine; `runner jobs` lists them")));
        }
        Ok(JobFolder { root, _lock: None })
    }

    /// All jobs, the oldest first, and what could not be read of the others.
    ///
    /// # Errors
    /// When the folder is there but cannot be listed.
    pub fn list(&self) -> anyhow::Result<(Vec<JobLine>, Vec<String>)> {
        let mut jobs = Vec::new();
        let mut unreadable = Vec::new();
        if !self.jobs.exists() {
            return Ok((jobs, unreadable));
        }
        for id in self.ids()? {
            match self.line(&id) {
                Ok(line) => jobs.push(line),
                Err(error) => unreadable.push(format!("{id}: {error:#}")),
            }
        }
        jobs.sort_by_key(|job: &JobLine| job.started_ms);
        Ok((jobs, unreadable))
    }

    fn line(&self, id: &JobId) -> anyhow::Result<JobLine> {
        let folder = self.find(id)?;
        let report = Report::fold(&folder.facts()?);
        Ok(JobLine::new(id.clone(), &report, folder.driver()))
    }
}

impl JobFolder {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Stores the job anew, where it goes on in another place or on other hosts.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn store(&self, job: &StoredJob) -> anyhow::Result<()> {
        let path = Files::of(&self.root).job;
        let fresh = path.with_extension("fresh");
        fs_err::write(&fresh, job.to_json()?)?;
        Ok(fs_err::rename(fresh, path)?)
    }

    /// Holds the job, as a driver does; none if a driver does so already.
    ///
    /// # Errors
    /// When its lock cannot be opened.
    pub fn hold(self) -> anyhow::Result<Option<JobFolder>> {
        let lock = File::create(self.root.join("lock"))?;
        match lock.file().try_lock() {
            Ok(()) => Ok(Some(JobFolder { _lock: Some(lock), ..self })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", self.root.display())),
        }
    }

    /// Whether another driver has taken the job over: what it has on hosts is that one's.
    pub fn is_taken_over(&self) -> bool {
        let fenced =
            |fact: &Stamped| matches!(fact.fact, Fact::JobFinished { end: End::Failed { kind: Kind::Fenced, .. } });
        self.facts().is_ok_and(|facts| facts.last().is_some_and(fenced))
    }

    /// Whether the job, which has no driver, may have left something on a host: it was not ended in order, or a host was
    /// out of reach then.
    pub fn may_have_left_something(&self) -> bool {
        let Ok(facts) = self.facts() else { return true };
        let mut tally = Tally::default();
        facts.iter().for_each(|fact| tally.observe(fact));
        let ended = match tally.state() {
            State::Done | State::Failed | State::Cancelled => true,
            State::Running | State::Interrupted => false,
        };
        let lost = tally.workers().any(|worker| worker.lost);
        let is_there = |name: &str| self.root.join(name).exists();
        is_there(UNCLEAN) || !is_there(CLEAN) && (lost || !ended)
    }

    /// Notes that nothing is left of the job but this folder; or that something is, on a host out of reach.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn note(&self, remains: Remains) -> anyhow::Result<()> {
        let (is, is_not) = match remains {
            Remains::Nothing => (CLEAN, UNCLEAN),
            Remains::Something => (UNCLEAN, CLEAN),
        };
        fs_err::write(self.root.join(is), "")?;
        match fs_err::remove_file(self.root.join(is_not)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Records that a job which was interrupted is ended for good; whether it was one. The job must be held.
    ///
    /// # Errors
    /// When its journal cannot be read or written.
    pub fn cancel(&self) -> anyhow::Result<bool> {
        if !self.journal().exists() {
            return Ok(false);
        }
        let (mut journal, contents) = Journal::open(&self.journal())?;
        let mut tally = Tally::default();
        contents.facts.iter().for_each(|fact| tally.observe(fact));
        match tally.state() {
            State::Running | State::Interrupted => {
                journal.append(&Stamped { at: clock::now(), fact: Fact::JobFinished { end: End::Cancelled } })?;
                journal.sync()?;
                Ok(true)
            }
            State::Done | State::Failed | State::Cancelled => Ok(false),
        }
    }

    /// Stores the hosts that it has by now: those that are on the list, and where each worker is.
    ///
    /// # Errors
    /// When what is stored cannot be read or replaced.
    pub fn store_hosts(&self, fleet: &Fleet, places: BTreeMap<WorkerId, HostSpec>) -> anyhow::Result<()> {
        let mut job = self.stored()?;
        let gone = job.fleet.hosts.iter().filter(|host| !fleet.hosts.contains(host) && !job.former.contains(host));
        let gone: Vec<HostSpec> = gone.cloned().collect();
        job.former.extend(gone);
        (job.fleet, job.places) = (fleet.clone(), places);
        self.store(&job)
    }

    /// The job as it was stored.
    ///
    /// # Errors
    /// When it cannot be read, or is of another version.
    pub fn stored(&self) -> anyhow::Result<StoredJob> {
        let path = Files::of(&self.root).job;
        StoredJob::from_json(&fs_err::read(&path)?).with_context(|| path.display().to_string())
    }

    /// The build that began it, whatever the form in which it stored the job.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn build(&self) -> anyhow::Result<Option<String>> {
        Ok(StoredJob::build_of(&fs_err::read(Files::of(&self.root).job)?))
    }

    /// Its splits.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn splits(&self) -> anyhow::Result<Vec<Split>> {
        let path = Files::of(&self.root).splits;
        splits_from_lines(&fs_err::read(&path)?).with_context(|| path.display().to_string())
    }

    /// The program that began it.
    pub fn binary(&self) -> PathBuf {
        Files::of(&self.root).binary
    }

    /// The journal's path.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// What happened so far.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn facts(&self) -> anyhow::Result<Vec<Stamped>> {
        Ok(Journal::read(&self.journal())?.facts)
    }

    /// Where the stderr of an attempt is kept.
    pub fn log(&self, attempt: AttemptId) -> PathBuf {
        self.root.join("logs").join(format!("{attempt}.stderr"))
    }

    /// The logs of a task, by attempt.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn logs(&self, wanted: impl Fn(&str) -> bool) -> anyhow::Result<Vec<(String, PathBuf)>> {
        let mut logs = Vec::new();
        for entry in fs_err::read_dir(self.root.join("logs"))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(attempt) = name.strip_suffix(".stderr") else { continue };
            if wanted(attempt) {
                logs.push((attempt.to_owned(), entry.path()));
            }
        }
        logs.sort();
        Ok(logs)
    }

    /// Whether a driver runs the job now.
    pub fn driver(&self) -> Driver {
        let lock = File::open(self.root.join("lock"));
        match lock.map(|lock| lock.file().try_lock_shared()) {
            Ok(Err(TryLockError::WouldBlock)) => Driver::Alive { now_ms: clock::wall_ms() },
            Ok(_) | Err(_) => Driver::Gone,
        }
    }
}

/// Holds the lock meanwhile, so that no driver takes the job up.
fn remove_unless_held(root: &Path) -> anyhow::Result<()> {
    let lock = File::open(root.join("lock"));
    if let Ok(Err(TryLockError::WouldBlock)) = lock.as_ref().map(|lock| lock.file().try_lock()) {
        return Ok(());
    }
    abandon_output(root);
    match fs_err::remove_dir_all(root) {
        // Another driver was there first.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => Ok(removed?),
    }
}

/// Removes what an interrupted job has made of its output: without its folder nobody can go on with it.
fn abandon_output(root: &Path) {
    let id = root.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<JobId>().ok());
    let stored = fs_err::read(Files::of(root).job).ok().and_then(|json| StoredJob::from_json(&json).ok());
    if let (Some(id), Some(stored)) = (id, stored)
        && let Ok(output) = OutputFolder::of(stored.output, &id)
    {
        output.abandon();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    /// A job so many seconds old, without a driver.
    fn make(state: &StateFolder, id: &str, age: u64) -> PathBuf {
        let root = state.jobs.join(id);
        fs_err::create_dir_all(root.join("logs")).expect("is made");
        for file in ["lock", "job.json"] {
            let file = File::create(root.join(file)).expect("is made");
            file.file()
                .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age))
                .expect("has a time");
        }
        root
    }

    #[test]
    fn the_newest_stay_and_those_that_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::new(folder.path());
        state.keep_newest(0).expect("nothing is to be done");
        let held = File::open(make(&state, "held-000001", 9).join("lock")).expect("is there");
        held.file().try_lock().expect("is free");
        for (id, age) in [("old-000001", 8), ("mid-000001", 5), ("new-000001", 2)] {
            make(&state, id, age);
        }
        let stranger = state.jobs.join("no job");
        fs_err::create_dir(&stranger).expect("is made");
        let check = |kept: usize, expected: &[&str]| {
            state.keep_newest(kept).expect("removes");
            let mut ids: Vec<_> = state.ids().expect("lists").iter().map(ToString::to_string).collect();
            ids.sort();
            assert_eq!(ids, expected, "{kept}");
        };
        check(4, &["held-000001", "mid-000001", "new-000001", "old-000001"]);
        check(2, &["held-000001", "mid-000001", "new-000001"]);
        check(0, &["held-000001"]);
        drop(held);
        check(0, &[]);
        assert!(stranger.exists());
    }
}
