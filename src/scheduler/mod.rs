//! Decides who runs what: a value that events go into and actions come out of.

mod event;

pub use event::{Action, Event};
