//! Records through a user's command: one thread feeds it, one keeps its stderr, and the caller's drains it.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ChildStdin;
use std::sync::Arc;
use std::time::Duration;

use super::blame::carry;
use super::command::{self, Spec};
use super::control::Control;
use super::stderr::Log;
use crate::clock::{self, Moment};
use crate::facts::Cause;
use crate::input::lines::LineReader;

/// The commands of one attempt: where they run, what they see, who watches.
pub struct Commands<'a> {
    /// The working directory.
    pub folder: &'a Path,
    /// Added to the environment.
    pub env: &'a [(OsString, OsString)],
    /// The attempt's.
    pub control: &'a Arc<Control>,
    /// The attempt's.
    pub log: &'a Log,
    /// The niceness at which they run at least.
    pub nice: u8,
}

impl Commands<'_> {
    /// Runs `command`: `feed` writes its input in large pieces, `drain` takes the lines that it prints, as many at once as there
    /// are, each with its newline (see [`lines_of`]). A command that closes its stdin early just gets no more.
    ///
    /// # Errors
    /// Those of `feed` and `drain`, upon which the command is killed; the way the command ended, if that was not 0
    /// (see [`super::blame::cause_of`]).
    pub fn through(
        &self,
        step: &'static str,
        command: &str,
        feed: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send,
        mut drain: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let Commands { folder, env, control, log, nice } = *self;
        let mut running = command::start(&Spec { step, command, folder, env, control, nice })?;
        let (stdin, stdout, stderr) = (running.stdin.take(), running.stdout.take(), running.stderr.take());
        let killer = running.killer()?;
        let streams = std::thread::scope(|scope| {
            let feeding = scope.spawn(|| {
                let fed = stdin.map_or(Ok(()), |stdin| feed_until_closed(stdin, feed));
                killer.kill_if_err(fed)
            });
            let keeping = scope.spawn(|| stderr.map_or(Ok(()), |stderr| log.keep(stderr, || control.alive())));
            let drained = stdout.map_or(Ok(()), |stdout| drain_blocks(stdout, control, &mut drain));
            let drained = killer.kill_if_err(drained);
            let (fed, kept) = (feeding.join(), keeping.join());
            fed.unwrap_or_else(|_| Err(panicked())).and(drained).and(kept.unwrap_or_else(|_| Err(panicked())))
        });
        let ended = running.wait();
        streams?;
        ended?.map_or(Ok(()), |cause| Err(carry(cause)))
    }

    /// Runs a command that reads nothing; what it prints counts as stderr.
    ///
    /// # Errors
    /// As [`Commands::through`].
    pub fn alone(&self, step: &'static str, command: &str) -> io::Result<()> {
        self.through(step, &format!("exec 1>&2\n{command}"), |_| Ok(()), |_| Ok(()))
    }
}

/// Feeds a command until all is written or it wants no more. Nothing is buffered here: who feeds writes much at once.
fn feed_until_closed(stdin: ChildStdin, feed: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut pipe = Pipe { stdin, closed: false };
    let fed = feed(&mut pipe);
    if pipe.closed { Ok(()) } else { fed }
}

/// Remembers that the reader went away, which is no fault.
struct Pipe {
    stdin: ChildStdin,
    closed: bool,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stdin.write(bytes).inspect_err(|error| self.closed |= error.kind() == io::ErrorKind::BrokenPipe)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines of a block that ends with a newline, without theirs.
pub fn lines_of(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    memchr::memchr_iter(b'\n', block).map(move |end| &block[std::mem::replace(&mut start, end + 1)..end])
}

fn drain_blocks(
    stdout: impl Read,
    control: &Control,
    drain: &mut impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut lines =
        LineReader::new(PatientReader { inner: stdout, control, began: clock::now(), total: 0, was_little: false });
    while let Some(block) = lines.next_block()? {
        drain(block)?;
    }
    Ok(())
}

/// A program that gave this much is one that goes on.
const PATIENT_FROM: u64 = 1 << 20;

/// Less than this at once is a little,
const LITTLE: usize = 64 << 10;

/// and this is enough: a quarter of what the pipe holds, so that the program never waits for us.
const ENOUGH: usize = 256 << 10;

/// A slow program is not waited for longer: that is how late its end may be seen.
const PAUSE_MAX: Duration = Duration::from_millis(5);

/// Reads the output of a program that puts out much, and lets a little of it become more.
///
/// Most programs write a few KiB at once, and each write wakes us. On a busy machine that is a switch of processes there
/// and back, and the tables of the sort are out of the core's cache when we look into them, for every few hundred records.
/// Each read is a sign of life.
struct PatientReader<'a, R> {
    inner: R,
    control: &'a Control,
    began: Moment,
    /// What was read since then.
    total: u64,
    /// Whether the last read gave little, and all that there was.
    was_little: bool,
}

impl<R> PatientReader<'_, R> {
    /// How long it takes until there is enough, as fast as it came until now.
    fn pause(&self) -> Duration {
        clock::now().since(self.began).mul_f64(ENOUGH as f64 / self.total as f64).min(PAUSE_MAX)
    }
}

impl<R: Read> Read for PatientReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.total >= PATIENT_FROM && self.was_little {
            std::thread::sleep(self.pause());
        }
        let count = self.inner.read(buffer)?;
        self.control.alive();
        self.total += count as u64;
        self.was_little = count < LITTLE.min(buffer.len());
        Ok(count)
    }
}

fn panicked() -> io::Error {
    carry(Cause::Worker { text: "a thread of the attempt panicked; see the worker's log".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_the_lines_that_were_written() {
        let check = |block: &str, lines: &[&str]| {
            let found: Vec<_> = lines_of(block.as_bytes()).map(String::from_utf8_lossy).collect();
            assert_eq!(found, lines);
        };
        check("", &[]);
        check("\n", &[""]);
        check("a\tb\n\nc\r\n", &["a\tb", "", "c\r"]);
    }
}
