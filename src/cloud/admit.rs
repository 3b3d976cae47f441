//! Which of the machines that run take part in a job: those that let us in.
//!
//! EC2 calls an instance running from the moment it is switched on, and its sshd is there a minute later. A job that tried
//! it in between would be refused, and not try again. So who is young and does not answer yet is left out until a later
//! look; who says no, and who has had time enough, is not: the job tells what is wrong with it.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;

use super::discover::Found;
use super::record::Clusters;
use super::request::ClusterName;
use super::welcome::{touch, welcome_rest};
use crate::fleet::{Fleet, HostSpec};
use crate::transport::{ConnectError, Transport, TransportConfig};

/// How long one look waits for a machine that has begun to answer; one that is silent ends it sooner.
const KNOCK_MAX: Duration = Duration::from_secs(30);

/// Hosts for a job.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Those that take part; perhaps none yet.
    pub fleet: Fleet,
    /// The addresses of those that do not answer yet.
    pub late: Vec<String>,
}

/// Lets those in that are known already, that answer, or that should. Machines that nobody has logged in to yet get host
/// keys of their own.
///
/// # Errors
/// When this machine fails us.
pub async fn admit(
    found: &Found,
    known: &[HostSpec],
    clusters: &Clusters,
    config: &TransportConfig,
) -> anyhow::Result<Admitted> {
    let is_new = |host: &&HostSpec| !known.iter().any(|known| known.address == host.address);
    let new: Vec<&HostSpec> = found.fleet.hosts.iter().filter(is_new).collect();
    let young: Vec<&HostSpec> = new.iter().filter(|host| found.young.contains(&host.address)).copied().collect();
    if new.is_empty() || (young.is_empty() && found.unwelcomed.is_none()) {
        return Ok(Admitted { fleet: found.fleet.clone(), late: Vec::new() });
    }
    let transport = Transport::new(config.clone())?;
    transport.put_first(&found.ssh_config)?;
    let ids: Vec<String> = new.iter().map(|host| host.address.clone()).collect();
    let mut late = match &found.unwelcomed {
        Some(name) => welcome_new(clusters, name, &transport, &ids).await?,
        None => Vec::new(),
    };
    let knocks = young.iter().filter(|host| !late.contains(&host.address)).map(async |host| {
        let is_silent = match timeout(KNOCK_MAX, touch(&transport, host)).await {
            Ok(answer) => answer.is_err_and(|error| is_early(&error)),
            Err(_) => true,
        };
        is_silent.then(|| host.address.clone())
    });
    let silent = join_all(knocks).await;
    transport.close().await;
    late.extend(silent.into_iter().flatten());
    let mut fleet = found.fleet.clone();
    fleet.hosts.retain(|host| !late.contains(&host.address));
    Ok(Admitted { fleet, late })
}

/// Logs in to those of a cluster that nobody has logged in to; gives those that do not let us in yet. Where another
/// command holds the cluster it is about that very thing, and all of them are left to it.
async fn welcome_new(
    clusters: &Clusters,
    name: &ClusterName,
    transport: &Transport,
    ids: &[String],
) -> anyhow::Result<Vec<String>> {
    if let Ok(Some(mut cluster)) = clusters.open(name) {
        let absent = welcome_rest(transport, &mut cluster, ids, KNOCK_MAX).await?;
        let is_late = |error: &Option<ConnectError>| error.as_ref().is_none_or(is_early);
        return Ok(absent.into_iter().filter(|(_, error)| is_late(error)).map(|(id, _)| id).collect());
    }
    let Some(record) = clusters.read(name)? else { return Ok(Vec::new()) };
    let has_own = |id: &&String| record.host_keys.get(*id).is_some_and(|known| known.is_own);
    Ok(ids.iter().filter(|id| !has_own(id)).cloned().collect())
}

/// Whether a machine that boots may be met so. What it says itself is final: cloud-init sets keys before sshd starts. A
/// jump host does not boot.
fn is_early(error: &ConnectError) -> bool {
    matches!(
        error,
        ConnectError::Refused { .. }
            | ConnectError::TimedOut { .. }
            | ConnectError::NoRoute
            | ConnectError::Dropped { .. }
            | ConnectError::Lost { .. }
            | ConnectError::Unresolved { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_silence_is_early() {
        assert!(is_early(&ConnectError::Refused { port: 22 }) && is_early(&ConnectError::NoRoute));
        let timed_out = Box::new(ConnectError::TimedOut { port: 22 });
        assert!(is_early(&timed_out) && !is_early(&ConnectError::Jump { name: "gate".into(), error: timed_out }));
        assert!(!is_early(&ConnectError::HostKeyUnknown));
    }
}
