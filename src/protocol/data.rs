//! What is asked of a worker's data folder, over a bulk connection.
//!
//! Each [`DataRequest`] opens a stream. Its answer is one postcard value, a [`Result`] with a [`DataError`], except for
//! [`DataRequest::Read`], [`DataRequest::Split`] and [`DataRequest::Upload`], whose answer is the bytes themselves, and
//! [`DataRequest::Copy`], which tells how far it has come. Bytes that go to a worker are pulled by it: it is told a ticket,
//! and fetches that as [`DataRequest::Upload`] from who asked; copies it fetches from other workers, where it reaches them.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::bulk::Incoming;
use super::frames;
use super::meeting::Meeting;
use super::peer::Peer;
use crate::dataset::{Digest, Generation, Manifest, Name, Pattern, PutId};
use crate::ids::WorkerId;
use crate::input::Codec;
use crate::shuffle::record::KeyRule;

/// What a process that owns a data folder says behind the marker, before anything else.
pub const READY: u8 = b'+';

/// What is said in its place where our binary is not there.
pub const MISSING: u8 = b'-';

/// How often who asks is heard of at least; after [`SILENCE_MAX`] it is gone, whatever the connection pretends, and with
/// it its locks.
pub const PING_EVERY: Duration = Duration::from_secs(15);
/// See [`PING_EVERY`].
pub const SILENCE_MAX: Duration = Duration::from_secs(90);

/// Asked of a data folder; but [`DataRequest::Upload`] is asked of the driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DataRequest {
    /// Nothing: whoever asks is still there. Answer: nothing.
    Ping,
    /// What lies there. Answer: [`crate::dataset::Listing`].
    List {
        /// Only what one of these touches; all if there is none.
        patterns: Vec<Pattern>,
    },
    /// Keeps others from changing these names, for as long as the connection lasts. Answer: nothing.
    Lock {
        /// Which.
        names: Vec<Name>,
        /// Who asks, for the others to read.
        who: String,
    },
    /// Makes a generation that is not complete. Answer: the parts of it that lie there already, checked.
    Begin {
        /// Of which dataset.
        name: Name,
        /// Which.
        generation: Generation,
        /// For which put; none for the output of a job.
        put: Option<PutId>,
    },
    /// Takes in a part, instead of any that is there. Answer: [`crate::dataset::Digest`].
    Store {
        /// The part.
        part: PartId,
        /// What to fetch from who asks.
        ticket: u64,
    },
    /// Lets others of these streams in, and makes ready to go to them, for as long as this stream lasts. Answer:
    /// [`super::meeting::Met`].
    Meet(Box<Meeting>),
    /// The others, as far as they are known. Answer: nothing.
    Peers(Vec<Peer>),
    /// Lets nobody in any more, and goes nowhere. Answer: nothing.
    Part,
    /// Takes in a copy of a part from another host: straight from there if that can be, else as a ticket. Answer:
    /// [`super::meeting::Copying`], several.
    Copy {
        /// The part.
        part: PartId,
        /// What it must be like.
        digest: Digest,
        /// Who has it.
        from: WorkerId,
        /// What to fetch from who asks.
        ticket: u64,
    },
    /// Takes a finished file of this generation's folder as a part; asked again, the same. Answer:
    /// [`crate::dataset::Digest`].
    Adopt {
        /// The part.
        part: PartId,
        /// The file.
        file: String,
        /// What its attempt wrote.
        made: Made,
    },
    /// Keeps of a generation that is not complete the parts that are as they should be, and removes the others. Answer: those
    /// that are kept, with their digests.
    Sift {
        /// Of which dataset.
        name: Name,
        /// Which generation.
        generation: Generation,
        /// What each part should be.
        expected: BTreeMap<u32, Made>,
    },
    /// Bytes of a part of a generation, checked as they are read.
    Read {
        /// The part.
        part: PartId,
        /// From here.
        start: u64,
        /// To before here, or to the end of the part.
        end: u64,
    },
    /// The records of a split of a part, in the bytes as they lie; checked.
    Split {
        /// The part.
        part: PartId,
        /// How it is compressed.
        codec: Codec,
        /// The split's first byte.
        start: u64,
        /// Behind its last.
        end: u64,
    },
    /// Keys of records of a part. Answer: a list of them.
    Sample {
        /// The part.
        part: PartId,
        /// How it is compressed.
        codec: Codec,
        /// Near these bytes.
        places: Vec<u64>,
        /// What the key of a record is.
        key: KeyRule,
    },
    /// Gives the parts their final names: there are so many of them. Answer: nothing.
    Seal {
        /// Of which dataset.
        name: Name,
        /// Which generation.
        generation: Generation,
        /// How many parts it has, on all hosts together.
        parts: u32,
    },
    /// Writes the manifest, by which the generation is complete. Answer: nothing.
    Publish {
        /// Of which dataset.
        name: Name,
        /// What it consists of.
        manifest: Box<Manifest>,
    },
    /// Writes that the dataset is removed. Answer: nothing.
    Bury {
        /// Of which dataset.
        name: Name,
        /// As this generation.
        generation: Generation,
    },
    /// Removes all that is older than a generation. Answer: bytes that were freed.
    Purge {
        /// Of which dataset.
        name: Name,
        /// The oldest that stays.
        before: Generation,
    },
    /// Removes a generation that did not become complete. Answer: nothing.
    Discard {
        /// Of which dataset.
        name: Name,
        /// Which.
        generation: Generation,
    },
    /// Gives the parts of a generation to one of another name, without copying them. Answer: nothing.
    Link {
        /// From here.
        name: Name,
        /// From this generation.
        generation: Generation,
        /// To there.
        new_name: Name,
        /// As this generation.
        new_generation: Generation,
    },
    /// Reads the parts of a generation and compares them with its manifest. Answer: a [`Verdict`] for each part there.
    Check {
        /// Of which dataset.
        name: Name,
        /// What it should be.
        manifest: Box<Manifest>,
    },
    /// The manifest as it lies there. Answer: [`Manifest`].
    Manifest {
        /// Of which dataset.
        name: Name,
        /// Which generation.
        generation: Generation,
    },
    /// Of the driver: the bytes behind a ticket.
    Upload {
        /// Which.
        ticket: u64,
    },
}

