//! This machine as a worker: what there is when no host is named.
//!
//! It goes through the same worker code as any host, over a link that needs no ssh.

use std::num::NonZero;
use std::thread::available_parallelism;

use super::{Fleet, HostSpec, Origin, Place};

/// A fleet of this machine alone.
pub fn fleet() -> Fleet {
    let mut host = HostSpec::new(Place::ThisMachine, "local");
    fill_in(&mut host);
    Fleet { hosts: vec![host], origin: Origin::ThisMachine }
}

/// Gives this machine its number of slots, where none was written: the cores that this process may use, which heeds
/// affinity and cgroup quotas. Other hosts are left alone: they are asked when they are reached.
pub(super) fn fill_in(host: &mut HostSpec) {
    match host.place {
        Place::ThisMachine => host.slots = host.slots.or_else(|| Some(cores())),
        Place::Ssh => {}
    }
}

fn cores() -> u32 {
    available_parallelism().map_or(1, |cores| u32::try_from(NonZero::get(cores)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_slot_a_core() {
        let fleet = fleet();
        assert_eq!(fleet.names(), ["local"]);
        assert_eq!(fleet.hosts[0].slots, Some(cores()));
        assert_eq!(fleet.origin.to_string(), "this machine");
    }

    #[test]
    fn slots_that_were_written_stay() {
        let mut host = HostSpec { slots: Some(1000), ..HostSpec::new(Place::ThisMachine, "local") };
        fill_in(&mut host);
        assert_eq!(host.slots, Some(1000));
        let mut host = HostSpec::new(Place::Ssh, "node1");
        fill_in(&mut host);
        assert_eq!(host.slots, None);
    }
}
