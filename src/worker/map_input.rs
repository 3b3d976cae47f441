//! Where the bytes of a map attempt come from: files of the driver's machine, read in place where that is this one and
//! pulled else; files that every worker sees; or a part of a dataset, from this host's own data folder if it has a copy.
//!
//! A copy that is lost or corrupt is no reason to fail: all copies are the same bytes, so that the reader goes on in
//! another one, where it was.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::Handle;

use super::attempt::Attempt;
use super::data::{DataFolder, open_split};
use super::steady::Steady;
use crate::input::{Home, Split, SplitReader};
use crate::protocol::bulk::Request;
use crate::protocol::data::PartId;

/// The input of a map attempt before its slot is free.
pub enum MapInput {
    /// Files that are read in place.
    Files,
    /// A part that this host has, and where another copy can be had.
    Part {
        /// Where it lies.
        folder: Arc<DataFolder>,
        /// For another copy.
        elsewhere: Elsewhere,
    },
    /// A stream that is under way already.
    Stream(Box<Steady>, Kind),
}

/// What a stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Input of the driver's machine.
    Files,
    /// A part of a dataset on another worker.
    Part,
}

/// The way to the same split through the driver.
pub struct Elsewhere {
    attempt: Arc<Attempt>,
    runtime: Handle,
}

/// How many bytes of a dataset came from where.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    local: Arc<AtomicU64>,
    distant: Arc<AtomicU64>,
}

impl Origin {
    /// From this host's own disk.
    pub fn local(&self) -> u64 {
        self.local.load(Ordering::Relaxed)
    }

    /// From another worker.
    pub fn distant(&self) -> u64 {
        self.distant.load(Ordering::Relaxed)
    }
}

impl MapInput {
    /// Gets the input under way, where it has to travel.
    ///
    /// # Errors
    /// When the driver is gone.
    pub async fn begin(attempt: &Arc<Attempt>, split: &Split) -> io::Result<MapInput> {
        let context = &attempt.context;
        let kind = match &split.home {
            Home::Shared => return Ok(MapInput::Files),
            Home::Driver if context.assignment.output_here.is_some() => return Ok(MapInput::Files),
            Home::Driver => Kind::Files,
            Home::Dataset { .. } => Kind::Part,
        };
        let elsewhere = Elsewhere { attempt: Arc::clone(attempt), runtime: Handle::current() };
        if split.home.holders().contains(&context.assignment.worker)
            && let Ok(folder) = context.data()
        {
            return Ok(MapInput::Part { folder, elsewhere });
        }
        Ok(MapInput::Stream(Box::new(elsewhere.fetch().await?), kind))
    }

    /// The bytes as they lie, and the count of where they came from.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub fn open(self, split: &Split) -> io::Result<(Box<dyn Read + Send>, Origin)> {
        let origin = Origin::default();
        let input: Box<dyn Read + Send> = match self {
            MapInput::Files => Box::new(SplitReader::open(split)?),
            MapInput::Stream(stream, Kind::Files) => stream,
            MapInput::Stream(stream, Kind::Part) => {
                Box::new(Counted { inner: stream, count: Arc::clone(&origin.distant) })
            }
            MapInput::Part { folder, elsewhere } => {
                let local = open_here(&folder, split);
                Box::new(Copies { local, given: 0, elsewhere, distant: None, origin: origin.clone() })
            }
        };
        Ok((input, origin))
    }
}

fn open_here(folder: &DataFolder, split: &Split) -> io::Result<SplitReader> {
    let (Home::Dataset { name, generation, part, .. }, [piece]) = (&split.home, split.pieces.as_slice()) else {
        return Err(io::Error::other("this is no part of a dataset"));
    };
    let part = PartId { name: name.clone(), generation: *generation, index: *part };
    open_split(folder, &part, split.codec, piece.start, piece.end).map_err(io::Error::other)
}

impl Elsewhere {
    async fn fetch(&self) -> io::Result<Steady> {
        let request = Request::Input { split: self.attempt.id.task.index };
        Steady::open(&self.attempt.context, &self.attempt.control, request).await
    }
}

/// The copy that lies here, and behind it one elsewhere.
struct Copies {
    local: io::Result<SplitReader>,
    /// Bytes that the local copy gave.
    given: u64,
    elsewhere: Elsewhere,
    distant: Option<Steady>,
    origin: Origin,
}

impl Read for Copies {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let (Ok(local), None) = (&mut self.local, &self.distant) {
            match local.read(buffer) {
                Ok(count) => {
                    self.given += count as u64;
                    self.origin.local.fetch_add(count as u64, Ordering::Relaxed);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                Err(error) => self.local = Err(error),
            }
        }
        let count = self.distant()?.read(buffer)?;
        self.origin.distant.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Copies {
    /// The stream of the other copy, behind what was given already.
    fn distant(&mut self) -> io::Result<&mut Steady> {
        let given = self.given;
        let opened = match self.distant.take() {
            Some(opened) => opened,
            None => self.elsewhere.runtime.block_on(self.elsewhere.fetch())?,
        };
        let distant = self.distant.insert(opened);
        if given > 0 {
            let skipped = io::copy(&mut distant.by_ref().take(given), &mut io::sink())?;
            if skipped < given {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "another copy of the part is shorter"));
            }
            self.given = 0;
        }
        Ok(distant)
    }
}

struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
