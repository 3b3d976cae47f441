//! Reading parts: from the host with the least to do, and from another one where that fails.

use std::io::{self, Read};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use fs_err::File;
use fs_err::os::unix::fs::FileExt;

use super::Watch;
use super::stations::Stations;
use super::view::Dataset;
use crate::error::{Fault, Kind};
use crate::protocol::bulk::{Incoming, Request};
use crate::protocol::data::{DataRequest, PartId};

/// Reads parts of a dataset, each from the holder with the least to do.
pub struct Reading<'a> {
    stations: &'a Stations,
    dataset: &'a Dataset,
    watch: &'a Watch,
    /// Streams under way, by host.
    busy: Mutex<Vec<usize>>,
}

impl<'a> Reading<'a> {
    /// Nothing is read yet.
    pub fn new(stations: &'a Stations, dataset: &'a Dataset, watch: &'a Watch) -> Self {
        Reading { stations, dataset, watch, busy: Mutex::new(vec![0; stations.list.len()]) }
    }

    /// The size of a part.
    pub fn bytes(&self, index: u32) -> u64 {
        self.dataset.outline.parts[index as usize].bytes
    }

    /// A holder that was not tried, and is counted as busy until [`Reading::release`].
    pub fn choose(&self, index: u32, tried: &[usize]) -> Result<usize, Fault> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let holders = self.dataset.parts[index as usize].holders.iter().filter(|at| !tried.contains(at));
        let Some(at) = holders.min_by_key(|at| (busy[**at], **at)).copied() else {
            let name = &self.dataset.name;
            let text = format!("no copy of part {index} of {name} can be read; `runner fs check {name}` tells more");
            return Err(Fault::new(Kind::Data, text));
        };
        busy[at] += 1;
        Ok(at)
    }

    fn release(&self, at: usize) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)[at] -= 1;
    }

    /// Begins to read a range of a part from a host.
    pub fn open(&self, at: usize, index: u32, start: u64, end: u64) -> Result<Incoming, Fault> {
        let part = PartId { name: self.dataset.name.clone(), generation: self.dataset.outline.generation, index };
        let mux = self.stations.mux(at).map_err(|error| Fault::new(Kind::Data, error.to_string()))?;
        Ok(mux.fetch(Request::Data(DataRequest::Read { part, start, end })))
    }

    fn failed(&self, at: usize, index: u32, error: &io::Error) {
        let host = self.stations.name(at);
        self.watch.note(format!("part {index} of {} cannot be read from {host}: {error}", self.dataset.name));
    }

    /// Writes a part somewhere, on a thread for that.
    pub async fn fetch(&self, index: u32, place: Place) -> Result<(), Fault> {
        let (mut tried, mut at_byte) = (Vec::new(), 0);
        loop {
            let at = self.choose(index, &tried)?;
            tried.push(at);
            let source = self.open(at, index, at_byte, self.bytes(index))?.into_reader();
            let (place, done) = (place.clone(), Arc::clone(&self.watch.done));
            let copied = tokio::task::spawn_blocking(move || {
                copy(source, |offset, bytes| {
                    done.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    place.file.write_all_at(bytes, place.offset + at_byte + offset)
                })
            });
            let copied = copied.await;
            self.release(at);
            let (count, ended) = copied.map_err(|error| Fault::new(Kind::Bug, error.to_string()))?;
            at_byte += count;
            match ended {
                Ok(()) if at_byte == self.bytes(index) => return Ok(()),
                Ok(()) => self.failed(at, index, &io::Error::other("it ended too early")),
                Err(Ended::Source(error)) => self.failed(at, index, &error),
                Err(Ended::Here(error)) => return Err(Fault::new(Kind::Data, error.to_string())),
            }
        }
    }

    /// Hands a range of a part on, in order, from a stream that may be open already.
    pub async fn pass(
        &self,
        index: u32,
        (start, end): (u64, u64),
        opened: Option<(usize, Incoming)>,
        mut take: impl FnMut(&[u8]) -> io::Result<More>,
    ) -> Result<More, Fault> {
        let (mut tried, mut at_byte, mut opened) = (Vec::new(), start, opened);
        loop {
            let (at, mut stream) = match opened.take() {
                Some(opened) => opened,
                None => {
                    let at = self.choose(index, &tried)?;
                    (at, self.open(at, index, at_byte, end)?)
                }
            };
            tried.push(at);
            let ended = loop {
                match stream.next().await {
                    Ok(Some(bytes)) => {
                        at_byte += bytes.len() as u64;
                        self.watch.done.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                        match take(&bytes).map_err(|error| unwritten(&error))? {
                            More::Wanted => {}
                            More::No => return Ok(More::No),
                        }
                    }
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            self.release(at);
            match ended {
                Ok(()) if at_byte == end => return Ok(More::Wanted),
                Ok(()) => self.failed(at, index, &io::Error::other("it ended too early")),
                Err(error) => self.failed(at, index, &error),
            }
        }
    }
}

/// Whether the one who takes bytes wants more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// More.
    Wanted,
    /// That was enough.
    No,
}

/// Marks an error of the one who takes bytes; a reader that went away is told as such by the caller.
pub fn unwritten(error: &io::Error) -> Fault {
    Fault::new(Kind::Data, format!("writing: {error}"))
}

/// Where a part is written.
#[derive(Clone)]
pub struct Place {
    /// The file.
    pub file: Arc<File>,
    /// Where in it the part begins.
    pub offset: u64,
}

enum Ended {
    /// The stream failed.
    Source(io::Error),
    /// The file cannot be written.
    Here(io::Error),
}

/// Copies a stream; gives how many bytes were written, and how it ended.
fn copy(mut source: impl Read, mut write: impl FnMut(u64, &[u8]) -> io::Result<()>) -> (u64, Result<(), Ended>) {
    let mut buffer = vec![0; 256 << 10];
    let mut count = 0;
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return (count, Ok(())),
            Ok(length) => match write(count, &buffer[..length]) {
                Ok(()) => count += length as u64,
                Err(error) => return (count, Err(Ended::Here(error))),
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (count, Err(Ended::Source(error))),
        }
    }
}
