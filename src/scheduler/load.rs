//! Hosts that are loaded by others, or short of memory or disk: nothing is started there until that is over.
//!
//! What waits there for a slot goes elsewhere, what runs may end. And hosts whose slots other jobs have: what waits for
//! them moves to free slots elsewhere.

use super::Scheduler;
use super::rules::Rules;
use super::worker::Lent;
use crate::facts::{Fact, HostLoad, Shortage};
use crate::ids::WorkerId;

/// A host that was short of something must have so much more than the least of it, in percent, before it gets tasks
/// again: else each task that ends or starts could turn it over.
const EASED_PERCENT: u64 = 125;

impl Scheduler {
    pub(super) fn on_worker_load(&mut self, worker: WorkerId, load: HostLoad) {
        let Some(known) = self.fleet.workers.get(&worker) else {
            self.stale += 1;
            return;
        };
        let host = known.host;
        let lent = Lent { attempts: load.awaiting_slots, holders: load.slot_holders.clone() };
        if known.lent != lent {
            self.fleet.set_lent(worker, lent);
            self.change();
        }
        let was = self.fleet.host(host).shortage;
        let shortage = self.rules.shortage(&load, was);
        self.fleet.set_load(host, load, shortage);
        match (was, shortage) {
            (None, Some(shortage)) => self.hold(worker, shortage),
            (Some(_), None) => {
                for worker in self.fleet.workers_of(host) {
                    self.record(Fact::WorkerEased { worker });
                }
                self.change();
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    fn hold(&mut self, worker: WorkerId, shortage: Shortage) {
        for worker in self.fleet.workers_of(self.fleet.host_of(worker)) {
            self.record(Fact::WorkerHeld { worker, shortage });
            self.call_back_queue(worker);
        }
        self.change();
    }
}

impl Rules {
    /// What a host is short of, given what it was short of before.
    fn shortage(&self, load: &HostLoad, was: Option<Shortage>) -> Option<Shortage> {
        let HostLoad { others_percent, cores, memory_free, disk_free, .. } = *load;
        let margin = if was.is_some() { EASED_PERCENT } else { 100 };
        let is_short = |free: u64, least: u64| u128::from(free) * 100 < u128::from(least) * u128::from(margin);
        let is_loaded = self
            .load_percent_max
            .is_some_and(|max| u64::from(others_percent) * margin > u64::from(max) * u64::from(cores.max(1)) * 100);
        if is_short(disk_free.0, self.disk_free_min.0) {
            Some(Shortage::Disk { free: disk_free })
        } else if is_short(memory_free.0, self.memory_free_min.0) {
            Some(Shortage::Memory { free: memory_free })
        } else {
            is_loaded.then_some(Shortage::Processors { others_percent, cores })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Bytes;

    #[test]
    fn hosts_are_short_below_the_least_and_until_well_above_it() {
        let rules = Rules {
            load_percent_max: Some(200),
            memory_free_min: Bytes(1000),
            disk_free_min: Bytes(100),
            ..Rules::default()
        };
        let some = Shortage::Memory { free: Bytes(0) };
        let check = |others_percent: u32, memory: u64, disk: u64, was: Option<Shortage>, expected: Option<Shortage>| {
            let load = HostLoad {
                load_percent: 10_000,
                others_percent,
                cores: 4,
                memory_free: Bytes(memory),
                disk_free: Bytes(disk),
                ..HostLoad::default()
            };
            assert_eq!(rules.shortage(&load, was), expected, "{load:?} {was:?}");
        };
        check(800, 1000, 100, None, None);
        check(801, 1000, 100, None, Some(Shortage::Processors { others_percent: 801, cores: 4 }));
        check(0, 999, 100, None, Some(Shortage::Memory { free: Bytes(999) }));
        check(900, 999, 99, None, Some(Shortage::Disk { free: Bytes(99) }));
        check(0, 1100, 200, Some(some), Some(Shortage::Memory { free: Bytes(1100) }));
        check(700, 2000, 200, Some(some), Some(Shortage::Processors { others_percent: 700, cores: 4 }));
        check(600, 1250, 200, Some(some), None);
    }
}
