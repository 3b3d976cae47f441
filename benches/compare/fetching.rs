//! How fast a reduce gets segments from another host, beside one plain stream of ssh between two machines.
//!
//! Both are said as the time for a gigabyte. There are two maps, one on each host, and the reduce waits beside the first to
//! end. So ours is the time from the end of the second until the reduce has all and takes its slot, over the stored
//! bytes that came from the other host; the records do not compress.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::contest::{Contest, Run, Wanted};
use crate::data::Data;
use crate::hosts::Hosts;
use crate::measure::{Sample, runner, shell, time};

/// Half of it stays on the host where the reduce is.
const BYTES: u64 = 1 << 30;

/// Beside `ssh HOST cat` with the fastest cipher, into a file as ours.
///
/// # Errors
/// When the hosts or the data cannot be made.
pub fn over_ssh(data: &Data) -> anyhow::Result<Option<Contest>> {
    let Some(hosts) = Hosts::up(data)? else { return Ok(None) };
    let input = data.noise("noise", 2, BYTES)?;
    let folder = input.first().and_then(|file| file.parent()).context("there is data")?.to_owned();
    let config = hosts.ssh_config();
    let bytes = data.scaled(BYTES) / 2;
    time(&mut shell(&format!("ssh -F {config} h1 'head -c {bytes} /dev/urandom >/var/tmp/noise'")))?;
    let stream = |target: &str| {
        let line = format!("ssh -F {config} -c aes128-gcm@openssh.com h1 cat /var/tmp/noise >{target}");
        let run: Run = Box::new(move || Ok(per_gigabyte(time(&mut shell(&line))?.seconds, bytes)));
        run
    };
    let (file, nowhere) = (stream(&data.path("fetched").display().to_string()), stream("/dev/null"));
    let contest = Contest::new(ours(data, &config, folder.display().to_string()))
        .beside("ssh HOST cat >FILE", Wanted::Speed(0.8), file)
        .beside("ssh HOST cat >/dev/null", Wanted::Speed(0.8), nowhere);
    Ok(Some(contest.keep(hosts)))
}

fn per_gigabyte(seconds: f64, bytes: u64) -> Sample {
    Sample { seconds: seconds / bytes as f64 * 1e9, cpu: 0.0, answer: 0 }
}

fn ours(data: &Data, config: &str, input: String) -> Run {
    let (data, config) = (data.clone(), config.to_owned());
    Box::new(move || {
        let out = data.fresh("fetched-parts")?;
        let mut command = runner(&data.path("state"));
        command.args(["--json", "--ssh-config", &config, "--workers", "1/h1,1/h2", "mapreduce"]);
        command.args(["--set", "straggler.enabled=false", "--map", "cat", "--reduce", "tail -n 1", "--reduces", "1"]);
        command.args(["--split-size", "4G"]);
        command.arg(&input).arg(out).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut job = command.spawn().context("starting runner")?;
        let mut facts = BufReader::new(job.stdout.take().context("a pipe was asked for")?);
        let fetched = read_facts(&mut facts)?;
        ensure!(job.wait()?.success(), "the job failed");
        Ok(fetched)
    })
}

/// How long the reduce waited after the last map, and how much came from elsewhere.
fn read_facts(facts: &mut impl BufRead) -> anyhow::Result<Sample> {
    let (mut made, mut started, mut bytes) = (0.0, 0.0, 0);
    let mut text = String::new();
    facts.read_to_string(&mut text)?;
    for line in text.lines() {
        let fact: Value = serde_json::from_str(line)?;
        let at = fact["at_ms"].as_f64().unwrap_or(0.0) / 1000.0;
        match (fact["fact"].as_str(), fact["task"].as_str()) {
            (Some("attempt_started"), Some("reduce-0")) => started = at,
            (Some("attempt_finished"), Some("reduce-0")) => {
                ensure!(fact["bytes_relayed"] == 0, "some of it went through the driver");
                bytes = fact["bytes_shuffled"].as_u64().unwrap_or(0);
            }
            (Some("attempt_finished"), Some(_)) => made = at,
            (Some(_) | None, _) => {}
        }
    }
    ensure!(bytes > 0 && started > made, "nothing was fetched");
    Ok(per_gigabyte(started - made, bytes))
}
