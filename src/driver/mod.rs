//! The driver: the one place where scheduler, workers, journal and display meet.
//!
//! [`run()`] sets a job up and takes it down; [`resume()`] goes on with one whose driver is gone. In between the [`engine`]
//! turns what [`host`]s say ([`shared`]) into scheduler events and performs the actions that come out, in order. Bytes never
//! pass through the engine: [`feed`] serves them to workers, [`ask`] and [`listing`] bring in what is wanted from outside,
//! [`crew`] tells who is new on a list of hosts. [`collect`] fetches results, [`output`] gives them their final names;
//! [`peers`] introduces workers to each other. [`state`] is what a job leaves on this machine, [`stored`] what it takes to go
//! on with it, `remember` what it leaves in the memory of hosts.
//!
//! The driver decides nothing about tasks; that is the scheduler's.

pub mod ask;

mod collect;
mod copies;
mod crew;
mod engine;
mod feed;
mod find;
mod host;
mod line;
mod listing;
mod opening;
mod output;
mod outside;
mod pack;
mod peers;
mod prepare;
mod remember;
mod resume;
mod run;
mod settle;
mod shared;
mod starter;

pub mod state;
pub mod stored;

pub use find::find;
pub use listing::Finder;
pub use output::OutputFolder;
pub use peers::Shuffle;
pub use resume::{Force, Resumption, resume};
pub use run::{Means, Request, run};
pub use shared::Timing;
