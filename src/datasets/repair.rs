//! Making copies again that are lost or corrupt, from good ones: from host to host, many at once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::stream::{self, StreamExt};

use super::Watch;
use super::change::manifest_of;
use super::check::{Finding, check_against};
use super::commit;
use super::lock::{lock, unique};
use super::put::spread;
use super::spread::Spread;
use super::stations::Stations;
use super::view::Dataset;
use crate::dataset::{Manifest, Pattern};
use crate::error::{Fault, Kind};
use crate::protocol::data::{DataError, PartId};

/// Copies on their way at once, for each host.
const COPIES_PER_HOST_MAX: usize = 2;

/// Tries to bring one part from hosts that are there to hosts that are.
const TRIES_MAX: u32 = 5;

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Copies that were made.
    pub made: u32,
    /// Parts of which there is no good copy.
    pub lost: Vec<u32>,
    /// Parts that have fewer copies than they should.
    pub short: Vec<u32>,
}

/// Makes copies again that are lost or corrupt.
///
/// # Errors
/// A [`Fault`] when the dataset is being changed, or its manifest cannot be read.
pub async fn repair(stations: &Stations, dataset: &Dataset, watch: &Watch) -> Result<Repaired, Fault> {
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
    let repairing = Repairing {
        stations,
        dataset,
        manifest: &manifest,
        watch,
        spread: Mutex::new(spread(stations, &view, &places)),
        made: AtomicU32::new(0),
    };
    let expected = findings.iter().map(|finding| repairing.bytes_missing(finding)).sum();
    watch.total.fetch_add(expected, Ordering::Relaxed);
    let at_once = (places.len() * COPIES_PER_HOST_MAX).max(4);
    stream::iter(&mut findings).for_each_concurrent(at_once, |finding| repairing.mend(finding)).await;
    let made = repairing.made.into_inner();
    record(stations, dataset, &mut manifest, &findings, &places, watch).await;
    let those = |is: fn(&Finding) -> bool| findings.iter().filter(|it| is(it)).map(|it| it.index).collect();
    Ok(Repaired {
        made,
        lost: those(|finding| finding.good.is_empty()),
        short: those(|finding| !finding.good.is_empty() && finding.good.len() < finding.wanted),
    })
}

/// A repair under way.
struct Repairing<'a> {
    stations: &'a Stations,
    dataset: &'a Dataset,
    manifest: &'a Manifest,
    watch: &'a Watch,
    spread: Mutex<Spread>,
    made: AtomicU32,
}

impl Repairing<'_> {
    fn bytes(&self, index: u32) -> u64 {
        self.manifest.outline.parts[index as usize].bytes
    }

    fn bytes_missing(&self, finding: &Finding) -> u64 {
        if finding.good.is_empty() {
            return 0;
        }
        let missing = finding.bad.len().max(finding.wanted.saturating_sub(finding.good.len()));
        missing as u64 * self.bytes(finding.index)
    }

    fn spread(&self) -> MutexGuard<'_, Spread> {
        self.spread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the copies of one part; its good ones are then those that there are.
    async fn mend(&self, finding: &mut Finding) {
        // A bad file is replaced where it lies.
        let mut targets: Vec<usize> = finding.bad.iter().map(|(at, _)| *at).rev().collect();
        let mut tries = 0;
        while let Some(source) = finding.good.first().copied()
            && (finding.good.len() < finding.wanted || !targets.is_empty())
        {
            let bytes = self.bytes(finding.index);
            let Some(target) = targets.pop().or_else(|| self.spread().choose(bytes, &finding.good)) else { break };
            match self.copy(finding.index, source, target).await {
                Ok(()) => {
                    finding.good.push(target);
                    self.made.fetch_add(1, Ordering::Relaxed);
                }
                Err(DataError::Source(why)) if tries < TRIES_MAX => {
                    tries += 1;
                    self.note(finding.index, target, &why);
                    match self.stations.is_gone(source).await {
                        true => finding.good.retain(|at| *at != source),
                        false => finding.good.rotate_left(1),
                    }
                    if finding.bad.iter().any(|(at, _)| *at == target) {
                        targets.push(target);
                    }
                }
                Err(why) => {
                    self.note(finding.index, target, &why.to_string());
                    self.spread().leave_out(target);
                }
            }
        }
    }

    fn note(&self, index: u32, target: usize, why: &str) {
        self.watch.note(format!("part {index} did not reach {}: {why}", self.stations.name(target)));
    }

    async fn copy(&self, index: u32, from: usize, to: usize) -> Result<(), DataError> {
        let generation = self.manifest.outline.generation;
        let part = PartId { name: self.dataset.name.clone(), generation, index };
        let digest = self.manifest.digest(index).ok_or_else(|| DataError::Lost(format!("there is no {part}")))?;
        self.stations.copy(part, &digest, (from, to), &self.watch.done).await
    }
}

/// A copy can only be taken in where there is a manifest to tell its name.
async fn make_folders(stations: &Stations, dataset: &Dataset, places: &[usize], manifest: &Manifest, watch: &Watch) {
    let lacking: Vec<usize> = places.iter().copied().filter(|at| !dataset.manifests.contains(at)).collect();
    for (at, error) in commit::publish(stations, &dataset.name, manifest, &lacking).await {
        watch.note(format!("{}: {error}", stations.name(at)));
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
