//! What was asked for, resolved: the job, and the stages and tasks that it becomes.
//!
//! [`spec`] holds the job as every part of the program sees it, [`mod@file`] a job as it was typed, [`mod@format`] the
//! part of that about keys, [`builtin`] the table of jobs that need no program; [`document`] is how typed TOML is read.
//! Nothing here reads files or knows of hosts.

pub mod builtin;
pub mod document;
pub mod file;
pub mod format;
pub mod spec;

pub use spec::{Builtin, FileForm, Job, Limits, Output, OutputDataset, OutputPlace, ProcessLimits, ShippedFile, Step};
