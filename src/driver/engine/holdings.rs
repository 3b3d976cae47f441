//! What a worker tells over a new connection, and what one tells that obeys another driver.

use super::{Engine, Reads};
use crate::error::Kind;
use crate::facts::End;
use crate::ids::{AttemptId, Stage, WorkerId};
use crate::protocol::control::{Held, Reign};
use crate::scheduler::Event;

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
}
