//! What a worker tells over a new connection, and what one tells that obeys another driver; and parts of the input that no
//! worker has any more.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Engine, Reads};
use crate::error::Kind;
use crate::facts::End;
use crate::ids::{AttemptId, Stage, WorkerId};
use crate::protocol::control::{Held, Reign};
use crate::scheduler::Event;

/// So many lost parts of the input are named.
const PARTS_SHOWN_MAX: usize = 20;

impl Engine {
    /// All that a worker has: first as if it had said each thing by itself, since it may have; then as a whole.
    pub(super) fn take_holdings(
        &mut self,
        worker: WorkerId,
        holdings: Vec<(AttemptId, Held)>,
        events: &mut Vec<Event>,
    ) {
        // What it was told of may be among what was lost.
        let host = &mut self.hosts[worker.index()];
        (host.told, host.acquainted) = (0, 0);
        if holdings.iter().any(|(attempt, held)| attempt.task.stage == Stage::Reduce && *held == Held::Waiting) {
            host.reads = Reads::Segments;
        }
        self.copies.forget(worker);
        let mut attempts = Vec::new();
        for (attempt, held) in holdings {
            match held {
                Held::Waiting => attempts.push(attempt),
                Held::Running => {
                    events.push(Event::AttemptStarted { attempt, worker });
                    attempts.push(attempt);
                }
                Held::Finished { work, stderr_bytes } => {
                    events.push(self.take_finished(attempt, worker, work, stderr_bytes));
                    attempts.push(attempt);
                }
                Held::Failed { failure, stderr_bytes } => {
                    self.clear_up(attempt, worker, stderr_bytes);
                    events.push(Event::AttemptFailed { attempt, worker, failure });
                }
            }
        }
        events.push(Event::WorkerHolds { worker, attempts });
    }

    /// Another driver has taken over: from now on this one touches nothing.
    pub(super) fn yield_to(&mut self, worker: WorkerId, reign: &Reign) -> Event {
        self.desk.fenced = true;
        let text = format!("{} was taken over by {}", self.hosts[worker.index()].name, reign.driver);
        Event::Broken(End::Failed { kind: Kind::Fenced, text: format!("another driver goes on with the job: {text}") })
    }

    /// A part of a dataset is wanted, and all that had it are gone. Names what is lost.
    pub(super) fn input_is_gone(&self) -> Event {
        let is_gone = |worker: &WorkerId| {
            self.hosts.get(worker.index()).is_none_or(|host| host.dismissed || !host.present && !host.pending)
        };
        let lost = self.splits.iter().filter(|split| {
            let holders = split.home.holders();
            !holders.is_empty() && holders.iter().all(is_gone)
        });
        let (mut parts, mut hosts): (BTreeSet<&Path>, BTreeSet<&str>) = Default::default();
        for split in lost {
            parts.extend(split.pieces.iter().map(|piece| piece.path.as_path()));
            let names = split.home.holders().iter().filter_map(|worker| self.hosts.get(worker.index()));
            hosts.extend(names.map(|host| host.name.as_str()));
        }
        let shown: Vec<String> = parts.iter().take(PARTS_SHOWN_MAX).map(|path| path.display().to_string()).collect();
        let more = match parts.len().saturating_sub(PARTS_SHOWN_MAX) {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        let hosts = crate::fleet::ranges::fold(hosts);
        let text = format!(
            "no copy of {}{more} is left on a worker: all that there were lay on {hosts}, which is lost",
            shown.join(", ")
        );
        Event::Broken(End::Failed { kind: Kind::Data, text })
    }
}
