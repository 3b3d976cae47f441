//! Checking copies byte by byte, and making them again.

use std::sync::Arc;

use super::Watch;
use super::change::manifest_of;
use super::commit;
use super::lock::{lock, unique};
use super::put::spread;
use super::stations::Stations;
use super::uploads::Offer;
use super::view::{Dataset, View};
use crate::dataset::{Digest, Manifest, Pattern};
use crate::error::{Fault, Kind};
use crate::protocol::data::{DataRequest, PartId, Verdict};

/// What is wrong with a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which part.
    pub index: u32,
    /// Hosts with a good copy.
    pub good: Vec<usize>,
    /// Hosts with a bad one, and what is wrong with it.
    pub bad: Vec<(usize, String)>,
    /// Good copies, each data folder once.
    pub copies: usize,
    /// How many there should be.
    pub wanted: usize,
}

impl Finding {
    /// Whether all is as it should be.
    pub fn is_good(&self) -> bool {
        self.bad.is_empty() && self.copies >= self.wanted
    }
}

/// Has every host that was reached read its parts of a dataset. A finding for each part.
///
/// # Errors
/// A [`Fault`] when the manifest cannot be read.
pub async fn check(stations: &Stations, view: &View, dataset: &Dataset) -> Result<Vec<Finding>, Fault> {
    let manifest = manifest_of(stations, dataset).await?;
    Ok(check_against(stations, view, dataset, &manifest).await)
}

async fn check_against(stations: &Stations, view: &View, dataset: &Dataset, manifest: &Manifest) -> Vec<Finding> {
    let wanted = manifest.outline.copies as usize;
    let finding = |index| Finding { index, good: Vec::new(), bad: Vec::new(), copies: 0, wanted };
    let mut findings: Vec<Finding> = (0..dataset.parts.len() as u32).map(finding).collect();
    let places = unique(stations, view);
    let ask = |_| DataRequest::Check { name: dataset.name.clone(), manifest: Box::new(manifest.clone()) };
    for (at, verdicts) in stations.ask_all::<Vec<Verdict>>(&places, ask).await {
        // A host that does not answer has no copies, as far as anybody can tell.
        for verdict in verdicts.unwrap_or_default() {
            let Some(finding) = findings.get_mut(verdict.index as usize) else { continue };
            match verdict.wrong {
                None => finding.good.push(at),
                Some(what) => finding.bad.push((at, what)),
            }
        }
    }
    findings.iter_mut().for_each(|finding| finding.copies = finding.good.len());
    findings
}

/// Makes copies again that are lost or corrupt, from good ones. Gives how many were made, and the parts of which there is
/// no good copy.
///
/// # Errors
/// A [`Fault`] when the dataset is being changed, or its manifest cannot be read.
pub async fn repair(stations: &Stations, dataset: &Dataset, watch: &Watch) -> Result<(u32, Vec<u32>), Fault> {
    let pattern = [Pattern::new(dataset.name.as_str()).map_err(Fault::usage)?];
    let view = stations.look(&pattern).await;
    lock(stations, &view, std::slice::from_ref(&dataset.name)).await?;
    let view = stations.look(&pattern).await;
    let Some(dataset) = view.datasets.get(&dataset.name) else {
        return Err(Fault::new(Kind::InputMissing, format!("no dataset `{}` any more", dataset.name)));
    };
    let mut manifest = manifest_of(stations, dataset).await?;
    let mut findings = check_against(stations, &view, dataset, &manifest).await;
    let places = unique(stations, &view);
    make_folders(stations, dataset, &places, &manifest, watch).await;
    let mut spread = spread(stations, &view, &places);
    let (mut made, mut lost) = (0, Vec::new());
    for finding in &mut findings {
        if finding.good.is_empty() {
            lost.push(finding.index);
            continue;
        }
        // A bad file is replaced where it lies.
        let mut targets: Vec<usize> = finding.bad.iter().map(|(at, _)| *at).collect();
        targets.reverse();
        while finding.good.len() < finding.wanted || !targets.is_empty() {
            let bytes = manifest.outline.parts[finding.index as usize].bytes;
            let Some(target) = targets.pop().or_else(|| spread.choose(bytes, &finding.good)) else { break };
            match copy(stations, dataset, &manifest, finding.index, finding.good[0], target, watch).await {
                Ok(()) => {
                    finding.good.push(target);
                    made += 1;
                }
                Err(why) => {
                    watch.note(format!("part {}: {}: {why}", finding.index, stations.name(target)));
                    spread.leave_out(target);
                }
            }
        }
    }
    record(stations, dataset, &mut manifest, &findings, &places, watch).await;
    Ok((made, lost))
}

/// A copy can only be taken in where there is a manifest to tell its name.
async fn make_folders(stations: &Stations, dataset: &Dataset, places: &[usize], manifest: &Manifest, watch: &Watch) {
    let lacking: Vec<usize> = places.iter().copied().filter(|at| !dataset.manifests.contains(at)).collect();
    for (at, error) in commit::publish(stations, &dataset.name, manifest, &lacking).await {
        watch.note(format!("{}: {error}", stations.name(at)));
    }
}

async fn copy(
    stations: &Stations,
    dataset: &Dataset,
    manifest: &Manifest,
    index: u32,
    from: usize,
    to: usize,
    watch: &Watch,
) -> Result<(), String> {
    let part = PartId { name: dataset.name.clone(), generation: manifest.outline.generation, index };
    let mux = stations.mux(from).map_err(|error| error.to_string())?.clone();
    let offer = Offer::There { mux, part: part.clone(), sent: Arc::clone(&watch.done) };
    let ticket = stations.uploads.offer(offer);
    let stored = stations.ask::<Digest>(to, DataRequest::Store { part, ticket: ticket.number }).await;
    match stored.map_err(|error| error.to_string())? {
        digest if Some(&digest) == manifest.digest(index).as_ref() => Ok(()),
        _ => Err("the copy is not the same".to_owned()),
    }
}

/// Writes where the copies are now, and removes what is older.
async fn record(
    stations: &Stations,
    dataset: &Dataset,
    manifest: &mut Manifest,
    findings: &[Finding],
    places: &[usize],
    watch: &Watch,
) {
    let outline = &mut manifest.outline;
    outline.revision += 1;
    let known = std::mem::take(&mut outline.hosts);
    outline.hosts = stations.list.iter().map(|station| station.name.clone()).collect();
    for (part, finding) in outline.parts.iter_mut().zip(findings) {
        if !finding.good.is_empty() {
            part.places = finding.good.iter().map(|at| *at as u32).collect();
            continue;
        }
        // Where there is no good copy, it helps to know where there was one.
        for place in &mut part.places {
            let name = known.get(*place as usize).cloned().unwrap_or_default();
            let at = outline.hosts.iter().position(|host| *host == name).unwrap_or_else(|| {
                outline.hosts.push(name);
                outline.hosts.len() - 1
            });
            *place = at as u32;
        }
    }
    for (at, error) in commit::publish(stations, &dataset.name, manifest, places).await {
        watch.note(format!("{}: {error}", stations.name(at)));
    }
    for (at, error) in commit::purge(stations, &dataset.name, manifest, &stations.places()).await {
        watch.note(format!("{}: {error}", stations.name(at)));
    }
}
