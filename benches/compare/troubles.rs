//! What trouble with one of four hosts costs: one that is slow, and one that dies half-way.
//!
//! Tasks only calculate, and each host gets 40 % of a processor, so that four of them fit on two: what is compared is who
//! waits for whom.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::contest::{Contest, Run, Wanted};
use crate::data::Data;
use crate::hosts::Hosts;
use crate::measure::{Sample, digest_of_lines, parts, runner, time};

/// Percent of a processor for each host, and for a slow one: a tenth of that.
const NORMAL: &str = "40";
const SLOW: &str = "4";
/// What a task takes on a host of normal speed, in seconds of time.
const TASK_SECONDS: f64 = 4.0;
/// Lines of input, a task each.
const TASKS: u32 = 12;
/// Silence after which a host is lost: what is taken off where one dies.
const NOTICING: Duration = Duration::from_secs(3);

/// One of four hosts is slowed to a tenth: with copies, beside without, and beside a fleet without that host.
///
/// # Errors
/// When the hosts cannot be made.
pub fn slow_host(data: &Data) -> anyhow::Result<Option<Contest>> {
    let Some(hosts) = Hosts::up(data)? else { return Ok(None) };
    let job = Job::new(data, &hosts)?;
    job.run("h1,h2,h3,h4", &[])?;
    hosts.call(&["slow", "h4", SLOW])?;
    let of = |workers: &'static str, flags: &'static [&'static str]| -> Run {
        let job = job.clone();
        Box::new(move || job.run(workers, flags))
    };
    let all = "h1,h2,h3,h4";
    let contest = Contest::new(of(all, &[]))
        .beside("without copies", Wanted::Time(0.5), of(all, &["--set", "straggler.enabled=false"]))
        .beside("without that host", Wanted::Time(1.4), of("h1,h2,h3", &[]));
    Ok(Some(contest.keep(hosts)))
}

/// One of four hosts loses its power half-way: beside a run in peace. The time of noticing is taken off.
///
/// # Errors
/// When the hosts cannot be made.
pub fn dying_host(data: &Data) -> anyhow::Result<Option<Contest>> {
    let Some(hosts) = Hosts::up(data)? else { return Ok(None) };
    let job = Job::new(data, &hosts)?;
    // The first run brings the binary.
    job.run("h1,h2,h3,h4", &[])?;
    let calm = job.run("h1,h2,h3,h4", &[])?.seconds;
    let hosts = std::rc::Rc::new(hosts);
    let (beside, killer) = (job.clone(), std::rc::Rc::clone(&hosts));
    let ours: Run = Box::new(move || {
        let out = job.data.fresh("troubled")?;
        let begin = Instant::now();
        let mut driver = job.command("h1,h2,h3,h4", &LOSE_QUICKLY, &out).spawn().context("starting runner")?;
        std::thread::sleep(Duration::from_secs_f64(calm / 2.0).saturating_sub(begin.elapsed()));
        killer.call(&["crash", "h4"])?;
        let ended = driver.wait()?;
        let seconds = begin.elapsed().as_secs_f64() - NOTICING.as_secs_f64();
        killer.call(&["boot", "h4"])?;
        killer.call(&["slow", "h4", NORMAL])?;
        ensure!(ended.success(), "the job failed");
        Ok(Sample { seconds, cpu: 0.0, answer: digest_of_lines(&parts(&out)?)? })
    });
    let theirs: Run = Box::new(move || beside.run("h1,h2,h3,h4", &LOSE_QUICKLY));
    Ok(Some(Contest::new(ours).beside("in peace", Wanted::Time(1.5), theirs).keep(hosts)))
}

const LOSE_QUICKLY: [&str; 4] = ["--set", "worker.suspect_after=1s", "--set", "worker.lost_after=3s"];

/// The job of both, for hosts with a slot each.
#[derive(Clone)]
struct Job {
    data: Data,
    config: String,
    map: String,
}

impl Job {
    fn new(data: &Data, hosts: &Hosts) -> anyhow::Result<Self> {
        let input: String = (0..TASKS).map(|line| format!("line {line:02}\n")).collect();
        fs_err::write(data.path("lines"), input)?;
        for host in hosts.names() {
            hosts.call(&["slow", &host, NORMAL])?;
        }
        let steps = steps_per_second()? * TASK_SECONDS * NORMAL.parse::<f64>()? / 100.0;
        let map = format!("awk '{{ for (i = 0; i < {steps:.0}; i++) x += i; print }}'");
        Ok(Job { data: data.clone(), config: hosts.ssh_config(), map })
    }

    fn command(&self, workers: &str, flags: &[&str], out: &std::path::Path) -> Command {
        let workers: Vec<String> = workers.split(',').map(|host| format!("1/{host}")).collect();
        let mut command = runner(&self.data.path("state"));
        command.args(["--quiet", "--ssh-config", &self.config, "--workers", &workers.join(",")]).args(flags);
        command.args(["mapreduce", "--map", &self.map, "--reduces", "0", "--split-size", "8"]);
        command.arg(self.data.path("lines")).arg(out).stdin(Stdio::null());
        command
    }

    fn run(&self, workers: &str, flags: &[&str]) -> anyhow::Result<Sample> {
        let out = self.data.fresh("troubled")?;
        let sample = time(&mut self.command(workers, flags, &out))?;
        Ok(Sample { cpu: 0.0, answer: digest_of_lines(&parts(&out)?)?, ..sample })
    }
}

/// How fast this machine's awk counts.
fn steps_per_second() -> anyhow::Result<f64> {
    const STEPS: f64 = 10e6;
    let program = format!("BEGIN {{ for (i = 0; i < {STEPS:.0}; i++) x += i }}");
    let begin = Instant::now();
    ensure!(Command::new("awk").arg(program).status()?.success(), "awk failed");
    Ok(STEPS / begin.elapsed().as_secs_f64())
}
