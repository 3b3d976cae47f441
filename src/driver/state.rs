//! What jobs leave on the driver's machine: a folder each, with the job as resolved, its journal, and the stderr of its
//! attempts.
//!
//! While a driver runs a job it holds a lock on the folder; the lock goes with the process, however that ends.

use std::path::{Path, PathBuf};

use anyhow::Context;
use fs_err::File;

use crate::clock;
use crate::error::{Fault, Kind};
use crate::ids::{AttemptId, JobId};
use crate::job::Job;
use crate::journal::Journal;
use crate::report::{Driver, JobLine, Report};

/// The folder of all jobs.
#[derive(Clone, Debug)]
pub struct StateFolder {
    jobs: PathBuf,
}

/// The folder of one job.
#[derive(Debug)]
pub struct JobFolder {
    root: PathBuf,
    /// Held by the driver that runs the job.
    _lock: Option<File>,
}

impl StateFolder {
    /// The state below `root`, which need not exist.
    pub fn new(root: &Path) -> Self {
        StateFolder { jobs: root.join("jobs") }
    }

    /// Makes the folder of a new job and locks it.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn create(&self, id: &JobId, job: &Job) -> anyhow::Result<JobFolder> {
        let root = self.jobs.join(id.as_str());
        fs_err::create_dir_all(root.join("logs"))?;
        let lock = File::create(root.join("lock"))?;
        lock.file().try_lock().with_context(|| format!("locking {}", root.display()))?;
        fs_err::write(root.join("job.json"), serde_json::to_vec_pretty(job)?)?;
        Ok(JobFolder { root, _lock: Some(lock) })
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
        for entry in fs_err::read_dir(&self.jobs)? {
            let name = entry?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse::<JobId>().ok()) else { continue };
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
        let contents = Journal::read(&folder.journal())?;
        let report = Report::fold(&contents.facts);
        Ok(JobLine::new(id.clone(), &report, folder.driver()))
    }
}

impl JobFolder {
    /// The journal's path.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
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
    fn driver(&self) -> Driver {
        let lock = File::open(self.root.join("lock"));
        match lock.map(|lock| lock.file().try_lock_shared()) {
            Ok(Err(std::fs::TryLockError::WouldBlock)) => Driver::Alive { now_ms: clock::wall_ms() },
            Ok(_) | Err(_) => Driver::Gone,
        }
    }
}
