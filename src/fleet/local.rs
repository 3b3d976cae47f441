//! This machine as a worker: what there is when no host is named.
//!
//! It goes through the same worker code as any host, over a link that needs no ssh.

use super::{Fleet, HostSpec, Origin, Place};

/// A fleet of this machine alone. Like any host's that does not say, its slots are for the settings to tell.
pub fn fleet() -> Fleet {
    Fleet { hosts: vec![HostSpec::new(Place::ThisMachine, "local")], origin: Origin::ThisMachine }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_alone() {
        let fleet = fleet();
        assert_eq!(fleet.names(), ["local"]);
        assert_eq!(fleet.hosts[0].slots, None);
        assert_eq!(fleet.origin.to_string(), "this machine");
    }
}
