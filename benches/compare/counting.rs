//! Counting words: on this machine, and over ssh.

use std::path::PathBuf;
use std::process::Command;

use crate::contest::{Contest, Run, Wanted};
use crate::data::Data;
use crate::hosts::Hosts;
use crate::measure::{Sample, digest_of_lines, has, parts, quoted, runner, shell, time};
use crate::tight;

const BYTES: u64 = 1_000_000_000;
const FILES: u64 = 16;

/// What people write for it with awk, and how the parts come together.
const COUNT: &str = r#"awk '{for(i=1;i<=NF;i++)c[$i]++} END{for(w in c) print w"\t"c[w]}' {}"#;
const ADD: &str = r#"awk -F'\t' '{c[$1]+=$2} END{for(w in c) print w"\t"c[w]}'"#;

/// On this machine, with two slots.
///
/// # Errors
/// When the data cannot be made.
pub fn here(data: &Data) -> anyhow::Result<Option<Contest>> {
    let files = data.text("text", FILES, BYTES)?;
    let ours = ours(data, &["--local", "--set", "worker.slots=2"]);
    let mut contest = Contest::new(ours).beside("2 threads, a hash table", Wanted::Speed(0.5), tight(data, &files));
    if has("parallel") {
        let line = format!("parallel -j2 {} ::: {} | {ADD}", quoted(COUNT)?, listed(&files));
        contest = contest.beside("parallel + awk", Wanted::Speed(10.0), into_file(data, line));
    }
    Ok(Some(contest))
}

/// On four hosts with a slot each, the input on the driver.
///
/// # Errors
/// When the data cannot be made.
pub fn over_ssh(data: &Data) -> anyhow::Result<Option<Contest>> {
    if !has("parallel") || !has("rsync") {
        return Ok(None);
    }
    let Some(hosts) = Hosts::up(data)? else { return Ok(None) };
    let files = data.text("text", FILES, BYTES)?;
    let (config, names) = (hosts.ssh_config(), hosts.names());
    let slots: Vec<String> = names.iter().map(|name| format!("1/{name}")).collect();
    let file_names: Vec<PathBuf> = files.iter().filter_map(|file| file.file_name()).map(PathBuf::from).collect();
    // Relative names: the hosts' user may not make any folder that is here.
    let line = format!(
        "cd {} && parallel --ssh 'ssh -F {config}' -S {} --transferfile {{}} --return {{}}.counted --cleanup \
         {} ::: {} && cat *.counted | {ADD}; rm -f *.counted",
        data.path("text").display(),
        slots.join(","),
        quoted(&format!("{COUNT} > {{}}.counted"))?,
        listed(&file_names),
    );
    let workers = hosts.workers_file()?;
    let flags = ["--ssh-config", &config, "--workers", &workers];
    // Our binary comes to a host once, not with each job.
    runner(&data.path("state")).arg("--quiet").args(flags).args(["fs", "ls"]).output()?;
    let ours = ours(data, &flags);
    let theirs = into_file(data, line);
    Ok(Some(Contest::new(ours).beside("parallel --transferfile", Wanted::Speed(6.0), theirs).keep(hosts)))
}

fn ours(data: &Data, flags: &[&str]) -> Run {
    let (data, flags) = (data.clone(), flags.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>());
    Box::new(move || {
        let out = data.fresh("counts")?;
        let mut command = runner(&data.path("state"));
        command.arg("--quiet").args(&flags).args(["mapreduce", "wordcount"]).arg(data.path("text")).arg(&out);
        let sample = time(&mut command)?;
        Ok(Sample { answer: digest_of_lines(&parts(&out)?)?, ..sample })
    })
}

fn tight(data: &Data, files: &[PathBuf]) -> Run {
    let own = std::env::current_exe().unwrap_or_default();
    into_file(data, format!("{} {} {}", own.display(), tight::SUBCOMMAND, listed(files)))
}

fn into_file(data: &Data, line: String) -> Run {
    let out = data.path("counts-of-theirs");
    Box::new(move || {
        let mut command: Command = shell(&format!("{{ {line}; }} > {}", out.display()));
        let sample = time(&mut command)?;
        Ok(Sample { answer: digest_of_lines(std::slice::from_ref(&out))?, ..sample })
    })
}

fn listed(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" ")
}
