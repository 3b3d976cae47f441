//! What must hold of any run, checked from the facts and actions alone.
//!
//! It is a second account, kept the plainest way, of what the scheduler keeps in clever tables: it panics at the first
//! action that breaks a rule.

mod ending;

use std::collections::{BTreeMap, BTreeSet};

use runner::facts::{Blame, Cause, DropReason, End, Fact, Next};
use runner::ids::{AttemptId, Stage, TaskId, WorkerId};
use runner::scheduler::{Action, EarlyReduces, Rules};

use crate::names;
use crate::plan::Plan;
use crate::seen::Seen;

/// The account of one run.
pub struct Model {
    rules: Rules,
    maps: u32,
    reduces: u32,
    /// The workers that have the split of each map, if any has one.
    homes: Vec<Vec<WorkerId>>,
    breadth_first: Check,
    attempts: BTreeMap<AttemptId, (WorkerId, Status)>,
    /// Attempts that have not ended, by task.
    live: BTreeMap<TaskId, Vec<AttemptId>>,
    /// Those of them that are copies.
    copies: BTreeSet<AttemptId>,
    /// Attempts that were ended because another one had won.
    beaten: BTreeSet<AttemptId>,
    workers: BTreeMap<WorkerId, Seen>,
    published: BTreeMap<TaskId, (AttemptId, WorkerId)>,
    committed: BTreeMap<TaskId, AttemptId>,
    /// Whether the whole output was asked for: what segments there are is of no interest.
    completing: bool,
    failures: BTreeMap<TaskId, u32>,
    /// Tasks that something happened to, which may have hosts to avoid.
    avoiding: BTreeSet<TaskId>,
    losses: BTreeMap<TaskId, u32>,
    /// What must come next.
    expected: Option<Action>,
    pub end: Option<End>,
    /// Which sorts of facts were seen: a simulation that never meets one tests less than it says.
    pub seen: BTreeSet<&'static str>,
}

/// Whether a costly rule is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Yes,
    No,
}

/// Where parts stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// With the driver.
    WithUs,
    /// On the workers that made them, and they go with these.
    OnWorkers,
}

/// What the driver knows of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    Unheard,
    Present,
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Queued,
    Running,
    Finished,
    Over,
}

impl Model {
    pub fn new(plan: &Plan, homes: Vec<Vec<WorkerId>>) -> Self {
        Model {
            rules: plan.rules.clone(),
            homes,
            maps: u32::try_from(plan.maps.len()).expect("maps are numbered by u32"),
            reduces: plan.reduces,
            breadth_first: if plan.check_every == 1 { Check::Yes } else { Check::No },
            attempts: BTreeMap::new(),
            live: BTreeMap::new(),
            copies: BTreeSet::new(),
            beaten: BTreeSet::new(),
            workers: BTreeMap::new(),
            published: BTreeMap::new(),
            committed: BTreeMap::new(),
            completing: false,
            failures: BTreeMap::new(),
            avoiding: BTreeSet::new(),
            losses: BTreeMap::new(),
            expected: None,
            end: None,
            seen: BTreeSet::new(),
        }
    }

    /// Takes an action into account.
    pub fn see(&mut self, action: &Action) {
        if let Some(expected) = self.expected.take() {
            assert_eq!(action, &expected, "a fact was not followed by its action");
        }
        if let Some(end) = &self.end {
            assert_eq!(action, &Action::Conclude(end.clone()), "the job had ended");
        }
        match action {
            Action::Record(fact) => self.see_fact(fact),
            Action::Start { attempt, worker } | Action::Kill { attempt, worker } => {
                assert_eq!(self.attempts[attempt].0, *worker, "{attempt} is elsewhere");
            }
            Action::Publish { attempt, worker } => {
                assert_eq!(self.attempts[attempt], (*worker, Status::Finished), "{attempt} is published");
                self.published.insert(attempt.task, (*attempt, *worker));
            }
            Action::Withdraw { task } => assert!(self.published.remove(task).is_some(), "{task} was not published"),
            Action::Commit { attempt, worker } => {
                assert_eq!(self.attempts[attempt], (*worker, Status::Finished), "{attempt} is to be committed");
                assert!(!self.committed.contains_key(&attempt.task), "{} is committed", attempt.task);
            }
            Action::Complete => {
                let count = if self.reduces > 0 { self.reduces } else { self.maps };
                assert_eq!(self.committed.len(), count as usize, "the output is asked for and not all there");
                assert!(!self.completing, "the output is asked for twice");
                self.completing = true;
            }
            Action::Release { worker } => assert!(self.workers[worker].draining, "{worker} is let go"),
            Action::Conclude(end) => assert_eq!(Some(end), self.end.as_ref(), "the end was not recorded"),
        }
    }

