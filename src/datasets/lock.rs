//! One at a time changes a name: its lock is taken on every data folder that was reached.
//!
//! The folder whose host sorts first is asked before all others, so that of two who begin at the same time one wins there
//! and the other is told. A lock goes with the stream that it was asked over, so none has to be taken back.

use super::stations::Stations;
use super::view::View;
use crate::dataset::Name;
use crate::error::{Fault, Kind};
use crate::protocol::data::{DataError, DataRequest};

/// Takes the locks of these names.
///
/// # Errors
/// A [`Fault`] of kind `Fenced` when somebody else has one of them; others when a folder cannot be written.
pub async fn lock(stations: &Stations, view: &View, names: &[Name]) -> Result<(), Fault> {
    let mut places = unique(stations, view);
    places.sort_by_key(|at| (&stations.list[*at].host.address, &stations.list[*at].host.data, *at));
    let request = |_| DataRequest::Lock { names: names.to_vec(), who: who() };
    let Some((first, others)) = places.split_first() else { return Ok(()) };
    for hosts in [std::slice::from_ref(first), others] {
        for (at, locked) in stations.ask_all::<()>(hosts, request).await {
            match locked {
                // Who is gone meanwhile is not written to either.
                Ok(()) | Err(DataError::Gone(_)) => {}
                Err(DataError::Busy(text)) => {
                    return Err(Fault::new(Kind::Fenced, format!("{text}, says {}", stations.name(at))));
                }
                // A disk without room for a lock has none for parts either, and is told so when it is asked for that.
                Err(DataError::DiskFull(_)) => {}
                Err(error) => return Err(Fault::new(Kind::Data, format!("{}: {error}", stations.name(at)))),
            }
        }
    }
    Ok(())
}

/// The hosts that were reached, one for each data folder.
pub fn unique(stations: &Stations, view: &View) -> Vec<usize> {
    let mut seen = Vec::new();
    stations
        .places()
        .into_iter()
        .filter(|at| match view.hosts.get(*at).map(|host| &host.facts) {
            Some(Ok(facts)) if !seen.contains(&facts.store) => {
                seen.push(facts.store);
                true
            }
            Some(_) | None => false,
        })
        .collect()
}

/// This process, for those who have to wait for it.
fn who() -> String {
    let name = rustix::system::uname();
    format!("process {} on {}", std::process::id(), name.nodename().to_string_lossy())
}
