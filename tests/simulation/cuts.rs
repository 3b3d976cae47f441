//! A journal cut at every byte: whatever is left of it, another driver can go on with.

use runner::clock::Moment;
use runner::facts::{Fact, Stamped};
use runner::ids::Epoch;
use runner::journal::Journal;
use runner::scheduler::{Config, Known, Scheduler};

use crate::plan::Plan;
use crate::world;

/// The facts of a run with some faults.
fn facts(seed: u64, plan: &Plan) -> Vec<Fact> {
    world::run(seed, plan.clone()).facts
}

fn plan(seed: u64) -> Plan {
    Plan { crashes: 0, interrupted_at: None, ..Plan::small(seed) }
}

#[test]
fn whatever_is_left_of_a_journal_can_be_gone_on_with() {
    for seed in [3, 8] {
        let plan = plan(seed);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let mut journal = Journal::create(&path).expect("is made");
        for (at, fact) in (0..).zip(facts(seed, &plan)) {
            journal.append(&Stamped { at: Moment(at), fact }).expect("is added");
        }
        journal.sync().expect("is written");
        let whole = fs_err::read(&path).expect("reads");
        let mut seen = usize::MAX;
        for cut in 0..=whole.len() {
            fs_err::write(&path, &whole[..cut]).expect("is cut");
            let (_, contents) = Journal::open(&path).expect("a torn tail is no error");
            if contents.facts.len() == seen {
                continue;
            }
            seen = contents.facts.len();
            let known = Known::fold(contents.facts.iter().map(|stamped| &stamped.fact));
            let config = Config {
                maps: plan.maps.clone(),
                reduces: plan.reduces,
                epoch: Epoch(1),
                rules: plan.rules.clone(),
                ..Config::default()
            };
            let mut scheduler = Scheduler::resume(Moment(0), config, &known);
            scheduler.sanity_check();
            scheduler.decide(Moment(1), &mut Vec::new());
            scheduler.sanity_check();
        }
    }
}

/// The same with a world around it: the driver dies once exactly so many facts are durable, and the job must end well.
#[test]
fn a_driver_may_die_behind_every_fact() {
    for seed in 0..6 {
        let plan = Plan { crashes: 0, ..Plan::calm(vec![1000, 3000, 2000, 1000, 2000], 3) };
        let count = facts(seed, &plan).len();
        for facts in 1..count {
            let world = world::run(seed, Plan { dies_after: Some(facts), ..plan.clone() });
            assert_eq!(world.model.end, Some(runner::facts::End::Done), "seed {seed}, {facts} facts");
        }
    }
}
