//! Datasets on ssh hosts: put and get beside as many `ssh HOST cat`, a listing beside `ssh HOST ls -s`, and a job that
//! reads where its data lies beside one whose input travels.

use std::path::PathBuf;
use std::process::Command;

use anyhow::ensure;

use crate::contest::{Contest, Run, Wanted};
use crate::data::Data;
use crate::hosts::Hosts;
use crate::measure::{
    Sample, digest_of_bytes, digest_of_lines, has, parts, quoted, runner, shell, time, time_and_read,
};

/// Parts of the data, and files of the other side: two for each host.
const PARTS: u64 = 8;
const BYTES: u64 = 512 << 20;
/// Hosts that are listed.
const MANY: usize = 16;

/// Our command for the hosts.
fn ours(data: &Data, hosts: &Hosts, words: &[&str]) -> anyhow::Result<Command> {
    called("--quiet", data, hosts, words)
}

/// The same, saying what the flag lets it say.
fn called(flag: &str, data: &Data, hosts: &Hosts, words: &[&str]) -> anyhow::Result<Command> {
    let mut command = runner(&data.path("state"));
    command.args([flag, "--ssh-config", &hosts.ssh_config(), "--workers", &hosts.workers_file()?]).args(words);
    Ok(command)
}

fn of_bytes(mut run: impl FnMut() -> anyhow::Result<Sample> + 'static) -> Run {
    // Most of the work is done by the hosts' sshd, which cannot be asked.
    Box::new(move || Ok(Sample { cpu: 0.0, ..run()? }))
}

/// `fs put` of one copy.
///
/// # Errors
/// When the hosts cannot be made.
pub fn put(data: &Data) -> anyhow::Result<Option<Contest>> {
    let Some(hosts) = Hosts::up(data)? else { return Ok(None) };
    let files = data.text("fs", PARTS, BYTES)?;
    let folder = data.path("fs").display().to_string();
    ours(data, &hosts, &["fs", "ls"])?.output()?;
    let theirs = shell_line(&hosts, &files, |config, host, file| {
        Ok(format!("ssh -F {config} {host} 'cat > {}' < {} &", file.file, file.path))
    })?;
    let (data, ours_hosts) = (data.clone(), hosts.share());
    let ours = of_bytes(move || {
        let words = ["fs", "put", &folder, "data", "--copies", "1", "--parts", "8", "--overwrite"];
        time(&mut ours(&data, &ours_hosts, &words)?)
    });
    let theirs = of_bytes(move || time(&mut shell(&theirs)));
    Ok(Some(Contest::new(ours).beside("ssh 'cat > file', at once", Wanted::Speed(0.8), theirs).keep(hosts)))
}

/// `fs get` of what was put.
///
/// # Errors
/// When the hosts cannot be made, or the data not be put.
pub fn get(data: &Data) -> anyhow::Result<Option<Contest>> {
    let Some(hosts) = Hosts::up(data)? else { return Ok(None) };
    let files = data.text("fs", PARTS, BYTES)?;
    let folder = data.path("fs").display().to_string();
    time(&mut ours(data, &hosts, &["fs", "put", &folder, "data", "--copies", "1", "--parts", "8"])?)?;
    let there = shell_line(&hosts, &files, |config, host, file| {
        Ok(format!("ssh -F {config} {host} 'cat > {}' < {} &", file.file, file.path))
    })?;
    time(&mut shell(&there))?;
    let out = data.fresh("fs-theirs")?;
    fs_err::create_dir_all(&out)?;
    let back = shell_line(&hosts, &files, |config, host, file| {
        let target = quoted(&out.join(&file.file).display().to_string())?;
        Ok(format!("ssh -F {config} {host} 'cat {}' > {target} &", file.file))
    })?;
    let (data, ours_hosts) = (data.clone(), hosts.share());
    let ours = of_bytes(move || {
        let folder = data.fresh("fs-ours")?;
        let sample = time(&mut ours(&data, &ours_hosts, &["fs", "get", "data", &folder.display().to_string()])?)?;
        Ok(Sample { answer: digest_of_bytes(&parts(&folder)?)?, ..sample })
    });
    let answer = digest_of_bytes(&files)?;
    let theirs = of_bytes(move || Ok(Sample { answer, ..time(&mut shell(&back))? }));
    Ok(Some(Contest::new(ours).beside("ssh 'cat file', at once", Wanted::Speed(0.8), theirs).keep(hosts)))
}

/// A file, as the hosts call it and as it lies here.
struct File {
    file: String,
    path: String,
}

/// A line of sh that does something with each file and a host of its own, all at once.
fn shell_line(
    hosts: &Hosts,
    files: &[PathBuf],
    each: impl Fn(&str, &str, &File) -> anyhow::Result<String>,
) -> anyhow::Result<String> {
    let (config, names) = (hosts.ssh_config(), hosts.names());
    let mut line = String::new();
    for (at, path) in files.iter().enumerate() {
        let file = File { file: format!("file-{at}"), path: quoted(&path.display().to_string())? };
        line.push_str(&each(&config, &names[at % names.len()], &file)?);
        line.push(' ');
    }
    Ok(line + "wait")
}

