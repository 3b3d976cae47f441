//! What one data folder holds, as its host tells it.

use serde::{Deserialize, Serialize};

use super::generation::{Generation, PutId};
use super::manifest::Outline;
use super::name::Name;

/// The name of a data folder, made by chance when it was: two hosts that give the same one share the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StoreId(pub u64);

/// What is in a data folder, and what the host has for more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The folder.
    pub store: StoreId,
    /// Bytes free on its disk.
    pub free: u64,
    /// Processors of the host.
    pub cores: u32,
    /// Generations, by name.
    pub held: Vec<Held>,
    /// What could not be read, in words.
    pub troubles: Vec<String>,
}

/// One generation in one folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Of which dataset.
    pub name: Name,
    /// Which.
    pub generation: Generation,
    /// What the folder says of it.
    pub state: HeldState,
    /// The parts that lie there, by index.
    pub parts: Vec<HeldPart>,
}

/// What a folder says of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeldState {
    /// It is complete.
    Complete(Outline),
    /// The dataset was removed then.
    Tombstone,
    /// There is no manifest: it is being put, or was not finished.
    Incomplete {
        /// By which put; none for the output of a job.
        put: Option<PutId>,
    },
}

/// The file of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldPart {
    /// Which part.
    pub index: u32,
    /// Its size.
    pub bytes: u64,
    /// What it takes on the disk, in blocks of 512 bytes, as `ls -s` counts them.
    pub blocks: u64,
}
