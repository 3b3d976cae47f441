//! The end of a cluster: instances first, then group and key, then what this machine knows of it.
//!
//! Everything is found by its tags as well as by the record, and looked for again until nothing is left: EC2 may not show
//! yet what it has just made, and a launch that broke off may have made what nobody was told of. Each step can be repeated.

use std::collections::BTreeSet;

use super::api::Api;
use super::labels::{self, Selection};
use super::machine::{Machine, State};
use super::pace::pause;
use super::record::{Cluster, Phase, Record};
use crate::clock;
use crate::error::{Fault, Kind};
use crate::report::count_of;

/// What is to end.
#[derive(Clone, Debug)]
pub struct Target {
    /// What finds all of it.
    pub selection: Selection,
    /// Instances that are known to belong to it.
    pub ids: Vec<String>,
    /// What may be there that EC2 does not show.
    pub unseen: Unseen,
}

/// What may be there although EC2 does not show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// Nothing: whatever was made was made long ago.
    Nothing,
    /// Instances that were told of, until this moment: milliseconds since 1970.
    Told(u64),
    /// Others too, since an answer was not heard.
    Untold(u64),
}

impl Target {
    /// All of a cluster that this machine knows.
    pub fn of(record: &Record, api: &Api) -> Self {
        let settle_ms = u64::try_from(api.pace().settle.as_millis()).unwrap_or(u64::MAX);
        let until_ms = record.asked_ms.saturating_add(settle_ms);
        let unseen = if record.is_open() { Unseen::Untold(until_ms) } else { Unseen::Told(until_ms) };
        Target { selection: labels::of_id(&record.id), ids: record.came(), unseen }
    }

    /// All clusters of a name that others launched.
    pub fn named(name: &str) -> Self {
        Target { selection: labels::of_name(name), ids: Vec::new(), unseen: Unseen::Nothing }
    }

    /// What is left of one launch, by its id.
    pub fn of_id(id: &str) -> Self {
        Target { selection: labels::of_id(id), ids: Vec::new(), unseen: Unseen::Nothing }
    }
}

/// Ends a cluster that this machine knows, and forgets it once nothing of it is left.
///
/// # Errors
/// Cloud: EC2 said no, or something is left; then the cluster is still known. Others when this machine fails us.
pub async fn end(api: &Api, mut cluster: Cluster, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    cluster.record.phase = Phase::Ending;
    cluster.save()?;
    end_target(api, &Target::of(&cluster.record, api), say).await?;
    cluster.forget()
}

/// Ends all that a target selects.
///
/// # Errors
/// Cloud: EC2 said no, or something is left.
pub async fn end_target(api: &Api, target: &Target, say: &dyn Fn(&str)) -> Result<(), Fault> {
    end_machines(api, Some(&target.selection), &target.ids, target.unseen, say).await?;
    let mut left = Vec::new();
    for group in api.groups(&target.selection).await? {
        if let Err(fault) = api.delete_group(&group.id).await {
            left.push(format!("security group {}: {fault}", group.id));
        }
    }
    for key in api.keys(&target.selection).await? {
        if let Err(fault) = api.delete_key(&key.name).await {
            left.push(format!("key pair {}: {fault}", key.name));
        }
    }
    if left.is_empty() { Ok(()) } else { Err(Fault::new(Kind::Cloud, format!("left over: {}", left.join("; ")))) }
}

/// Ends these instances and waits until they are gone; each may be so new that EC2 does not show it yet.
///
/// # Errors
/// Cloud: EC2 said no, or some still run.
pub async fn end_some(api: &Api, ids: &[String], say: &dyn Fn(&str)) -> Result<(), Fault> {
    let settle_ms = u64::try_from(api.pace().settle.as_millis()).unwrap_or(u64::MAX);
    end_machines(api, None, ids, Unseen::Told(clock::wall_ms().saturating_add(settle_ms)), say).await
}

/// Ends the instances that are selected and those with these ids, until none is left or can still come to light.
async fn end_machines(
    api: &Api,
    selection: Option<&Selection>,
    ids: &[String],
    unseen: Unseen,
    say: &dyn Fn(&str),
) -> Result<(), Fault> {
    let deadline = clock::now() + api.pace().end_max;
    let mut ordered = BTreeSet::new();
    loop {
        let machines = look(api, selection, ids).await?;
        let live = machines.iter().filter(|machine| machine.state.is_live()).map(|machine| machine.id.clone());
        let live: Vec<String> = live.collect();
        if !live.is_empty() {
            let new = live.iter().filter(|id| ordered.insert((*id).clone())).count();
            if new > 0 {
                say(&format!("ending {}", count_of(new as u64, "instance")));
            }
            // Again for those that were told before: the first order may not have been heard.
            api.terminate(&live).await?;
        }
        let there: Vec<&Machine> = machines.iter().filter(|machine| machine.state != State::Terminated).collect();
        let all_seen = ids.iter().all(|id| machines.iter().any(|machine| machine.id == *id));
        let settled = match unseen {
            Unseen::Nothing => true,
            Unseen::Told(until_ms) => all_seen || clock::wall_ms() >= until_ms,
            Unseen::Untold(until_ms) => clock::wall_ms() >= until_ms,
        };
        if there.is_empty() && settled {
            return Ok(());
        }
        if clock::now() >= deadline {
            return Err(still_there(&there));
        }
        pause(if there.is_empty() { api.pace().retry } else { api.pace().poll }).await;
    }
}

/// The instances that are selected, and of those with these ids all that EC2 shows.
async fn look(api: &Api, selection: Option<&Selection>, ids: &[String]) -> Result<Vec<Machine>, Fault> {
    let mut machines = match selection {
        Some(selection) => api.machines(selection).await?,
        None => Vec::new(),
    };
    let shown: BTreeSet<&str> = machines.iter().map(|machine| machine.id.as_str()).collect();
    let hidden: Vec<String> = ids.iter().filter(|id| !shown.contains(id.as_str())).cloned().collect();
    if !hidden.is_empty() {
        machines.extend(api.machines_of(&hidden).await?);
    }
    Ok(machines)
}

fn still_there(machines: &[&Machine]) -> Fault {
    let list: Vec<String> = machines.iter().map(|machine| format!("{} is {}", machine.id, machine.state)).collect();
    let text = format!("EC2 was told to end them, and has not yet: {}: ask again in a minute", list.join(", "));
    Fault::new(Kind::Cloud, text)
}
