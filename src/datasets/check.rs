//! Checking copies byte by byte.

use super::change::manifest_of;
use super::lock::unique;
use super::stations::Stations;
use super::view::{Dataset, View};
use crate::dataset::Manifest;
use crate::error::Fault;
use crate::protocol::data::{DataRequest, Verdict};

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

/// The same with a manifest that was read already.
pub(super) async fn check_against(
    stations: &Stations,
    view: &View,
    dataset: &Dataset,
    manifest: &Manifest,
) -> Vec<Finding> {
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
