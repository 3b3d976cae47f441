//! Results of finished attempts that get their final names.

use std::path::PathBuf;

use super::Engine;
use crate::driver::collect::{Collector, Trouble};
use crate::error::{Fault, Kind};
use crate::facts::End;
use crate::ids::{AttemptId, WorkerId};
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

    /// Gives the whole output its final name, and tells how the job ends.
    pub(super) fn publish_output(&mut self) -> anyhow::Result<End> {
        self.journal.sync()?;
        let Err(error) = self.collector.finish() else { return Ok(End::Done) };
        let kind = error.downcast_ref().map_or(Kind::Data, |fault: &Fault| fault.kind);
        if self.output.dataset().is_some() {
            return Ok(End::Failed { kind, text: format!("{error:#}") });
        }
        self.desk.unpublished = true;
        let place = self.output.temporary().display();
        Ok(End::Failed { kind, text: format!("{error:#}; the complete result stays in {place}") })
    }
}

/// Saves an attempt's stderr. One that is lost with its worker is no reason to stop; its end was in the failure.
pub(super) async fn fetch_log(collector: Collector, attempt: AttemptId, worker: WorkerId, path: PathBuf) {
    let _lost = collector.save_stderr(attempt, worker, path).await;
}
