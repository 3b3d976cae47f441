//! `runner clean`: nothing is left of jobs whose driver is gone, here and on their hosts.
//!
//! What a job was run by stands in its folder. A job that could have been resumed cannot be after this, and is recorded as
//! cancelled. Jobs that a driver holds are let alone.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use futures::future::join_all;

use super::context::{Context, say};
use super::runtime::wait_for;
use super::workers::explain;
use super::{build, hosts, transport};
use crate::driver::OutputFolder;
use crate::driver::state::{JobFolder, Remains, StateFolder};
use crate::error::{Fault, Kind};
use crate::fleet::HostSpec;
use crate::ids::JobId;
use crate::report::count_of;
use crate::transport::{Cleaned, ConnectError, Extent, Transport};

/// What is to be cleaned.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job; every job without a driver that may have left something where nothing is said
    job: Option<JobId>,
    /// Remove the cached binaries too, on the hosts of these jobs and on those of --workers
    #[arg(long)]
    all: bool,
}

/// The hosts to visit for one configuration of ssh, each with the jobs that ran there.
type Visits = HashMap<HostSpec, Vec<JobId>>;

/// Cleans up, and says what that was.
///
/// # Errors
/// No such job, or one that a driver holds; a host that cannot be reached; what cannot be removed.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let state = StateFolder::new(&context.state_folder()?);
    let folders = jobs(args, &state)?;
    let mut by_config: BTreeMap<Option<PathBuf>, Visits> = BTreeMap::new();
    for (job, folder) in &folders {
        match folder.stored() {
            Ok(stored) => {
                let config = context.settings.ssh.config.clone().or(stored.ssh_config);
                let visits = by_config.entry(config).or_default();
                let hosts = stored.fleet.hosts.iter().chain(stored.places.values()).chain(&stored.former);
                hosts.for_each(|host| add(visits, host, Some(job)));
            }
            Err(error) => say(&format!("{job}: its hosts are not known ({error:#}); --workers names them")),
        }
    }
    if context.workers.is_some() || args.all {
        let visits = by_config.entry(context.settings.ssh.config.clone()).or_default();
        let fleet = hosts::fleet(context)?;
        for host in &fleet.hosts {
            add(visits, host, None);
            folders.iter().for_each(|(job, _)| add(visits, host, Some(job)));
        }
    }
    let extent = if args.all { Extent::All } else { Extent::Jobs };
    let mut troubles = Vec::new();
    for (config, visits) in by_config {
        let transport = transport::transport(context, build::ID, config.as_deref())?;
        troubles.extend(wait_for(visit_all(&transport, visits, extent))?);
    }
    end_abandoned(context)?;
    let remains = if troubles.is_empty() { Remains::Nothing } else { Remains::Something };
    for (job, folder) in &folders {
        if let Err(error) = forget(job, folder, remains) {
            say(&format!("{job}: {error:#}"));
        }
    }
    match troubles.as_slice() {
        [] => Ok(()),
        troubles => Err(Fault::new(
            Kind::NoWorker,
            format!(
                "not all hosts were cleaned; run this again when they can be reached\n{}",
                explain(troubles).trim_end()
            ),
        )
        .into()),
    }
}

/// The folders of the jobs, held meanwhile, so that nobody resumes one.
fn jobs(args: &Args, state: &StateFolder) -> anyhow::Result<Vec<(JobId, JobFolder)>> {
    if let Some(job) = &args.job {
        let held = state.find(job)?.hold()?.ok_or_else(|| {
            let text = format!("{job} has a driver, which cleans up: `runner cancel {job}` ends it");
            Fault::new(Kind::Fenced, text)
        })?;
        if held.is_taken_over() {
            let text =
                format!("{job} was taken over by a driver elsewhere: `runner clean` cleans up where that one ran");
            return Err(Fault::new(Kind::Fenced, text).into());
        }
        return Ok(vec![(job.clone(), held)]);
    }
    let mut jobs = Vec::new();
    for job in state.ids()? {
        if let Some(held) =
            state.find(&job)?.hold()?.filter(|job| job.may_have_left_something() && !job.is_taken_over())
        {
            jobs.push((job, held));
        }
    }
    if jobs.is_empty() {
        say("no job without a driver has left anything, as far as is known here");
    }
    Ok(jobs)
}

fn add(visits: &mut Visits, host: &HostSpec, job: Option<&JobId>) {
    let jobs = visits.entry(host.clone()).or_default();
    let new: Vec<JobId> = job.filter(|job| !jobs.contains(job)).cloned().into_iter().collect();
    jobs.extend(new);
}

/// Visits all hosts at once; gives those that could not be cleaned.
async fn visit_all(transport: &Transport, visits: Visits, extent: Extent) -> Vec<(String, ConnectError)> {
    let visits = visits.into_iter().map(async |(host, jobs)| {
        let cleaned = transport.clean(&host, &jobs, extent).await;
        (host.name(), cleaned)
    });
    let mut troubles = Vec::new();
    for (name, cleaned) in join_all(visits).await {
        match cleaned {
            Ok(cleaned) => tell(&name, &cleaned),
            Err(error) => troubles.push((name, error)),
        }
    }
    transport.close().await;
    troubles
}

fn tell(host: &str, cleaned: &Cleaned) {
    let Cleaned { ended, removed, left } = cleaned;
    if *ended > 0 || !removed.is_empty() {
        let processes = if *ended == 1 { "1 process".to_owned() } else { format!("{ended} processes") };
        say(&format!("{host}: {processes} ended, {} removed", count_of(removed.len() as u64, "folder")));
    }
    left.iter().for_each(|path| say(&format!("{host}: {path} stays")));
}

/// The ssh connections of drivers that were killed, whichever job they were for.
fn end_abandoned(context: &Context) -> anyhow::Result<()> {
    let transport = transport::transport(context, build::ID, context.settings.ssh.config.as_deref())?;
    wait_for(async {
        match transport.end_abandoned().await {
            0 => {}
            count => say(&format!("the ssh connections of {} were ended", count_of(count as u64, "killed driver"))),
        }
        transport.close().await;
    })
}

/// What is left of a job here: the output that it did not complete, and that it could go on.
fn forget(job: &JobId, folder: &JobFolder, remains: Remains) -> anyhow::Result<()> {
    if let Ok(stored) = folder.stored() {
        let output = OutputFolder::of(stored.output, job)?;
        match output.is_complete() {
            true => say(&format!("{job}: its complete result stays in {}", output.temporary().display())),
            false => output.abandon(),
        }
    }
    if folder.cancel()? {
        say(&format!("{job} was interrupted; it cannot be resumed any more"));
    }
    folder.note(remains)
}
