//! The hosts of a job as the engine needs them, and what starts the task of each.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::collect::PartPlace;
use super::host::{self, Entrance};
use super::shared::Shared;
use super::state::Remains;
use crate::datasets::JobOutput;
use crate::fleet::HostSpec;
use crate::ids::WorkerId;
use crate::protocol::control::ToWorker;

/// A host as the engine needs it.
pub struct Host {
    /// Its name for people.
    pub name: String,
    /// Where its orders go.
    pub orders: mpsc::UnboundedSender<ToWorker>,
    /// Where the parts of its attempts are.
    pub parts: PartPlace,
    /// Whether it waits for news of segments.
    pub reads: Reads,
    /// How many of the published segments it was told of,
    pub told: usize,
    /// and of how many of the other workers.
    pub acquainted: usize,
    /// Whether it may still join.
    pub pending: bool,
    /// Whether it has joined and was not given up.
    pub present: bool,
    /// Whether it takes part no longer, so that what it says is of no interest.
    pub dismissed: bool,
}

/// What the attempts on a host read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Splits only, so far.
    Splits,
    /// Segments too.
    Segments,
}

impl Host {
    /// A host that was not heard of yet.
    pub fn new(name: String, orders: mpsc::UnboundedSender<ToWorker>, parts: PartPlace) -> Self {
        Host {
            name,
            orders,
            parts,
            reads: Reads::Splits,
            told: 0,
            acquainted: 0,
            pending: true,
            present: false,
            dismissed: false,
        }
    }

    /// A host that was given up under an earlier driver: nobody takes its orders.
    pub fn gone(name: String) -> Self {
        let orders = mpsc::unbounded_channel().0;
        Host { pending: false, ..Host::new(name, orders, PartPlace::Here) }
    }

    /// Lets it go: its worker ends.
    pub fn dismiss(&mut self) {
        let _gone = self.orders.send(ToWorker::Shutdown);
        let (nobody, _) = mpsc::unbounded_channel();
        self.orders = nobody;
        (self.pending, self.present, self.dismissed) = (false, false, true);
    }
}

/// Starts the task of each host.
pub struct Starter {
    shared: Arc<Shared>,
    /// What knows where parts can lie, where they stay on workers.
    output: Option<Arc<JobOutput>>,
    tasks: JoinSet<Remains>,
}

impl Starter {
    /// For hosts that share this.
    pub fn new(shared: Arc<Shared>, output: Option<Arc<JobOutput>>) -> Self {
        Starter { shared, output, tasks: JoinSet::new() }
    }

    /// Connects a host, as far as the transport lets it, and what is to be known of it meanwhile.
    pub fn start(&mut self, worker: WorkerId, name: String, host: HostSpec, entrance: Entrance) -> Host {
        let (orders, orders_in) = mpsc::unbounded_channel();
        let parts = PartPlace::of(&host, worker);
        if let Some(output) = &self.output {
            output.seat(worker, &name, &host);
        }
        // Whoever wants something from it waits.
        self.shared.feed.suspend(worker);
        self.tasks.spawn(host::run(Arc::clone(&self.shared), worker, host, entrance, orders_in));
        Host::new(name, orders, parts)
    }

    /// Waits until all have ended; says whether a worker may have left something on its host.
    pub async fn wait(&mut self) -> Remains {
        let mut remains = Remains::Nothing;
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(Remains::Nothing) => {}
                Ok(Remains::Something) | Err(_) => remains = Remains::Something,
            }
        }
        remains
    }
}
