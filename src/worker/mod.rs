//! The worker side: runs tasks, serves segments, cleans up.
//!
//! [`serve`] is the one process of a job on a host, [`attach`] what joins it to an ssh channel, [`supervise`] what stands
//! between it and each user command. Within `serve`, a [`session`] obeys the driver; each [`attempt`] fetches its input,
//! waits for a slot and runs on threads of its own: [`map`] or [`reduce`], with the steps in [`builtin`] or
//! [`through`] a command. What others need of the results is pulled from [`answer`]; other workers come and are gone to
//! by [`peers`].
//!
//! What it holds of datasets lies in a folder of its own, [`data`].
//!
//! A worker never decides what runs, never resolves a name, listens on no network port, and leaves nothing behind.

mod answer;
mod attempt;
mod blame;
mod builtin;
mod command;
mod context;
mod control;
mod descriptor;
mod fetch;
mod leases;
mod link;
mod load;
mod map;
mod map_input;
mod memory;
mod meter;
mod outlive;
mod part;
mod processes;
mod receive;
mod reduce;
mod scratch;
mod session;
mod ship;
mod stderr;
mod steady;
mod through;
mod watch;

pub mod attach;
pub mod data;
pub mod in_use;
pub mod kept;
pub mod owner;
pub mod peers;
pub mod serve;
pub mod supervise;

pub use scratch::{part_in, part_name};
