//! How much input a map task gets where nobody says it: so little that each slot gets several tasks and fast workers take
//! more of them, and not so little that starting a task is what takes the time.

use std::num::NonZero;
use std::thread::available_parallelism;

use crate::fleet::{Fleet, HostSpec, Place};
use crate::reliability::Memory;
use crate::units::Bytes;

/// Tasks for each slot: with four, a slot that ends last has kept the others waiting for a quarter of their time at most.
const TASKS_PER_SLOT: u64 = 4;
const SMALLEST: Bytes = Bytes::mebi(1);
const LARGEST: Bytes = Bytes::mebi(64);

/// Slots of a host that was never met and of which nothing is said.
const SLOTS_GUESSED: u64 = 4;

/// The size of the splits of so much input on so many slots.
pub fn split_size(input: Bytes, slots: u64) -> Bytes {
    let tasks = slots.saturating_mul(TASKS_PER_SLOT).max(1);
    Bytes(input.0.div_ceil(tasks)).clamp(SMALLEST, LARGEST)
}

/// The slots of a fleet of which no host was asked yet: what is said of a host, else what is said of all, else what it had
/// when it was met last.
pub fn slots(fleet: &Fleet, usual: Option<u32>, memory: &Memory) -> u64 {
    let said = |host: &HostSpec| host.slots.or(usual).map(u64::from);
    let met = |host: &HostSpec| match host.place {
        Place::ThisMachine => available_parallelism().ok().map(|cores| NonZero::get(cores) as u64),
        Place::Ssh => memory.get(&host.name()).map(|record| u64::from(record.slots)).filter(|slots| *slots > 0),
    };
    fleet.hosts.iter().map(|host| said(host).or_else(|| met(host)).unwrap_or(SLOTS_GUESSED)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Origin;
    use crate::reliability::Record;

    #[test]
    fn each_slot_gets_several_splits_of_bearable_size() {
        let check =
            |input, slots, size| assert_eq!(split_size(Bytes::mebi(input), slots), Bytes::mebi(size), "{input}");
        check(80, 2, 10);
        check(96, 8, 3);
        check(3, 8, 1);
        check(0, 2, 1);
        check(100_000, 8, 64);
        check(80, 0, 64);
    }

    #[test]
    fn slots_are_those_that_are_said_or_known() {
        let host = |name: &str, slots| HostSpec { slots, ..HostSpec::new(Place::Ssh, name) };
        let hosts = vec![host("said", Some(3)), host("met", None), host("new", None), host("never-ready", None)];
        let fleet = Fleet { hosts, origin: Origin::List("a list".into()) };
        let record = |slots| Record { slots, ..Record::default() };
        let memory = Memory::from([
            ("said".to_owned(), record(16)),
            ("met".to_owned(), record(16)),
            ("never-ready".to_owned(), record(0)),
        ]);
        assert_eq!(slots(&fleet, None, &memory), 3 + 16 + 4 + 4);
        assert_eq!(slots(&fleet, Some(1), &memory), 3 + 1 + 1 + 1);
    }
}
