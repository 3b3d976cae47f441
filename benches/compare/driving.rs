//! What many tasks cost the driver: its own processor time for each, and its memory.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::contest::{Contest, Wanted};
use crate::data::Data;
use crate::measure::{Sample, runner, ticks};

const TASKS: u64 = 10_000;
/// A line is a split.
const LINE_BYTES: u64 = 100;
/// The aim: at fifty tasks a second, five per cent of a core.
const AIM: f64 = 1e-3;
/// The driver's memory, whatever it has to do.
const MEMORY_MAX: u64 = 100_000_000;
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Beside its aim: a map task a line, on this machine.
///
/// # Errors
/// When the data cannot be made.
pub fn tasks(data: &Data) -> anyhow::Result<Option<Contest>> {
    let tasks = data.scaled(TASKS);
    let input = data.path("lines");
    let line = |number| format!("{number:0width$} of many\n", width = LINE_BYTES as usize - 9);
    fs_err::write(&input, (0..tasks).map(line).collect::<String>())?;
    let data = data.clone();
    let ours = move || {
        let out = data.fresh("counted-lines")?;
        let mut command = runner(&data.path("state"));
        command.args(["--quiet", "--local", "--set", "worker.slots=2", "mapreduce", "wordcount"]);
        command.args(["--split-size", &LINE_BYTES.to_string()]).arg(&input).arg(out);
        let mut driver = command.stdin(Stdio::null()).spawn().context("starting runner")?;
        let begin = Instant::now();
        let (cpu, memory) = watch(&mut driver)?;
        println!(
            "driver: {tasks} tasks in {:.1} s, {:.1} % of a core, {} MB",
            begin.elapsed().as_secs_f64(),
            100.0 * cpu / begin.elapsed().as_secs_f64(),
            memory / 1_000_000
        );
        ensure!(memory < MEMORY_MAX, "the driver took {memory} bytes of memory");
        Ok(Sample { seconds: cpu / tasks as f64, cpu: 0.0, answer: 0 })
    };
    let aim = move || Ok(Sample { seconds: AIM, cpu: 0.0, answer: 0 });
    Ok(Some(Contest::new(Box::new(ours)).beside("the aim, a task", Wanted::Time(1.0), Box::new(aim))))
}

/// The processor seconds and the most memory of a process, as they were seen last before its end.
fn watch(process: &mut Child) -> anyhow::Result<(f64, u64)> {
    let folder = std::path::PathBuf::from(format!("/proc/{}", process.id()));
    let (mut cpu, mut memory) = (0.0, 0);
    loop {
        let stat = fs_err::read_to_string(folder.join("stat")).unwrap_or_default();
        let status = fs_err::read_to_string(folder.join("status")).unwrap_or_default();
        cpu = ticks(&stat, 11).max(cpu);
        memory = peak(&status).unwrap_or_default().max(memory);
        if let Some(status) = process.try_wait()? {
            ensure!(status.success(), "runner: {status}");
            return Ok((cpu, memory));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The `VmHWM` of proc(5), in bytes.
fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}
