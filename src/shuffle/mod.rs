//! The shuffle as pure code over records and files: what a record's key is, which partition it belongs to, how records
//! are sorted within a memory budget, written as a segment, and merged again.
//!
//! A map attempt pushes records into a [`sort`]er, which writes one [`segment`] file: all partitions one after the other,
//! each sorted by key, with an index at the end. A reduce attempt [`merge`]s its partition of every segment, in
//! [`passes`] where there are many, and walks the [`group`]s of what comes out. Order is
//! bytewise by key; equal keys keep the order in which they came (map number, then place in the map's output), so the
//! bytes that come out do not depend on who ran what.
//!
//! Nothing here knows of hosts, sockets or processes.

mod batch;
mod beside;
mod block;
mod combine;
mod entry;
mod frame;
pub mod group;
mod known;
pub mod mask;
pub mod merge;
mod order;
pub mod partition;
pub mod passes;
pub mod policy;
pub mod reader;
pub mod record;
mod run;
pub mod segment;
pub mod sort;
pub mod window;
