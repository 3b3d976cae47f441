//! A made-up cluster around a real scheduler: time, links, machines, and what a driver would do with each action.
//!
//! Everything that happens stands in one queue ordered by time, and everything random comes from the seed. Links delay,
//! swap and double messages; a lost message breaks the link, as it would with a real driver. The driver itself may die;
//! another one then goes on with the facts that were durable.

mod cluster;
mod reigns;

use std::collections::BTreeMap;

use runner::clock::Moment;
use runner::facts::{End, Fact};
use runner::ids::{AttemptId, Epoch, Stage, TaskId, WorkerId};
use runner::scheduler::{Action, Config, Event, Remembered, RememberedStanding, Scheduler};

use crate::machine::{Machine, Power, Reads, Waiting};
use crate::model::{Model, Stay};
use crate::plan::Plan;
use crate::random::{Random, mix};
use crate::segments::Segments;

/// A run in progress.
pub struct World {
    plan: Plan,
    random: Random,
    /// In microseconds.
    pub now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    scheduler: Scheduler,
    pub model: Model,
    machines: BTreeMap<WorkerId, Machine>,
    segments: Segments,
    /// What lies under the output's final names.
    pub parts: BTreeMap<TaskId, Reads>,
    /// The workers on which parts lie, where they stay there.
    part_homes: Option<BTreeMap<TaskId, WorkerId>>,
    /// Whether the output is being put in its place.
    completing: bool,
    pub events: u64,
    /// When the scheduler is called next although nothing happened.
    wakes_at: Option<u64>,
    end: Option<End>,
    /// All facts that are durable.
    pub facts: Vec<Fact>,
    epoch: Epoch,
    driver: Driver,
}

/// Whether there is a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driver {
    Alive,
    /// It dies in the midst of the actions that come next.
    Dying,
    Dead,
}

/// Something that will happen.
#[derive(Clone, Debug)]
enum Happening {
    /// The driver learns something.
    Tell(Event),
    /// A host connects.
    Join(usize),
    /// A worker hears of an attempt.
    Arrive(AttemptId, WorkerId),
    /// A worker hears that an attempt is not wanted.
    Kill(AttemptId, WorkerId),
    /// The input of an attempt was looked for.
    Fetch(AttemptId, WorkerId),
    /// An attempt comes to its end.
    End(AttemptId, WorkerId),
    /// The driver has moved an output to its final name, or not.
    Commit(AttemptId, WorkerId),
    /// The driver puts the output in its place, or finds that it cannot.
    Complete,
    /// The driver sees which parts went with a worker.
    PartsGo(WorkerId),
    /// Some worker is struck.
    Strike,
    /// The host of some worker is taken off the list.
    Drain,
    /// A host is put on the list again.
    Relist(WorkerId),
    /// A worker that was silent is heard of again, or given up.
    Decide(WorkerId),
    /// A worker says how far its attempts are.
    Report(WorkerId),
    /// The link of some worker breaks.
    Break,
    /// A worker is connected again, or turns out to be gone.
    Reattach(WorkerId),
    /// The driver dies.
    Crash,
    /// Another driver goes on.
    Resume,
    /// The scheduler wanted to be called.
    Wake,
}

/// Runs until the job ends, or panics with what is wrong.
pub fn run(seed: u64, plan: Plan) -> World {
    let mut world = World::new(seed, plan);
    let events_max = 1_000_000 + 100 * (world.plan.maps.len() as u64 + u64::from(world.plan.reduces));
    while world.end.is_none() {
        world.step();
        assert!(world.events < events_max, "the run goes in circles:\n{}", world.explain_open());
    }
    let stay = if world.part_homes.is_some() { Stay::OnWorkers } else { Stay::WithUs };
    world.model.check_end(&world.plan, &world.parts, stay);
    world
}

