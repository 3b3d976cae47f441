//! Which cluster, which machines: what was typed, looked up.

use super::launch::reach;
use crate::cli::context::Context;
use crate::cloud::discover::Way;
use crate::cloud::labels;
use crate::cloud::{Api, Cluster, Clusters, Machine, Pace, Record, State};
use crate::error::{Fault, Kind};

/// Clusters that this machine knows.
pub(super) fn clusters(context: &Context) -> anyhow::Result<Clusters> {
    Clusters::new(&context.state_folder()?)
}

/// The record of the cluster of this name, or of the only one.
pub(super) fn record(clusters: &Clusters, name: Option<&str>) -> anyhow::Result<Record> {
    if let Some(name) = name {
        let name = name.parse().map_err(Fault::usage)?;
        return Ok(clusters.read(&name)?.ok_or_else(|| {
            Fault::usage(format!(
                "no cluster {name} was launched from here: `runner cloud list` shows all of the region"
            ))
        })?);
    }
    let mut all = clusters.all()?;
    match all.len() {
        1 => Ok(all.remove(0)),
        0 => Err(Fault::usage("no cluster was launched from here: `runner cloud launch`").into()),
        _ => {
            let names: Vec<&str> = all.iter().map(|record| record.request.name.as_str()).collect();
            Err(Fault::usage(format!("which cluster? There are {}", names.join(", "))).into())
        }
    }
}

/// The same, held by this process.
pub(super) fn cluster(clusters: &Clusters, name: Option<&str>) -> anyhow::Result<Cluster> {
    let record = record(clusters, name)?;
    let gone = || Fault::usage(format!("the cluster {} has just ended", record.request.name));
    Ok(clusters.open(&record.request.name)?.ok_or_else(gone)?)
}

/// How this machine goes to instances.
pub(in crate::cli) fn way(context: &Context) -> Way {
    let settings = &context.settings.cloud;
    let address_service = Some(settings.address_service.clone());
    Way { reach: reach(settings), bastion: settings.bastion.clone(), address_service }
}

/// EC2 where a cluster is.
pub(super) async fn api(record: &Record) -> Result<Api, Fault> {
    Api::from_environment(Some(&record.region), Pace::default()).await
}

/// The running machines of a cluster, the first launched first.
pub(super) async fn running(api: &Api, record: &Record) -> Result<Vec<Machine>, Fault> {
    let mut machines = api.machines(&labels::of_id(&record.id)).await?;
    machines.retain(|machine| machine.state == State::Running);
    if machines.is_empty() {
        let name = &record.request.name;
        return Err(Fault::new(
            Kind::NoWorker,
            format!("no machine of {name} runs: `runner cloud list` shows what is left"),
        ));
    }
    Ok(machines)
}

/// The machine that a word means: its id or a beginning of it, one of its addresses, or its number from 1.
pub(super) fn meant<'a>(machines: &'a [Machine], word: &str) -> Result<Option<&'a Machine>, Fault> {
    if let Some(machine) = word.parse::<usize>().ok().and_then(|number| machines.get(number.checked_sub(1)?)) {
        return Ok(Some(machine));
    }
    let is_address =
        |machine: &&Machine| [&machine.public, &machine.private].into_iter().flatten().any(|known| known == word);
    if let Some(machine) = machines.iter().find(is_address) {
        return Ok(Some(machine));
    }
    let mut fitting = machines.iter().filter(|machine| word.starts_with("i-") && machine.id.starts_with(word));
    match (fitting.next(), fitting.next()) {
        (Some(first), Some(second)) if first.id != word && second.id != word => {
            Err(Fault::usage(format!("`{word}` fits more than one machine: {} and {}", first.id, second.id)))
        }
        (first, second) => Ok(first.into_iter().chain(second).find(|machine| machine.id == word).or(first)),
    }
}