    fn see_fact(&mut self, fact: &Fact) {
        self.seen.insert(names::name(fact));
        match fact {
            Fact::JobPlanned(_) | Fact::JobResumed { .. } => panic!("that is the driver's fact"),
            Fact::WorkerJoined { worker, host, slots } => {
                let host = host["node".len()..].parse().expect("hosts are numbered");
                let fresh = Seen::new(host, *slots);
                assert!(self.workers.insert(*worker, fresh).is_none(), "{worker} joined twice");
            }
            Fact::WorkerRefused { .. } | Fact::StageStarted { .. } | Fact::StageFinished { .. } => {}
            Fact::WorkerSuspect { worker } => self.worker(*worker).silent = true,
            Fact::WorkerBack { worker } => (self.worker(*worker).silent, self.worker(*worker).barred) = (false, false),
            Fact::WorkerLost { worker, .. } => self.worker(*worker).lost = true,
            Fact::WorkerDraining { worker } => self.worker(*worker).draining = true,
            Fact::WorkerKept { worker } => {
                (self.worker(*worker).draining, self.worker(*worker).barred) = (false, false);
            }
            Fact::WorkerReleased { worker } => self.see_released(*worker),
            Fact::WorkerBarred { worker, .. } => self.worker(*worker).barred = true,
            Fact::WorkerMarked { worker, share_percent, .. } => self.see_marked(*worker, *share_percent),
            Fact::WorkerCleared { worker } => {
                (self.worker(*worker).barred, self.worker(*worker).share) = (false, 100);
            }
            Fact::WorkerRemembered { worker, share_percent, .. } => self.see_marked(*worker, *share_percent),
            Fact::WorkerHeld { worker, .. } => self.worker(*worker).held = true,
            Fact::WorkerEased { worker } => self.worker(*worker).held = false,
            Fact::AttemptCopied { attempt, worker, of, from, .. } => self.see_copied(*attempt, *worker, *of, *from),
            Fact::AttemptQueued { attempt, worker } => self.see_queued(*attempt, *worker),
            Fact::AttemptStarted { attempt, worker } => {
                self.change(*attempt, *worker, &[Status::Queued], Status::Running)
            }
            Fact::AttemptFinished { attempt, worker, .. } => {
                self.change(*attempt, *worker, &[Status::Running], Status::Finished);
                self.losses.remove(&attempt.task);
            }
            Fact::AttemptFailed { attempt, worker, failure, next } => {
                self.see_failed(*attempt, *worker, &failure.cause, *next);
            }
            Fact::AttemptDropped { attempt, worker, reason } => self.see_dropped(*attempt, *worker, *reason),
            Fact::OutputLost { attempt } => {
                let worker = self.attempts[attempt].0;
                // One that was lost with its worker may have been committed all the same, and be lost now.
                let was_committed = self.committed.get(&attempt.task) == Some(attempt);
                let from: &[Status] =
                    if was_committed { &[Status::Finished, Status::Over] } else { &[Status::Finished] };
                self.change(*attempt, worker, from, Status::Over);
                self.avoiding.insert(attempt.task);
                if self.committed.get(&attempt.task) == Some(attempt) {
                    self.committed.remove(&attempt.task);
                    self.completing = false;
                }
            }
            Fact::PartCommitted { attempt, .. } => {
                let before = self.committed.insert(attempt.task, *attempt);
                assert_eq!(before, None, "{} is committed twice", attempt.task);
                assert!(!self.beaten.contains(attempt), "{attempt} was beaten and is committed");
            }
            Fact::JobFinished { end } => self.end = Some(end.clone()),
        }
    }