/// Where splits lie, in half of the runs with troubles: on some workers, which may never join, or on none.
fn homes(seed: u64, plan: &Plan) -> Vec<Vec<WorkerId>> {
    const HOSTS_MAX: usize = 16;
    let mut random = Random::new(mix(seed ^ 0x686f_6d65));
    if plan.quiet_at <= 1 || plan.hosts.is_empty() || plan.hosts.len() > HOSTS_MAX || random.chance(500) {
        return Vec::new();
    }
    let last = plan.hosts.len() as u64 - 1;
    let some =
        |random: &mut Random| (0..random.between(0, 2)).map(|_| WorkerId(random.between(0, last) as u32)).collect();
    plan.maps.iter().map(|_| some(&mut random)).collect()
}

/// Whether parts stay on the workers that made them, as in half of the runs with troubles.
fn parts_stay(seed: u64, plan: &Plan) -> bool {
    plan.quiet_at > 1 && Random::new(mix(seed ^ 0x7061_7274)).chance(500)
}

impl World {
    fn new(seed: u64, plan: Plan) -> Self {
        let remember = |(host, standing): &(usize, RememberedStanding)| Remembered {
            host: format!("node{host}"),
            standing: *standing,
            until: Moment(100_000),
            evidence: String::new(),
        };
        let homes = homes(seed, &plan);
        let config = Config {
            maps: plan.maps.clone(),
            homes: homes.clone(),
            reduces: plan.reduces,
            rules: plan.rules.clone(),
            remembered: plan.remembered.iter().map(remember).collect(),
            ..Config::default()
        };
        let mut world = World {
            model: Model::new(&plan, homes),
            random: Random::new(mix(seed)),
            now: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            scheduler: Scheduler::new(config),
            machines: BTreeMap::new(),
            segments: Segments::default(),
            parts: BTreeMap::new(),
            part_homes: parts_stay(seed, &plan).then(BTreeMap::new),
            completing: false,
            events: 0,
            wakes_at: None,
            end: None,
            facts: vec![planned(&plan)],
            epoch: Epoch(0),
            driver: Driver::Alive,
            plan,
        };
        world.schedule_plan();
        world
    }

    fn schedule_plan(&mut self) {
        for index in 0..self.plan.hosts.len() {
            self.after(self.plan.hosts[index].joins_at, Happening::Join(index));
        }
        let last = self.plan.hosts.iter().map(|host| host.joins_at).max().unwrap_or(0);
        self.after(last + 1, Happening::Tell(Event::FleetComplete));
        for _ in 0..self.plan.strikes {
            let time = self.random.between(0, self.plan.quiet_at);
            self.after(time, Happening::Strike);
        }
        for _ in 0..self.plan.breaks {
            let time = self.random.between(0, self.plan.quiet_at);
            self.after(time, Happening::Break);
        }
        for _ in 0..self.plan.crashes {
            let time = self.random.between(0, self.plan.quiet_at);
            self.after(time, Happening::Crash);
        }
        for _ in 0..self.plan.drains {
            let time = self.random.between(0, self.plan.quiet_at);
            self.after(time, Happening::Drain);
        }
        if let Some(time) = self.plan.interrupted_at {
            let event = if time.is_multiple_of(2) { Event::Interrupted } else { Event::Cancelled };
            self.after(time, Happening::Tell(event));
        }
    }

    fn after(&mut self, delay: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), happening);
    }

    /// A fault of this frequency strikes now; never in the quiet.
    fn fault(&mut self, per_mille: u64) -> bool {
        self.now < self.plan.quiet_at && self.random.chance(per_mille)
    }

    fn step(&mut self) {
        let Some(((time, _), happening)) = self.queue.pop_first() else {
            panic!("nothing more will happen, and the job has not ended:\n{}", self.explain_open());
        };
        self.now = time;
        if self.driver == Driver::Dead && self.is_missed(&happening) {
            return;
        }
        match happening {
            Happening::Tell(event) => self.tell_all(event),
            Happening::Join(index) => self.join(index),
            Happening::Arrive(attempt, worker) => self.arrive(attempt, worker),
            Happening::Kill(attempt, worker) => self.kill(attempt, worker),
            Happening::Fetch(attempt, worker) => self.fetch(attempt, worker),
            Happening::End(attempt, worker) => self.attempt_ends(attempt, worker),
            Happening::Commit(attempt, worker) => self.commit(attempt, worker),
            Happening::Complete => self.complete(),
            Happening::PartsGo(worker) => self.parts_go(worker),
            Happening::Strike => self.strike(),
            Happening::Drain => self.drain(),
            Happening::Relist(worker) => self.relist(worker),
            Happening::Decide(worker) => self.decide_silent(worker),
            Happening::Report(worker) => self.report(worker),
            Happening::Break => self.break_link(),
            Happening::Reattach(worker) => self.reattach(worker),
            Happening::Crash => self.strike_driver(),
            Happening::Resume => self.resume(),
            Happening::Wake => self.wake(),
        }
    }
}

