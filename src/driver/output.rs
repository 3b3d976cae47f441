//! The output: a dataset, whose parts stay on the workers ([`JobOutput`]), or a folder. In a folder, parts are under
//! temporary names and renamed by commit; the whole is under a temporary name and renamed when it is complete.
//!
//! So an output that exists is complete, and one that is to be replaced stays as it was until then.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use fs_err::File;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::datasets::{JobOutput, Uploads};
use crate::error::{Fault, Kind};
use crate::ids::{AttemptId, JobId, TaskId};
use crate::job::Output;
use crate::worker::{part_in, part_name};

/// Says that all parts are there.
const SUCCESS: &str = "_SUCCESS";

/// The output of a running job.
#[derive(Clone)]
pub struct OutputFolder {
    output: Output,
    /// Beside the final folder, so that a rename is all that it takes; empty for a dataset.
    temporary: PathBuf,
    /// Where the parts stay on the workers instead.
    dataset: Option<Arc<JobOutput>>,
    /// What workers fetch from each other for that.
    uploads: Arc<Uploads>,
}

impl OutputFolder {
    /// Refuses an output that exists, unless it may be replaced.
    ///
    /// # Errors
    /// A [`Fault`] of kind `OutputExists`.
    pub fn check(output: &Output) -> Result<(), Fault> {
        let shown = output.folder.display();
        // Of a dataset, the hosts were asked when it was planned.
        if output.dataset.is_some() {
            return Ok(());
        }
        if fs_err::symlink_metadata(&output.folder).is_err() {
            return Ok(());
        }
        if !output.overwrite {
            let text = format!("the output {shown} exists (--overwrite replaces it)");
            return Err(Fault::new(Kind::OutputExists, text));
        }
        if !is_output(&output.folder) {
            let text = format!("{shown} exists and is no output of a job: --overwrite will not remove it");
            return Err(Fault::new(Kind::OutputExists, text));
        }
        Ok(())
    }

    /// The output of a job, whether or not anything of it was made.
    ///
    /// # Errors
    /// When the folder's name is none.
    pub fn of(output: Output, job: &JobId) -> anyhow::Result<Self> {
        let uploads: Arc<Uploads> = Arc::default();
        if let Some(dataset) = output.dataset.clone() {
            let dataset = Some(Arc::new(JobOutput::new(dataset, Arc::clone(&uploads))));
            return Ok(OutputFolder { output, temporary: PathBuf::new(), dataset, uploads });
        }
        let temporary = beside(&output.folder, &format!("runner-{job}"))?;
        Ok(OutputFolder { output, temporary, dataset: None, uploads })
    }

    /// The dataset that it becomes, if it is to be one.
    pub fn dataset(&self) -> Option<&Arc<JobOutput>> {
        self.dataset.as_ref()
    }

    /// What workers fetch from each other.
    pub fn uploads(&self) -> Arc<Uploads> {
        Arc::clone(&self.uploads)
    }

    /// Makes the temporary folder, or takes up the one that is there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(output: Output, job: &JobId) -> anyhow::Result<Self> {
        let output = OutputFolder::of(output, job)?;
        if output.dataset.is_none() {
            fs_err::create_dir_all(&output.temporary)?;
        }
        Ok(output)
    }

    /// Whether all of it is there, still under its temporary name.
    pub fn is_complete(&self) -> bool {
        self.temporary.join(SUCCESS).exists()
    }

    /// The folder in which parts are made.
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Where a part is written before it is committed.
    pub fn part(&self, attempt: AttemptId) -> PathBuf {
        part_in(&self.temporary, attempt)
    }

    /// Gives a part its final name. The first attempt of a task wins; a second commit of the same changes nothing.
    ///
    /// # Errors
    /// When the part is not there or not `bytes` long.
    pub fn commit_part(&self, attempt: AttemptId, bytes: u64) -> io::Result<()> {
        let (part, name) = (self.part(attempt), self.temporary.join(part_name(attempt.task)));
        if fs_err::symlink_metadata(&name).is_ok() {
            return fs_err::remove_file(part).or(Ok(()));
        }
        let len = fs_err::metadata(&part)?.len();
        if len != bytes {
            return Err(io::Error::other(format!("{} has {len} bytes instead of {bytes}", part.display())));
        }
        fs_err::rename(part, name)
    }

    /// The size of a task's part, if it has its final name.
    pub fn committed(&self, task: TaskId) -> Option<u64> {
        fs_err::symlink_metadata(self.temporary.join(part_name(task))).ok().map(|part| part.len())
    }

    /// Removes a part that has its final name.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn withdraw(&self, task: TaskId) -> io::Result<()> {
        fs_err::remove_file(self.temporary.join(part_name(task)))
    }

    /// Gives the whole its final name, instead of the old one if there is any.
    ///
    /// # Errors
    /// When the folder cannot be written or renamed; what is there then stays.
    pub fn finish(&self) -> anyhow::Result<()> {
        for entry in fs_err::read_dir(&self.temporary)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(b"_") {
                fs_err::remove_file(entry.path())?;
            }
        }
        File::create(self.temporary.join(SUCCESS))?.sync_all()?;
        File::open(&self.temporary)?.sync_all()?;
        self.put_in_place()?;
        let parent = self.output.folder.parent().unwrap_or(Path::new("/"));
        File::open(parent)?.sync_all().context("making the output durable")
    }

    fn put_in_place(&self) -> anyhow::Result<()> {
        let (new, target) = (&self.temporary, &self.output.folder);
        match renameat_with(CWD, new, CWD, target, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::EXIST) if self.output.overwrite => return self.replace(),
            Err(rustix::io::Errno::EXIST) => {
                let text = format!("the output {} was made by somebody else meanwhile", target.display());
                return Err(Fault::new(Kind::OutputExists, text).into());
            }
            // A file system without the flag, such as NFS.
            Err(_) => OutputFolder::check(&self.output)?,
        }
        match fs_err::symlink_metadata(target) {
            Ok(_) => self.replace(),
            Err(_) => Ok(fs_err::rename(new, target)?),
        }
    }

    /// Puts the new output in the place of an old one, at once where the file system can exchange two names.
    fn replace(&self) -> anyhow::Result<()> {
        let (new, target) = (&self.temporary, &self.output.folder);
        OutputFolder::check(&self.output)?;
        if renameat_with(CWD, new, CWD, target, RenameFlags::EXCHANGE).is_ok() {
            return remove(new);
        }
        let old = new.with_added_extension("old");
        fs_err::rename(target, &old)?;
        if let Err(error) = fs_err::rename(new, target) {
            fs_err::rename(&old, target)?;
            return Err(error.into());
        }
        remove(&old)
    }

    /// Removes everything that the job made of its output.
    pub fn abandon(&self) {
        if self.dataset.is_some() {
            return;
        }
        let _gone = fs_err::remove_dir_all(&self.temporary);
    }
}

