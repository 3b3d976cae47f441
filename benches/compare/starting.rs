//! How long it takes until hosts work: from the command line to the start of the first task.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, bail};

use crate::contest::{Contest, Run, Wanted};
use crate::data::Data;
use crate::hosts::Hosts;
use crate::measure::{Sample, runner, shell, time};

/// Beside one plain round of `ssh HOST true`, all hosts at once. The binary is cached there: the first run sees to that.
///
/// # Errors
/// When the hosts cannot be made.
pub fn over_ssh(data: &Data) -> anyhow::Result<Option<Contest>> {
    let Some(hosts) = Hosts::up(data)? else { return Ok(None) };
    fs_err::write(data.path("a-line"), "a line\n")?;
    let config = hosts.ssh_config();
    let round: Vec<String> = hosts.names().iter().map(|name| format!("ssh -F {config} {name} true &")).collect();
    let round = format!("{} wait", round.join(" "));
    let mut ours = ours(data, &hosts)?;
    ours()?;
    let theirs = move || Ok(Sample { cpu: 0.0, ..time(&mut shell(&round))? });
    Ok(Some(Contest::new(ours).beside("ssh HOST true, at once", Wanted::Time(2.5), Box::new(theirs)).keep(hosts)))
}

fn ours(data: &Data, hosts: &Hosts) -> anyhow::Result<Run> {
    let (data, config, workers) = (data.clone(), hosts.ssh_config(), hosts.workers_file()?);
    Ok(Box::new(move || {
        let out = data.fresh("started")?;
        let mut command = runner(&data.path("state"));
        command.args(["--json", "--ssh-config", &config, "--workers", &workers, "mapreduce", "wordcount"]);
        command.arg(data.path("a-line")).arg(out).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let begin = Instant::now();
        let mut job = command.spawn().context("starting runner")?;
        let mut facts = BufReader::new(job.stdout.take().context("a pipe was asked for")?);
        let mut fact = String::new();
        while !fact.contains(r#""fact":"attempt_started""#) {
            fact.clear();
            if facts.read_line(&mut fact)? == 0 {
                bail!("no attempt was started");
            }
        }
        let seconds = begin.elapsed().as_secs_f64();
        facts.read_to_string(&mut fact)?;
        anyhow::ensure!(job.wait()?.success(), "the job failed");
        Ok(Sample { seconds, cpu: 0.0, answer: 0 })
    }))
}