/// `fs ls` of sixteen hosts.
///
/// # Errors
/// When the hosts cannot be made.
pub fn list(data: &Data) -> anyhow::Result<Option<Contest>> {
    let Some(hosts) = Hosts::so_many(data, MANY)? else { return Ok(None) };
    let file = data.path("a-line");
    fs_err::write(&file, "a line\n".repeat(100_000))?;
    let put = ["fs", "put", &file.display().to_string(), "data", "--parts", "16"];
    time(&mut ours(data, &hosts, &put)?)?;
    let config = hosts.ssh_config();
    let each = |name: &String| format!("ssh -F {config} {name} ls -s .local/share/runner/data/data/* > /dev/null &");
    let round = hosts.names().iter().map(each).collect::<Vec<_>>().join(" ") + " wait";
    let (data, ours_hosts) = (data.clone(), hosts.share());
    let ours = of_bytes(move || time(&mut ours(&data, &ours_hosts, &["fs", "ls", "data/*"])?));
    let mut contest = Contest::new(ours).beside(
        "ssh HOST ls -s, at once",
        Wanted::Time(1.5),
        of_bytes(move || time(&mut shell(&round))),
    );
    if has("clush") {
        let nodes = hosts.names().join(",");
        // As many at once as there are hosts, and none of its own waits.
        let line = format!(
            "clush -f {MANY} -o '-F {}' -w {nodes} ls -s .local/share/runner/data/data > /dev/null",
            hosts.ssh_config()
        );
        contest = contest.beside("clush ls -s", Wanted::Time(1.0), of_bytes(move || time(&mut shell(&line))));
    }
    Ok(Some(contest.keep(hosts)))
}

/// A word count that reads its data where it lies: what comes over the hosts' links is counted, and of that what the job says
/// of its shuffle is taken off. The rest is control, and must be next to nothing.
///
/// # Errors
/// When the hosts cannot be made, or the data not be put; when input came over a link.
pub fn in_place(data: &Data) -> anyhow::Result<Option<Contest>> {
    let Some(hosts) = Hosts::up(data)? else { return Ok(None) };
    data.text("fs", PARTS, BYTES)?;
    let folder = data.path("fs").display().to_string();
    time(&mut ours(data, &hosts, &["fs", "put", &folder, "data", "--copies", "1", "--parts", "8"])?)?;
    let count = |data: Data, hosts: Hosts, input: String| {
        move || {
            let out = data.fresh("fs-counts")?;
            let before = hosts.received()?;
            let words = ["mapreduce", "wordcount", &input, &out.display().to_string()];
            let (sample, facts) = time_and_read(&mut called("--json", &data, &hosts, &words)?)?;
            let moved = Moved { received: hosts.received()? - before, ..Moved::told(&facts) };
            anyhow::Ok((Sample { answer: digest_of_lines(&parts(&out)?)?, ..sample }, moved))
        }
    };
    let local = count(data.clone(), hosts.share(), "fs:data".to_owned());
    let streamed = count(data.clone(), hosts.share(), folder);
    let bytes = data.scaled(BYTES);
    let mut told = false;
    let ours = of_bytes(move || {
        let (sample, moved) = local()?;
        ensure!(moved.distant == 0 && moved.local >= bytes * 99 / 100, "{moved:?}, of {bytes} bytes that lie there");
        // Some bytes of each packet are its headers, and each of those that went out was answered.
        let rest = moved.received.saturating_sub(moved.shuffled * 11 / 10);
        ensure!(rest < bytes / 50, "{moved:?}, so that {rest} bytes are something else; {bytes} lie there");
        if !std::mem::replace(&mut told, true) {
            println!("fs-wordcount   {bytes} bytes lie there; {moved:?}");
        }
        Ok(sample)
    });
    let theirs = of_bytes(move || Ok(streamed()?.0));
    Ok(Some(Contest::new(ours).beside("the same, from here", Wanted::Time(1.0), theirs).keep(hosts)))
}

/// Bytes of a job over a dataset.
#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    /// That came to the hosts over their links.
    received: u64,
    /// Of segments, that reduces fetched from other hosts.
    shuffled: u64,
    /// Of input, that was read where it lay.
    local: u64,
    /// Of input, that was read from another host.
    distant: u64,
}

impl Moved {
    /// What a job's facts say.
    fn told(facts: &str) -> Self {
        let mut moved = Moved::default();
        for fact in facts.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
            let number = |name: &str| fact[name].as_u64().unwrap_or(0);
            if fact["fact"] != "attempt_finished" {
                continue;
            }
            moved.local += number("bytes_local");
            moved.distant += number("bytes_distant");
            if fact["task"].as_str().is_some_and(|task| task.starts_with("reduce")) {
                moved.shuffled += number("bytes_shuffled");
            }
        }
        moved
    }
}
