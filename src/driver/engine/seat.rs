//! A host's place at the engine: where its orders go, and what it was told.

use tokio::sync::mpsc;

use crate::driver::collect::PartPlace;
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
    pub(super) reads: Reads,
    /// How many of the published segments it was told of,
    pub(super) told: usize,
    /// and of how many of the other workers.
    pub(super) acquainted: usize,
    /// Whether it may still join.
    pub(super) pending: bool,
    /// Whether it has joined and was not given up.
    pub(super) present: bool,
}

/// What the attempts on a host read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// Splits only, so far.
    Splits,
    /// Segments too.
    Segments,
}

impl Host {
    /// A host that was not heard of yet.
    pub fn new(name: String, orders: mpsc::UnboundedSender<ToWorker>, parts: PartPlace) -> Self {
        Host { name, orders, parts, reads: Reads::Splits, told: 0, acquainted: 0, pending: true, present: false }
    }

    /// A host that was given up under an earlier driver: nobody takes its orders.
    pub fn gone(name: String) -> Self {
        let orders = mpsc::unbounded_channel().0;
        Host { pending: false, ..Host::new(name, orders, PartPlace::Here) }
    }
}
