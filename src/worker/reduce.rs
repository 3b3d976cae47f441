//! A reduce attempt: one partition of every segment, merged, through the reduce step into an output part.

use std::io::{self, Write};
use std::sync::Arc;

use super::attempt::Attempt;
use super::blame::carry;
use super::builtin;
use super::control::Control;
use super::fetch::Fetched;
use super::part::PartWriter;
use crate::facts::{Cause, Work};
use crate::job::Step;
use crate::shuffle::passes::{fan_in, merge_in_passes};
use crate::shuffle::reader::PartitionReader;
use crate::shuffle::record::{Record, RecordStream};

/// Lines for a program are gathered to so many bytes: a quarter of what its pipe holds.
const LINES_BYTES: usize = 256 << 10;

/// Progress is counted when so many bytes came together.
const COUNTED_BYTES: u64 = 64 << 10;

/// Runs it over what was fetched.
///
/// # Errors
/// See [`super::blame::cause_of`].
pub fn run(attempt: &Arc<Attempt>, fetched: Fetched) -> io::Result<Work> {
    let context = &attempt.context;
    let mut part = PartWriter::create(&context.part(attempt.id), context.durability())?;
    let sources = fetched.sources.iter().map(|(_, source)| source.clone()).collect();
    let runs = attempt.folder.runs();
    let merge = || merge_in_passes(sources, fan_in(context.memory), &runs, context.compressor.clone());
    let merged = attempt.control.while_busy(merge);
    let reduced = merged.and_then(|merged| {
        let mut sorted = Watched { inner: merged, control: &attempt.control, uncounted: 0 };
        // A program is not run for a partition without records, so that it writes nothing where there is nothing.
        match &context.job().reduce {
            _ if fetched.records == 0 => Ok(()),
            Step::Identity => builtin::each_record(&mut sorted, &mut |line| part.push(line)),
            Step::Builtin(kind) => {
                let reduce = || builtin::reduce(kind, &context.job().key, &mut sorted, &mut |line| part.push(line));
                attempt.control.while_busy(reduce)
            }
            Step::Command(command) => {
                let feed = |stdin: &mut dyn Write| write_records(&mut sorted, stdin);
                attempt.commands().through("reduce", command, feed, |block| part.push_block(block))
            }
        }
    });
    reduced.map_err(|error| find_culprit(error, &fetched))?;
    let part = attempt.control.while_busy(|| part.finish())?;
    Ok(Work {
        bytes_in: fetched.bytes,
        records_in: fetched.records,
        bytes_out: part.bytes,
        records_out: part.records,
        bytes_shuffled: fetched.ways.direct + fetched.ways.relayed,
        bytes_relayed: fetched.ways.relayed,
        bytes_in_place: fetched.ways.in_place,
        spills: 0,
        hash: part.hash,
        ..Work::default()
    })
}

/// Writes records as lines.
///
/// # Errors
/// Those of both sides.
pub fn write_records(sorted: &mut dyn RecordStream, output: &mut dyn Write) -> io::Result<()> {
    let mut lines = Vec::with_capacity(2 * LINES_BYTES);
    while sorted.advance()? {
        let times = 1 + sorted.take_repeats();
        let line = sorted.record().line;
        for _ in 0..times {
            lines.extend_from_slice(line);
            lines.push(b'\n');
            if lines.len() >= LINES_BYTES {
                output.write_all(&lines)?;
                lines.clear();
                lines.shrink_to(2 * LINES_BYTES); // what one huge line needed
            }
        }
    }
    output.write_all(&lines)
}

/// Where the merge met a corrupt segment: reads all sources once more, each by itself, to tell whose it is.
fn find_culprit(error: io::Error, fetched: &Fetched) -> io::Error {
    if !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) {
        return error;
    }
    for (map, source) in &fetched.sources {
        let read = PartitionReader::open(&source.path, &source.entry).and_then(|mut records| {
            while records.advance()? {}
            Ok(())
        });
        if let Err(error) = read {
            return carry(Cause::Fetch { source: *map, text: error.to_string() });
        }
    }
    error
}

/// Records on their way to the reduce step: progress is counted, and an ended attempt stops.
struct Watched<'a, S> {
    inner: S,
    control: &'a Control,
    /// Bytes that are not counted yet. Counting each record would cost more than most records do.
    uncounted: u64,
}

impl<S: RecordStream> RecordStream for Watched<'_, S> {
    fn advance(&mut self) -> io::Result<bool> {
        let more = self.inner.advance()?;
        if more {
            self.uncounted += self.inner.record().line.len() as u64 + 1;
        }
        if !more || self.uncounted >= COUNTED_BYTES {
            self.control.count(std::mem::take(&mut self.uncounted))?;
        }
        Ok(more)
    }

    fn record(&self) -> Record<'_> {
        self.inner.record()
    }

    fn take_repeats(&mut self) -> u64 {
        let repeats = self.inner.take_repeats();
        self.uncounted += repeats * (self.inner.record().line.len() as u64 + 1);
        repeats
    }
}
