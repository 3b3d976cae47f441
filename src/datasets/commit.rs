//! The last steps of a generation: final names, then manifests, then what is older goes; or all of it goes.

use super::stations::Stations;
use crate::dataset::{Generation, Manifest, Name};
use crate::protocol::data::{DataError, DataRequest};

/// A host that failed in a step.
pub type Failed = (usize, DataError);

/// Gives the parts their final names on their hosts. Nothing is visible yet, so that whoever fails can be left out.
pub async fn seal(stations: &Stations, name: &Name, manifest: &Manifest, holders: &[usize]) -> Vec<Failed> {
    let (generation, parts) = (manifest.outline.generation, manifest.outline.parts.len() as u32);
    let sealed = stations.ask_all::<()>(holders, |_| DataRequest::Seal { name: name.clone(), generation, parts }).await;
    failed(sealed)
}

/// Writes the manifests. With the first one the generation is complete.
pub async fn publish(stations: &Stations, name: &Name, manifest: &Manifest, hosts: &[usize]) -> Vec<Failed> {
    let written = stations
        .ask_all::<()>(hosts, |_| DataRequest::Publish { name: name.clone(), manifest: Box::new(manifest.clone()) })
        .await;
    failed(written)
}

/// Removes what is older than a generation that is complete everywhere. What cannot be removed now is never read again.
pub async fn purge(stations: &Stations, name: &Name, manifest: &Manifest, hosts: &[usize]) -> Vec<Failed> {
    let before = manifest.outline.generation;
    failed(stations.ask_all::<u64>(hosts, |_| DataRequest::Purge { name: name.clone(), before }).await)
}

/// Removes what there is of a generation that will not be completed. What stays is in nobody's way.
pub async fn discard(stations: &Stations, name: &Name, generation: Generation, hosts: &[usize]) {
    let _left = stations.ask_all::<()>(hosts, |_| DataRequest::Discard { name: name.clone(), generation }).await;
}

fn failed<T>(answers: Vec<(usize, Result<T, DataError>)>) -> Vec<Failed> {
    answers.into_iter().filter_map(|(at, answer)| Some((at, answer.err()?))).collect()
}
