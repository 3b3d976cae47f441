//! What was asked for, resolved: the job, and the stages and tasks that it becomes.
//!
//! [`spec`] holds the job as every part of the program sees it. Nothing here reads files or knows of hosts.

pub mod spec;

pub use spec::{Builtin, FileForm, Job, Limits, Output, ShippedFile, Step};
