//! Removing and renaming datasets.

use super::Watch;
use super::commit;
use super::lock::{lock, unique};
use super::stations::Stations;
use super::view::Dataset;
use crate::clock;
use crate::dataset::{Generation, Manifest, Name, Outline, Pattern};
use crate::error::{Fault, Kind};
use crate::ids::random;
use crate::protocol::data::DataRequest;

/// Removes datasets: a tombstone goes to every host that was reached, so that those which were not bring nothing back.
///
/// # Errors
/// A [`Fault`] when one of them is being changed, or no host could write the tombstone.
pub async fn remove(stations: &Stations, names: &[Name], watch: &Watch) -> Result<(), Fault> {
    let patterns: Vec<Pattern> = names.iter().filter_map(|name| Pattern::new(name.as_str()).ok()).collect();
    let view = stations.look(&patterns).await;
    lock(stations, &view, names).await?;
    let view = stations.look(&patterns).await;
    let places = unique(stations, &view);
    for name in names {
        // What a stopped put has left goes along.
        let unfinished = view.unfinished.keys().filter(|(of, _)| of == name).map(|(_, generation)| *generation);
        let newest = unfinished.chain(view.newest.get(name).copied()).max();
        let grave = Generation::after(newest, clock::wall_ms(), random() as u32);
        bury(stations, name, grave, &places, watch).await?;
    }
    for (name, why) in view.silent() {
        watch.note(format!("{name} did not answer ({why}): what it holds is removed when it is met again"));
    }
    Ok(())
}

async fn bury(
    stations: &Stations,
    name: &Name,
    generation: Generation,
    places: &[usize],
    watch: &Watch,
) -> Result<(), Fault> {
    let buried = stations.ask_all::<()>(places, |_| DataRequest::Bury { name: name.clone(), generation }).await;
    let mut done = Vec::new();
    for (at, buried) in buried {
        match buried {
            Ok(()) => done.push(at),
            Err(error) => watch.note(format!("{}: {error}", stations.name(at))),
        }
    }
    if done.is_empty() {
        return Err(Fault::new(Kind::Data, format!("no worker could note that {name} is removed")));
    }
    // Only where the tombstone is.
    for (at, freed) in
        stations.ask_all::<u64>(&done, |_| DataRequest::Purge { name: name.clone(), before: generation }).await
    {
        if let Err(error) = freed {
            watch.note(format!("{}: not all of {name} could be removed: {error}", stations.name(at)));
        }
    }
    Ok(())
}

/// Gives a dataset another name. Nothing is copied: the new name gets links, then the old one a tombstone.
///
/// # Errors
/// A [`Fault`]: the new name is taken, one of both is being changed, a part is on no host that was reached.
pub async fn rename(stations: &Stations, from: &Dataset, to: &Name, watch: &Watch) -> Result<(), Fault> {
    let names = [from.name.clone(), to.clone()];
    let patterns: Vec<Pattern> = names.iter().filter_map(|name| Pattern::new(name.as_str()).ok()).collect();
    let view = stations.look(&patterns).await;
    lock(stations, &view, &names).await?;
    let view = stations.look(&patterns).await;
    if view.datasets.contains_key(to) {
        return Err(Fault::new(Kind::OutputExists, format!("the dataset {to} exists")));
    }
    let Some(dataset) = view.datasets.get(&from.name) else {
        return Err(Fault::new(Kind::InputMissing, format!("no dataset `{}` any more", from.name)));
    };
    if let Some(loss) = dataset.loss() {
        return Err(Fault::new(Kind::Data, loss));
    }
    let places = unique(stations, &view);
    let manifest = manifest_of(stations, dataset).await?;
    let old = manifest.outline.generation;
    let generation = Generation::after(view.newest.get(to).copied(), clock::wall_ms(), random() as u32);
    let holders: Vec<usize> = places.iter().copied().filter(|at| holds(dataset, *at)).collect();
    let link = |_| DataRequest::Link {
        name: from.name.clone(),
        generation: old,
        new_name: to.clone(),
        new_generation: generation,
    };
    for (at, linked) in stations.ask_all::<()>(&holders, link).await {
        linked.map_err(|error| Fault::new(Kind::Data, format!("{}: {error}", stations.name(at))))?;
    }
    let manifest = Manifest { outline: Outline { generation, ..manifest.outline }, ..manifest };
    if let Some((at, error)) = commit::publish(stations, to, &manifest, &holders).await.into_iter().next() {
        return Err(Fault::new(Kind::Data, format!("{}: {error}", stations.name(at))));
    }
    let grave = Generation::after(view.newest.get(&from.name).copied(), clock::wall_ms(), random() as u32);
    bury(stations, &from.name, grave, &places, watch).await
}

fn holds(dataset: &Dataset, at: usize) -> bool {
    dataset.parts.iter().any(|part| part.holders.contains(&at)) || dataset.manifests.contains(&at)
}

/// The whole manifest of a dataset, from a host that has it.
///
/// # Errors
/// A [`Fault`] of kind `Data` when none can give it.
pub(super) async fn manifest_of(stations: &Stations, dataset: &Dataset) -> Result<Manifest, Fault> {
    let mut why = "no host has it".to_owned();
    for at in &dataset.manifests {
        let request = DataRequest::Manifest { name: dataset.name.clone(), generation: dataset.outline.generation };
        match stations.ask::<Manifest>(*at, request).await {
            Ok(manifest) => return Ok(manifest),
            Err(error) => why = format!("{}: {error}", stations.name(*at)),
        }
    }
    Err(Fault::new(Kind::Data, format!("the manifest of {} cannot be read: {why}", dataset.name)))
}
