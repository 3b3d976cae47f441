//! How loaded the host is, and how much of that is not ours.
//!
//! The kernel's load average says how many processes run or want to, smoothed over a minute. Ours are counted and smoothed
//! in the same way, so that the difference is what others do: a job must not be held back by its own work.

use std::path::Path;
use std::time::Duration;

use super::leases::Leases;
use super::memory;
use super::processes::{Census, Pid, wants_processor};
use crate::clock::{self, Moment};
use crate::facts::HostLoad;
use crate::units::Bytes;

/// How often the driver is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How often the kernel counts for its load average, and over what time it smooths (LOAD_FREQ and EXP_1 of Linux).
const COUNT_EVERY: Duration = Duration::from_secs(5);
const SMOOTHED_OVER: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Default)]
pub struct LoadMeter {
    told: Option<Moment>,
    counted: Option<Moment>,
    /// Our part of the load average.
    ours: f64,
}

impl LoadMeter {
    /// The load, if it is time to tell the driver. It reads files in /proc.
    pub fn tell(&mut self, leases: &Leases, scratch: &Path) -> Option<HostLoad> {
        let now = clock::now();
        if self.told.is_some_and(|told| now.since(told) < TELL_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(self.measure(leases, scratch))
    }

    /// The load now.
    pub fn measure(&mut self, leases: &Leases, scratch: &Path) -> HostLoad {
        let now = clock::now();
        if self.counted.is_none_or(|counted| now.since(counted) >= COUNT_EVERY) {
            self.count(now, running_below(&leases.workers()));
        }
        let load = load_average();
        let waiting = leases.waiting();
        HostLoad {
            load_percent: percent(load),
            others_percent: percent(load - self.ours),
            cores: std::thread::available_parallelism()
                .map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
            memory_free: memory::free(),
            disk_free: disk_free(scratch),
            awaiting_slots: waiting.attempts,
            slot_holders: waiting.holders,
        }
    }

    /// The first count stands for the time before: what runs for other jobs of ours has long been in the kernel's average.
    fn count(&mut self, now: Moment, running: u32) {
        let keeps = match self.counted {
            Some(counted) => (-now.since(counted).as_secs_f64() / SMOOTHED_OVER.as_secs_f64()).exp(),
            None => 0.0,
        };
        self.ours = self.ours * keeps + f64::from(running) * (1.0 - keeps);
        self.counted = Some(now);
    }
}

/// Threads that run or want to, of some processes and all below them.
fn running_below(roots: &[Pid]) -> u32 {
    let mut all = Census::take().below(roots).processes;
    all.extend(roots);
    all.iter().map(|pid| wants_processor(*pid)).sum()
}

/// That of the last minute; 0 where it is not to be had.
fn load_average() -> f64 {
    let text = fs_err::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0.0)
}

fn percent(load: f64) -> u32 {
    (load.max(0.0) * 100.0).round() as u32
}

fn disk_free(folder: &Path) -> Bytes {
    // A disk that cannot be asked is no reason to start nothing.
    Bytes(rustix::fs::statvfs(folder).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_part_is_smoothed_as_the_kernel_does() {
        let mut meter = LoadMeter::default();
        let mut now = Moment(0);
        meter.count(now, 2);
        assert_eq!(meter.ours, 2.0);
        for _ in 0..12 {
            now = now + COUNT_EVERY;
            meter.count(now, 0);
        }
        // After a minute 1/e of it is left.
        assert!((meter.ours - 2.0 / std::f64::consts::E).abs() < 0.01, "{}", meter.ours);
    }

    #[test]
    fn this_host_is_measured() {
        let folder = tempfile::tempdir().expect("a folder");
        let leases = Leases::join(&folder.path().join("slots"), "a", "a", 1, None);
        let mut meter = LoadMeter::default();
        let load = meter.tell(&leases, folder.path()).expect("it is time");
        assert!(load.cores > 0 && load.memory_free > Bytes(0) && load.disk_free > Bytes(0), "{load:?}");
        assert_eq!((load.awaiting_slots, load.slot_holders.len()), (0, 0));
        assert_eq!(meter.tell(&leases, folder.path()), None);
    }
}
