//! Whole fleets of made-up workers, by seed: first faults, then quiet, and the run must end.
//!
//! A seed decides everything, so a run that fails is repeated exactly: `SEED=17 cargo test --test simulation`. More
//! seeds than the usual: `SEEDS=100000 cargo test --release --test simulation`, and larger fleets:
//! `LARGE_SEEDS=10 LARGE_TASKS=1000000`. A seed that found a fault becomes a named scenario in `tests/scheduler.rs`.

mod cuts;
mod machine;
mod model;
mod names;
mod plan;
mod random;
mod seen;
mod segments;
mod speed;
mod world;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use runner::facts::End;
use runner::scheduler::StragglerRules;

use plan::Plan;
use world::World;

const SEEDS: u64 = 1000;

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not `{text}`")))
}

#[test]
fn small_fleets_end_well_or_say_why() {
    if let Some(seed) = number("SEED") {
        let world = world::run(seed, Plan::small(seed));
        println!("seed {seed} ended after {} events: {:?}", world.events, world.model.end);
        return;
    }
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let mut seen = BTreeSet::new();
    let mut done = 0;
    for seed in 0..seeds {
        let world = run_or_say_how_to_repeat(seed, Plan::small(seed), "small");
        done += u64::from(world.model.end == Some(End::Done));
        seen.extend(world.model.seen);
    }
    println!("{done} of {seeds} runs were done; seen: {seen:?}");
    if seeds >= SEEDS {
        assert!(done * 2 > seeds, "only {done} of {seeds} runs were done: the faults hide the rest");
        let missing: Vec<_> = FACTS.iter().filter(|fact| !seen.contains(*fact)).collect();
        assert!(missing.is_empty(), "no run met {missing:?}");
    }
}

/// What some run of the usual seeds must meet, or the simulation tests less than it says.
const FACTS: [&str; 33] = [
    "joined",
    "refused",
    "suspect",
    "back",
    "lost",
    "barred",
    "stage started",
    "stage finished",
    "slow",
    "outpaced",
    "cleared",
    "remembered",
    "held",
    "eased",
    "draining",
    "kept",
    "released",
    "copied",
    "covered",
    "queued",
    "started",
    "finished",
    "retried",
    "given up",
    "beaten",
    "moved",
    "never arrived",
    "gone with its worker",
    "input gone",
    "ended with the job",
    "output lost",
    "committed",
    "job finished",
];

fn run_or_say_how_to_repeat(seed: u64, plan: Plan, which: &str) -> World {
    catch_unwind(AssertUnwindSafe(|| world::run(seed, plan))).unwrap_or_else(|_| {
        panic!("seed {seed} failed; again: SEED={seed} cargo test --no-default-features --test simulation {which}")
    })
}

#[test]
fn large_fleets_of_any_size_end_well_or_say_why() {
    let (count, tasks_max) = (number("LARGE_SEEDS").unwrap_or(3), number("LARGE_TASKS").unwrap_or(20_000));
    let seeds = number("SEED").map_or(0..count, |seed| seed..seed + 1);
    for seed in seeds {
        let plan = Plan::any_large(seed, tasks_max);
        let size = format!("{} tasks on {} hosts", plan.maps.len() as u32 + plan.reduces, plan.hosts.len());
        let world = run_or_say_how_to_repeat(seed, plan, "large_fleets");
        println!("seed {seed}: {size} ended after {} events: {:?}", world.events, world.model.end);
    }
}

#[test]
fn a_large_fleet_ends_within_seconds() {
    let world = world::run(1, Plan::large(5000, 95_000, 5000));
    assert_eq!(world.model.end, Some(End::Done));
}

/// Runs a calm plan, perhaps with a slow host and without copies; gives when it ended and what was seen.
fn calm(seed: u64, maps: &[u64], slowness: u64, stragglers: Option<StragglerRules>) -> (u64, BTreeSet<&'static str>) {
    let mut plan = Plan::calm(maps.to_vec(), 8);
    plan.hosts[3].slowness = slowness;
    plan.rules.stragglers = stragglers;
    let world = world::run(seed, plan);
    assert_eq!(world.model.end, Some(End::Done), "seed {seed}");
    (world.now, world.model.seen)
}

#[test]
fn with_copies_a_slow_host_costs_half_at_most() {
    for seed in 0..20 {
        let (with, seen) = calm(seed, &[10_000; 20], 10, Some(plan::stragglers()));
        let (without, _) = calm(seed, &[10_000; 20], 10, None);
        assert!(with * 2 <= without, "seed {seed}: {with} µs with copies, {without} µs without");
        assert!(seen.contains("copied") && seen.contains("slow"), "seed {seed}: {seen:?}");
    }
}

#[test]
fn large_shards_at_a_normal_rate_are_not_copied() {
    let shards: Vec<u64> = (0..24).map(|index| if index % 6 == 0 { 200_000 } else { 10_000 }).collect();
    for seed in 0..20 {
        let (_, seen) = calm(seed, &shards, 1, Some(plan::stragglers()));
        assert!(!seen.contains("copied") && !seen.contains("slow"), "seed {seed}: {seen:?}");
    }
}

#[test]
fn the_cost_of_an_event_is_told() {
    let count = |name: &str, usual: u32| number(name).map_or(usual, |count| u32::try_from(count).expect("a u32"));
    let (workers, tasks) = (count("WORKERS", 500), count("TASKS", 20_000));
    println!("{tasks} tasks on {workers} workers: {:?} an event", speed::measure(workers, tasks));
}
