//! Sorts what a map attempt puts out, within a budget of memory, into one segment.
//!
//! Records gather in memory; whenever the budget is full they are sorted, combined, and written as a run. In the end the
//! runs are merged, as many at once as the budget allows. Where a processor has nothing to do, runs are of half the budget,
//! and one is sorted and written while the other half is filled. A lone run is the segment as it is.

use std::io;
use std::path::{Path, PathBuf};

use super::batch::{Batch, LOOK_AHEAD};
use super::beside::Beside;
use super::combine::Collector;
pub use super::combine::Combiner;
use super::known::{Known, Lines};
use super::partition::{Partitioner, Router};
use super::passes::{fan_in, reduce_count};
use super::policy::Compressor;
use super::record::{KeyRule, Record};
use super::run::{MergedRuns, Run, RunFolder};
use super::segment::SegmentIndex;

/// The part of the budget, one in so many, that is set aside for what a combiner puts out in another order.
const COMBINED_SHARE: usize = 8;

/// How to sort.
pub struct SortConfig {
    /// Where keys belong.
    pub partitioner: Partitioner,
    /// What the key of a line is that the combiner puts out.
    pub key: KeyRule,
    /// The bytes that records and their entries may take; only a larger record takes more.
    pub memory: usize,
    /// An existing folder for runs, best on the file system of the segment. It is left as it was.
    pub scratch: PathBuf,
    /// For runs and segment.
    pub compressor: Compressor,
    /// What folds sorted records.
    pub combiner: Option<Box<dyn Combiner>>,
    /// How many processors have nothing else to do at the moment, and may help to sort.
    pub idle: Box<dyn Fn() -> usize + Send>,
}

/// What was sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortSummary {
    /// The index of the segment.
    pub index: SegmentIndex,
    /// The records that were pushed.
    pub records_in: u64,
    /// The records in the segment.
    pub records_out: u64,
    /// How often the memory was full.
    pub spills: u64,
}

/// Takes records in any order and writes them as a segment.
pub struct Sorter {
    config: SortConfig,
    segment: PathBuf,
    router: Router,
    batch: Batch,
    /// Where a processor had nothing to do in the beginning.
    beside: Option<Beside>,
    folder: RunFolder,
    runs: Vec<Run>,
    records_in: u64,
    spills: u64,
}

impl Sorter {
    /// A sorter that will write the file `segment`.
    pub fn new(config: SortConfig, segment: impl Into<PathBuf>) -> Self {
        let (memory, beside) = match &config.combiner {
            Some(_) => (config.memory - config.memory / COMBINED_SHARE, None),
            None if (config.idle)() > 0 => (config.memory / 2, Some(Beside::default())),
            None => (config.memory, None),
        };
        Sorter {
            batch: Batch::new(memory),
            beside,
            folder: RunFolder::new(&config.scratch, config.partitioner.partitions(), config.compressor.clone()),
            router: Router::new(config.partitioner.clone()),
            config,
            segment: segment.into(),
            runs: Vec::new(),
            records_in: 0,
            spills: 0,
        }
    }

    /// Takes lines from the beginning of `block`, each of which ends with a newline, while there is room for them; gives how
    /// many bytes these were.
    ///
    /// What is known of a record lies anywhere in memory. Here some records are made before the first one is taken, so that
    /// the waits for them overlap.
    ///
    /// # Errors
    /// Those of [`push_if_room`](Sorter::push_if_room).
    pub fn push_lines_if_room(&mut self, block: &[u8]) -> io::Result<usize> {
        let key = self.config.key.clone();
        let (mut lines, mut taken) = (Lines::new(block, &key), 0);
        let mut ahead = Vec::with_capacity(LOOK_AHEAD);
        loop {
            ahead.clear();
            ahead.extend(lines.by_ref().take(LOOK_AHEAD));
            if ahead.is_empty() {
                return Ok(taken);
            }
            self.batch.look_ahead(&ahead);
            for known in &ahead {
                if !self.take_if_room(known)? {
                    return Ok(taken);
                }
                taken += known.record.line.len() + 1;
            }
        }
    }

