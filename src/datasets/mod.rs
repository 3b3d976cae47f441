//! Datasets: put, listed, read, checked, repaired and removed, over all hosts at once.
//!
//! Every operation opens a stream to the data folder of each host ([`Stations`]), asks them all what lies there, and folds
//! the answers into a [`View`]: which generation of each name counts, and where its parts are. There is no other account of
//! it. What is put is cut into parts ([`mod@cut`]), spread ([`spread`]) and stored ([`mod@put`]), and becomes visible at once when
//! the last step writes the manifests. Who changes a name holds its lock on the hosts for as long as its streams last, so a
//! killed process leaves none. Copies of what was put go from host to host ([`ways`]).
//!
//! A job reads and writes datasets through [`input`] and [`output`].

mod change;
mod check;
mod commit;
mod complete;
mod cut;
mod get;
mod input;
mod lock;
mod output;
mod put;
mod reading;
mod repair;
mod resumed;
mod select;
mod spool;
mod spread;
mod stations;
mod take_up;
mod uploads;
mod view;
mod ways;

pub use change::{remove, rename};
pub use check::{Finding, check};
pub use complete::{Completed, Lines};
pub use cut::{Cutting, Planned, Source, cut, whole};
pub use get::{End, cat, get, head, merge, tail};
pub use input::{input_files, sample};
pub use output::{JobOutput, plan_output};
pub use put::{Put, put, put_stream};
pub use repair::{Repaired, repair};
pub use select::{Selected, select};
pub use stations::{Copies, Station, Stations};
pub use take_up::Found;
pub use uploads::Uploads;
pub use view::{Dataset, HostFacts, PartView, View};
pub use ways::Moved;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

/// What is shown of a long operation while it runs.
#[derive(Debug, Default)]
pub struct Watch {
    /// Bytes that have passed, of all copies.
    pub done: Arc<AtomicU64>,
    /// Bytes that will.
    pub total: AtomicU64,
    /// What the user should know; taken and said by who shows it.
    pub notes: Mutex<Vec<String>>,
}

impl Watch {
    /// Something that the user should know.
    pub fn note(&self, text: impl Into<String>) {
        self.notes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(text.into());
    }
}