    /// The driver has died, and another one goes on with the facts that were seen: it has heard of no worker yet, holds
    /// nothing against a host, and publishes anew.
    pub fn resume(&mut self) {
        self.expected = None;
        self.completing = false;
        for seen in self.workers.values_mut() {
            (seen.silent, seen.barred, seen.held) = (true, false, false);
            (seen.draining, seen.share) = (false, 100);
        }
        let attempts = &self.attempts;
        self.copies.retain(|copy| attempts.contains_key(copy));
        self.published.retain(|_, (attempt, _)| attempts[attempt].1 == Status::Finished);
    }

    /// Whether a worker joined and was not given up.
    pub fn knows(&self, worker: WorkerId) -> Knowledge {
        match self.workers.get(&worker) {
            None => Knowledge::Unheard,
            Some(seen) if seen.lost => Knowledge::Lost,
            Some(_) => Knowledge::Present,
        }
    }

    fn worker(&mut self, id: WorkerId) -> &mut Seen {
        self.workers.get_mut(&id).unwrap_or_else(|| panic!("{id} never joined"))
    }

    fn see_queued(&mut self, attempt: AttemptId, worker: WorkerId) {
        let task = attempt.task;
        assert!(!self.committed.contains_key(&task), "{task} is committed and started again");
        assert!(!self.published.contains_key(&task), "{task} is published and started again");
        if task.stage == Stage::Reduce {
            self.check_barrier(attempt);
        }
        let before = self.attempts.insert(attempt, (worker, Status::Queued));
        assert_eq!(before, None, "{attempt} is there twice");
        let seen = *self.worker(worker);
        let others = self.live.entry(task).or_default();
        assert!(others.is_empty() || self.copies.contains(&attempt), "{task} is out twice");
        for other in others.iter() {
            assert_ne!(self.workers[&self.attempts[other].0].host, seen.host, "{attempt} is beside {other}");
        }
        others.push(attempt);
        assert!(seen.is_usable(), "{attempt} is sent to {worker}: {seen:?}");
        *live_count(self.worker(worker), task.stage) += 1;
        if self.breadth_first == Check::Yes && !self.avoiding.contains(&task) && !self.is_home(task, worker) {
            self.check_breadth(worker, task.stage);
        }
        self.expected = Some(Action::Start { attempt, worker });
    }

    /// A reduce is sent when all maps are published, or early, when each of them is out at least.
    fn check_barrier(&self, attempt: AttemptId) {
        match self.rules.early_reduces {
            EarlyReduces::WhileMapsEnd if self.breadth_first == Check::Yes => {
                let is_out = |map: &TaskId| self.live.get(map).is_some_and(|live| !live.is_empty());
                let mut waiting = (0..self.maps).map(TaskId::map).filter(|map| !self.published.contains_key(map));
                assert!(waiting.all(|map| is_out(&map)), "{attempt} is sent while a map waits");
            }
            EarlyReduces::WhileMapsEnd => {}
            EarlyReduces::Never => {
                let published = self.published.len();
                assert_eq!(published, self.maps as usize, "{attempt} starts before all maps are published");
            }
        }
    }

    /// A copy is of something that runs on another host, and they are not too many.
    fn see_copied(&mut self, attempt: AttemptId, worker: WorkerId, of: AttemptId, from: WorkerId) {
        assert_eq!(self.attempts[&of], (from, Status::Running), "{of} is copied");
        assert_eq!(attempt.task, of.task, "{attempt} is no copy of {of}");
        self.copies.insert(attempt);
        let stage = attempt.task.stage;
        let copies = self.copies.iter().filter(|copy| copy.task.stage == stage).count();
        let live = self.live.values().flatten().filter(|live| live.task.stage == stage);
        let running = live.filter(|live| self.attempts[*live].1 == Status::Running).count();
        let rules = self.rules.stragglers.expect("copies are allowed");
        assert!(copies <= rules.copies_max(running as u32) as usize, "{copies} copies of {running} attempts");
        self.expected = Some(Action::Record(Fact::AttemptQueued { attempt, worker }));
    }

