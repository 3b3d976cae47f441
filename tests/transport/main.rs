//! The transport against real sshds: every odd thing about a host that the design names, met for real.

mod commands;
mod endings;
mod hindrances;
mod hosts;
mod rig;
#[path = "../testbed/mod.rs"]
mod testbed;
