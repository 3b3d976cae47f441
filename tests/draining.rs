//! Fleets that grow and shrink while a job runs, as scripts; the words are in `tests/script`.

mod script;

use std::collections::BTreeMap;

use runner::clock::Moment;
use runner::facts::{Cause, Fact, Failure};
use runner::ids::{AttemptId, WorkerId};
use runner::scheduler::{Action, Config, Event, Scheduler};
use script::check;

#[test]
fn a_drained_worker_gets_nothing_new_and_goes_when_what_runs_has_ended() {
    check(
        "job 4 0",
        "join a 1; join b 1   -> start map-0.0 w0; start map-1.0 w1; start map-2.0 w0; start map-3.0 w1
         start map-0.0 w0; start map-1.0 w1 ->
         drain w0             -> draining w0; drop map-2.0 moved; kill map-2.0 w0
         drain w0             -> stale
         finish map-0.0 w0    -> commit map-0.0 w0
         committed map-0.0    -> part map-0.0; released w0; release w0
         keep w0; lose w0     -> stale; stale
         finish map-1.0 w1    -> commit map-1.0 w1; start map-2.1 w1",
    );
}

#[test]
fn one_that_does_nothing_goes_at_once() {
    check(
        "job 1 0",
        "join a 1; join b 1 -> start map-0.0 w0
         drain w1           -> draining w1; released w1; release w1",
    );
}

#[test]
fn segments_stay_until_the_reduces_have_read_them() {
    check(
        "job 2 1",
        "join a 1; join b 1; complete -> start map-0.0 w0; start map-1.0 w1
         finish map-0.0 w0; drain w0  -> publish map-0.0 w0; draining w0
         finish map-1.0 w1            -> publish map-1.0 w1; finished map; start reduce-0.0 w1
         finish reduce-0.0 w1         -> commit reduce-0.0 w1
         committed reduce-0.0         -> part reduce-0.0; finished reduce; end done; conclude done",
    );
}

#[test]
fn a_host_that_is_on_the_list_again_stays() {
    check(
        "job 3 0; ahead 0",
        "join a 1           -> start map-0.0 w0
         start map-0.0 w0; drain w0; complete -> draining w0
         keep w0            -> kept w0
         keep w0            -> stale
         finish map-0.0 w0  -> commit map-0.0 w0; start map-1.0 w0",
    );
}

#[test]
fn a_host_that_comes_back_is_another_worker() {
    check(
        "job 2 0; ahead 0",
        "join a 1; complete; grow -> start map-0.0 w0
         start map-0.0 w0; drain w0 -> draining w0
         finish map-0.0 w0       -> commit map-0.0 w0
         committed map-0.0       -> part map-0.0; released w0; release w0
         join a 1; complete      -> start map-1.0 w1",
    );
}

#[test]
fn what_runs_on_the_last_hosts_may_end_before_the_job_fails() {
    check(
        "job 2 0",
        "join a 1; complete -> start map-0.0 w0; start map-1.0 w0
         start map-0.0 w0; drain w0 -> draining w0; drop map-1.0 moved; kill map-1.0 w0
         finish map-0.0 w0  -> commit map-0.0 w0
         committed map-0.0  -> part map-0.0; end failed; conclude failed",
    );
    // One task is all that there is: it is brought to its end.
    check(
        "job 1 0",
        "join a 1; complete -> start map-0.0 w0
         start map-0.0 w0; drain w0 -> draining w0
         finish map-0.0 w0  -> commit map-0.0 w0
         committed map-0.0  -> part map-0.0; finished map; end done; conclude done",
    );
}

#[test]
fn a_drained_worker_that_is_lost_takes_its_outputs_along() {
    check(
        "job 1 1; ahead 0",
        "join a 1; join b 1; complete -> start map-0.0 w0
         finish map-0.0 w0; drain w0  -> publish map-0.0 w0; draining w0; finished map; start reduce-0.0 w1
         lose w0                      -> lost w0; output lost map-0.0; withdraw map-0; start map-0.1 w1",
    );
}

#[test]
fn the_plight_of_a_drained_worker_is_told() {
    let told = check(
        "job 1 1",
        "join a 1; complete -> start map-0.0 w0
         start map-0.0 w0; drain w0 -> draining w0",
    )
    .overview();
    assert!(
        told.iter().any(|line| line.starts_with("a: 1 of 1 slots taken; gets nothing: its host was taken")),
        "{told:?}"
    );
    assert!(told.contains(&"nothing can be started: all hosts were taken off the list".to_owned()), "{told:?}");
}

/// A scheduler with what was started and not ended, and the facts of the last pass.
struct Run {
    scheduler: Scheduler,
    live: BTreeMap<AttemptId, WorkerId>,
    facts: Vec<Fact>,
}

impl Run {
    fn tell(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.scheduler.handle(Moment(0), event);
        self.scheduler.decide(Moment(0), &mut actions);
        self.scheduler.sanity_check();
        self.facts.clear();
        for action in actions {
            match action {
                Action::Record(fact) => self.facts.push(fact),
                Action::Start { attempt, worker } => _ = self.live.insert(attempt, worker),
                Action::Kill { attempt, .. } => _ = self.live.remove(&attempt),
                Action::Publish { .. }
                | Action::Withdraw { .. }
                | Action::Commit { .. }
                | Action::Complete
                | Action::Release { .. }
                | Action::Conclude(_) => {}
            }
        }
    }

    /// Fails one attempt after the other on a worker until it is barred; the first one there runs on.
    fn bar(&mut self, worker: WorkerId) {
        let here = |run: &Run| run.live.iter().filter(|(_, at)| **at == worker).map(|(id, _)| *id).collect::<Vec<_>>();
        self.tell(Event::AttemptStarted { attempt: here(self)[0], worker });
        while !self.facts.iter().any(|fact| matches!(fact, Fact::WorkerBarred { .. })) {
            let attempt = here(self)[1];
            self.live.remove(&attempt);
            let failure = Failure::of(Cause::DiskFull { text: "/scratch".to_owned() });
            self.tell(Event::AttemptFailed { attempt, worker, failure });
        }
    }
}

/// Found by seed 997 of the simulation.
#[test]
fn a_barred_host_that_is_on_the_list_again_may_be_one_too_many() {
    let config = Config { maps: vec![1000; 40], ..Config::default() };
    let mut run = Run { scheduler: Scheduler::new(config), live: BTreeMap::new(), facts: Vec::new() };
    for worker in 0..4 {
        run.tell(Event::WorkerJoined { worker: WorkerId(worker), host: format!("h{worker}"), slots: 2 });
    }
    run.bar(WorkerId(0));
    run.tell(Event::WorkerDraining(WorkerId(0)));
    run.bar(WorkerId(1));
    // Two of four are more than a third.
    run.tell(Event::WorkerKept(WorkerId(0)));
    let back = run.facts.iter().filter(|fact| matches!(fact, Fact::WorkerBack { .. })).count();
    assert_eq!(back, 1, "{:?}", run.facts);
}
