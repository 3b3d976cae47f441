//! What a built-in does with the lines of a split.

use std::io::{self, Read};

use regex::bytes::Regex;

use super::counts::Counts;
use super::top::Top;
use crate::facts::Cause;
use crate::input::lines::LineReader;
use crate::job::Builtin;
use crate::worker::blame::carry;

/// Where records go, as lines without newline.
pub type Emit<'a> = dyn FnMut(&[u8]) -> io::Result<()> + 'a;

/// Maps all lines of `lines`; gives how many there were. `source` is the number of the input they are of, and `memory`
/// what tables may take, in bytes.
///
/// # Errors
/// Those of reading and emitting; a record that the job cannot use.
pub fn map<R: Read>(
    builtin: &Builtin,
    source: u32,
    memory: usize,
    lines: &mut LineReader<R>,
    emit: &mut Emit,
) -> io::Result<u64> {
    match builtin {
        Builtin::WordCount => count_words(lines, memory, emit),
        Builtin::Grep { pattern } => grep(pattern, lines, emit),
        Builtin::Sort | Builtin::Distinct | Builtin::Sum => each(lines, emit),
        Builtin::Top { count } => top(*count, lines, emit),
        Builtin::Join => tag(source, lines, emit),
    }
}

/// Every line as it is.
pub fn each<R: Read>(lines: &mut LineReader<R>, emit: &mut Emit) -> io::Result<u64> {
    let mut records = 0;
    while let Some(line) = lines.next_line()? {
        emit(line)?;
        records += 1;
    }
    Ok(records)
}

fn count_words<R: Read>(lines: &mut LineReader<R>, memory: usize, emit: &mut Emit) -> io::Result<u64> {
    let mut counts = Counts::default();
    let mut records = 0;
    while let Some(block) = lines.next_block()? {
        records += memchr::memchr_iter(b'\n', block).count() as u64;
        counts.add_words(block);
        if counts.memory() > memory {
            counts.drain(emit)?;
        }
    }
    counts.drain(emit)?;
    Ok(records)
}

fn grep<R: Read>(pattern: &str, lines: &mut LineReader<R>, emit: &mut Emit) -> io::Result<u64> {
    let regex = Regex::new(pattern).map_err(|error| carry(Cause::Record { text: error.to_string() }))?;
    let mut records = 0;
    while let Some(line) = lines.next_line()? {
        records += 1;
        if regex.is_match(line) {
            emit(line)?;
        }
    }
    Ok(records)
}

fn top<R: Read>(count: u64, lines: &mut LineReader<R>, emit: &mut Emit) -> io::Result<u64> {
    let mut top = Top::new(count);
    let mut records = 0;
    while let Some(line) = lines.next_line()? {
        records += 1;
        top.push(line)?;
    }
    top.finish(emit)?;
    Ok(records)
}

/// Marks each value with its side, so that the reduce can tell: `key<TAB>0value` or `key<TAB>1value`. The left side's
/// splits come first, hence also its records of each key.
fn tag<R: Read>(source: u32, lines: &mut LineReader<R>, emit: &mut Emit) -> io::Result<u64> {
    let side = if source == 0 { b'0' } else { b'1' };
    let mut tagged = Vec::new();
    let mut records = 0;
    while let Some(line) = lines.next_line()? {
        records += 1;
        let key_len = memchr::memchr(b'\t', line).unwrap_or(line.len());
        tagged.clear();
        tagged.extend_from_slice(&line[..key_len]);
        tagged.extend_from_slice(&[b'\t', side]);
        tagged.extend_from_slice(line.get(key_len + 1..).unwrap_or_default());
        emit(&tagged)?;
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(builtin: Builtin, source: u32, input: &str, expected: &str) {
        let mut output = Vec::new();
        let mut emit = |line: &[u8]| {
            output.extend_from_slice(line);
            output.push(b'\n');
            Ok(())
        };
        let mut lines = LineReader::new(input.as_bytes());
        let records = map(&builtin, source, 1 << 20, &mut lines, &mut emit).expect("maps");
        assert_eq!(records, input.lines().count() as u64);
        assert_eq!(String::from_utf8_lossy(&output), expected, "{builtin:?} of {input:?}");
    }

    #[test]
    fn each_builtin_maps_its_lines() {
        check(Builtin::WordCount, 0, "b a\r\n  b\tb\n", "b\t3\na\t1\n");
        check(Builtin::Grep { pattern: "^a.c$".into() }, 0, "abc\nxabc\nazc", "abc\nazc\n");
        check(Builtin::Sort, 0, "b\n\na", "b\n\na\n");
        check(Builtin::Top { count: 2 }, 0, "a\t1\nb\t30\nc\t4\nd\t30\n", "b\t30\nd\t30\n");
        check(Builtin::Join, 0, "k\tv\nk\n\tv\n", "k\t0v\nk\t0\n\t0v\n");
        check(Builtin::Join, 1, "k\tv\tw\n", "k\t1v\tw\n");
    }
}
