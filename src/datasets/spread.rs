//! Which host takes a part: by slots, as far as disks have room.
//!
//! Copies of a part are never in one data folder, and on different machines where there are enough.

use crate::dataset::StoreId;

/// What is left free on a disk, if any other has more: the host is not ours alone.
const RESERVE_BYTES: u64 = 256 << 20;

/// A host that can take parts.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its place in the list of hosts.
    pub at: usize,
    /// The machine: hosts with the same one fall together.
    pub machine: String,
    /// Its data folder.
    pub store: StoreId,
    /// Bytes free there when it was asked.
    pub free: u64,
    /// How much of the work it takes.
    pub slots: u32,
    /// Bytes that were given to it since.
    pub given: u64,
    /// Whether it failed us.
    pub out: bool,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    /// In the order of the list of hosts, one for each data folder.
    pub targets: Vec<Target>,
}

impl Spread {
    /// Chooses a host for a part of so many bytes, of which `taken` have copies already; counts it there. None if all
    /// others hold one or are out.
    pub fn choose(&mut self, bytes: u64, taken: &[usize]) -> Option<usize> {
        let holders: Vec<&Target> = self.targets.iter().filter(|target| taken.contains(&target.at)).collect();
        let stores: Vec<StoreId> = holders.iter().map(|target| target.store).collect();
        let machines: Vec<String> = holders.iter().map(|target| target.machine.clone()).collect();
        let best = self
            .targets
            .iter_mut()
            .filter(|target| !target.out && !stores.contains(&target.store) && !taken.contains(&target.at))
            .min_by_key(|target| {
                let left = target.free.saturating_sub(target.given);
                let near = machines.contains(&target.machine);
                let full = left < bytes.saturating_add(RESERVE_BYTES);
                // Of full disks the one with most room; else the least work for each slot.
                let room = if full { u64::MAX - left } else { 0 };
                let work = (target.given + bytes) / u64::from(target.slots.max(1));
                // Of hosts alike the one with most room, so that small datasets do not all lie on the first.
                (near, full, room, work, u64::MAX - left, target.at)
            })?;
        best.given += bytes;
        Some(best.at)
    }

    /// Counts what lies on a host already.
    pub fn give(&mut self, at: usize, bytes: u64) {
        self.targets.iter_mut().filter(|target| target.at == at).for_each(|target| target.given += bytes);
    }

    /// A host that is full or gone gets nothing more.
    pub fn leave_out(&mut self, at: usize) {
        self.targets.iter_mut().filter(|target| target.at == at).for_each(|target| target.out = true);
    }

    /// Whether a host was left out.
    pub fn is_out(&self, at: usize) -> bool {
        self.targets.iter().any(|target| target.at == at && target.out)
    }

    /// How many can take parts.
    pub fn usable(&self) -> usize {
        self.targets.iter().filter(|target| !target.out).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(hosts: &[(&str, u64, u64, u32)]) -> Spread {
        let target = |(at, (machine, store, free, slots)): (usize, &(&str, u64, u64, u32))| Target {
            at,
            machine: (*machine).to_owned(),
            store: StoreId(*store),
            free: free << 30,
            slots: *slots,
            given: 0,
            out: false,
        };
        Spread { targets: hosts.iter().enumerate().map(target).collect() }
    }

    #[test]
    fn work_goes_by_slots() {
        let mut spread = spread(&[("a", 1, 100, 1), ("b", 2, 100, 3)]);
        let chosen: Vec<_> = (0..8).filter_map(|_| spread.choose(1000, &[])).collect();
        assert_eq!(chosen.iter().filter(|at| **at == 1).count(), 6, "{chosen:?}");
    }

    #[test]
    fn small_datasets_go_where_most_room_is() {
        let mut spread = spread(&[("a", 1, 90, 1), ("b", 2, 100, 1), ("c", 3, 95, 1)]);
        assert_eq!((spread.choose(10, &[]), spread.choose(10, &[1])), (Some(1), Some(2)));
    }

    #[test]
    fn a_full_disk_is_the_last_resort() {
        let mut spread = spread(&[("a", 1, 0, 9), ("b", 2, 100, 1)]);
        assert_eq!(spread.choose(1000, &[]), Some(1));
        assert_eq!(spread.choose(1000, &[1]), Some(0));
        spread.leave_out(1);
        assert_eq!((spread.choose(1000, &[]), spread.usable()), (Some(0), 1));
    }

    #[test]
    fn copies_are_on_other_machines_and_never_in_one_folder() {
        let mut spread = spread(&[("a", 1, 100, 1), ("a", 2, 100, 1), ("b", 3, 100, 1), ("c", 1, 100, 1)]);
        assert_eq!(spread.choose(10, &[0]), Some(2));
        assert_eq!(spread.choose(10, &[0, 2]), Some(1));
        assert_eq!(spread.choose(10, &[0, 1, 2]), None);
    }
}
