//! Looking on hosts for a job whose driver was on another machine.

use std::collections::BTreeMap;

use futures::future::join_all;

use super::run::Means;
use super::state::StateFolder;
use super::stored::StoredJob;
use crate::error::{Fault, Kind};
use crate::fleet::{Fleet, HostSpec};
use crate::ids::{JobId, WorkerId};
use crate::protocol::copy::{FoundWorker, JobCopy};
use crate::transport::Link;

/// Finds the workers of a job, and makes its folder here from the fullest copy that one of them has. Gives where they are.
///
/// # Errors
/// A [`Fault`]: no host knows the job, or it was begun by another build.
pub async fn find(means: &Means, id: &JobId, fleet: &Fleet) -> anyhow::Result<BTreeMap<WorkerId, HostSpec>> {
    let hosts = join_all(fleet.hosts.iter().map(|host| look(means, id, host))).await;
    let (mut found, mut troubles) = (Vec::new(), Vec::new());
    for (place, host) in hosts.into_iter().enumerate() {
        match host {
            Ok(host) => found.push((place, host)),
            Err(text) => troubles.push(text),
        }
    }
    let best = found.iter().flat_map(|(_, (link, workers))| workers.iter().map(move |worker| (link, worker)));
    let best = best.max_by_key(|(_, worker)| worker.journal_bytes).filter(|(_, worker)| worker.journal_bytes > 0);
    let Some((link, worker)) = best else { return Err(nobody_knows(id, &troubles).into()) };
    let copy = link.copy_of_job(id, worker.worker).await?;
    take(means, id, &copy)?;
    let mut places = BTreeMap::new();
    for (place, (link, workers)) in found {
        places.extend(workers.into_iter().map(|found| (found.worker, fleet.hosts[place].clone())));
        link.close().await;
    }
    Ok(places)
}

/// The workers of the job on a host.
async fn look(means: &Means, id: &JobId, host: &HostSpec) -> Result<(Link, Vec<FoundWorker>), String> {
    let trouble = |text: String| format!("{}: {text}", host.name());
    let link = means.transport.connect(host).await.map_err(|error| trouble(error.to_string()))?;
    match link.find_workers(id).await {
        Ok(workers) => Ok((link, workers)),
        Err(error) => {
            link.close().await;
            Err(trouble(error.to_string()))
        }
    }
}

fn take(means: &Means, id: &JobId, copy: &JobCopy) -> anyhow::Result<()> {
    let build = StoredJob::build_of(&copy.job).unwrap_or_default();
    if build != means.build {
        let text = format!("job {id} was begun by runner {build}, and this is {}: go on with that build", means.build);
        return Err(Fault::new(Kind::Usage, text).into());
    }
    StateFolder::new(&means.state).adopt(id, copy, &build, &means.binary)
}

fn nobody_knows(id: &JobId, troubles: &[String]) -> Fault {
    let mut text = format!("no job {id} on this machine, and no host that was named has a copy of it");
    if !troubles.is_empty() {
        text.push_str(&format!(" ({})", troubles.join("; ")));
    }
    Fault::usage(text)
}