impl World {
    fn explain_open(&self) -> String {
        self.model.open_tasks().map(|task| self.scheduler.explain(task)).collect::<Vec<_>>().join("\n")
    }
}

/// The driver's side.
impl World {
    /// Hands an event to the scheduler, with those that lie behind it in the driver's inbox, and performs what follows.
    fn tell_all(&mut self, event: Event) {
        if self.driver == Driver::Dead {
            return;
        }
        self.tell(event);
        while self.random.chance(300) {
            match self.queue.first_entry().map(|entry| (entry.key().0, matches!(entry.get(), Happening::Tell(_)))) {
                Some((time, true)) if time < self.now + 1000 => {}
                Some(_) | None => break,
            }
            if let Some((_, Happening::Tell(event))) = self.queue.pop_first() {
                self.tell(event);
            }
        }
        self.decide();
    }

    fn wake(&mut self) {
        self.wakes_at = None;
        self.events += 1;
        self.decide();
    }

    fn decide(&mut self) {
        let mut actions = Vec::new();
        self.scheduler.decide(Moment(self.now), &mut actions);
        self.check_now_and_then();
        let dies = (self.driver == Driver::Dying && !actions.is_empty()) || self.dies_here(&mut actions);
        if dies && self.plan.dies_after.is_none() {
            self.cut_short(&mut actions);
        }
        for action in actions {
            self.model.see(&action);
            self.perform(action);
        }
        if dies {
            return self.die();
        }
        self.model.check_batch();
        self.set_alarm();
    }

    /// Sees to it that the scheduler is called when it wants to be. Early calls are harmless.
    fn set_alarm(&mut self) {
        let Some(Moment(deadline)) = self.scheduler.deadline() else { return };
        let deadline = deadline.max(self.now + 1);
        if self.wakes_at.is_none_or(|at| at > deadline) {
            self.wakes_at = Some(deadline);
            self.after(deadline - self.now, Happening::Wake);
        }
    }

    fn tell(&mut self, event: Event) {
        self.scheduler.handle(Moment(self.now), event);
        self.events += 1;
        self.check_now_and_then();
    }

    fn check_now_and_then(&self) {
        if self.events.is_multiple_of(self.plan.check_every) {
            self.scheduler.sanity_check();
        }
    }

    fn perform(&mut self, action: Action) {
        let delay = self.random.between(0, self.plan.latency_max);
        match action {
            Action::Record(fact) => self.facts.push(fact),
            Action::Start { attempt, worker } => self.after(delay, Happening::Arrive(attempt, worker)),
            Action::Kill { attempt, worker } => self.after(delay, Happening::Kill(attempt, worker)),
            Action::Commit { attempt, worker } => self.after(delay, Happening::Commit(attempt, worker)),
            Action::Publish { attempt, worker } => self.publish(attempt, worker),
            Action::Withdraw { task } => self.segments.withdraw(task),
            Action::Complete => {
                self.completing = true;
                self.after(delay, Happening::Complete);
            }
            Action::Release { worker } => self.release(worker),
            Action::Conclude(end) => self.end = Some(end),
        }
    }