/// Whether a folder holds what jobs write, or nothing, or is a file: what may be replaced without a second thought.
fn is_output(path: &Path) -> bool {
    let Ok(entries) = fs_err::read_dir(path) else { return true };
    let names: Vec<OsString> = entries.flatten().map(|entry| entry.file_name()).collect();
    let is_ours = |name: &OsString| name == SUCCESS || name.as_encoded_bytes().starts_with(b"part-");
    names.iter().all(is_ours)
}

/// A hidden name beside `folder`.
fn beside(folder: &Path, suffix: &str) -> anyhow::Result<PathBuf> {
    let name = folder.file_name().with_context(|| format!("{} is no folder name", folder.display()))?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".");
    hidden.push(suffix);
    Ok(folder.with_file_name(hidden))
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match fs_err::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(metadata) if metadata.is_dir() => Ok(fs_err::remove_dir_all(path)?),
        Ok(_) => Ok(fs_err::remove_file(path)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;

    fn attempt(number: u32) -> AttemptId {
        AttemptId { task: TaskId::reduce(0), epoch: Epoch(0), number }
    }

    fn folder(parent: &Path, overwrite: bool) -> OutputFolder {
        let output = Output { folder: parent.join("out"), overwrite, dataset: None };
        OutputFolder::create(output, &JobId::new("x", 1)).expect("is made")
    }

    #[test]
    fn an_output_appears_whole_and_once() {
        let parent = tempfile::tempdir().expect("a folder");
        let output = folder(parent.path(), false);
        fs_err::write(output.part(attempt(0)), "result").expect("is written");
        fs_err::write(output.part(attempt(1)), "another").expect("is written");
        output.commit_part(attempt(0), 6).expect("commits");
        output.commit_part(attempt(0), 6).expect("commits again");
        output.commit_part(attempt(1), 7).expect("loses quietly");
        assert!(!parent.path().join("out").exists());
        output.finish().expect("finishes");
        let names: Vec<_> = fs_err::read_dir(parent.path()).expect("is there").flatten().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        assert_eq!(fs_err::read_to_string(parent.path().join("out/part-00000")).expect("is there"), "result");
        assert!(parent.path().join("out/_SUCCESS").exists());
    }

    #[test]
    fn a_short_part_is_not_committed() {
        let parent = tempfile::tempdir().expect("a folder");
        let output = folder(parent.path(), false);
        fs_err::write(output.part(attempt(0)), "resu").expect("is written");
        assert!(output.commit_part(attempt(0), 6).is_err());
    }

    #[test]
    fn the_old_output_stays_until_the_new_one_is_complete() {
        let parent = tempfile::tempdir().expect("a folder");
        let target = parent.path().join("out");
        fs_err::create_dir(&target).expect("is made");
        fs_err::write(target.join("part-00009"), "old").expect("is written");
        assert!(OutputFolder::check(&Output { folder: target.clone(), overwrite: false, dataset: None }).is_err());
        let output = folder(parent.path(), true);
        assert!(target.join("part-00009").exists());
        output.finish().expect("finishes");
        assert!(!target.join("part-00009").exists() && target.join("_SUCCESS").exists());
        assert_eq!(fs_err::read_dir(parent.path()).expect("is there").count(), 1);
    }

    #[test]
    fn a_folder_that_is_no_output_is_not_replaced() {
        let parent = tempfile::tempdir().expect("a folder");
        let target = parent.path().join("out");
        fs_err::create_dir(&target).expect("is made");
        let output = Output { folder: target.clone(), overwrite: true, dataset: None };
        OutputFolder::check(&output).expect("an empty one may go");
        fs_err::write(target.join("thesis.tex"), "years").expect("is written");
        assert_eq!(OutputFolder::check(&output).map_err(|fault| fault.kind), Err(Kind::OutputExists));
    }
}
