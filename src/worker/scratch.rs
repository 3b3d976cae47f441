//! The scratch folder of a worker: what lies where, and that it goes.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::ids::{AttemptId, TaskId};

pub use crate::folders::private_folder;

/// The folder of one worker process, absolute.
#[derive(Clone, Debug)]
pub struct Scratch {
    root: PathBuf,
}

impl Scratch {
    /// The folder at `root`.
    pub fn new(root: PathBuf) -> Self {
        Scratch { root }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its name, which no other worker of this user has here.
    pub fn name(&self) -> String {
        self.root.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Where all workers of this user who have their folders in the same place count the host's slots. The place may be
    /// shared by several hosts, so the host's name is in it.
    pub fn slots(&self) -> PathBuf {
        let host = rustix::system::uname().nodename().to_string_lossy().replace('/', "_");
        self.root.ancestors().nth(2).unwrap_or(&self.root).join("slots").join(host)
    }

    /// The shipped files, as every task sees them.
    pub fn files(&self) -> PathBuf {
        self.root.join("files")
    }

    /// What the setup command wrote to stderr.
    pub fn setup_log(&self) -> PathBuf {
        self.root.join("setup.stderr")
    }

    /// All of an attempt.
    pub fn attempt(&self, attempt: AttemptId) -> AttemptFolder {
        AttemptFolder { root: self.root.join("attempts").join(attempt.to_string()) }
    }

    /// Makes the folders that must be there before the first task.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn prepare(&self) -> io::Result<()> {
        private_folder(&self.files())?;
        private_folder(&self.root.join("attempts"))
    }

    /// Removes everything.
    ///
    /// # Errors
    /// Those of the file system; what is gone already is none.
    pub fn remove(&self) -> io::Result<()> {
        remove_tree(&self.root)?;
        // The two folders above hold what all jobs of this user have here; the last one takes them along.
        for above in self.root.ancestors().skip(1).take(2) {
            let _not_empty = fs_err::remove_dir(above);
        }
        Ok(())
    }
}

/// The folder of an attempt.
#[derive(Clone, Debug)]
pub struct AttemptFolder {
    root: PathBuf,
}

impl AttemptFolder {
    /// The working directory of its commands.
    pub fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// For temporary files of its commands.
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// For sorted runs and fetched segments.
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// The stderr of its commands.
    pub fn stderr(&self) -> PathBuf {
        self.root.join("stderr")
    }

    /// Its segment.
    pub fn segment(&self) -> PathBuf {
        self.root.join("segment")
    }

    /// Its output part, where the driver's files are not ours.
    pub fn part(&self) -> PathBuf {
        self.root.join("part")
    }

    /// Makes the folder, with a link to each of `files` in the working directory.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(&self, files: &Path) -> io::Result<()> {
        for folder in [self.root.clone(), self.work(), self.tmp(), self.runs()] {
            private_folder(&folder)?;
        }
        for entry in fs_err::read_dir(files)? {
            let entry = entry?;
            symlink(entry.path(), self.work().join(entry.file_name()))?;
        }
        Ok(())
    }

    /// Removes all but results and stderr.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn tidy(&self) -> io::Result<()> {
        [self.work(), self.tmp(), self.runs()].iter().try_for_each(|folder| remove_tree(folder))
    }

    /// Removes everything.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn remove(&self) -> io::Result<()> {
        remove_tree(&self.root)
    }
}

/// The temporary name of an attempt's part in the output folder of the driver's machine.
pub fn part_in(output: &Path, attempt: AttemptId) -> PathBuf {
    output.join(format!("_{}.{attempt}", part_name(attempt.task)))
}

/// The final name of a task's part.
pub fn part_name(task: TaskId) -> String {
    format!("part-{:05}", task.index)
}

/// Removes a folder and all in it, folders that a command made unreadable included.
fn remove_tree(path: &Path) -> io::Result<()> {
    let gone = |error: io::Error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) };
    match fs_err::remove_dir_all(path).or_else(gone) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_removable(path)?;
            fs_err::remove_dir_all(path).or_else(gone)
        }
        other => other,
    }
}

fn make_removable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
    for entry in fs_err::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_removable(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn removal_gets_past_closed_folders() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("runner-0/jobs/x-w0");
        let closed = root.join("attempts/a/closed");
        fs_err::create_dir_all(&closed).expect("is made");
        fs_err::write(closed.join("file"), "x").expect("is written");
        fs_err::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).expect("is closed");
        Scratch::new(root.clone()).remove().expect("is removed");
        assert!(!root.exists() && !folder.path().join("runner-0").exists());
    }

    #[test]
    fn an_attempt_sees_the_shipped_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let scratch = Scratch::new(folder.path().to_owned());
        scratch.prepare().expect("is made");
        fs_err::write(scratch.files().join("m.py"), "pass").expect("is written");
        let attempt = scratch.attempt(AttemptId { task: TaskId::map(0), epoch: Epoch(0), number: 0 });
        attempt.create(&scratch.files()).expect("is made");
        assert_eq!(fs_err::read_to_string(attempt.work().join("m.py")).expect("is linked"), "pass");
    }
}