    fn publish(&mut self, attempt: AttemptId, worker: WorkerId) {
        let machine = &self.machines[&worker];
        let hash = machine.outputs.get(&attempt).map_or(0, |(hash, _)| *hash);
        self.segments.withdraw(attempt.task);
        self.segments.published.insert(attempt.task, (attempt, worker, hash));
        let off = machine.state == Power::Off || !machine.outputs.contains_key(&attempt);
        if self.fault(self.plan.rotten) || off {
            self.segments.unreadable.insert(attempt.task, attempt);
        }
        self.wake_readers();
    }

    /// Reduces that wait for a segment look again.
    fn wake_readers(&mut self) {
        if self.segments.published.len() < self.plan.maps.len() {
            return;
        }
        let idle = |waiting: &&Waiting| waiting.input.is_none() && waiting.attempt.task.stage == Stage::Reduce;
        let waiting =
            |machine: &Machine| machine.waiting.iter().filter(idle).map(|it| (it.attempt, machine.id)).collect();
        let all: Vec<(AttemptId, WorkerId)> = self.machines.values().flat_map::<Vec<_>, _>(waiting).collect();
        for (attempt, worker) in all {
            self.after(1, Happening::Fetch(attempt, worker));
        }
    }

    /// The driver fetches an output and renames it. A second one for the same part changes nothing.
    fn commit(&mut self, attempt: AttemptId, worker: WorkerId) {
        let machine = &self.machines[&worker];
        if machine.state == Power::Apart {
            // It is waited for.
            return self.after(1000, Happening::Commit(attempt, worker));
        }
        let output = machine.outputs.get(&attempt).filter(|_| machine.state == Power::On).cloned();
        let failed = self.fault(self.plan.commit_failures);
        let event = match output {
            Some((_, reads)) if !failed => {
                self.parts.entry(attempt.task).or_insert(reads);
                if let Some(homes) = &mut self.part_homes {
                    homes.entry(attempt.task).or_insert(worker);
                }
                Event::Committed { attempt, bytes: 1 }
            }
            Some(_) | None => Event::CommitFailed { attempt, text: "the output did not arrive".to_owned() },
        };
        self.send(event);
    }

    /// The parts that lie on workers which are no more.
    fn parts_gone(&self) -> Vec<TaskId> {
        let there = |worker: &WorkerId| matches!(self.machines[worker].state, Power::On | Power::Apart);
        let homes = self.part_homes.iter().flatten();
        homes.filter(|(_, home)| !there(home)).map(|(task, _)| *task).collect()
    }

    /// Parts went with a worker. While the output is put in its place, that is found out there.
    fn parts_go(&mut self, worker: WorkerId) {
        let homes = self.part_homes.iter().flatten();
        let gone: Vec<TaskId> = homes.filter(|(_, home)| **home == worker).map(|(task, _)| *task).collect();
        if !self.completing && !gone.is_empty() {
            self.lose_parts(gone);
        }
    }

    fn complete(&mut self) {
        let mut gone = self.parts_gone();
        // Some may have been lost before anybody heard that they were there.
        gone.extend(self.last_tasks().filter(|task| !self.parts.contains_key(task)));
        match gone {
            gone if gone.is_empty() => self.send(Event::Completed),
            gone => {
                self.completing = false;
                self.lose_parts(gone);
            }
        }
    }

    /// The tasks that make parts.
    fn last_tasks(&self) -> impl Iterator<Item = TaskId> + use<> {
        let (maps, reduces) = (self.plan.maps.len() as u32, self.plan.reduces);
        let (stage, count) = if reduces > 0 { (Stage::Reduce, reduces) } else { (Stage::Map, maps) };
        (0..count).map(move |index| TaskId { stage, index })
    }

    fn lose_parts(&mut self, gone: Vec<TaskId>) {
        for task in &gone {
            self.parts.remove(task);
            self.part_homes.as_mut().map(|homes| homes.remove(task));
        }
        self.tell_all(Event::PartsLost(gone));
    }
}

/// The fact that a driver begins with.
fn planned(plan: &Plan) -> Fact {
    let (splits, reduces) = (plan.maps.clone(), plan.reduces);
    Fact::JobPlanned(runner::facts::Plan { splits, reduces, ..runner::facts::Plan::default() })
}
