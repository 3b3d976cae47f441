//! The numbers that the scheduler decides by, with their defaults and where they come from.
//!
//! All are settings. Nothing here decides.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::remembered::Remembered;
use crate::ids::{Epoch, Stage, WorkerId};
use crate::units::Bytes;

/// What the scheduler is made for: the tasks of one job, and the rules.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Bytes of each split, one a map task.
    pub maps: Vec<u64>,
    /// The workers that have each split on a disk of theirs; no entry, or an empty one, where that makes no difference.
    pub homes: Vec<Vec<WorkerId>>,
    /// Reduce tasks; 0 for a map-only job, whose maps write the output parts.
    pub reduces: u32,
    /// What earlier jobs hold against hosts.
    pub remembered: Vec<Remembered>,
    /// The reign under which attempts are named.
    pub epoch: Epoch,
    /// The numbers.
    pub rules: Rules,
}

/// Bounds and shares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    /// Failures of one task that end the job; Hadoop's `mapreduce.map.maxattempts`. Kills, lost workers and segments
    /// that cannot be read do not count.
    pub attempts_max: u32,
    /// Workers that one task may lose in a row, while it runs, before it is held to be what kills them.
    pub losses_max: u32,
    /// Times that one task may be repeated because its output could not be read or committed. Not its failure, but
    /// without a bound a broken network would keep a job busy forever.
    pub repeats_max: u32,
    /// Blamed failures after which a host gets no more tasks,
    pub host_failures_max: u32,
    /// How long that lasts, also for the next jobs. A disk is seldom emptied within the hour.
    pub bar_lasts: Duration,
    /// Failures of commands count against a host once so many different tasks that failed there have succeeded
    /// elsewhere: with fewer, it may well be the program.
    pub contradictions_min: u32,
    /// At most one host in so many is barred, so that a mistaken judgement never stops a job.
    pub barred_one_in: u32,
    /// Reports, from different hosts where there are such, after which an unreadable segment is made again.
    pub fetch_reports_min: u32,
    /// Maps sent to a worker beyond its slots, in percent of the slots: their input streams in while others run.
    pub ahead_maps_percent: u32,
    /// The same for reduces, which fetch before they take a slot. Few, since a fetch that is moved is done twice.
    pub ahead_reduces_percent: u32,
    /// Whether reduces begin to fetch before the last map has ended.
    pub early_reduces: EarlyReduces,
    /// How long maps go only where their splits lie, from the moment in which the first worker joins: hosts join one after
    /// the other, and the first would take what the next has on its disk. It is Spark's `spark.locality.wait`; after that,
    /// a slot that would stay free counts more.
    pub home_wait: Duration,
    /// Nothing is started on a host that others load with more than so much for each processor, in percent of one; none:
    /// whatever others do. A host of many users with twice the load of its processors is slow; four times is trouble.
    pub load_percent_max: Option<u32>,
    /// Nothing is started on a host with less memory free,
    pub memory_free_min: Bytes,
    /// or with less free on its disk.
    pub disk_free_min: Bytes,
    /// When stragglers are copied; none: never.
    pub stragglers: Option<StragglerRules>,
}

/// When the first reduces are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EarlyReduces {
    /// When all maps have ended.
    Never,
    /// Once no map waits and slots are free, while the last ones run. Hadoop sends them when 5 % of the maps are done
    /// (`slowstart.completedmaps`), which takes slots from maps.
    WhileMapsEnd,
}

/// When a slow attempt is copied, and when its host is held to be slow.
///
/// The frame is LATE (Zaharia et al., "Improving MapReduce performance in heterogeneous environments", OSDI 2008); rates
/// are in bytes instead of shares, so that a large task at a normal rate is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StragglerRules {
    /// How long an attempt has run before it is judged; time that it waited for input does not count. LATE and Hadoop
    /// have a minute, Spark 100 ms to some seconds. They hear of an attempt every 3 to 10 s, or never; here it is four
    /// times a second, and exact to what fits in a pipe, so ten seconds say enough. A copy takes only what is idle.
    pub floor: Duration,
    /// How often stragglers are looked for, as Hadoop does; each time costs a glance at every running attempt.
    pub look_every: Duration,
    /// What a copy needs before its first byte: its input has to travel, its program to start.
    pub start_up: Duration,
    /// An attempt is slow if its peers are more than so many times as fast, or have long ended: if it has run longer
    /// than so many times what they took for as much. Cubed has 2, Spark 1.5 and 3.
    pub slowness_min: u32,
    /// Copies that run at once: Hadoop's `speculative-cap-running-tasks`, in percent of the running attempts,
    pub copies_percent: u32,
    /// and so many in any case.
    pub copies_min: u32,
    /// The share of the tasks that must be done, in percent, before those that run are measured by how long they took.
    pub finished_percent: u32,
    /// Different tasks whose copies won from a host before it gets no more; each one before that halves its places.
    pub marks_max: u32,
    /// How long a host counts as slow.
    pub mark_lasts: Duration,
}

impl StragglerRules {
    /// How many copies may run beside so many attempts.
    pub fn copies_max(&self, running: u32) -> u32 {
        let share = u64::from(running) * u64::from(self.copies_percent) / 100;
        u32::try_from(share).unwrap_or(u32::MAX).max(self.copies_min)
    }
}

impl Default for StragglerRules {
    fn default() -> Self {
        StragglerRules {
            floor: Duration::from_secs(10),
            look_every: Duration::from_secs(1),
            start_up: Duration::from_secs(1),
            slowness_min: 2,
            copies_percent: 10,
            copies_min: 2,
            finished_percent: 5,
            marks_max: 3,
            mark_lasts: Duration::from_secs(600),
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            attempts_max: 4,
            losses_max: 3,
            repeats_max: 8,
            host_failures_max: 3,
            bar_lasts: Duration::from_secs(3600),
            contradictions_min: 3,
            barred_one_in: 3,
            fetch_reports_min: 2,
            ahead_maps_percent: 100,
            ahead_reduces_percent: 25,
            early_reduces: EarlyReduces::WhileMapsEnd,
            home_wait: Duration::from_secs(3),
            load_percent_max: Some(400),
            memory_free_min: Bytes::mebi(64),
            disk_free_min: Bytes::mebi(64),
            stragglers: Some(StragglerRules::default()),
        }
    }
}

impl Rules {
    /// How many attempts of a stage a worker holds at once: its slots, and those ahead; at least one ahead unless the
    /// share is 0.
    pub fn places(&self, stage: Stage, slots: u32) -> u32 {
        let percent = match stage {
            Stage::Map => self.ahead_maps_percent,
            Stage::Reduce => self.ahead_reduces_percent,
        };
        let ahead = (u64::from(slots) * u64::from(percent)).div_ceil(100);
        slots.saturating_add(u32::try_from(ahead).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_slots_and_a_share_ahead() {
        let check = |stage, slots, places| assert_eq!(Rules::default().places(stage, slots), places, "{stage} {slots}");
        check(Stage::Map, 1, 2);
        check(Stage::Map, 8, 16);
        check(Stage::Reduce, 1, 2);
        check(Stage::Reduce, 8, 10);
        let none = Rules { ahead_maps_percent: 0, ..Rules::default() };
        assert_eq!(none.places(Stage::Map, 3), 3);
    }

    #[test]
    fn copies_are_two_or_a_tenth_of_what_runs() {
        let check = |running, copies| assert_eq!(StragglerRules::default().copies_max(running), copies, "{running}");
        check(0, 2);
        check(20, 2);
        check(39, 3);
        check(1000, 100);
    }
}
