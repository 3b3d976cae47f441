//! Giving a worker its job, and ending one that is not needed.

use std::time::Duration;

use anyhow::bail;
use tokio::time::timeout;

use super::line::Line;
use super::shared::Shared;
use super::state::Remains;
use crate::facts::{Failure, HostLoad};
use crate::fleet::{HostSpec, Place};
use crate::ids::WorkerId;
use crate::protocol::control::{Assignment, Holdings, Setup, ToDriver, ToWorker};

/// How long a worker may take to remove its files.
pub const GOODBYE_MAX: Duration = Duration::from_secs(20);

/// Gives a worker the job, if it does not have it, and waits until it is ready: how many slots it grants, and how loaded
/// its host is, if it has just said so.
///
/// # Errors
/// When it cannot be made ready, or the line breaks.
pub async fn prepare(
    shared: &Shared,
    worker: WorkerId,
    host: &HostSpec,
    line: &mut Line,
    holdings: &Holdings,
) -> anyhow::Result<(u32, Option<HostLoad>)> {
    // What it has to fetch comes over this line.
    shared.feed.connect(worker, line.bulk.clone());
    if holdings.setup != Setup::Awaited {
        // It may be a driver before this one that gave it the job.
        shared.introductions.introduce(worker, &line.link, host.peer.clone());
        holdings.doorway.iter().for_each(|doorway| shared.introductions.doorway(worker, doorway.clone()));
    }
    match &holdings.setup {
        Setup::Done { slots } => return Ok((*slots, None)),
        Setup::Failed(failure) => bail!(in_words(failure)),
        Setup::UnderWay => {}
        Setup::Awaited => {
            let slots = slots_of(host, shared, line);
            let mut assignment =
                Assignment { worker, slots, memory: host.memory, data: host.data.clone(), ..shared.assignment.clone() };
            if host.place == Place::Ssh {
                assignment.output_here = None;
            }
            assignment.peers = shared.introductions.access(&shared.transport, &line.link).await;
            shared.introductions.introduce(worker, &line.link, host.peer.clone());
            line.send(&ToWorker::Prepare(Box::new(assignment))).await?;
        }
    }
    loop {
        match line.next().await? {
            ToDriver::Ready { slots, load } => return Ok((slots, Some(load))),
            ToDriver::NotReady(failure) => bail!(in_words(&failure)),
            _other => {}
        }
    }
}

/// The host's own number, else the setting's, else its cores.
fn slots_of(host: &HostSpec, shared: &Shared, line: &Line) -> u32 {
    let said = host.slots.or(Some(shared.assignment.slots).filter(|slots| *slots > 0));
    said.unwrap_or(line.cores()).max(1)
}

/// Ends the worker, and waits until it has cleaned up.
pub async fn say_goodbye(mut line: Line) -> Remains {
    let goodbye = async {
        line.send(&ToWorker::Shutdown).await?;
        line.until_bye().await
    };
    // A host that does not answer cleans up by itself, when its grace is over, if it still has power.
    let remains = match timeout(GOODBYE_MAX, goodbye).await {
        Ok(Ok(())) => Remains::Nothing,
        Ok(Err(_)) | Err(_) => Remains::Something,
    };
    line.close().await;
    remains
}

/// A failed setup with what the command said.
fn in_words(failure: &Failure) -> String {
    match failure.stderr_tail.as_str() {
        "" => failure.cause.to_string(),
        tail => format!("{}: {tail}", failure.cause),
    }
}
