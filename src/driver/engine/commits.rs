//! Results of finished attempts that get their final names.

use std::path::PathBuf;

use super::Engine;
use crate::datasets::Completed;
use crate::driver::collect::{Collector, Trouble};
use crate::error::{Fault, Kind};
use crate::facts::End;
use crate::ids::{AttemptId, Stage, TaskId, WorkerId};
use crate::protocol::control::ToWorker;
use crate::scheduler::Event;

impl Engine {
    pub(super) fn commit(&mut self, attempt: AttemptId, worker: WorkerId) {
        let (work, log) = self.desk.finished.remove(&attempt).unwrap_or_default();
        let host = &self.hosts[worker.index()];
        let (collector, orders, parts) = (self.collector.clone(), host.orders.clone(), host.parts);
        self.desk.commits.spawn(async move {
            let committed = collector.commit(attempt, worker, parts, &work).await;
            if let Some(log) = log {
                fetch_log(collector, attempt, worker, log).await;
            }
            let _gone = orders.send(ToWorker::Forget(attempt));
            match committed {
                Ok(()) => Event::Committed { attempt, bytes: work.bytes_out },
                Err(Trouble::There(text)) => Event::CommitFailed { attempt, text },
                Err(Trouble::Here(text)) => Event::Broken(End::Failed { kind: Kind::Data, text }),
            }
        });
    }

    /// Gives the whole output its final name.
    pub(super) fn complete(&mut self) {
        self.desk.completing = true;
        let (collector, output, stage) = (self.collector.clone(), self.output.clone(), self.last_stage);
        let parts = match stage {
            Stage::Map => self.splits.len() as u32,
            Stage::Reduce => self.scheduler.reduces(),
        };
        self.desk.commits.spawn(async move {
            let error = match collector.complete(parts).await {
                Ok(Completed::Whole) => return Event::Completed,
                Ok(Completed::Without(parts)) => return lost(stage, parts),
                Err(error) => error,
            };
            let kind = error.downcast_ref().map_or(Kind::Data, |fault: &Fault| fault.kind);
            let text = match output.dataset() {
                Some(_) => format!("{error:#}"),
                None => format!("{error:#}; the complete result stays in {}", output.temporary().display()),
            };
            Event::Broken(End::Failed { kind, text })
        });
    }

    /// A worker is no more: the parts of a dataset that went with it are made again. While the whole is put in its place,
    /// that is found out there.
    pub(super) fn lose_parts(&mut self, worker: WorkerId, events: &mut Vec<Event>) {
        let Some(dataset) = self.output.dataset().filter(|_| !self.desk.completing) else { return };
        let parts = dataset.lose(worker);
        if !parts.is_empty() {
            events.push(lost(self.last_stage, parts));
        }
    }

    /// Takes in how a commit ended, or the end of the whole.
    pub(super) fn take_committed(&mut self, event: Event, events: &mut Vec<Event>) {
        if matches!(event, Event::Completed | Event::PartsLost(_)) {
            self.desk.completing = false;
        }
        events.push(event);
    }
}

fn lost(stage: Stage, parts: Vec<u32>) -> Event {
    Event::PartsLost(parts.into_iter().map(|index| TaskId { stage, index }).collect())
}

/// Saves an attempt's stderr. One that is lost with its worker is no reason to stop; its end was in the failure.
pub(super) async fn fetch_log(collector: Collector, attempt: AttemptId, worker: WorkerId, path: PathBuf) {
    let _lost = collector.save_stderr(attempt, worker, path).await;
}