    /// Only a drained worker is let go, and nothing runs or lies there that is needed.
    fn see_released(&mut self, worker: WorkerId) {
        let seen = *self.worker(worker);
        assert!(seen.draining && !seen.lost && seen.live_maps + seen.live_reduces == 0, "{worker} is let go: {seen:?}");
        self.worker(worker).lost = true;
        self.expected = Some(Action::Release { worker });
    }

    fn see_marked(&mut self, worker: WorkerId, share: u32) {
        (self.worker(worker).barred, self.worker(worker).share) = (share == 0, share);
        let hosts = |slow: bool| {
            let some = self.workers.values().filter(|seen| !seen.lost && !seen.draining && (!slow || seen.share < 100));
            some.map(|seen| seen.host).collect::<BTreeSet<_>>().len()
        };
        let (slow, all) = (hosts(true), hosts(false));
        assert!(slow * self.rules.barred_one_in as usize <= all, "{slow} of {all} hosts are marked");
    }

    /// Whether a map's split lies on the worker: there it may wait behind others, and save the way.
    fn is_home(&self, task: TaskId, worker: WorkerId) -> bool {
        task.stage == Stage::Map && self.homes.get(task.index as usize).is_some_and(|homes| homes.contains(&worker))
    }

    /// Nothing waits behind others on one worker while another has a free slot.
    fn check_breadth(&self, worker: WorkerId, stage: Stage) {
        let load = |seen: &Seen| seen.live_maps + if stage == Stage::Reduce { seen.live_reduces } else { 0 };
        let seen = &self.workers[&worker];
        // Running reduces hold slots that maps cannot have; so what is known to be free has none at all.
        let idle = |seen: &&Seen| {
            seen.share == 100 && load(seen) < seen.slots && (stage == Stage::Reduce || seen.live_reduces == 0)
        };
        if load(seen) > seen.slots {
            assert_eq!(
                self.workers.values().filter(|seen| seen.is_usable()).filter(idle).count(),
                0,
                "{worker} is sent ahead of free slots"
            );
        }
    }

    fn change(&mut self, attempt: AttemptId, worker: WorkerId, from: &[Status], to: Status) {
        let entry = self.attempts.get_mut(&attempt).unwrap_or_else(|| panic!("{attempt} was never sent"));
        assert_eq!(entry.0, worker, "{attempt} is elsewhere");
        assert!(from.contains(&entry.1), "{attempt} was {:?} and is {to:?}", entry.1);
        let ends = matches!(entry.1, Status::Queued | Status::Running) && matches!(to, Status::Finished | Status::Over);
        entry.1 = to;
        if ends {
            let live = self.live.get_mut(&attempt.task).expect("an attempt was sent");
            assert!(live.contains(&attempt), "{attempt} was not alive");
            live.retain(|other| *other != attempt);
            self.copies.remove(&attempt);
            *live_count(self.worker(worker), attempt.task.stage) -= 1;
        }
    }

