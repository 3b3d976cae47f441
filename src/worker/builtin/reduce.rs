//! What a built-in does with sorted records, as reduce and as combiner.

use std::io::{self, Write};

use super::Emit;
use super::sum::Total;
use super::top::Top;
use crate::job::Builtin;
use crate::shuffle::group::Groups;
use crate::shuffle::record::{KeyRule, RecordStream};
use crate::shuffle::sort::Combiner;

/// Reduces one partition, whose keys are by the rule `key`; the lines go to `emit`.
///
/// # Errors
/// Those of reading and emitting; a record that the job cannot use.
pub fn reduce(
    builtin: &Builtin,
    key: &KeyRule,
    sorted: &mut (dyn RecordStream + Send),
    emit: &mut Emit,
) -> io::Result<()> {
    match builtin {
        Builtin::Sum => sum(key.separator(), sorted, emit),
        Builtin::Distinct => distinct(sorted, emit),
        Builtin::Top { count } => top(*count, key.separator(), sorted, emit),
        Builtin::Join => join(key.separator(), sorted, emit),
        Builtin::WordCount | Builtin::Grep { .. } => each(sorted, emit),
    }
}

/// Folds the records of each key into one where the built-in's reduce is exactly associative, else passes them on.
///
/// # Errors
/// As [`reduce`].
pub fn fold(
    builtin: &Builtin,
    key: &KeyRule,
    sorted: &mut (dyn RecordStream + Send),
    emit: &mut Emit,
) -> io::Result<()> {
    match builtin {
        Builtin::Sum | Builtin::Distinct => reduce(builtin, key, sorted, emit),
        Builtin::WordCount | Builtin::Grep { .. } | Builtin::Top { .. } | Builtin::Join => each(sorted, emit),
    }
}

/// [`fold`] as the sorter wants it.
pub struct Folding {
    /// What folds.
    pub builtin: Builtin,
    /// What the key of a line is.
    pub key: KeyRule,
}

impl Combiner for Folding {
    fn combine(
        &mut self,
        sorted: &mut (dyn RecordStream + Send),
        out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        fold(&self.builtin, &self.key, sorted, out)
    }

    fn in_process(&self) -> bool {
        true
    }
}

/// Every record as it is.
pub fn each(sorted: &mut (dyn RecordStream + Send), emit: &mut Emit) -> io::Result<()> {
    while let Some(record) = sorted.next_record()? {
        emit(record.line)?;
    }
    Ok(())
}

fn sum(separator: u8, sorted: &mut (dyn RecordStream + Send), emit: &mut Emit) -> io::Result<()> {
    let mut groups = Groups::new(sorted);
    let mut line = Vec::new();
    while groups.next_key()?.is_some() {
        let mut total = Total::default();
        while let Some(record) = groups.next_record()? {
            total.add(record.value(), record.line)?;
        }
        line.clear();
        line.extend_from_slice(groups.key());
        line.push(separator);
        write!(line, "{total}")?;
        emit(&line)?;
    }
    Ok(())
}

fn distinct(sorted: &mut (dyn RecordStream + Send), emit: &mut Emit) -> io::Result<()> {
    let mut groups = Groups::new(sorted);
    while let Some(key) = groups.next_key()? {
        emit(key)?;
    }
    Ok(())
}

fn top(count: u64, separator: u8, sorted: &mut (dyn RecordStream + Send), emit: &mut Emit) -> io::Result<()> {
    let mut top = Top::new(count, separator);
    while let Some(record) = sorted.next_record()? {
        top.push(record.line)?;
    }
    top.finish(emit)
}

/// Pairs the values of both sides. Those of the left side (marked `0`, and first in order) are held in memory, key by
/// key; for each of the right side a line a pair is emitted.
fn join(separator: u8, sorted: &mut (dyn RecordStream + Send), emit: &mut Emit) -> io::Result<()> {
    let mut groups = Groups::new(sorted);
    let mut left: Vec<Vec<u8>> = Vec::new();
    let (mut key, mut line) = (Vec::new(), Vec::new());
    while let Some(next) = groups.next_key()? {
        key.clear();
        key.extend_from_slice(next);
        left.clear();
        while let Some(record) = groups.next_record()? {
            match record.value().split_first() {
                Some((b'0', value)) => left.push(value.to_vec()),
                Some((_, value)) => {
                    for other in &left {
                        line.clear();
                        [&key, other, value].iter().for_each(|field| {
                            line.extend_from_slice(field);
                            line.push(separator);
                        });
                        emit(&line[..line.len() - 1])?;
                    }
                }
                None => {}
            }
        }
    }
    Ok(())
}
