//! The data folder: what lies where in it, and who may change it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fs_err::File;

use crate::dataset::{Generation, Manifest, Name, Outline, PutId, StoreId, part_file, staged_file};
use crate::folders::private_folder;
use crate::ids::random;
use crate::protocol::data::{DataError, PartId};

/// The manifest in the folder of a generation.
const MANIFEST: &str = "manifest";
/// What says, in its place, that the dataset was removed.
const TOMBSTONE: &str = "tombstone";
/// Before the id of the put that fills a generation.
const PUT: &str = "put-";
/// The folder's own name.
const STORE: &str = ".store";
/// The lock of a name, beside its generations.
const LOCK: &str = ".lock";
/// For about a second.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// A data folder, ours alone (0700).
#[derive(Debug)]
pub struct DataFolder {
    root: PathBuf,
    store: StoreId,
    /// Held until this process ends or lets go of the folder.
    locks: Mutex<BTreeMap<Name, File>>,
}

impl DataFolder {
    /// Opens the folder, which is made if it is not there; none is the usual one, in the home.
    ///
    /// # Errors
    /// When it cannot be made, or is a link or somebody else's.
    pub fn open(root: Option<&Path>) -> io::Result<Self> {
        let root = match root {
            Some(root) => root.to_owned(),
            None => usual_root()?,
        };
        private_folder(&root)?;
        let store = store_id(&root)?;
        Ok(DataFolder { root, store, locks: Mutex::default() })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its own name.
    pub fn store(&self) -> StoreId {
        self.store
    }

    /// All of a dataset.
    pub fn dataset(&self, name: &Name) -> PathBuf {
        self.root.join(name.folder())
    }

    /// All of a generation.
    pub fn generation(&self, name: &Name, generation: Generation) -> PathBuf {
        self.dataset(name).join(generation.to_string())
    }

    /// The folder of a generation that must be there.
    pub fn existing(&self, name: &Name, generation: Generation) -> Result<PathBuf, DataError> {
        let folder = self.generation(name, generation);
        match folder.is_dir() {
            true => Ok(folder),
            false => Err(DataError::Lost(format!("{name} is not here in its generation {generation}"))),
        }
    }

    /// Makes the folder of a generation.
    pub fn make(&self, name: &Name, generation: Generation) -> io::Result<PathBuf> {
        let folder = self.generation(name, generation);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|error| {
            io::Error::new(error.kind(), format!("failed to create folder `{}`: {error}", folder.display()))
        })?;
        Ok(folder)
    }

    /// The manifest of a generation.
    pub fn manifest(&self, name: &Name, generation: Generation) -> Result<Manifest, DataError> {
        let file = File::open(self.generation(name, generation).join(MANIFEST))?;
        Ok(Manifest::read(io::BufReader::new(file))?)
    }

    /// Its outline.
    pub fn outline(&self, name: &Name, generation: Generation) -> io::Result<Outline> {
        let file = File::open(self.generation(name, generation).join(MANIFEST))?;
        Manifest::read_outline(io::BufReader::new(file))
    }

    /// The file of a part, whether or not its generation is complete.
    pub fn part(&self, part: &PartId) -> Result<PathBuf, DataError> {
        let folder = self.existing(&part.name, part.generation)?;
        let staged = folder.join(staged_file(part.index));
        if staged.exists() {
            return Ok(staged);
        }
        let of = self.outline(&part.name, part.generation).map(|outline| outline.parts.len() as u32);
        let sealed = of.map(|of| folder.join(part_file(part.index, of))).ok().filter(|path| path.exists());
        sealed
            .or_else(|| find_sealed(&folder, part.index))
            .ok_or_else(|| DataError::Lost(format!("{part} is not here")))
    }

    /// Keeps other processes from changing these names until this one ends. Asked again, as by the next driver of a job, it
    /// has them already.
    pub fn lock(&self, names: &[Name], who: &str) -> Result<(), DataError> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            if locks.contains_key(name) && self.dataset(name).join(LOCK).exists() {
                continue;
            }
            let folder = self.dataset(name);
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            let path = folder.join(LOCK);
            let mut lock =
                fs_err::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
            if !take(&lock)? {
                return Err(busy(name, &mut lock));
            }
            lock.set_len(0)?;
            lock.write_all(who.as_bytes())?;
            locks.insert(name.clone(), lock);
        }
        Ok(())
    }
}

/// Whether the lock could be had. Whoever has just finished lets go a moment after it has said so.
fn take(lock: &File) -> Result<bool, DataError> {
    for _ in 0..LOCK_TRIES {
        match lock.file().try_lock() {
            Ok(()) => return Ok(true),
            Err(std::fs::TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(std::fs::TryLockError::Error(error)) => return Err(error.into()),
        }
    }
    Ok(false)
}

fn busy(name: &Name, lock: &mut File) -> DataError {
    let mut who = String::new();
    let _unknown = lock.take(200).read_to_string(&mut who);
    DataError::Busy(format!("{name} is being changed by {}", if who.is_empty() { "somebody else" } else { &who }))
}

fn usual_root() -> io::Result<PathBuf> {
    let home = std::env::home_dir().filter(|home| home.is_absolute());
    let home = home.ok_or_else(|| io::Error::other("no home for the data folder: give the host one (data=FOLDER)"))?;
    Ok(home.join(".local/share/runner/data"))
}

/// The folder's name, which the first one who comes makes up. A link makes it appear whole.
fn store_id(root: &Path) -> io::Result<StoreId> {
    let path = root.join(STORE);
    let read = || -> io::Result<StoreId> {
        let text = fs_err::read_to_string(&path)?;
        u64::from_str_radix(text.trim(), 16)
            .map(StoreId)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", path.display())))
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut new = tempfile::Builder::new().prefix(".new-").tempfile_in(root)?;
            writeln!(new, "{:016x}", random())?;
            let _somebody_was_first = fs_err::hard_link(new.path(), &path);
            read()
        }
        done => done,
    }
}

fn find_sealed(folder: &Path, index: u32) -> Option<PathBuf> {
    let entries = fs_err::read_dir(folder).ok()?.flatten();
    let is_it = |name: &str| crate::dataset::parse_part_file(name).is_some_and(|(found, _)| found == index);
    entries.map(|entry| entry.path()).find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_it))
}

/// What the files of a generation say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// There is a manifest.
    Manifest,
    /// It is a tombstone.
    Tombstone,
    /// It is being put, or was.
    Put(PutId),
}

impl Mark {
    /// What a file's name says.
    pub fn of(file: &str) -> Option<Mark> {
        match file {
            MANIFEST => Some(Mark::Manifest),
            TOMBSTONE => Some(Mark::Tombstone),
            other => other.strip_prefix(PUT)?.parse().ok().map(Mark::Put),
        }
    }

    /// The file that says so.
    pub fn file(self) -> String {
        match self {
            Mark::Manifest => MANIFEST.to_owned(),
            Mark::Tombstone => TOMBSTONE.to_owned(),
            Mark::Put(put) => format!("{PUT}{put}"),
        }
    }
}

/// Makes what was done in a folder last.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