    fn see_failed(&mut self, attempt: AttemptId, worker: WorkerId, cause: &Cause, next: Next) {
        // A finished attempt whose commit failed is no failure of the task.
        let after_finish = self.attempts[&attempt].1 == Status::Finished;
        self.change(attempt, worker, &[Status::Queued, Status::Running, Status::Finished], Status::Over);
        self.avoiding.insert(attempt.task);
        let failures = self.failures.entry(attempt.task).or_default();
        if cause.blame() != Blame::Source && !after_finish {
            *failures += 1;
            self.losses.remove(&attempt.task);
        }
        match next {
            Next::Retry { left } => {
                assert_eq!(left + *failures, self.rules.attempts_max, "{} is miscounted", attempt.task)
            }
            Next::GiveUp => assert!(*failures >= self.rules.attempts_max, "{} is given up early", attempt.task),
            Next::Covered => {
                let finished = |(id, (_, status)): (&AttemptId, &(WorkerId, Status))| {
                    id.task == attempt.task && *status == Status::Finished
                };
                let covered = !self.live[&attempt.task].is_empty() || self.attempts.iter().any(finished);
                assert!(covered, "nothing covers {attempt}");
            }
        }
    }

    fn see_dropped(&mut self, attempt: AttemptId, worker: WorkerId, reason: DropReason) {
        let was = self.attempts[&attempt].1;
        self.change(attempt, worker, &[Status::Queued, Status::Running], Status::Over);
        let lost = self.workers[&worker].lost;
        assert_eq!(lost, reason == DropReason::WorkerLost, "{attempt} is dropped as {reason:?}");
        match reason {
            DropReason::WorkerLost => {
                *self.losses.entry(attempt.task).or_default() += u32::from(was == Status::Running)
            }
            DropReason::Moved => assert_eq!(was, Status::Queued, "{attempt} is moved while it runs"),
            DropReason::Beaten => _ = self.beaten.insert(attempt),
            DropReason::NeverArrived | DropReason::InputGone | DropReason::JobEnds => {}
        }
        if reason != DropReason::WorkerLost {
            self.expected = Some(Action::Kill { attempt, worker });
        }
    }

    /// After each batch: nothing is left on lost workers, and no slot is idle while something waits elsewhere.
    pub fn check_batch(&self) {
        assert_eq!(self.expected, None, "a fact was not followed by its action");
        if self.breadth_first == Check::No || self.end.is_some() || self.completing {
            return;
        }
        for (id, seen) in &self.workers {
            assert!(!seen.lost || seen.live_maps + seen.live_reduces == 0, "{id} is lost and holds attempts");
        }
        for (task, (attempt, worker)) in &self.published {
            assert!(!self.workers[worker].lost, "{attempt} of {task} is published and its worker lost");
        }
        self.check_idle();
    }

    /// No slot is known to be idle while an attempt that could take it waits behind others.
    fn check_idle(&self) {
        let idle =
            |seen: &Seen| seen.is_usable() && seen.share == 100 && seen.live_maps + seen.live_reduces < seen.slots;
        if !self.workers.values().any(idle) {
            return;
        }
        let alone = self.live.iter().filter(|(_, live)| live.len() == 1);
        for (task, attempt) in alone.map(|(task, live)| (task, &live[0])) {
            let (worker, status) = self.attempts[attempt];
            let seen = &self.workers[&worker];
            let load = seen.live_maps + if task.stage == Stage::Reduce { seen.live_reduces } else { 0 };
            let may_move = task.stage == Stage::Map || self.published.len() == self.maps as usize;
            // A map may wait a while where its split lies.
            let at_home = task.stage == Stage::Map && !self.rules.home_wait.is_zero();
            let excused = self.avoiding.contains(task) || at_home;
            let waits = status == Status::Queued && load > seen.slots && may_move && !excused;
            let committing = || self.attempts.iter().any(|(id, it)| id.task == *task && it.1 == Status::Finished);
            assert!(!waits || committing(), "{attempt} waits on {worker} while a slot is idle");
        }
    }

    /// Tasks that have not ended.
    pub fn open_tasks(&self) -> impl Iterator<Item = TaskId> {
        let all = (0..self.maps).map(TaskId::map).chain((0..self.reduces).map(TaskId::reduce));
        all.filter(|task| !self.committed.contains_key(task) && !self.published.contains_key(task))
    }
}

fn live_count(seen: &mut Seen, stage: Stage) -> &mut u32 {
    match stage {
        Stage::Map => &mut seen.live_maps,
        Stage::Reduce => &mut seen.live_reduces,
    }
}
