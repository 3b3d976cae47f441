//! What driver and worker say to each other.
//!
//! Both ends are the same build, checked in the [`control::Hello`], so messages are serde enums in length-delimited
//! postcard frames. A worker's socket takes two kinds of connection, each over an ssh connection of its own: one for
//! [`control`], small and never blocked, and one for [`bulk`]: every byte of input, segment and output is pulled by the
//! one who needs it, in streams that each have credit, so that a blocked reader stalls nobody else. Workers come to each other
//! through a second socket: [`peer`]; so do owners of data folders: [`meeting`]. [`copy`] is what workers keep of a job for
//! another driver.

pub mod bulk;
pub mod control;
pub mod copy;
pub mod data;
pub mod frames;
pub mod meeting;
pub mod peer;

mod marker;

pub use marker::{MARKER, skip_to_marker};

/// The name of a worker's socket in its scratch folder. It is bound and reached by relative path, since the whole path
/// of a socket must be shorter than 108 bytes (unix(7)).
pub const SOCKET: &str = "socket";
