//! Folders for us alone, in places where others can write too.
//!
//! Under `/var/tmp` anybody can make `runner-UID` before we do, as a folder of theirs or as a link to one of ours. So what
//! has that name, and all below it, must be a real folder that we own before anything is done with it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Another job that ends takes the empty folders above along, perhaps between two of our steps; hardly ever so often.
const TRIES: u32 = 5;

/// The name of our folder where all users have theirs.
pub fn own_name() -> String {
    format!("runner-{}", rustix::process::getuid().as_raw())
}

/// A folder that is kept open, so that a socket in it can be named: a socket's path is shorter than 108 bytes (unix(7)), and a
/// folder may lie anywhere.
#[derive(Debug)]
pub struct SocketFolder(OwnedFd);

impl SocketFolder {
    /// Opens a folder.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(SocketFolder(rustix::fs::open(folder, flags, Mode::empty())?))
    }

    /// The path of a socket in it, by way of the descriptor (proc(5), `/proc/self/fd`).
    pub fn path(&self, socket: &str) -> String {
        format!("/proc/self/fd/{}/{socket}", self.0.as_raw_fd())
    }
}

/// Makes a folder that nobody else can look into, with those above it; or makes one that is there so.
///
/// # Errors
/// Those of the file system; and where the folder, or one above it from [`own_name`] on, is a link or somebody else's.
pub fn private_folder(path: &Path) -> io::Result<()> {
    let mut tries = 1;
    loop {
        match make(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => tries += 1,
            done => return done,
        }
    }
}

fn make(path: &Path) -> io::Result<()> {
    // Before, so that nothing is made behind a link; and afterwards, when nobody can put one there any more.
    match refuse_strange(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let created = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.map_err(|error| {
        io::Error::new(error.kind(), format!("failed to create folder `{}`: {error}", path.display()))
    })?;
    refuse_strange(path)?;
    fs_err::set_permissions(path, PermissionsExt::from_mode(0o700))
}

/// Looks at our folders from the outermost on.
fn refuse_strange(path: &Path) -> io::Result<()> {
    let own_name = own_name();
    let mut ours: Vec<&Path> = path.ancestors().collect();
    let outermost = ours.iter().rposition(|folder| folder.file_name().is_some_and(|name| *name == *own_name));
    ours.truncate(outermost.unwrap_or(0) + 1);
    ours.into_iter().rev().try_for_each(refuse_one)
}

fn refuse_one(folder: &Path) -> io::Result<()> {
    let about = fs_err::symlink_metadata(folder)?;
    let problem = match () {
        () if about.is_symlink() => "is a link, which could lead anywhere",
        () if !about.is_dir() => "is no folder",
        () if about.uid() != rustix::process::getuid().as_raw() => "was made by somebody else",
        () => return Ok(()),
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{} {problem}", folder.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(folder: &Path) -> u32 {
        fs_err::metadata(folder).expect("is there").mode() & 0o7777
    }

    #[test]
    fn folders_are_closed() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = folder.path().join("open");
        fs_err::create_dir(&open).expect("is made");
        fs_err::set_permissions(&open, PermissionsExt::from_mode(0o755)).expect("is opened");
        let deep = open.join("a/b");
        private_folder(&deep).expect("is made");
        assert_eq!([&*open, &*open.join("a"), &*deep].map(mode), [0o755, 0o700, 0o700]);
        private_folder(&open).expect("is there");
        assert_eq!(mode(&open), 0o700);
    }

    #[test]
    fn planted_links_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let (target, root) = (folder.path().join("target"), folder.path().join(own_name()));
        fs_err::create_dir(&target).expect("is made");
        fs_err::set_permissions(&target, PermissionsExt::from_mode(0o755)).expect("is opened");
        symlink(&target, &root).expect("is planted");
        for path in [root.clone(), root.join("jobs/x")] {
            let error = private_folder(&path).expect_err("is refused").to_string();
            assert!(error.contains("is a link") && error.contains(&own_name()), "{error}");
        }
        assert_eq!((mode(&target), fs_err::read_dir(&target).expect("lists").count()), (0o755, 0));
    }

    #[test]
    fn a_link_further_up_is_the_users_own_business() {
        let folder = tempfile::tempdir().expect("a folder");
        let (disk, scratch) = (folder.path().join("disk"), folder.path().join("scratch"));
        fs_err::create_dir(&disk).expect("is made");
        symlink(&disk, &scratch).expect("is made");
        private_folder(&scratch.join(own_name()).join("jobs")).expect("is made");
        assert!(disk.join(own_name()).join("jobs").is_dir());
    }
}
