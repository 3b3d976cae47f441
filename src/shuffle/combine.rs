//! Combining: sorted records become fewer before they are written.

use std::io;

use super::batch::Batch;
use super::partition::Router;
use super::record::{KeyRule, Record, RecordStream};
use super::run::{Run, RunFolder};
use super::segment::SegmentWriter;

/// Folds the records of each key into fewer.
///
/// It is used an unknown number of times, also on its own output, so it must be exactly associative.
pub trait Combiner: Send {
    /// Reads records in the order of partition and key, and hands each line of its output (without newline) to `out`.
    /// The lines may come in any order; where it is that of partition and key, they are not sorted again.
    ///
    /// # Errors
    /// Those of `sorted` and `out`, and its own.
    fn combine(
        &mut self,
        sorted: &mut (dyn RecordStream + Send),
        out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()>;

    /// Whether it costs little to run it again on merged runs, as it does in this process but not for a command.
    fn in_process(&self) -> bool;
}

/// Makes runs of the lines that a combiner puts out.
///
/// While they come in order they are written as they come. From the first that does not they are held within `memory`
/// and sorted, which makes as many runs as it takes.
pub(super) struct Collector<'a> {
    key: &'a KeyRule,
    router: &'a Router,
    folder: &'a mut RunFolder,
    memory: usize,
    lines: Lines,
    runs: Vec<Run>,
}

/// How lines have come until now.
enum Lines {
    None,
    InOrder { run: Box<SegmentWriter>, partition: u32, key: Vec<u8> },
    Unordered(Batch),
}

impl<'a> Collector<'a> {
    /// Nothing yet.
    pub fn new(key: &'a KeyRule, router: &'a Router, folder: &'a mut RunFolder, memory: usize) -> Self {
        Collector { key, router, folder, memory, lines: Lines::None, runs: Vec::new() }
    }

    /// All that `combiner` makes of a stream: runs, whose order is that of the lines in them.
    pub fn combine(
        mut self,
        stream: &mut (dyn RecordStream + Send),
        combiner: &mut dyn Combiner,
    ) -> io::Result<Vec<Run>> {
        combiner.combine(stream, &mut |line| self.push(line))?;
        self.end_run()?;
        Ok(self.runs)
    }

    fn push(&mut self, line: &[u8]) -> io::Result<()> {
        let record = Record::new(line, self.key);
        let to = self.router.partition(record.key());
        match &mut self.lines {
            Lines::None => {
                let mut run = Box::new(self.folder.create()?);
                run.push(to, record)?;
                self.lines = Lines::InOrder { run, partition: to, key: record.key().to_vec() };
            }
            Lines::InOrder { run, partition, key } if (*partition, key.as_slice()) <= (to, record.key()) => {
                run.push(to, record)?;
                *partition = to;
                key.clear();
                key.extend_from_slice(record.key());
            }
            Lines::InOrder { .. } => {
                self.end_run()?;
                let mut batch = Batch::new(self.memory);
                batch.push(to, &record.into())?;
                self.lines = Lines::Unordered(batch);
            }
            Lines::Unordered(batch) => {
                if !batch.takes(record) {
                    self.runs.push(self.folder.write_batch(batch, 1)?);
                }
                batch.push(to, &record.into())?;
            }
        }
        Ok(())
    }

    fn end_run(&mut self) -> io::Result<()> {
        let run = match std::mem::replace(&mut self.lines, Lines::None) {
            Lines::None => return Ok(()),
            Lines::InOrder { run, .. } => Run::finish(*run)?,
            Lines::Unordered(mut batch) => self.folder.write_batch(&mut batch, 1)?,
        };
        self.runs.push(run);
        Ok(())
    }
}
