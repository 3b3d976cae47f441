//! What a driver finds that goes on with a job: which parts of the output are there, and where the input lies now.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::output::OutputFolder;
use super::run::{Seat, Start};
use super::shared::Shared;
use super::stored::StoredJob;
use crate::datasets::{Copies, Found, Stations};
use crate::error::Fault;
use crate::fleet::{Fleet, HostSpec};
use crate::ids::{Stage, TaskId, WorkerId};
use crate::input::{Home, Split};
use crate::protocol::data::Made;
use crate::scheduler::{Known, KnownOutput};
use crate::transport::Load;

/// Compares the parts that are known to be committed with those that are in the output folder. One that nobody vouches for
/// goes, so that the output is never of two minds.
///
/// # Errors
/// Those of the file system.
pub fn settle_parts(known: &mut Known, output: &OutputFolder) -> anyhow::Result<()> {
    let last = last_stage(known);
    let count = if known.plan.reduces > 0 { known.plan.reduces } else { known.plan.splits.len() as u32 };
    for task in (0..count).map(|index| TaskId { stage: last, index }) {
        let bytes = output.committed(task);
        let expected = match known.tasks.get(&task).map(|known| (&known.output, known.in_doubt)) {
            Some((KnownOutput::Committed { bytes, .. }, _)) => Some(*bytes),
            Some((KnownOutput::Finished { work, .. }, false)) => Some(work.bytes_out),
            Some((KnownOutput::Finished { .. }, true) | (KnownOutput::None | KnownOutput::Gone { .. }, _)) | None => {
                None
            }
        };
        if bytes.is_some() && bytes != expected {
            output.withdraw(task)?;
        }
        if bytes.is_none() || bytes != expected {
            known.lose_part(task);
        }
    }
    Ok(())
}

/// What the hosts have of a dataset that the job makes; none if it makes none.
///
/// # Errors
/// A [`Fault`]: no host can be asked, or somebody else has changed the dataset meanwhile.
pub async fn settle_dataset(start: &Start, known: &Known, shared: &Shared) -> Result<Option<Found>, Fault> {
    let Some(dataset) = start.output.dataset() else { return Ok(None) };
    let mut workers: Vec<(HostSpec, WorkerId)> = Vec::new();
    for (worker, seat) in (0..).map(WorkerId).zip(&start.hosts) {
        if let Some((host, _)) = &seat.host {
            dataset.seat(worker, &seat.name, host);
            workers.push((host.clone(), worker));
        }
    }
    // The same host may be there twice, for two workers: one of them has what lies there.
    let hosts: Vec<HostSpec> = workers.iter().map(|(host, _)| host.clone()).collect();
    let fleet = Fleet { hosts, origin: start.job.fleet.origin.clone() };
    let stations = Stations::open(&fleet, &shared.transport, Load::Words, Copies::Relayed).await?;
    let workers: Vec<WorkerId> = workers.into_iter().map(|(_, worker)| worker).collect();
    let expected = known.tasks.iter().filter(|(id, _)| id.stage == last_stage(known));
    let expected = expected.filter_map(|(id, task)| {
        let (bytes, hash) = task.part()?;
        Some((id.index, Made { bytes, hash }))
    });
    let found = dataset.take_up(&stations, &workers, &expected.collect()).await;
    stations.close();
    found.map(Some)
}

/// The stage whose tasks make parts.
pub fn last_stage(known: &Known) -> Stage {
    if known.plan.reduces > 0 { Stage::Reduce } else { Stage::Map }
}

/// Parts that were committed and are on no host any more are made again.
pub fn lose_missing_parts(known: &mut Known, there: &BTreeMap<u32, u64>) {
    let last = last_stage(known);
    let tasks = known.tasks.keys().filter(|id| id.stage == last && !there.contains_key(&id.index));
    tasks.copied().collect::<Vec<_>>().into_iter().for_each(|task| known.lose_part(task));
}

/// Where each worker was, as far as is known.
pub fn hosts_of_all(job: &StoredJob) -> BTreeMap<WorkerId, HostSpec> {
    let planned = (0..).map(WorkerId).zip(job.fleet.hosts.iter().cloned());
    planned.chain(job.places.iter().map(|(worker, host)| (*worker, host.clone()))).collect()
}

/// Parts of the input are read where they lie, whichever worker is on that host now.
pub fn rehome(splits: &Arc<Vec<Split>>, former: &BTreeMap<WorkerId, HostSpec>, seats: &[Seat]) -> Arc<Vec<Split>> {
    let mut now: BTreeMap<WorkerId, Vec<WorkerId>> = BTreeMap::new();
    for (worker, host) in former {
        let there = (0..).map(WorkerId).zip(seats).filter(|(_, seat)| {
            seat.host.as_ref().is_some_and(|(there, _)| (there.place, &there.address) == (host.place, &host.address))
        });
        now.insert(*worker, there.map(|(worker, _)| worker).collect());
    }
    let moved = splits.iter().cloned().map(|mut split| {
        if let Home::Dataset { holders, .. } = &mut split.home {
            let others: Vec<WorkerId> =
                holders.iter().filter_map(|holder| now.get(holder)).flatten().copied().collect();
            holders.extend(others);
            holders.sort_unstable();
            holders.dedup();
        }
        split
    });
    Arc::new(moved.collect())
}
