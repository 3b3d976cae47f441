//! The folder of our control sockets: short, ours alone, gone when we are.
//!
//! The path of a unix socket is shorter than 108 bytes (unix(7)), and ssh appends 17 while it binds one, so that the
//! folder cannot lie just anywhere. A driver that was killed leaves its folder behind; the next one removes it. Its ssh
//! masters end by themselves, since they were told to when they idle.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::error::ConnectError;
use crate::folders::own_name;

/// 107 bytes, less ssh's 17, less `/XXXXXXXX/master` below the folder.
const PATH_BYTES_MAX: usize = 107 - 17 - 16;

/// A folder that a driver just makes has no lock yet for a moment.
const SWEEP_AGE_MIN: Duration = Duration::from_secs(60);

/// A fresh folder, removed with all in it when this is dropped.
#[derive(Debug)]
pub(super) struct ControlFolder {
    folder: TempDir,
    /// Held while we live: how others know that the folder is in use.
    _lock: File,
}

impl ControlFolder {
    /// Makes one in `$XDG_RUNTIME_DIR` if that is a folder with a short name, else in /tmp.
    pub(super) fn new(runtime_folder: Option<&Path>) -> Result<Self, ConnectError> {
        let mut places = places(runtime_folder);
        let (last, last_prefix) = places.pop().ok_or_else(|| ConnectError::here("no folder for control sockets"))?;
        let first = places.into_iter().find_map(|(parent, prefix)| Self::within(&parent, &prefix).ok());
        first.map_or_else(|| Self::within(&last, &last_prefix), Ok)
    }

    fn within(parent: &Path, prefix: &str) -> Result<Self, ConnectError> {
        sweep(parent, prefix);
        let alone = std::fs::Permissions::from_mode(0o700);
        let mut builder = tempfile::Builder::new();
        let folder = builder.prefix(prefix).permissions(alone).tempdir_in(parent).map_err(|error| {
            ConnectError::here(format!("no folder for control sockets can be made in {}: {error}", parent.display()))
        })?;
        if !fits(folder.path()) {
            return Err(ConnectError::here(format!(
                "the name of the folder for control sockets is too long ({}): at most {PATH_BYTES_MAX} bytes go",
                folder.path().display()
            )));
        }
        let lock = fs_err::File::create(folder.path().join("lock")).map_err(ConnectError::here)?;
        lock.file().try_lock().map_err(ConnectError::here)?;
        Ok(ControlFolder { folder, _lock: lock.into_file() })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A folder in it for one connection.
    pub(super) fn make_one(&self) -> Result<TempDir, ConnectError> {
        tempfile::Builder::new().prefix("c").rand_bytes(7).tempdir_in(self.path()).map_err(ConnectError::here)
    }
}

fn fits(folder: &Path) -> bool {
    folder.as_os_str().len() <= PATH_BYTES_MAX
}

/// Where our folders may lie, with the beginnings of their names; the last one always is there.
fn places(runtime_folder: Option<&Path>) -> Vec<(PathBuf, String)> {
    let runtime = runtime_folder.filter(|folder| folder.is_dir() && fits(&folder.join("runner-XXXXXX")));
    let common = (PathBuf::from("/tmp"), format!("{}-", own_name()));
    runtime.map(|folder| (folder.to_owned(), "runner-".to_owned())).into_iter().chain([common]).collect()
}

/// The folders of drivers that are gone, however young: one with a configuration in it was locked before that.
pub(super) fn abandoned(runtime_folder: Option<&Path>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (parent, prefix) in places(runtime_folder) {
        for folder in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            let named = folder.file_name().to_string_lossy().starts_with(&prefix);
            if named && folder.path().join("config").exists() && is_free(&folder.path()).unwrap_or(false) {
                found.push(folder.path());
            }
        }
    }
    found
}

/// Removes the folders of drivers that are no more. Nothing that fails here matters to us.
fn sweep(parent: &Path, prefix: &str) {
    for folder in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        if folder.file_name().to_string_lossy().starts_with(prefix) && is_abandoned(&folder.path()).unwrap_or(false) {
            let _ = std::fs::remove_dir_all(folder.path());
        }
    }
}

fn is_abandoned(folder: &Path) -> std::io::Result<bool> {
    let old = std::fs::symlink_metadata(folder)?.modified()?.elapsed().is_ok_and(|age| age > SWEEP_AGE_MIN);
    Ok(old && is_free(folder)?)
}

/// Whether a folder of ours is in nobody's hands.
fn is_free(folder: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let about = std::fs::symlink_metadata(folder)?;
    let ours = about.is_dir() && about.uid() == rustix::process::getuid().as_raw();
    Ok(ours && File::open(folder.join("lock"))?.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_old(folder: &Path) {
        let past = std::time::SystemTime::now() - 2 * SWEEP_AGE_MIN;
        File::open(folder).expect("opens").set_modified(past).expect("sets the time");
    }

    #[test]
    fn it_is_ours_alone_and_goes_with_its_owner() {
        let parent = TempDir::new().expect("a folder");
        let folder = ControlFolder::within(parent.path(), "r-").expect("makes one");
        let mode = std::fs::metadata(folder.path()).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        drop(folder);
        assert_eq!(std::fs::read_dir(parent.path()).expect("lists").count(), 0);
    }

    #[test]
    fn abandoned_folders_are_swept_and_those_in_use_stay() {
        let parent = TempDir::new().expect("a folder");
        let used = ControlFolder::within(parent.path(), "r-").expect("makes one");
        set_old(used.path());
        let dead = parent.path().join("r-dead");
        std::fs::create_dir(&dead).expect("makes one");
        File::create(dead.join("lock")).expect("makes a lock");
        set_old(&dead);
        let _other = ControlFolder::within(parent.path(), "r-").expect("makes another");
        assert!(used.path().exists());
        assert!(!dead.exists());
    }

    #[test]
    fn a_killed_driver_is_noticed_at_once() {
        let runtime = TempDir::new().expect("a folder");
        let used = ControlFolder::new(Some(runtime.path())).expect("makes one");
        let dead = runtime.path().join("runner-dead");
        std::fs::create_dir(&dead).expect("makes one");
        File::create(dead.join("lock")).expect("makes a lock");
        let ours = || {
            abandoned(Some(runtime.path())).into_iter().filter(|it| it.starts_with(runtime.path())).collect::<Vec<_>>()
        };
        assert_eq!(ours(), [] as [PathBuf; 0], "one that is just being made has no configuration");
        for folder in [used.path(), &dead] {
            File::create(folder.join("config")).expect("makes one");
        }
        assert_eq!(ours(), [dead]);
    }

    #[test]
    fn a_long_name_is_refused_in_words_and_a_long_runtime_folder_not_used() {
        let parent = TempDir::new().expect("a folder");
        let long = parent.path().join("x".repeat(60));
        std::fs::create_dir(&long).expect("makes one");
        let error = ControlFolder::within(&long, "r-").expect_err("too long").to_string();
        assert!(error.contains("too long") && error.contains("74 bytes"), "{error}");
        let folder = ControlFolder::new(Some(&long)).expect("makes one elsewhere");
        assert!(folder.path().starts_with("/tmp"));
    }
}
