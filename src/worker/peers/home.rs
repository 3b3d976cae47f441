//! The user's `authorized_keys` on disk: changed under a lock, whole or not at all.
//!
//! It is the file by which people get into their machines, so nothing is done to one that is not plainly theirs and
//! writable: then others do not come in, and the driver passes segments on. Mode, group and links stay as they are.
//! The lock is on the file itself, and whoever gets it looks whether the name still means that file, since a change puts
//! a new one in its place.

use std::fs::TryLockError;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err::{File, OpenOptions};

use super::keys::Change;
use super::line::Before;
use crate::clock;

/// How long others may hold the lock: they write a small file.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);
const LOCK_POLL: Duration = Duration::from_millis(5);

/// Whether a file is made where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is made.
    Make,
    /// Then there is nothing to do.
    Leave,
}

/// The file, ours alone until this is dropped.
struct Locked {
    path: PathBuf,
    file: File,
    text: Vec<u8>,
    before: Before,
}

/// Changes the keys of the user whose home this is; `change` is told the text, and what was there.
///
/// # Errors
/// When the file is not ours to change, or cannot be.
pub fn edit(home: &Path, missing: Missing, change: impl FnOnce(&[u8], Before) -> Change) -> io::Result<()> {
    let folder = home.join(".ssh");
    let named = folder.join("authorized_keys");
    let mut before = Before::Lines;
    if fs_err::symlink_metadata(&named).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        if missing == Missing::Leave {
            return Ok(());
        }
        before = make(&folder, &named)?;
    }
    let mut locked = lock(&named)?;
    // Whoever came first has filled in what we have made.
    locked.before = if locked.text.is_empty() { before } else { Before::Lines };
    let made = locked.before != Before::Lines;
    let done = match change(&locked.text, locked.before) {
        Change::None => Ok(()),
        Change::Text(text) => locked.replace(&text),
        Change::Remove => fs_err::remove_file(&locked.path),
        Change::RemoveWithFolder => fs_err::remove_file(&locked.path).map(|()| drop(std::fs::remove_dir(&folder))),
    };
    if done.is_err() && made {
        let _litter = std::fs::remove_file(&locked.path);
        let _not_empty = if before == Before::NoFolder { std::fs::remove_dir(&folder) } else { Ok(()) };
    }
    done
}

/// Makes an empty file, and its folder; says which of them were not there.
fn make(folder: &Path, named: &Path) -> io::Result<Before> {
    let before = match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => Before::NoFolder,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Before::NoFile,
        Err(error) => return Err(error),
    };
    let mut options = OpenOptions::new();
    options.options_mut().mode(0o600);
    match options.write(true).create_new(true).open(named) {
        Ok(_) => Ok(before),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Before::Lines),
        Err(error) => Err(error),
    }
}

