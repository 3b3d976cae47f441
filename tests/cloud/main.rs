//! Clusters on EC2: launches against an EC2 of our own that fails by order and by seed, commands against moto's server, and
//! a job on ssh hosts that stand in for moto's instances. The SDK is the real one throughout.
//!
//! Where moto or the hosts cannot be made, their tests say SKIPPED on stderr and pass.

#![cfg(feature = "ec2")]

mod commands;
#[path = "../common/mod.rs"]
mod common;
mod during;
#[path = "../ec2/http.rs"]
mod http;
mod launches;
mod model;
#[path = "../ec2/moto.rs"]
mod moto;
mod requests;
mod testbed;

use std::io::Write;

/// Runs a test's future.
fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(test)
}

/// Past the capture of the test harness, so that it is seen.
fn skip(why: &str) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "\nSKIPPED: {name}: {why}");
}
