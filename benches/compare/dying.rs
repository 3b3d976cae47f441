//! A driver that is killed half-way, and another one that goes on: what that costs beyond the undisturbed job.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::contest::{Contest, Wanted};
use crate::data::Data;
use crate::measure::{Sample, digest_of_bytes, parts, runner, time};

const BYTES: u64 = 400_000_000;
const FILES: u64 = 4;

/// Beside the same job without a disturbance.
///
/// # Errors
/// When the data cannot be made.
pub fn killed_at_half(data: &Data) -> anyhow::Result<Option<Contest>> {
    data.text("much-text", FILES, BYTES)?;
    let ours = {
        let data = data.clone();
        let mut whole = None;
        move || {
            let whole = match whole {
                Some(whole) => whole,
                None => *whole.insert(undisturbed(&data)?.seconds),
            };
            disturbed(&data, Duration::from_secs_f64(whole / 2.0))
        }
    };
    let theirs = {
        let data = data.clone();
        move || undisturbed(&data)
    };
    let contest = Contest::new(Box::new(ours));
    Ok(Some(contest.beside("no driver dies", Wanted::Time(1.15), Box::new(theirs))))
}

fn undisturbed(data: &Data) -> anyhow::Result<Sample> {
    let (state, out) = (data.fresh("undisturbed-state")?, data.fresh("undisturbed")?);
    let sample = time(&mut job(data, &state, &out))?;
    Ok(Sample { answer: digest_of_bytes(&parts(&out)?)?, ..sample })
}

fn disturbed(data: &Data, half: Duration) -> anyhow::Result<Sample> {
    let (state, out) = (data.fresh("disturbed-state")?, data.fresh("disturbed")?);
    let begin = Instant::now();
    let mut driver = job(data, &state, &out).stdin(Stdio::null()).spawn().context("starting the job")?;
    std::thread::sleep(half);
    driver.kill()?;
    driver.wait()?;
    let mut jobs = fs_err::read_dir(state.join("runner/jobs"))?;
    let id = jobs.next().context("no job was begun")??.file_name();
    time(runner(&state).args(["--quiet", "resume"]).arg(id))?;
    let seconds = begin.elapsed().as_secs_f64();
    Ok(Sample { seconds, cpu: 0.0, answer: digest_of_bytes(&parts(&out)?)? })
}

fn job(data: &Data, state: &Path, out: &Path) -> Command {
    let mut command = runner(state);
    command.args(["--quiet", "--local", "--set", "worker.slots=2", "mapreduce"]);
    // As many parts as keep two slots busy to the end, of splits that are small beside the whole.
    command.args(["--map", "tr -cs A-Za-z '\\n' | awk '{ n = length($0); print n \"\\t\" $0 }'", "--combine", "uniq"]);
    command.args(["--reduces", "4", "--split-size", "8M"]);
    command.arg(data.path("much-text")).arg(out);
    command
}