    /// Takes a record if there is room for it, and says whether there was.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a line of 4 GiB or more. The sorter is of no use after one.
    pub fn push_if_room(&mut self, record: Record<'_>) -> io::Result<bool> {
        self.take_if_room(&record.into())
    }

    #[inline]
    fn take_if_room(&mut self, known: &Known<'_>) -> io::Result<bool> {
        if !self.batch.count_repeat(known) {
            if !self.batch.takes(known.record) {
                return Ok(false);
            }
            self.batch.push(self.router.partition(known.record.key()), known)?;
        }
        self.records_in += 1;
        Ok(true)
    }

    /// Takes a record. Where there is no room, room is made, which takes long.
    ///
    /// # Errors
    /// Those of [`push_if_room`](Sorter::push_if_room), the file system and the combiner. The sorter is of no use after
    /// one.
    pub fn push(&mut self, record: Record<'_>) -> io::Result<()> {
        let known = Known::from(record);
        if self.take_if_room(&known)? {
            return Ok(());
        }
        match &mut self.beside {
            Some(beside) => {
                let (run, empty) = beside.end()?.unzip();
                self.runs.extend(run);
                let empty = empty.unwrap_or_else(|| Batch::new(self.config.memory / 2));
                let full = std::mem::replace(&mut self.batch, empty);
                beside.begin(full, &mut self.folder, 1 + (self.config.idle)())?;
            }
            None => self.spill()?,
        }
        self.spills += 1;
        self.records_in += 1;
        self.batch.push(self.router.partition(record.key()), &known)
    }

    /// Writes the segment.
    ///
    /// # Errors
    /// Those of the file system and the combiner.
    pub fn finish(mut self) -> io::Result<SortSummary> {
        if let Some(beside) = &mut self.beside {
            self.runs.extend(beside.end()?.map(|(run, _empty)| run));
        }
        if !self.batch.is_empty() {
            self.spill()?;
        }
        self.batch = Batch::default(); // its memory is free for the merge
        let run = self.join_runs()?;
        move_file(&run.path, &self.segment)?;
        let records_out = run.index.records();
        Ok(SortSummary { index: run.index, records_in: self.records_in, records_out, spills: self.spills })
    }

    fn spill(&mut self) -> io::Result<()> {
        let threads = 1 + (self.config.idle)();
        let runs = match &mut self.config.combiner {
            None => vec![self.folder.write_batch(&mut self.batch, threads)?],
            Some(combiner) => {
                let memory = self.config.memory / COMBINED_SHARE;
                let collector = Collector::new(&self.config.key, &self.router, &mut self.folder, memory);
                let runs = collector.combine(&mut self.batch.sorted(threads), combiner.as_mut())?;
                self.batch.clear();
                runs
            }
        };
        self.runs.extend(runs);
        Ok(())
    }

    fn join_runs(&mut self) -> io::Result<Run> {
        let runs = std::mem::take(&mut self.runs);
        let mut runs = self.few_runs(runs)?;
        if runs.len() > 1
            && let Some(combiner) = &mut self.config.combiner
            && combiner.in_process()
        {
            let collector = Collector::new(&self.config.key, &self.router, &mut self.folder, self.config.memory);
            let combined = collector.combine(&mut MergedRuns::open(&runs)?, combiner.as_mut())?;
            runs.iter().try_for_each(Run::remove)?;
            runs = self.few_runs(combined)?;
        }
        match <[Run; 1]>::try_from(runs) {
            Ok([alone]) => Ok(alone),
            Err(runs) => self.folder.join(runs),
        }
    }

    fn few_runs(&mut self, runs: Vec<Run>) -> io::Result<Vec<Run>> {
        reduce_count(runs, fan_in(self.config.memory), |group| self.folder.join(group))
    }
}

/// Moves a file, to another file system if need be.
fn move_file(from: &Path, to: &Path) -> io::Result<()> {
    match fs_err::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            fs_err::copy(from, to)?;
            fs_err::remove_file(from)
        }
        result => result,
    }
}

#[cfg(test)]
mod tests;
