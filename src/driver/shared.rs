//! What the tasks of all hosts of a job share, and what they tell the engine.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::feed::Feed;
use super::peers::Introductions;
use crate::ids::{AttemptId, JobId, WorkerId};
use crate::protocol::control::{Assignment, Held, Reign, ToDriver};
use crate::transport::Transport;

/// What a host's task tells the engine.
#[derive(Debug)]
pub enum Note {
    /// It can take tasks.
    Joined {
        /// Attempts at once.
        slots: u32,
    },
    /// It cannot take part; says why, and what helps.
    Refused(String),
    /// Something that the user should know of it.
    Advice(String),
    /// It says something.
    Said(ToDriver),
    /// Over a new connection it tells all that it has.
    Holds(Vec<(AttemptId, Held)>),
    /// Nothing was heard for a while, or its connection broke.
    Suspect,
    /// It was heard of again.
    Back,
    /// It is gone, after it had joined.
    Lost(String),
    /// It obeys another driver.
    Fenced(Reign),
    /// A part of the input is wanted that it had, and nobody has it any more.
    InputGone,
}

/// What all hosts of a job share.
pub struct Shared {
    /// The job's id.
    pub job: JobId,
    /// This driver's build.
    pub build: String,
    /// This driver's turn.
    pub reign: Reign,
    /// How hosts are reached.
    pub transport: Transport,
    /// What they are served.
    pub feed: Arc<Feed>,
    /// How workers get to know each other.
    pub introductions: Arc<Introductions>,
    /// What each is told, but for who it is.
    pub assignment: Assignment,
    /// When silence counts.
    pub timing: Timing,
    /// Lines that are being closed.
    pub closing: TaskTracker,
    /// Where notes go.
    pub notes: mpsc::UnboundedSender<(WorkerId, Note)>,
}

/// When silence counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// A worker that is silent for so long gets nothing new.
    pub suspect_after: Duration,
    /// And is given up after so long.
    pub lost_after: Duration,
    /// How long a worker stays without a driver.
    pub orphan_grace: Duration,
}
