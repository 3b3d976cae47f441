//! What a seed stands for: a job, a fleet, and what will go wrong until the quiet begins.

use runner::scheduler::Rules;

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
    pub rules: Rules,
    /// When the user interrupts, if so.
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
            doubled: some(random, 500, 300),
            cut: some(random, 200, 20),
            flaky: some(random, 300, 150),
            commit_failures: some(random, 300, 300),
            rotten: some(random, 300, 100),
            latency_max: random.between(1, 30) * 1000,
            cursed: u32::from(random.chance(50)),
            deadly: u32::from(random.chance(50)),
            program: if random.chance(100) { Program::Random } else { Program::Deterministic },
            rules: if random.chance(300) { rules(random) } else { Rules::default() },
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
            doubled: 10,
            cut: 0,
            flaky: 5,
            commit_failures: 1,
            rotten: 1,
            latency_max: 2000,
            cursed: 0,
            deadly: 0,
            program: Program::Deterministic,
            rules: Rules::default(),
            interrupted_at: None,
            check_every: 50_000,
        }
    }

    /// Whether nothing that the plan holds can keep the job from its end.
    pub fn must_succeed(&self) -> bool {
        let sound = self.hosts.iter().all(|host| host.nature == Nature::Sound);
        let harmless = self.cut + self.strikes + self.flaky + self.commit_failures + self.rotten == 0;
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

/// Settings other than the usual.
fn rules(random: &mut Random) -> Rules {
    let ahead = |random: &mut Random| random.pick(&[0, 1, 50, 100, 300]).unwrap_or(0);
    Rules {
        attempts_max: random.between(1, 5) as u32,
        fetch_reports_min: random.between(1, 3) as u32,
        contradictions_min: random.between(1, 3) as u32,
        ahead_maps_percent: ahead(random),
        ahead_reduces_percent: ahead(random),
        ..Rules::default()
    }
}
