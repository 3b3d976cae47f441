//! Whether a block is compressed: where that saves more time than it takes.
//!
//! What a block saves is known only from blocks, and what a byte costs only from bytes that went the same way. So a worker
//! keeps [`Scales`]: what LZ4 took and saved on its own last blocks, how long its disk took for what was written, and how
//! long it waited for what came over the network. A block is compressed if its bytes are expected to travel longer without
//! that than compressing and decoding it takes. Each block says itself whether it is compressed, so a segment may have both
//! kinds, and no reader need know of any of this.
//!
//! What is measured is elapsed time on both sides: on a busy machine LZ4 takes longer, and so does ssh.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::block::{BLOCK_BYTES, Compression};

/// What the user wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CompressionPolicy {
    /// Where it saves more time than it takes.
    #[default]
    Auto,
    /// Always.
    Lz4,
    /// Never.
    None,
}

/// Where segments go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Travel {
    /// They are read on the machine where they were written.
    Stay,
    /// Most of them go to other machines.
    Cross,
}

/// What decides about each block.
#[derive(Clone, Debug)]
pub enum Compressor {
    /// All blocks alike.
    Always(Compression),
    /// By what was measured.
    Measured(Arc<Scales>),
}

impl Compressor {
    /// What a policy means for segments that travel so.
    pub fn new(policy: CompressionPolicy, travel: Travel) -> Self {
        match policy {
            CompressionPolicy::Auto => Compressor::Measured(Arc::new(Scales::new(travel))),
            CompressionPolicy::Lz4 => Compressor::Always(Compression::Lz4),
            CompressionPolicy::None => Compressor::Always(Compression::None),
        }
    }

    /// What to do with the next block.
    pub fn next(&self) -> Compression {
        match self {
            Compressor::Always(compression) => *compression,
            Compressor::Measured(scales) => scales.next(),
        }
    }

    /// A block was written so.
    pub fn note_block(&self, compression: Compression, block: Block) {
        if let Compressor::Measured(scales) = self {
            scales.note_block(compression, block);
        }
    }

    /// So many bytes came over the network, for which a reader waited so long.
    pub fn note_travel(&self, bytes: u64, waited: Duration) {
        if let Compressor::Measured(scales) = self {
            scales.note_travel(bytes, waited);
        }
    }
}

#[cfg(test)]
impl Compressor {
    /// Bytes of the network in a second, as far as it is measured.
    pub fn link_rate(&self) -> Option<f64> {
        match self {
            Compressor::Always(_) => None,
            Compressor::Measured(scales) => scales.measures().link.as_ref().map(|link| 1.0 / link.per_byte()),
        }
    }
}

impl From<Compression> for Compressor {
    fn from(compression: Compression) -> Self {
        Compressor::Always(compression)
    }
}

/// What was seen of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its bytes.
    pub raw: usize,
    /// What they became.
    pub stored: usize,
    /// How long that took.
    pub sealing: Duration,
    /// How long it took to write them.
    pub writing: Duration,
}

/// The measures of one worker, which all its attempts share.
#[derive(Debug)]
pub struct Scales(Mutex<Measures>);

#[derive(Debug)]
struct Measures {
    /// LZ4, by raw bytes,
    lz4: Pace,
    /// and how many of those it saved: a pace too, in bytes for a byte.
    saved: Pace,
    /// Writing, by stored bytes.
    disk: Pace,
    /// The network, by bytes as they travel; none where nothing does.
    link: Option<Pace>,
    /// Blocks so far.
    blocks: u64,
}

/// What a byte costs, on average, of which the older measures count less and less.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    bytes: f64,
    cost: f64,
}

/// Measures of more bytes than this count half from then on.
const REMEMBERED_BYTES: f64 = (64 << 20) as f64;

/// Before so many bytes went through LZ4, nothing is known of it: so many are tried.
const TRIED_BYTES: f64 = (4 * BLOCK_BYTES) as f64;

/// Of blocks that are not to be compressed one in so many is, to see whether what comes now is of another kind.
const TRIED_ONE_IN: u64 = 256;

/// LZ4 decodes several times as fast as it encodes (lz4.org: 4500 to 700 MB/s); this is the careful side.
const DECODING_SHARE: f64 = 0.25;

/// A network that nothing is known of counts as one of 1 Gbit/s, as if so many bytes had been seen at that rate.
const SUPPOSED_BYTES: f64 = (4 << 20) as f64;
const SUPPOSED_RATE: f64 = 117e6;

impl Pace {
    fn add(&mut self, bytes: f64, cost: f64) {
        self.bytes += bytes;
        self.cost += cost;
        if self.bytes > REMEMBERED_BYTES {
            self.bytes /= 2.0;
            self.cost /= 2.0;
        }
    }

    /// Nothing where nothing was measured.
    fn per_byte(&self) -> f64 {
        if self.bytes > 0.0 { self.cost / self.bytes } else { 0.0 }
    }
}

impl Measures {
    /// The rule: what is saved of the way is compared with what the saving takes, both for one raw byte.
    fn is_worth_it(&self) -> bool {
        // What was written a moment ago is read from memory: the disk counts once.
        let way = self.disk.per_byte() + self.link.as_ref().map_or(0.0, Pace::per_byte);
        self.saved.per_byte() * way > self.lz4.per_byte() * (1.0 + DECODING_SHARE)
    }

