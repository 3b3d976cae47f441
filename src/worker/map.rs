//! A map attempt: a split through the map step into a segment, or straight into an output part.

use std::io::{self, Read, Write};
use std::sync::Arc;

use super::attempt::Attempt;
use super::blame;
use super::builtin;
use super::control::Control;
use super::meter::{Metered, Named};
use super::part::PartWriter;
use super::through::lines_of;
use crate::facts::Work;
use crate::input::Split;
use crate::input::decode::decode;
use crate::input::lines::LineReader;
use crate::job::Step;
use crate::shuffle::record::{KeyRule, Record, RecordStream};
use crate::shuffle::sort::{Combiner, SortConfig, Sorter};

/// Runs it over the bytes of its split.
///
/// # Errors
/// See [`super::blame::cause_of`].
pub fn run(attempt: &Arc<Attempt>, split: &Split, bytes: impl Read + Send + 'static) -> io::Result<Work> {
    let control = &attempt.control;
    // Only plain files share a split, and no decoder has an opinion of those.
    let path = split.pieces.first().map(|piece| piece.path.clone()).unwrap_or_default();
    let input = decode(split.codec, Metered::new(bytes, Arc::clone(control)));
    let input = Named::new(input.map_err(|error| blame::input_of(&path, error))?, path);
    let mut sink = Sink::open(attempt)?;
    let records_in = match &attempt.context.job().map {
        Step::Identity => builtin::each_line(&mut LineReader::new(input), &mut |line| sink.push(line))?,
        Step::Builtin(kind) => {
            let context = &attempt.context;
            let circumstances =
                builtin::Circumstances { source: split.source, key: &context.job().key, memory: context.memory / 2 };
            let mut lines = LineReader::new(input);
            control.while_busy(|| builtin::map(kind, circumstances, &mut lines, &mut |line| sink.push(line)))?
        }
        Step::Command(command) => {
            let mut records = 0;
            let feed = |stdin: &mut dyn Write| copy_lines(input, stdin, &mut records);
            attempt.commands().through("map", command, feed, |block| sink.push_block(block))?;
            records
        }
    };
    let work = control.while_busy(|| sink.finish(attempt))?;
    Ok(Work { bytes_in: split.bytes(), records_in, ..work })
}

/// Copies everything, and counts lines.
fn copy_lines(mut input: impl Read, output: &mut dyn Write, lines: &mut u64) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        *lines += memchr::memchr_iter(b'\n', &buffer[..count]).count() as u64;
        output.write_all(&buffer[..count])?;
    }
}

/// Where a map's lines go.
enum Sink {
    Segment { sorter: Box<Sorter>, key: KeyRule, control: Arc<Control> },
    Part(PartWriter),
}

impl Sink {
    fn open(attempt: &Arc<Attempt>) -> io::Result<Self> {
        let context = &attempt.context;
        let job = context.job();
        let Some(partitioner) = job.partitioner.clone() else {
            return PartWriter::create(&context.part(attempt.id), context.durability()).map(Sink::Part);
        };
        let config = SortConfig {
            partitioner,
            key: job.key.clone(),
            memory: context.memory,
            scratch: attempt.folder.runs(),
            compressor: context.compressor.clone(),
            combiner: job.combine.as_ref().and_then(|step| combiner(step, attempt)),
            idle: Box::new({
                let slots = Arc::clone(&context.slots);
                move || slots.available_permits()
            }),
        };
        let sorter = Box::new(Sorter::new(config, attempt.folder.segment()));
        Ok(Sink::Segment { sorter, key: job.key.clone(), control: Arc::clone(&attempt.control) })
    }

    fn push(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Sink::Segment { sorter, key, control } => {
                let record = Record::new(line, key);
                match sorter.push_if_room(record)? {
                    true => Ok(()),
                    false => control.while_busy(|| sorter.push(record)),
                }
            }
            Sink::Part(part) => part.push(line),
        }
    }

    /// Takes lines, each with its newline, as a command prints them.
    fn push_block(&mut self, mut block: &[u8]) -> io::Result<()> {
        let (sorter, key, control) = match self {
            Sink::Part(part) => return part.push_block(block),
            Sink::Segment { sorter, key, control } => (sorter, key, control),
        };
        loop {
            block = &block[sorter.push_lines_if_room(block)?..];
            let Some(line) = lines_of(block).next() else { return Ok(()) };
            control.while_busy(|| sorter.push(Record::new(line, key)))?;
            block = &block[line.len() + 1..];
        }
    }

    fn finish(self, attempt: &Attempt) -> io::Result<Work> {
        match self {
            Sink::Part(part) => {
                let part = part.finish()?;
                Ok(Work { bytes_out: part.bytes, records_out: part.records, hash: part.hash, ..Work::default() })
            }
            Sink::Segment { sorter, .. } => {
                let summary = sorter.finish()?;
                let by_command = matches!(attempt.context.job().combine, Some(Step::Command(_)));
                let index = Arc::new(summary.index);
                attempt.context.add_segment(attempt.id, Arc::clone(&index));
                Ok(Work {
                    bytes_out: index.partitions.iter().map(|partition| partition.raw).sum(),
                    records_out: summary.records_out,
                    bytes_shuffled: index.partitions.iter().map(|partition| partition.stored).sum(),
                    spills: u32::try_from(summary.spills).unwrap_or(u32::MAX),
                    // How often a combiner was run hangs on this host's memory, and what a command makes of that is
                    // its own affair.
                    hash: if by_command && summary.spills > 0 { 0 } else { index.hash() },
                    ..Work::default()
                })
            }
        }
    }
}

fn combiner(step: &Step, attempt: &Arc<Attempt>) -> Option<Box<dyn Combiner>> {
    match step {
        Step::Identity => None,
        Step::Builtin(kind) => {
            Some(Box::new(builtin::Folding { builtin: kind.clone(), key: attempt.context.job().key.clone() }))
        }
        Step::Command(command) => {
            Some(Box::new(CommandCombiner { attempt: Arc::clone(attempt), command: command.clone() }))
        }
    }
}

/// A user's combiner: run once over each sorted run.
struct CommandCombiner {
    attempt: Arc<Attempt>,
    command: String,
}

impl Combiner for CommandCombiner {
    fn combine(
        &mut self,
        mut sorted: &mut (dyn RecordStream + Send),
        out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let feed = |stdin: &mut dyn Write| super::reduce::write_records(&mut sorted, stdin);
        let commands = self.attempt.commands();
        // The sorter's work is ours, but what is run in it is the user's.
        self.attempt.control.while_watched(|| {
            commands.through("combine", &self.command, feed, |block| lines_of(block).try_for_each(&mut *out))
        })
    }

    fn in_process(&self) -> bool {
        false
    }
}
