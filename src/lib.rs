//! `runner`: batch and map-reduce work over plain ssh.
//!
//! One binary is the command line, the driver and the worker. Modules stand in ranks, and imports point only downwards
//! (`tests/architecture.rs` holds the table).

// The documentation is for those who work on the program: it leads to private parts too.
#![allow(rustdoc::private_intra_doc_links)]

pub mod cli;
pub mod clock;
#[cfg(feature = "ec2")]
pub mod cloud;
pub mod dataset;
pub mod datasets;
pub mod driver;
pub mod error;
pub mod facts;
pub mod fleet;
pub mod folders;
pub mod ids;
pub mod input;
pub mod job;
pub mod journal;
pub mod pipes;
pub mod progress;
pub mod protocol;
pub mod reliability;
pub mod report;
pub mod scheduler;
pub mod settings;
pub mod shuffle;
pub mod transport;
pub mod units;
pub mod worker;
