//! What a seed stands for: a job, a fleet, and what will go wrong until the quiet begins.

use std::time::Duration;

use runner::scheduler::{EarlyReduces, RememberedStanding, Rules, StragglerRules};

use crate::random::Random;

/// One simulated run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub maps: Vec<u64>,
    pub reduces: u32,
    pub hosts: Vec<HostPlan>,
    /// No fault begins after this moment, in microseconds.
    pub quiet_at: u64,
    /// Faults that strike whole workers: how many, at random moments before the quiet.
    pub strikes: u64,
    /// Times that a link breaks and is mended before the worker is given up.
    pub breaks: u64,
    /// Times that the driver dies and another one goes on.
    pub crashes: u64,
    /// The driver dies when so many facts are durable.
    pub dies_after: Option<usize>,
    /// Hosts that are taken off the list: how many, at random moments before the quiet.
    pub drains: u64,
    /// Messages in a thousand that come twice.
    pub doubled: u64,
    /// Messages in a thousand that are lost, and their link with them.
    pub cut: u64,
    /// Attempts in a thousand that fail without reason.
    pub flaky: u64,
    /// Commits in a thousand that fail.
    pub commit_failures: u64,
    /// Segments in a thousand that cannot be read.
    pub rotten: u64,
    /// The slowest message takes so long, in microseconds.
    pub latency_max: u64,
    /// Map tasks below this index fail wherever they run.
    pub cursed: u32,
    /// Map tasks below this index take the worker down with them.
    pub deadly: u32,
    pub program: Program,
    pub pace: Pace,
    /// Attempts in a thousand that stop for a while in the middle, and those that wait for input.
    pub stalls: u64,
    pub waits: u64,
    /// How often a worker reports how far its attempts are, in microseconds.
    pub report_every: u64,
    pub rules: Rules,
    /// What earlier jobs hold against hosts, by their places in the fleet.
    pub remembered: Vec<(usize, RememberedStanding)>,
    /// When the user interrupts or, at odd moments, cancels, if so.
    pub interrupted_at: Option<u64>,
    /// How often the tables are checked: after so many events.
    pub check_every: u64,
}

/// Whether the user's map writes the same for the same input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Deterministic,
    Random,
}

/// How long an attempt takes on a host of normal speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Anything from 1 to 20 ms.
    Any,
    /// A microsecond a byte.
    ByBytes,
}

/// One host of the fleet.
#[derive(Clone, Copy, Debug)]
pub struct HostPlan {
    pub slots: u32,
    /// A task takes so many times longer there.
    pub slowness: u64,
    pub nature: Nature,
    pub joins_at: u64,
}

/// What is wrong with a host, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    Sound,
    /// It has no room on its disk.
    Full,
    /// Commands fail there and nowhere else.
    Broken,
    /// It cannot read segments of others.
    Deaf,
    /// It cannot take part at all.
    Refused,
}

impl Plan {
    /// A small run: a handful of hosts and tasks, and a random mixture of troubles.
    pub fn small(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let random = &mut random;
        let quiet_at = random.between(1, 400) * 1000;
        let some = |random: &mut Random, per_mille: u64, high: u64| {
            if random.chance(per_mille) { random.between(1, high) } else { 0 }
        };
        Plan {
            maps: (0..random.between(0, 24)).map(|_| random.between(1, 3) * 1000).collect(),
            reduces: if random.chance(700) { random.between(1, 8) as u32 } else { 0 },
            hosts: (0..random.between(1, 7)).map(|_| HostPlan::random(random)).collect(),
            quiet_at,
            strikes: some(random, 600, 6),
            breaks: some(random, 300, 4),
            crashes: some(random, 400, 3),
            dies_after: None,
            drains: some(random, 300, 3),
            doubled: some(random, 500, 300),
            cut: some(random, 200, 20),
            flaky: some(random, 300, 150),
            commit_failures: some(random, 300, 300),
            rotten: some(random, 300, 100),
            latency_max: random.between(1, 30) * 1000,
            cursed: u32::from(random.chance(50)),
            deadly: u32::from(random.chance(50)),
            program: if random.chance(100) { Program::Random } else { Program::Deterministic },
            pace: random.pick(&[Pace::Any, Pace::ByBytes]).unwrap_or(Pace::Any),
            stalls: some(random, 300, 100),
            waits: some(random, 300, 200),
            report_every: 2000,
            rules: rules(random),
            remembered: remembered(random),
            interrupted_at: random.chance(50).then(|| random.between(0, quiet_at)),
            check_every: 1,
        }
    }

    /// A large fleet with the usual accidents.
    pub fn large(hosts: u64, maps: u64, reduces: u32) -> Self {
        let host = |index| HostPlan {
            slots: 4,
            slowness: 1 + u64::from(index % 50 == 0),
            nature: Nature::Sound,
            joins_at: index,
        };
        Plan {
            maps: vec![1000; maps as usize],
            reduces,
            hosts: (0..hosts).map(host).collect(),
            quiet_at: 2_000_000,
            strikes: hosts / 100,
            breaks: hosts / 100,
            crashes: 0,
            dies_after: None,
            drains: hosts / 100,
            doubled: 10,
            cut: 0,
            flaky: 5,
            commit_failures: 1,
            rotten: 1,
            latency_max: 2000,
            cursed: 0,
            deadly: 0,
            program: Program::Deterministic,
            pace: Pace::Any,
            stalls: 1,
            waits: 1,
            report_every: 50_000,
            rules: Rules {
                stragglers: Some(StragglerRules { look_every: Duration::from_millis(20), ..stragglers() }),
                ..Rules::default()
            },
            remembered: Vec::new(),
            interrupted_at: None,
            check_every: 50_000,
        }
    }

