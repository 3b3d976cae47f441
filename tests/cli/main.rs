//! Whole runs of the binary on this machine: what is typed, what comes out, and what is left behind.

#[path = "../common/mod.rs"]
mod common;

mod bounds;
mod builtins;
mod bytes;
mod commands;
mod control;
mod ends;
mod limits;
mod refusals;
mod resume;
mod sharing;
mod shown;
