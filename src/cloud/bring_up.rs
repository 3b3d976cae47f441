//! A launch as a whole: machines, logins, and back to nothing where it fails or is interrupted.

use std::time::Duration;

use super::api::Api;
use super::end::{end, end_some};
use super::interrupt::Interrupts;
use super::launch::{Raised, raise};
use super::record::{Cluster, Phase};
use super::wait::{Arrivals, wait};
use crate::error::{Fault, Kind};
use crate::report::count_of;
use crate::transport::Transport;

/// Whether to wait for logins.
#[derive(Clone, Copy, Debug)]
pub enum Wait<'a> {
    /// The machines are on their way; that is enough.
    No,
    /// Until they let us in, but not longer than this.
    For(&'a Transport, Duration),
}

/// A launch that came to something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Up {
    /// The machines that came.
    pub raised: Raised,
    /// Those that let us in, and those that did not; none where nobody waited.
    pub arrivals: Option<Arrivals>,
}

/// Launches what the record asks for, or goes on with it. What fails leaves nothing.
///
/// # Errors
/// Cloud: EC2 gave none, or fewer than the least number. No worker: too few let us in. Interrupted.
pub async fn bring_up(
    api: &Api,
    mut cluster: Cluster,
    wait: Wait<'_>,
    interrupts: &Interrupts,
    say: &dyn Fn(&str),
) -> anyhow::Result<(Cluster, Up)> {
    let request = cluster.record.request.clone();
    let goal = Goal { count: request.count, least: request.least(), enough: request.min };
    match raise_and_wait(api, &mut cluster, goal, wait, interrupts, say).await {
        Ok(up) => {
            cluster.record.phase = Phase::Up;
            cluster.save()?;
            drop_given_key(&cluster);
            Ok((cluster, up))
        }
        Err(error) => {
            say(&format!("cleaning up: {error:#}"));
            match end(api, cluster, say).await {
                Ok(()) => Err(error.context("nothing of it is left")),
                Err(left) => {
                    let name = &request.name;
                    Err(error.context(format!("something of it is left ({left:#}): `runner cloud terminate {name}`")))
                }
            }
        }
    }
}

/// Adds machines to a cluster that is there. What fails leaves it as it was.
///
/// # Errors
/// As [`bring_up`].
pub async fn add(
    api: &Api,
    cluster: &mut Cluster,
    count: u32,
    wait: Wait<'_>,
    interrupts: &Interrupts,
    say: &dyn Fn(&str),
) -> anyhow::Result<Up> {
    let before = cluster.record.campaigns.len() - usize::from(cluster.record.is_open());
    let goal = Goal { count, least: 1, enough: None };
    match raise_and_wait(api, cluster, goal, wait, interrupts, say).await {
        Ok(up) => {
            drop_given_key(cluster);
            Ok(up)
        }
        Err(error) => {
            let new: Vec<String> =
                cluster.record.campaigns.iter().skip(before).flat_map(|campaign| campaign.came()).cloned().collect();
            if !new.is_empty() {
                say(&format!("cleaning up: {error:#}"));
                if let Err(left) = end_some(api, &new, say).await {
                    return Err(error.context(format!("new machines are left: {left}")));
                }
            }
            Err(error)
        }
    }
}

/// What a launch is to reach.
#[derive(Clone, Copy, Debug)]
struct Goal {
    /// So many machines.
    count: u32,
    /// With fewer it has failed.
    least: u32,
    /// With so many that let us in it is done; none: with all that came.
    enough: Option<u32>,
}

async fn raise_and_wait(
    api: &Api,
    cluster: &mut Cluster,
    goal: Goal,
    wait_for: Wait<'_>,
    interrupts: &Interrupts,
    say: &dyn Fn(&str),
) -> anyhow::Result<Up> {
    let Goal { count, least, enough } = goal;
    let raised = raise(api, cluster, count, interrupts, say).await?;
    let came = raised.ids.len();
    if let Some(reason) = &raised.shortfall {
        let text = format!("{} of {count} came: {reason}", count_of(came as u64, "machine"));
        if came < least as usize {
            return Err(Fault::new(Kind::Cloud, format!("{text}; at least {least} were wanted")).into());
        }
        say(&text);
    }
    let Wait::For(transport, limit) = wait_for else { return Ok(Up { raised, arrivals: None }) };
    say(&format!("waiting until {} let us in", count_of(came as u64, "machine")));
    let enough = enough.map_or(came, |enough| came.min(enough as usize));
    transport.put_first(&cluster.folder.ssh_config())?;
    let arrivals = tokio::select! {
        arrivals = wait(api, cluster, transport, &raised.ids, enough, limit, say) => arrivals?,
        fault = interrupts.raised() => return Err(fault.into()),
    };
    if arrivals.ready.len() < least as usize {
        let reasons: Vec<String> = arrivals.missing.iter().map(|(id, reason)| format!("{id}: {reason}")).collect();
        let text = format!(
            "{} of {came} let us in:\n{}",
            count_of(arrivals.ready.len() as u64, "machine"),
            reasons.join("\n")
        );
        return Err(Fault::new(Kind::NoWorker, text).into());
    }
    Ok(Up { raised, arrivals: Some(arrivals) })
}

/// The private half of the key that instances were given is of use to nobody any more.
fn drop_given_key(cluster: &Cluster) {
    let path = cluster.folder.host_key();
    for file in [path.with_extension("pub"), path] {
        // It goes with the folder, at the latest.
        let _gone = fs_err::remove_file(file);
    }
}
