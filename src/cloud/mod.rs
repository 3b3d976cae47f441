//! Machines on demand: clusters of EC2 instances, from nothing to a login, and back to nothing.
//!
//! A [`Request`] becomes a [`Cluster`], whose record lies on this machine before EC2 is asked for anything
//! ([`record`]). [`launch`] makes what it needs and asks for machines zone by zone, in the order that [`campaign`]
//! decides; [`wait`] waits until they let us in, and [`welcome`] replaces the host key that [`user_data`] gave them by
//! one of their own. [`discover`] turns a cluster into hosts, [`admit`] into those of a job, and [`leave`] lets some of
//! them go. [`end`] removes all of it, [`reap`] finds what nobody claims. [`api`] is the thin layer over AWS's SDK.
//!
//! Three things hold throughout. No host key is trusted because a host shows it. Nothing exists without tags that say
//! whose it is and until when. And no step assumes that the one before it was finished by the same process.

pub mod admit;
pub mod allow;
pub mod api;
pub mod bring_up;
pub mod caller;
pub mod campaign;
pub mod discover;
pub mod end;
pub mod interrupt;
pub mod keys;
pub mod labels;
pub mod launch;
pub mod leave;
pub mod machine;
pub mod pace;
pub mod reap;
pub mod record;
pub mod request;
mod ssh_config;
pub mod user_data;
pub mod wait;
pub mod welcome;

pub use api::Api;
pub use machine::{Machine, State};
pub use pace::Pace;
pub use record::{Cluster, Clusters, Folder, Phase, Record};
pub use request::{Cidr, ClusterName, Market, Purchase, Reach, Request};
pub use ssh_config::write_login_config;
