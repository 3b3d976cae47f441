//! How fast bytes come to this worker over the network: measured by how long its readers wait for them.
//!
//! A reader that always finds bytes at hand waits for nothing, however slow it is itself. Time during which several wait
//! counts once, since they share the way.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::{self, Moment};
use crate::shuffle::policy::Compressor;
use crate::shuffle::segment::Compression;

/// See the module.
#[derive(Debug)]
pub struct Link {
    compressor: Compressor,
    readers: Mutex<Readers>,
}

#[derive(Debug, Default)]
struct Readers {
    /// Those that wait now.
    waiting: usize,
    /// Up to when their waiting was counted.
    counted: Moment,
}

impl Link {
    /// Measures for this one.
    pub fn new(compressor: Compressor) -> Self {
        Link { compressor, readers: Mutex::default() }
    }

    /// Reads from a stream of the network.
    ///
    /// # Errors
    /// Those of the reading.
    pub fn read(&self, read: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        self.begin(clock::now());
        let result = read();
        self.end(clock::now(), result.as_ref().map_or(0, |count| *count as u64));
        result
    }

    fn begin(&self, now: Moment) {
        let mut readers = self.readers();
        if readers.waiting == 0 {
            readers.counted = now;
        }
        readers.waiting += 1;
    }

    fn end(&self, now: Moment, bytes: u64) {
        let mut readers = self.readers();
        readers.waiting -= 1;
        let waited = now.since(readers.counted);
        readers.counted = readers.counted.max(now);
        drop(readers);
        self.compressor.note_travel(bytes, waited);
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Link {
    /// Measures for nobody.
    fn default() -> Self {
        Link::new(Compression::None.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shuffle::policy::{CompressionPolicy, Travel};

    const MB: u64 = 1_000_000;

    /// A link over which so many readers at once got so many megabytes each within a second, in turns.
    fn used(readers: u64, megabytes: u64) -> Compressor {
        let compressor = Compressor::new(CompressionPolicy::Auto, Travel::Cross);
        let link = Link::new(compressor.clone());
        (0..readers).for_each(|_| link.begin(Moment(0)));
        for turn in 1..=megabytes {
            for _ in 0..readers {
                link.end(Moment(turn * MB / megabytes), MB);
                link.begin(Moment(turn * MB / megabytes));
            }
        }
        compressor
    }

    #[test]
    fn time_in_which_several_wait_counts_once() {
        // Alone and together they get as much: one of them alone would seem to be on a slow network.
        let pace = |compressor: &Compressor| compressor.link_rate().expect("it is measured");
        let (alone, together) = (pace(&used(1, 800)), pace(&used(8, 100)));
        assert!((0.9..1.1).contains(&(alone / together)), "{alone} {together}");
        assert!((500e6..900e6).contains(&alone), "{alone}");
    }
}
