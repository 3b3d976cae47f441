//! Whether the tables agree with each other.
//!
//! The simulation asks after every event. It walks everything, so nothing else should.

use std::collections::{BTreeMap, BTreeSet};

use super::stage::StageTable;
use super::task::{Phase, Role, State, Task};
use super::worker::{Contact, Worker};
use super::{Course, Scheduler};
use crate::ids::{AttemptId, Stage, TaskId, WorkerId};

impl Scheduler {
    /// Checks every rule that the tables must keep between events.
    ///
    /// # Panics
    /// When one is broken, which is a bug of ours; the text says which.
    pub fn sanity_check(&self) {
        self.fleet.check();
        self.check_stage(&self.tasks.map);
        self.check_stage(&self.tasks.reduce);
        self.check_workers();
        self.check_outputs();
        if self.course == Course::Over {
            let live = self.fleet.workers.values().filter(|worker| !worker.live().is_empty()).count();
            assert_eq!(live, 0, "the job is over and attempts are alive");
        }
    }

    fn check_stage(&self, table: &StageTable) {
        let ready: BTreeSet<TaskId> = table.ready().collect();
        let mut unfinished = 0;
        for (id, task) in table.iter() {
            unfinished += u32::from(!task.state.is_done());
            assert_eq!(ready.contains(&id), task.state == State::Ready, "{id} is in the wrong set");
            check_task(id, task, self.tasks.last_stage());
            for home in &task.homes {
                let is_there = table.ready_at(*home).any(|ready| ready == id);
                assert_eq!(is_there, task.state == State::Ready, "{id} is in the wrong set of {home}");
            }
            let hosts: BTreeSet<_> = task.live.iter().map(|live| self.fleet.host_of(live.worker)).collect();
            assert_eq!(hosts.len(), task.live.len(), "two attempts of {id} are on one host");
            for live in &task.live {
                assert_eq!(live.id.task, id, "{id} has another task's attempt");
                let is_older = live.id.epoch < self.epoch;
                assert!(is_older || live.id.number < task.next_number, "{} is from the future", live.id);
                assert!(self.fleet.workers.contains_key(&live.worker), "{} is on an unknown worker", live.id);
            }
        }
        assert_eq!(unfinished, table.unfinished(), "unfinished tasks are miscounted");
        assert_eq!(ready.len(), table.ready_count(), "a ready task is there twice");
        let copies = table.iter().flat_map(|(_, task)| &task.live).filter(|live| live.role == Role::Copy).count();
        assert_eq!(copies, table.copies as usize, "copies are miscounted");
    }

    /// Workers and tasks hold the same attempts, and no worker more than its places.
    fn check_workers(&self) {
        let mut by_task: BTreeMap<WorkerId, Vec<(AttemptId, Phase)>> = BTreeMap::new();
        for (_, task) in self.tasks.map.iter().chain(self.tasks.reduce.iter()) {
            for live in &task.live {
                by_task.entry(live.worker).or_default().push((live.id, live.phase));
            }
        }
        for (id, worker) in &self.fleet.workers {
            let mut here = by_task.remove(id).unwrap_or_default();
            here.sort_unstable_by_key(|(attempt, _)| *attempt);
            assert_eq!(here, attempts_of(worker), "{id} and the tasks disagree about its attempts");
            for stage in [Stage::Map, Stage::Reduce] {
                let sent = here.iter().filter(|(attempt, _)| attempt.task.stage == stage).count();
                let places = self.rules.places(stage, worker.slots) as usize;
                assert!(sent <= places, "{id} holds {sent} {stage} attempts, and has {places} places");
            }
            if worker.contact == Contact::Lost {
                assert!(here.is_empty(), "{id} is lost and holds attempts");
            }
        }
    }

    /// Finished outputs are known where they lie, and none lies on a lost worker while it is needed.
    fn check_outputs(&self) {
        let needed = self.tasks.stage(self.tasks.last_stage()).unfinished() > 0;
        let mut count = 0;
        for (id, task) in self.tasks.map.iter().chain(self.tasks.reduce.iter()) {
            let (State::Held { worker, .. } | State::Committing { worker, .. }) = task.state else { continue };
            let lost = self.fleet.get(worker).contact == Contact::Lost;
            assert!(!lost || !needed, "{id} counts on an output of lost {worker}");
            let known = self.fleet.get(worker).outputs.contains(&id);
            assert!(known || lost, "{worker} does not know that it holds the output of {id}");
            count += usize::from(known);
        }
        let known: usize = self.fleet.workers.values().map(|worker| worker.outputs.len()).sum();
        assert_eq!(count, known, "workers hold outputs that no task knows of");
    }
}

fn check_task(id: TaskId, task: &Task, last: Stage) {
    match task.state {
        State::Ready | State::Held { .. } | State::Committed { .. } => {
            assert!(task.live.is_empty(), "{id} is {:?} and has live attempts", task.state);
        }
        State::Out => assert!(!task.live.is_empty(), "{id} is out and has no attempt"),
        State::Committing { .. } => {}
    }
    match task.state {
        State::Held { .. } => assert_ne!(id.stage, last, "{id} holds a segment that nobody reads"),
        State::Committing { .. } | State::Committed { .. } => assert_eq!(id.stage, last, "{id} makes no part"),
        State::Ready | State::Out => {}
    }
}

fn attempts_of(worker: &Worker) -> Vec<(AttemptId, Phase)> {
    let running = worker.running.iter().map(|attempt| (*attempt, Phase::Running));
    let queued = worker.queue.map.iter().chain(&worker.queue.reduce).map(|attempt| (*attempt, Phase::Queued));
    let mut all: Vec<_> = running.chain(queued).collect();
    all.sort_unstable_by_key(|(attempt, _)| *attempt);
    all
}