/// A part of one generation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartId {
    /// Of which dataset.
    pub name: Name,
    /// Of which generation.
    pub generation: Generation,
    /// Its number, from 0.
    pub index: u32,
}

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "part {} of {}", self.index, self.name)
    }
}

/// What an attempt wrote: its part is known again by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Bytes.
    pub bytes: u64,
    /// XXH3-64 of all of them.
    pub hash: u64,
}

/// What a check found of the file of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Which part.
    pub index: u32,
    /// What is wrong with it; none if nothing is.
    pub wrong: Option<String>,
}

/// Why a data folder did not do as it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum DataError {
    /// There is no room.
    #[error("disk full: {0}")]
    DiskFull(String),
    /// Somebody else changes the same name now.
    #[error("{0}")]
    Busy(String),
    /// What was asked for is not there, or is not what it should be.
    #[error("{0}")]
    Lost(String),
    /// The bytes did not arrive: the source is to blame, or the way.
    #[error("{0}")]
    Source(String),
    /// The host cannot be reached, or not any more.
    #[error("{0}")]
    Gone(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl From<io::Error> for DataError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                DataError::DiskFull(error.to_string())
            }
            io::ErrorKind::NotFound | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                DataError::Lost(error.to_string())
            }
            _ => DataError::Failed(error.to_string()),
        }
    }
}

/// Takes the one value that an answer consists of.
///
/// # Errors
/// What the worker says; [`DataError::Gone`] when the connection is.
pub async fn answer<T: DeserializeOwned>(mut stream: Incoming) -> Result<T, DataError> {
    let gone = |error: io::Error| DataError::Gone(error.to_string());
    let mut bytes = Vec::new();
    while let Some(more) = stream.next().await.map_err(gone)? {
        bytes.extend_from_slice(&more);
    }
    frames::decode::<Result<T, DataError>>(&bytes).map_err(gone)?
}