/// Waits for the lock on the file that the name means.
fn lock(named: &Path) -> io::Result<Locked> {
    let deadline = clock::now() + LOCK_WAIT_MAX;
    loop {
        let path = fs_err::canonicalize(named)?;
        let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
        match file.file().try_lock() {
            Ok(()) if is_same(&file, &path)? => {
                refuse_strange(&file)?;
                let mut text = Vec::new();
                file.read_to_end(&mut text)?;
                return Ok(Locked { path, file, text, before: Before::Lines });
            }
            Ok(()) | Err(TryLockError::WouldBlock) if clock::now() < deadline => std::thread::sleep(LOCK_POLL),
            Ok(()) | Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{} stays locked", path.display())));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Whether nobody has put another file in its place meanwhile.
fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs_err::metadata(path) {
        Ok(there) => Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn refuse_strange(file: &File) -> io::Result<()> {
    let about = file.metadata()?;
    let problem = match () {
        () if !about.is_file() => "is no plain file",
        () if about.uid() != rustix::process::getuid().as_raw() => "belongs to somebody else",
        () if about.nlink() > 1 => "has another name too",
        () => return Ok(()),
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{} {problem}", file.path().display())))
}

impl Locked {
    /// Puts a new file in the place of this one. It is on the disk before: a power cut must not lock anybody out.
    fn replace(&self, text: &[u8]) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        // One name for all, since only the holder of the lock writes; a link that somebody put there is not followed.
        let temporary = folder.join(".authorized_keys.runner");
        let written = self.write(&temporary, text).and_then(|()| fs_err::rename(&temporary, &self.path));
        if written.is_err() {
            let _never_made = std::fs::remove_file(&temporary);
        }
        written?;
        File::open(folder)?.sync_all()
    }

    fn write(&self, temporary: &Path, text: &[u8]) -> io::Result<()> {
        let _litter_of_a_crash = std::fs::remove_file(temporary);
        let about = self.file.metadata()?;
        let mut options = OpenOptions::new();
        options.options_mut().mode(0o600);
        let mut file = options.write(true).create_new(true).open(temporary)?;
        if file.metadata()?.gid() != about.gid() {
            std::os::unix::fs::fchown(file.file(), None, Some(about.gid()))?;
        }
        file.set_permissions(std::fs::Permissions::from_mode(about.mode() & 0o7777))?;
        file.write_all(text)?;
        file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn append(text: &[u8], _before: Before) -> Change {
        Change::Text([text, b"ours\n"].concat())
    }

    fn home(keys: Option<&str>) -> (tempfile::TempDir, PathBuf) {
        let home = tempfile::tempdir().expect("a folder");
        let file = home.path().join(".ssh/authorized_keys");
        if let Some(keys) = keys {
            fs_err::create_dir(home.path().join(".ssh")).expect("is made");
            fs_err::write(&file, keys).expect("is written");
        }
        (home, file)
    }

    fn names(folder: &Path) -> usize {
        fs_err::read_dir(folder).expect("lists").count()
    }

    #[test]
    fn mode_and_links_stay() {
        let (home, file) = home(Some("theirs\n"));
        let real = home.path().join("real");
        fs_err::rename(&file, &real).expect("is moved");
        symlink("../real", &file).expect("is linked");
        fs_err::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).expect("has a mode");
        edit(home.path(), Missing::Make, append).expect("changes");
        assert_eq!(fs_err::read_to_string(&real).expect("reads"), "theirs\nours\n");
        assert_eq!(fs_err::metadata(&real).expect("is there").mode() & 0o7777, 0o640);
        assert!(fs_err::symlink_metadata(&file).expect("is there").is_symlink());
        assert_eq!((names(home.path()), names(&home.path().join(".ssh"))), (2, 1));
    }

    #[test]
    fn a_file_that_was_not_there_is_made_and_goes() {
        let (home, file) = home(None);
        edit(home.path(), Missing::Leave, |_, _| panic!("there is none")).expect("is left");
        let made = |text: &[u8], before| {
            assert_eq!((text, before), (&b""[..], Before::NoFolder));
            Change::Text(b"ours\n".to_vec())
        };
        edit(home.path(), Missing::Make, made).expect("makes");
        assert_eq!(fs_err::metadata(&file).expect("is there").mode() & 0o7777, 0o600);
        edit(home.path(), Missing::Leave, |_, _| Change::RemoveWithFolder).expect("removes");
        assert_eq!(names(home.path()), 0);
    }

    #[test]
    fn what_is_not_ours_to_change_is_left() {
        let (home, file) = home(Some("theirs\n"));
        fs_err::hard_link(&file, home.path().join("other")).expect("is linked");
        let error = edit(home.path(), Missing::Make, append).expect_err("is refused").to_string();
        assert!(error.contains("has another name too"), "{error}");
        fs_err::remove_file(home.path().join("other")).expect("is removed");
        symlink("nowhere", home.path().join("dangling")).expect("is linked");
        fs_err::rename(home.path().join("dangling"), &file).expect("is moved");
        edit(home.path(), Missing::Make, append).expect_err("leads nowhere");
        assert_eq!(names(&home.path().join(".ssh")), 1);
    }

    #[test]
    fn changes_at_the_same_time_are_all_made() {
        let (home, file) = home(Some(""));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..5).for_each(|_| edit(home.path(), Missing::Make, append).expect("changes")));
            }
        });
        assert_eq!(fs_err::read_to_string(&file).expect("reads"), "ours\n".repeat(40));
    }
}
