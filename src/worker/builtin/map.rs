//! What a built-in does with the lines of a split.

use std::io::{self, Read};

use regex::bytes::Regex;

use super::Emit;
use super::counts::Counts;
use super::sum::shown;
use super::top::Top;
use crate::facts::Cause;
use crate::input::lines::LineReader;
use crate::job::Builtin;
use crate::shuffle::record::{KeyRule, Record};
use crate::worker::blame::carry;

/// Of what a built-in's map works on.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The number of the input that the lines are of.
    pub source: u32,
    /// What the key of a line is.
    pub key: &'a KeyRule,
    /// What tables may take, in bytes.
    pub memory: usize,
}

/// Maps all lines of `lines`; gives how many there were.
///
/// # Errors
/// Those of reading and emitting; a record that the job cannot use.
pub fn map<R: Read>(
    builtin: &Builtin,
    circumstances: Circumstances,
    lines: &mut LineReader<R>,
    emit: &mut Emit,
) -> io::Result<u64> {
    let Circumstances { source, key, memory } = circumstances;
    match builtin {
        Builtin::WordCount => count_words(lines, memory, emit),
        Builtin::Grep { pattern } => grep(pattern, lines, emit),
        Builtin::Distinct | Builtin::Sum => each(lines, emit),
        Builtin::Top { count } => top(*count, key.separator(), lines, emit),
        Builtin::Join => tag(source, key, lines, emit),
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

fn top<R: Read>(count: u64, separator: u8, lines: &mut LineReader<R>, emit: &mut Emit) -> io::Result<u64> {
    let mut top = Top::new(count, separator);
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
///
/// A line with fewer fields than a key has cannot be marked: the mark would become a part of its key.
fn tag<R: Read>(source: u32, key: &KeyRule, lines: &mut LineReader<R>, emit: &mut Emit) -> io::Result<u64> {
    let side = if source == 0 { b'0' } else { b'1' };
    let mut tagged = Vec::new();
    let mut records = 0;
    while let Some(line) = lines.next_line()? {
        records += 1;
        let record = Record::new(line, key);
        tagged.clear();
        tagged.extend_from_slice(record.key());
        tagged.extend_from_slice(&[key.separator(), side]);
        if key.key_len(&tagged) != record.key_len {
            return Err(too_few_fields(line));
        }
        tagged.extend_from_slice(record.value());
        emit(&tagged)?;
    }
    Ok(records)
}

fn too_few_fields(line: &[u8]) -> io::Error {
    carry(Cause::Record { text: format!("`{}` has fewer fields than the key of the join", shown(line)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAB: KeyRule = KeyRule::Fields { separator: b'\t', fields: 1 };
    const COMMA: KeyRule = KeyRule::Fields { separator: b',', fields: 1 };
    const TWO: KeyRule = KeyRule::Fields { separator: b',', fields: 2 };

    fn check(builtin: Builtin, (source, key): (u32, KeyRule), input: &str, expected: &str) {
        let mut output = Vec::new();
        let mut emit = |line: &[u8]| {
            output.extend_from_slice(line);
            output.push(b'\n');
            Ok(())
        };
        let mut lines = LineReader::new(input.as_bytes());
        let circumstances = Circumstances { source, key: &key, memory: 1 << 20 };
        let records = map(&builtin, circumstances, &mut lines, &mut emit).expect("maps");
        assert_eq!(records, input.lines().count() as u64);
        assert_eq!(String::from_utf8_lossy(&output), expected, "{builtin:?} of {input:?}");
    }

    #[test]
    fn each_builtin_maps_its_lines() {
        check(Builtin::WordCount, (0, TAB), "b\r\n  b\tb\n", "b\t3\n");
        check(Builtin::Grep { pattern: "^a.c$".into() }, (0, TAB), "abc\nxabc\nazc", "abc\nazc\n");
        check(Builtin::Distinct, (0, KeyRule::Line), "b\n\na", "b\n\na\n");
        check(Builtin::Top { count: 2 }, (0, TAB), "a\t1\nb\t30\nc\t4\nd\t30\n", "b\t30\nd\t30\n");
        check(Builtin::Join, (0, TAB), "k\tv\nk\n\tv\n", "k\t0v\nk\t0\n\t0v\n");
        check(Builtin::Join, (1, TAB), "k\tv\tw\n", "k\t1v\tw\n");
    }

    #[test]
    fn the_format_of_lines_counts() {
        check(Builtin::Top { count: 1 }, (0, COMMA), "a,1\nb\t9,30\n", "b\t9,30\n");
        check(Builtin::Join, (0, COMMA), "k,v\tw,x\nk\n,v\n", "k,0v\tw,x\nk,0\n,0v\n");
        check(Builtin::Join, (1, TWO), "k,l,v,w\nk,l\n,,\n", "k,l,1v,w\nk,l,1\n,,1\n");
    }

    #[test]
    fn a_line_without_a_whole_key_cannot_be_joined() {
        let circumstances = Circumstances { source: 0, key: &TWO, memory: 0 };
        let error = map(&Builtin::Join, circumstances, &mut LineReader::new(&b"alone\n"[..]), &mut |_| Ok(()));
        assert!(error.expect_err("fails").to_string().contains("`alone` has fewer fields"));
    }
}
