//! Real jobs over real ssh while real things go wrong: which, where and when comes from a seed. The bytes must be those of a
//! quiet run, and nothing may be left.
//!
//! `make chaos SECONDS=600 SEED=7` runs longer. Each round is told before it begins; a round that fails is run again by its
//! seed and number, as far as machines repeat themselves: `CHAOS_SEED=7 CHAOS_ROUND=12 cargo test --test chaos`.

#[path = "../common/mod.rs"]
mod common;
#[path = "../fleets/mod.rs"]
mod fleets;
#[path = "../simulation/random.rs"]
#[allow(dead_code, reason = "the simulation uses more of it")]
mod random;
#[path = "../testbed/mod.rs"]
mod testbed;

mod faults;

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::Parts;
use faults::Fault;
use fleets::{Fleet, with_fleet, words};
use random::{Random, mix};

/// Nothing ever happens to the first: somebody must be left.
const HOSTS: [&str; 4] = ["h1", "h2", "h3", "h4"];
/// A short run, for every run of the tests.
const SECONDS: u64 = 30;
/// No round takes longer, unless something hangs.
const ROUND_TIME_MAX: Duration = Duration::from_secs(180);

/// What is run: some seconds of it are spent in each of the phases.
const JOBS: [&[&str]; 4] = [
    &["--map", "sleep 0.3; cat", "--reduces", "3", "--split-size", "100K"],
    &["--map", "sleep 0.3; cat", "--reduces", "0", "--split-size", "100K"],
    &["--map", "cat", "--reduce", "sleep 1; cat", "--reduces", "6", "--split-size", "300K"],
    &["wordcount", "--reduces", "3", "--split-size", "30K"],
];

/// So quick that a round is short; still far slower than a busy machine answers.
const SETTINGS: [&str; 8] = [
    "--set",
    "worker.suspect_after=2s",
    "--set",
    "worker.lost_after=6s",
    "--set",
    "straggler.floor=2s",
    "--set",
    "ssh.connect_timeout=5s",
];

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not `{text}`")))
}

/// One job and what happens meanwhile.
struct Round {
    job: usize,
    faults: Vec<Fault>,
}

impl Round {
    fn draw(seed: u64, number: u64) -> Self {
        let mut random = Random::new(mix(seed.wrapping_mul(1_000_003) ^ number));
        let job = random.between(0, JOBS.len() as u64 - 1) as usize;
        let count = random.between(1, 3);
        let mut faults: Vec<Fault> = (0..count).map(|_| Fault::draw(&mut random, &HOSTS[1..])).collect();
        faults.sort_by_key(|fault| fault.after);
        Round { job, faults }
    }
}

#[test]
fn jobs_end_with_the_same_bytes_whatever_happens() {
    let (seconds, seed) = (number("CHAOS_SECONDS").unwrap_or(SECONDS), number("CHAOS_SEED").unwrap_or(1));
    with_fleet("chaos", HOSTS.len(), |fleet| {
        fleet.desk.write("in/words.txt", words());
        let expected: Vec<Parts> = JOBS.iter().map(|job| fleet.desk.job(&[*job, &["in"]].concat())).collect();
        fleet.install(&HOSTS);
        let begin = Instant::now();
        let only = number("CHAOS_ROUND");
        let mut done = 0;
        for number in only.map_or(0..u64::MAX, |only| only..only + 1) {
            if begin.elapsed() >= Duration::from_secs(seconds) {
                break;
            }
            let round = Round::draw(seed, number);
            println!("CHAOS_SEED={seed} CHAOS_ROUND={number}: {:?} with {:?}", JOBS[round.job], round.faults);
            run(fleet, &round, &expected[round.job]);
            done += 1;
        }
        println!("{done} rounds in {} s", begin.elapsed().as_secs());
    });
}

/// Runs a round: the job must end well, as it does when nothing happens.
fn run(fleet: &Fleet, round: &Round, expected: &Parts) {
    let job = [&SETTINGS[..], &["--quiet", "mapreduce", "--overwrite"], JOBS[round.job], &["in", "out"]].concat();
    let begin = Instant::now();
    let mut driver = spawn(fleet, &job);
    for fault in &round.faults {
        if !ends_before(&mut driver, begin + fault.after) {
            fault.strike(&fleet.bed);
            if fault.is_of_the_driver() {
                driver = replace(fleet, driver, &job);
            }
        }
    }
    let ended = ends_before(&mut driver, begin + ROUND_TIME_MAX);
    let said = fs_err::read_to_string(fleet.desk.path("../said")).unwrap_or_default();
    assert!(ended, "the job does not end: {said}");
    assert!(driver.wait().expect("has ended").success(), "{said}");
    // Twice: a disk can only be freed once its host has power again.
    for fault in round.faults.iter().chain(&round.faults) {
        fault.mend(&fleet.bed);
    }
    assert_eq!(&fleet.take_output(), expected, "{said}");
    // Hosts that lost their power have kept their files.
    let cleaned = fleet.run_here(&["clean"]);
    assert_eq!(cleaned.code, Some(0), "{}", cleaned.stderr);
    HOSTS.iter().for_each(|host| fleet.wait_until_bare(host));
    fleet.wait_until_bare_here();
}

fn spawn(fleet: &Fleet, job: &[&str]) -> Child {
    let said = fs_err::File::create(fleet.desk.path("../said")).expect("a file").into_file();
    let workers = "1/h1,1/h2,1/h3,1/h4";
    fleet.command(workers, job).stdout(Stdio::null()).stderr(said).spawn().expect("runner starts")
}

/// Waits until a moment, or until the job has ended: whether it has.
fn ends_before(driver: &mut Child, moment: Instant) -> bool {
    while Instant::now() < moment {
        if driver.try_wait().expect("a child").is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    driver.try_wait().expect("a child").is_some()
}

/// Kills the driver; another one goes on with the job, or begins it where it was not planned yet.
fn replace(fleet: &Fleet, mut driver: Child, job: &[&str]) -> Child {
    driver.kill().expect("is there");
    driver.wait().expect("ends");
    let listed = fleet.run_here(&["--json", "jobs"]);
    let last: Option<serde_json::Value> =
        listed.text().lines().last().map(|line| serde_json::from_str(line).expect("JSON"));
    match last.filter(|last| last["state"] == "interrupted") {
        // Some of its hosts may be out of reach just now: nobody else is at work with them.
        Some(last) => {
            let id = last["id"].as_str().expect("an id").to_owned();
            spawn(fleet, &[&SETTINGS[..], &["--quiet", "resume", "--force", &id]].concat())
        }
        None => spawn(fleet, job),
    }
}