    fn next(&mut self) -> Compression {
        self.blocks += 1;
        let is_tried = self.lz4.bytes < TRIED_BYTES || self.blocks.is_multiple_of(TRIED_ONE_IN);
        if is_tried || self.is_worth_it() { Compression::Lz4 } else { Compression::None }
    }
}

impl Scales {
    fn new(travel: Travel) -> Self {
        let supposed = Pace { bytes: SUPPOSED_BYTES, cost: SUPPOSED_BYTES / SUPPOSED_RATE };
        let link = match travel {
            Travel::Stay => None,
            Travel::Cross => Some(supposed),
        };
        let none = Pace::default();
        Scales(Mutex::new(Measures { lz4: none, saved: none, disk: none, link, blocks: 0 }))
    }

    fn next(&self) -> Compression {
        self.measures().next()
    }

    fn note_block(&self, compression: Compression, block: Block) {
        let Block { raw, stored, sealing, writing } = block;
        let mut measures = self.measures();
        if compression == Compression::Lz4 {
            measures.lz4.add(raw as f64, sealing.as_secs_f64());
            measures.saved.add(raw as f64, raw.saturating_sub(stored) as f64);
        }
        measures.disk.add(stored as f64, writing.as_secs_f64());
    }

    fn note_travel(&self, bytes: u64, waited: Duration) {
        if let Some(link) = &mut self.measures().link {
            link.add(bytes as f64, waited.as_secs_f64());
        }
    }

    fn measures(&self) -> MutexGuard<'_, Measures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: usize = BLOCK_BYTES;

    /// How long so many bytes take at so many MB/s.
    fn at(bytes: usize, rate: f64) -> Duration {
        Duration::from_secs_f64(bytes as f64 / (rate * 1e6))
    }

    /// What blocks are like, and what they meet, in MB/s.
    #[derive(Clone, Copy)]
    struct World {
        /// Percent that LZ4 saves.
        saved: usize,
        lz4: f64,
        disk: f64,
        link: Option<f64>,
    }

    const HERE: World = World { saved: 50, lz4: 500.0, disk: 1500.0, link: None };

    fn run(compressor: &Compressor, world: World, blocks: usize) -> usize {
        let mut compressed = 0;
        for _ in 0..blocks {
            let compression = compressor.next();
            let (stored, sealing) = match compression {
                Compression::Lz4 => (RAW - RAW * world.saved / 100, at(RAW, world.lz4)),
                Compression::None => (RAW, at(RAW, 10_000.0)),
            };
            compressed += usize::from(compression == Compression::Lz4);
            compressor.note_block(compression, Block { raw: RAW, stored, sealing, writing: at(stored, world.disk) });
            if let Some(link) = world.link {
                compressor.note_travel(RAW as u64, at(RAW, link));
            }
        }
        compressed
    }

    #[test]
    fn blocks_are_compressed_where_that_saves_time() {
        /// Blocks until what was supposed of the network hardly counts any more.
        const BEFORE: usize = 1000;
        let check = |world: World, is_compressed: bool| {
            let travel = if world.link.is_some() { Travel::Cross } else { Travel::Stay };
            let compressor = Compressor::new(CompressionPolicy::Auto, travel);
            run(&compressor, world, BEFORE);
            let compressed = run(&compressor, world, TRIED_ONE_IN as usize);
            assert_eq!(compressed, if is_compressed { TRIED_ONE_IN as usize } else { 1 });
        };
        check(HERE, false);
        check(World { disk: 100.0, ..HERE }, true);
        check(World { link: Some(12.0), ..HERE }, true);
        check(World { link: Some(117.0), ..HERE }, true);
        check(World { link: Some(1200.0), ..HERE }, false);
        check(World { link: Some(1200.0), disk: 100.0, ..HERE }, true);
        check(World { link: Some(12.0), saved: 5, ..HERE }, true);
        check(World { link: Some(117.0), saved: 5, ..HERE }, false);
        check(World { link: Some(1.0), saved: 0, ..HERE }, false);
        check(World { link: Some(12.0), lz4: 5.0, ..HERE }, false);
    }

    #[test]
    fn what_is_known_changes_with_the_link() {
        let compressor = Compressor::new(CompressionPolicy::Auto, Travel::Cross);
        // Nothing came yet: as over 1 Gbit/s.
        assert_eq!(run(&compressor, HERE, 10), 10);
        run(&compressor, World { link: Some(1200.0), ..HERE }, 2000);
        assert!(run(&compressor, HERE, 10) <= 1);
        run(&compressor, World { link: Some(10.0), ..HERE }, 2000);
        assert_eq!(run(&compressor, HERE, 10), 10);
    }

    #[test]
    fn who_wants_one_thing_gets_it() {
        let slow = World { link: Some(1.0), disk: 1.0, ..HERE };
        let check = |policy, world, compressed| {
            assert_eq!(run(&Compressor::new(policy, Travel::Cross), world, 10), compressed);
        };
        check(CompressionPolicy::None, slow, 0);
        check(CompressionPolicy::Lz4, World { link: Some(9000.0), saved: 0, ..HERE }, 10);
    }
}
