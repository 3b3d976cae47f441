//! What a command writes to stderr: kept up to a cap, searched for `reporter:` lines, and quoted when it fails.
//!
//! The contract is Hadoop Streaming's: `reporter:counter:GROUP,NAME,AMOUNT` adds to a counter and
//! `reporter:status:TEXT` shows a sign of life; such lines are not kept. Of the rest the first and the last half of the
//! cap are kept, with a note between where anything was cut.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fs_err::File;

use crate::units::Bytes;

/// A line is looked at no further than this.
const LINE_MAX: u64 = 64 << 10;
/// How much of the end an error quotes.
const TAIL_LINES: usize = 10;
const TAIL_BYTES: usize = 4 << 10;
/// How many counters an attempt may have, and the bytes of group and name together. They travel and are stored with
/// each attempt, so a program that names a counter for each record must not have its way.
const COUNTERS_MAX: usize = 1000;
const COUNTER_NAME_BYTES_MAX: usize = 200;
/// Where the reports are counted that went beyond that: group and name.
const DROPPED: (&str, &str) = ("runner", "counters dropped");

/// The user's counters, by group and name.
pub type Counters = BTreeMap<(String, String), i64>;

/// What was kept.
#[derive(Debug, Default)]
pub struct Kept {
    /// What was counted.
    pub counters: Counters,
    /// The last lines.
    pub tail: String,
    /// The size of the file; 0 where all commands were silent.
    pub bytes: u64,
}

/// The stderr of all commands of one attempt.
pub struct Log {
    inner: Mutex<Inner>,
}

impl Log {
    /// A log in the file at `path`, made only when there is anything to keep.
    pub fn new(path: PathBuf, cap: Bytes) -> Self {
        let half = (cap.as_usize() / 2).max(TAIL_BYTES);
        Log { inner: Mutex::new(Inner { path, half, ..Inner::default() }) }
    }

