//! Whole jobs on real hosts that come and go and rot, and that end in every way there is: nothing of ours is left.

#[path = "../common/mod.rs"]
mod common;
#[path = "../fleets/mod.rs"]
mod fleets;
#[path = "../testbed/mod.rs"]
mod testbed;

mod elastic;
mod leftovers;
mod rot;

/// The hosts that all tests here share.
fn with_fleet(test: impl FnOnce(&fleets::Fleet)) {
    fleets::with_fleet("field", 3, test);
}
