//! Datasets as they are typed: put, listed, read, mended and removed, on workers of this machine and on real ssh hosts
//! that fill up, vanish and come back; and jobs that read and write them.

#[path = "../common/mod.rs"]
mod common;
#[path = "../testbed/mod.rs"]
mod testbed;

mod copies;
mod desk;
mod hosts;
mod resume;