    /// Reads a command's stderr to its end; calls `alive` for each line.
    ///
    /// # Errors
    /// When the file cannot be written. The stream is read to its end all the same, so that the command goes on.
    pub fn keep(&self, stderr: impl Read, alive: impl Fn()) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(64 << 10, stderr);
        let mut line = Vec::new();
        let mut written = Ok(());
        loop {
            line.clear();
            if (&mut reader).take(LINE_MAX).read_until(b'\n', &mut line)? == 0 {
                return written;
            }
            alive();
            let mut inner = self.inner();
            if !take_report(&line, &mut inner.counters) {
                written = written.and(inner.write(&line));
            }
        }
    }

    /// The end of the log. Where the file cannot be written, a line of the tail says so: what an attempt did does not
    /// hang on its log.
    pub fn finish(&self) -> Kept {
        let mut inner = self.inner();
        let mut tail = inner.tail_lines();
        let bytes = inner.finish().unwrap_or_else(|error| {
            let line_end = if tail.is_empty() { "" } else { "\n" };
            tail.push_str(&format!("{line_end}[runner: not all of stderr could be kept: {error}]"));
            fs_err::metadata(&inner.path).map_or(0, |file| file.len())
        });
        Kept { counters: std::mem::take(&mut inner.counters), tail, bytes }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the line was a report; counters are added up.
fn take_report(line: &[u8], counters: &mut Counters) -> bool {
    let Some(report) = line.strip_prefix(b"reporter:") else { return false };
    let report = String::from_utf8_lossy(report);
    let report = report.trim_end();
    if let Some(counter) = report.strip_prefix("counter:") {
        let fields: Vec<&str> = counter.split(',').collect();
        let [group, name, amount] = fields[..] else { return false };
        let Ok(amount) = amount.trim().parse::<i64>() else { return false };
        count(counters, group, name, amount);
        return true;
    }
    report.starts_with("status:")
}

/// Adds to a counter, or counts that there was no room for it.
fn count(counters: &mut Counters, group: &str, name: &str, amount: i64) {
    let key = (group.to_owned(), name.to_owned());
    let fits = group.len() + name.len() <= COUNTER_NAME_BYTES_MAX;
    let (key, amount) = match counters.contains_key(&key) || (fits && counters.len() < COUNTERS_MAX) {
        true => (key, amount),
        false => ((DROPPED.0.to_owned(), DROPPED.1.to_owned()), 1),
    };
    let sum = counters.entry(key).or_default();
    *sum = sum.saturating_add(amount);
}

#[derive(Default)]
struct Inner {
    path: PathBuf,
    file: Option<File>,
    /// Bytes kept of the beginning, and as many of the end.
    half: usize,
    head_bytes: usize,
    tail: VecDeque<u8>,
    total_bytes: u64,
    counters: Counters,
    /// The file could not be written, and is left as it is.
    is_broken: bool,
}

impl Inner {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.tail.extend(line);
        let spare = self.tail.len().saturating_sub(self.half);
        self.tail.drain(..spare);
        self.total_bytes += line.len() as u64;
        let head = line.len().min(self.half - self.head_bytes);
        if head == 0 || self.is_broken {
            return Ok(());
        }
        self.is_broken = true;
        self.write_head(&line[..head])?;
        self.is_broken = false;
        Ok(())
    }

    fn write_head(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => File::create(&self.path)?,
        };
        let written = file.write_all(bytes);
        self.file = Some(file);
        self.head_bytes += bytes.len();
        written
    }

    fn tail_lines(&self) -> String {
        let start = self.tail.len().saturating_sub(TAIL_BYTES);
        let bytes: Vec<u8> = self.tail.range(start..).copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// Adds what came after the head: all of it, or a note and the tail. Gives the size of the file.
    fn finish(&mut self) -> io::Result<u64> {
        let Some(mut file) = self.file.take() else { return Ok(0) };
        let behind_head = (self.total_bytes - self.head_bytes as u64) as usize;
        let kept = behind_head.min(self.tail.len());
        let mut size = (self.head_bytes + kept) as u64;
        if kept < behind_head {
            let note = format!("\n[runner: {} cut here]\n", Bytes((behind_head - kept) as u64));
            file.write_all(note.as_bytes())?;
            size += note.len() as u64;
        }
        let start = self.tail.len() - kept;
        self.tail.make_contiguous();
        file.write_all(&self.tail.as_slices().0[start..])?;
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(input: &[u8], cap: u64) -> (Kept, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stderr");
        let log = Log::new(path.clone(), Bytes(cap));
        log.keep(input, || {}).expect("is read");
        (log.finish(), fs_err::read_to_string(path).unwrap_or_default())
    }

    #[test]
    fn reports_are_counted_and_not_kept() {
        let input = b"a\nreporter:counter:g,c,2\nreporter:status:half way\nreporter:counter:g,c,3\nreporter:odd\nb";
        let (kept, text) = kept(input, 1 << 20);
        assert_eq!(kept.counters, BTreeMap::from([(("g".to_owned(), "c".to_owned()), 5)]));
        assert_eq!(text, "a\nreporter:odd\nb");
        assert_eq!(kept.tail, text);
        assert_eq!(kept.bytes, text.len() as u64);
    }

    #[test]
    fn too_many_counters_are_counted_as_such() {
        let report = |group: &str| format!("reporter:counter:{group},c,7\n");
        let groups = (0..COUNTERS_MAX + 5).map(|index| report(&format!("g{index}")));
        let input: String = [report(&"g".repeat(300))].into_iter().chain(groups).chain([report("g0")]).collect();
        let (kept, _) = kept(input.as_bytes(), 100);
        let counter = |group: &str, name: &str| kept.counters.get(&(group.to_owned(), name.to_owned())).copied();
        assert_eq!(kept.counters.len(), COUNTERS_MAX);
        assert_eq!((counter("g0", "c"), counter(DROPPED.0, DROPPED.1)), (Some(14), Some(7)));
    }

    #[test]
    fn counters_and_tail_outlive_a_full_disk() {
        let log = Log::new("/dev/full".into(), Bytes(100));
        let kept = log.keep(&b"reporter:counter:g,c,2\na\nb\n"[..], || {});
        assert_eq!(kept.expect_err("is full").kind(), io::ErrorKind::StorageFull);
        let kept = log.finish();
        assert_eq!(kept.counters.len(), 1);
        assert!(kept.tail.starts_with("a\nb\n[runner: not all of stderr could be kept: "), "{}", kept.tail);
    }

    #[test]
    fn silence_leaves_no_file() {
        let (kept, text) = kept(b"", 100);
        assert_eq!((kept.bytes, text.as_str()), (0, ""));
    }

    #[test]
    fn the_middle_of_much_is_cut_with_a_note() {
        let input: String = (0..10_000).map(|line| format!("line {line}\n")).collect();
        let (kept, text) = kept(input.as_bytes(), 20_000);
        assert!(text.starts_with("line 0\nline 1\n") && text.ends_with("line 9998\nline 9999\n"), "{text}");
        assert!(text.contains("cut here]"), "{text}");
        assert!(kept.bytes < 21_000 && kept.bytes == text.len() as u64, "{}", kept.bytes);
        assert!(kept.tail.ends_with("line 9999") && kept.tail.lines().count() == 10);
    }

    #[test]
    fn just_over_half_is_whole() {
        let input: String = (0..1_000).map(|line| format!("line {line}\n")).collect();
        let (_, text) = kept(input.as_bytes(), 16_000);
        assert_eq!(text, input);
    }
}
