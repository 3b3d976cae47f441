//! `runner`: batch and map-reduce work over plain ssh.
//!
//! One binary is the command line, the driver and the worker. Modules stand in ranks, and imports point only downwards
//! (`tests/architecture.rs` holds the table).

pub mod clock;
pub mod error;
pub mod facts;
pub mod ids;
pub mod input;
pub mod job;
pub mod protocol;
pub mod scheduler;
pub mod shuffle;
pub mod units;
pub mod worker;
