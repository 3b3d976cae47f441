//! What a job takes from the memory of hosts, and what it leaves there.

use std::path::Path;
use std::time::Duration;

use crate::clock;
use crate::progress::Progress;
use crate::reliability::{Fold, Mark, MarkKind, Memory, Store};
use crate::scheduler::{Remembered, RememberedStanding};

/// The marks that hold now, for the scheduler. A job need not fail where they cannot be read.
pub fn marks(state: &Path, progress: &mut Progress) -> Vec<Remembered> {
    let (now, now_ms) = (clock::now(), clock::wall_ms());
    let memory = Store::new(state).read().unwrap_or_else(|error| {
        progress.say(&format!("nothing is known of the hosts: {error:#}"));
        Memory::new()
    });
    let held = memory.into_iter().filter_map(|(host, record)| Some((host, record.mark_at(now_ms)?.clone())));
    held.map(|(host, Mark { kind, until_ms, evidence, .. })| Remembered {
        host,
        standing: standing(kind),
        until: now + Duration::from_millis(until_ms - now_ms),
        evidence,
    })
    .collect()
}

/// Keeps what a run said about its hosts. A job need not fail where that cannot be done.
pub fn keep(state: &Path, run: &Fold, progress: &mut Progress) {
    if let Err(error) = Store::new(state).add(run, clock::now(), clock::wall_ms()) {
        progress.say(&format!("what the hosts did is not kept: {error:#}"));
    }
}

fn standing(kind: MarkKind) -> RememberedStanding {
    match kind {
        MarkKind::Barred => RememberedStanding::Barred,
        MarkKind::Slow { share_percent } => RememberedStanding::Slow(share_percent),
    }
}
