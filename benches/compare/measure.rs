//! Running a command and saying what it took; digests of what it put out.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};
use fs_err::File;
use rustix::process::{WaitOptions, getpid, set_child_subreaper, wait};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// From start to end.
    pub seconds: f64,
    /// Processor time of all processes that it waited for; 0 where most of them cannot be asked.
    pub cpu: f64,
    /// A digest of what came out.
    pub answer: u64,
}

/// The binary that is compared, in an environment that holds nothing of the caller's that changes a job.
pub fn runner(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
    command.env("XDG_STATE_HOME", state);
    command
}

/// A word as sh reads it back.
pub fn quoted(word: &str) -> anyhow::Result<String> {
    Ok(shlex::try_quote(word).context("a NUL byte in a command")?.into_owned())
}

/// A line of sh.
pub fn shell(line: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).env("LC_ALL", "C");
    command
}

/// Whether a program is there; says that a comparison is left out where it is not.
pub fn has(program: &str) -> bool {
    let there = shell(&format!("command -v {program}")).stdout(Stdio::null()).status().is_ok_and(|it| it.success());
    if !there {
        println!("SKIPPED: {program} is missing (scripts/setup installs what tests and bench need)");
    }
    there
}

/// Runs it to its end; the answer is left open.
pub fn time(command: &mut Command) -> anyhow::Result<Sample> {
    Ok(time_and_read(command)?.0)
}

/// The same, and what it wrote to stdout.
pub fn time_and_read(command: &mut Command) -> anyhow::Result<(Sample, String)> {
    // Unbuffered, Python programs take several times as long, wherever they run.
    command.env_remove("PYTHONUNBUFFERED").stdin(Stdio::null());
    let (begin, cpu) = (Instant::now(), children_cpu()?);
    let (output, seconds) = with_orphans(|| (command.output(), begin.elapsed().as_secs_f64()))?;
    let output = output.with_context(|| format!("starting {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}: {}", output.status, said.trim_end());
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((Sample { seconds, cpu: children_cpu()? - cpu, answer: 0 }, stdout))
}

/// Runs something while this process inherits orphans, and waits for them: the time of those that a command leaves behind,
/// such as a worker in a session of its own, is known too then (prctl(2), PR_SET_CHILD_SUBREAPER).
fn with_orphans<T>(run: impl FnOnce() -> T) -> anyhow::Result<T> {
    set_child_subreaper(Some(getpid()))?;
    let result = run();
    while wait(WaitOptions::empty()).is_ok() {}
    set_child_subreaper(None)?;
    Ok(result)
}

/// Processor seconds of all children that were waited for, and of theirs (proc(5): `cutime` and `cstime`, of 10 ms each).
fn children_cpu() -> anyhow::Result<f64> {
    Ok(ticks(&fs_err::read_to_string("/proc/self/stat")?, 13))
}

/// The sum of two fields, in seconds, of what proc(5) says in `stat`; the first one is the `index`th behind the name.
pub fn ticks(stat: &str, index: usize) -> f64 {
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind_name.split_whitespace().skip(index).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// The digest of all lines, whatever their order.
pub fn digest_of_lines(files: &[PathBuf]) -> anyhow::Result<u64> {
    let mut sum = 0_u64;
    let mut line = Vec::new();
    for file in files {
        let mut reader = BufReader::with_capacity(1 << 20, File::open(file)?);
        while reader.read_until(b'\n', &mut line)? > 0 {
            sum = sum.wrapping_add(xxh3_64(&line));
            line.clear();
        }
    }
    Ok(sum)
}

/// The digest of all bytes, file after file.
pub fn digest_of_bytes(files: &[PathBuf]) -> anyhow::Result<u64> {
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; 1 << 20];
    for file in files {
        let mut file = File::open(file)?;
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                count => hash.update(&buffer[..count]),
            }
        }
    }
    Ok(hash.digest())
}

/// The parts of an output, in order.
pub fn parts(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut parts = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("part-") {
            parts.push(entry.path());
        }
    }
    parts.sort();
    Ok(parts)
}