    /// Up to 5,000 hosts and so many tasks, with more or fewer accidents.
    pub fn any_large(seed: u64, tasks_max: u64) -> Self {
        let mut random = Random::new(seed ^ 0x1a59e);
        let hosts = random.between(20, 5000);
        let tasks = random.between(tasks_max / 10, tasks_max);
        let reduces = random.pick(&[0, tasks / 20, 500]).unwrap_or(0).min(tasks / 2);
        Plan {
            quiet_at: random.between(1, 4000) * 1000,
            strikes: random.between(0, hosts / 20),
            drains: random.between(0, hosts / 20),
            doubled: random.between(0, 50),
            flaky: random.between(0, 20),
            commit_failures: random.between(0, 3),
            rotten: random.between(0, 2),
            ..Plan::large(hosts, tasks - reduces, u32::try_from(reduces).expect("a u32"))
        }
    }

    /// Four equal hosts, and nothing goes wrong.
    pub fn calm(maps: Vec<u64>, reduces: u32) -> Self {
        let host = HostPlan { slots: 4, slowness: 1, nature: Nature::Sound, joins_at: 0 };
        Plan {
            maps,
            hosts: vec![host; 4],
            quiet_at: 1,
            strikes: 0,
            breaks: 0,
            drains: 0,
            doubled: 0,
            flaky: 0,
            commit_failures: 0,
            rotten: 0,
            latency_max: 500,
            pace: Pace::ByBytes,
            stalls: 0,
            waits: 0,
            report_every: 1000,
            check_every: 1,
            ..Plan::large(0, 0, reduces)
        }
    }

    /// Whether nothing that the plan holds can keep the job from its end.
    pub fn must_succeed(&self) -> bool {
        let sound = self.hosts.iter().all(|host| host.nature == Nature::Sound);
        let harmless = self.cut + self.strikes + self.drains + self.flaky + self.commit_failures + self.rotten == 0;
        sound && harmless && self.cursed + self.deadly == 0 && self.interrupted_at.is_none()
    }
}

impl HostPlan {
    fn random(random: &mut Random) -> Self {
        let natures = [Nature::Full, Nature::Broken, Nature::Deaf, Nature::Refused];
        let odd = random.chance(150).then(|| random.pick(&natures)).flatten();
        HostPlan {
            slots: random.between(1, 4) as u32,
            slowness: if random.chance(200) { random.between(2, 10) } else { 1 },
            nature: odd.unwrap_or(Nature::Sound),
            joins_at: random.between(0, 50_000),
        }
    }
}

/// Marks of some hosts, of which some may take no part.
fn remembered(random: &mut Random) -> Vec<(usize, RememberedStanding)> {
    let standings = [
        RememberedStanding::Barred,
        RememberedStanding::Slow(0),
        RememberedStanding::Slow(25),
        RememberedStanding::Slow(50),
    ];
    let mut marks = Vec::new();
    for host in 0..7 {
        if random.chance(100) {
            marks.extend(random.pick(&standings).map(|standing| (host, standing)));
        }
    }
    marks
}

/// Stragglers in a world where a task takes some ten milliseconds.
pub fn stragglers() -> StragglerRules {
    StragglerRules {
        floor: Duration::from_millis(4),
        look_every: Duration::from_millis(1),
        start_up: Duration::from_millis(1),
        mark_lasts: Duration::from_millis(200),
        ..StragglerRules::default()
    }
}

/// Settings, often other than the usual.
fn rules(random: &mut Random) -> Rules {
    let stragglers = random.chance(800).then(|| StragglerRules {
        slowness_min: random.between(1, 2) as u32,
        copies_min: random.between(0, 3) as u32,
        copies_percent: random.between(0, 100) as u32,
        marks_max: random.between(1, 3) as u32,
        ..stragglers()
    });
    let home_wait = Duration::from_millis(random.pick(&[0, 0, 20, 200]).unwrap_or(0));
    if random.chance(700) {
        return Rules { stragglers, home_wait, ..Rules::default() };
    }
    let ahead = |random: &mut Random| random.pick(&[0, 1, 50, 100, 300]).unwrap_or(0);
    Rules {
        attempts_max: random.between(1, 5) as u32,
        fetch_reports_min: random.between(1, 3) as u32,
        contradictions_min: random.between(1, 3) as u32,
        bar_lasts: Duration::from_millis(random.between(20, 400)),
        ahead_maps_percent: ahead(random),
        ahead_reduces_percent: ahead(random),
        early_reduces: random.pick(&[EarlyReduces::Never, EarlyReduces::WhileMapsEnd]).unwrap_or(EarlyReduces::Never),
        stragglers,
        home_wait,
        ..Rules::default()
    }
}
