//! A made-up cluster around a real scheduler: time, links, machines, and what a driver would do with each action.
//!
//! Everything that happens stands in one queue ordered by time, and everything random comes from the seed. Links delay,
//! swap and double messages; a lost message costs the link, as it would with a real driver.

use std::collections::BTreeMap;
use std::rc::Rc;

use runner::clock::Moment;
use runner::facts::{Cause, End, Failure, Work};
use runner::ids::{AttemptId, Stage, TaskId, WorkerId};
use runner::scheduler::{Action, Config, Event, Scheduler};

use crate::machine::{Machine, Power, Reads, Waiting};
use crate::model::Model;
use crate::plan::{Nature, Plan, Program};
use crate::random::{Random, mix};

/// A run in progress.
pub struct World {
    plan: Plan,
    random: Random,
    now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    scheduler: Scheduler,
    pub model: Model,
    machines: BTreeMap<WorkerId, Machine>,
    segments: Segments,
    /// What lies under the output's final names.
    pub parts: BTreeMap<TaskId, Reads>,
    pub events: u64,
    end: Option<End>,
}

/// The segments that reduces read, as told to the workers.
#[derive(Default)]
struct Segments {
    published: BTreeMap<TaskId, (AttemptId, WorkerId, u64)>,
    /// Published ones that cannot be read by anybody.
    unreadable: BTreeMap<TaskId, AttemptId>,
    /// What a reduce reads now, made when it is asked for.
    snapshot: Option<Reads>,
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
    /// Some worker is struck.
    Strike,
    /// A worker that was silent is heard of again, or given up.
    Decide(WorkerId),
}

/// Runs until the job ends, or panics with what is wrong.
pub fn run(seed: u64, plan: Plan) -> World {
    let mut world = World::new(seed, plan);
    let events_max = 100_000 + 100 * (world.plan.maps.len() as u64 + u64::from(world.plan.reduces));
    while world.end.is_none() {
        world.step();
        assert!(world.events < events_max, "the run goes in circles:\n{}", world.explain_open());
    }
    world.model.check_end(&world.plan, &world.parts);
    world
}

impl World {
    fn new(seed: u64, plan: Plan) -> Self {
        let config = Config { maps: plan.maps.clone(), reduces: plan.reduces, ..Config::default() };
        let mut world = World {
            model: Model::new(&plan),
            random: Random::new(mix(seed)),
            now: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            scheduler: Scheduler::new(config),
            machines: BTreeMap::new(),
            segments: Segments::default(),
            parts: BTreeMap::new(),
            events: 0,
            end: None,
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
        if let Some(time) = self.plan.interrupted_at {
            self.after(time, Happening::Tell(Event::Interrupted));
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
        match happening {
            Happening::Tell(event) => self.tell_all(event),
            Happening::Join(index) => self.join(index),
            Happening::Arrive(attempt, worker) => self.arrive(attempt, worker),
            Happening::Kill(attempt, worker) => self.kill(attempt, worker),
            Happening::Fetch(attempt, worker) => self.fetch(attempt, worker),
            Happening::End(attempt, worker) => self.attempt_ends(attempt, worker),
            Happening::Commit(attempt, worker) => self.commit(attempt, worker),
            Happening::Strike => self.strike(),
            Happening::Decide(worker) => self.decide_silent(worker),
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
        let mut actions = Vec::new();
        self.scheduler.decide(Moment(self.now), &mut actions);
        self.check_now_and_then();
        for action in actions {
            self.model.see(&action);
            self.perform(action);
        }
        self.model.check_batch();
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
            Action::Record(_) => {}
            Action::Start { attempt, worker } => self.after(delay, Happening::Arrive(attempt, worker)),
            Action::Kill { attempt, worker } => self.after(delay, Happening::Kill(attempt, worker)),
            Action::Commit { attempt, worker } => self.after(delay, Happening::Commit(attempt, worker)),
            Action::Publish { attempt, worker } => self.publish(attempt, worker),
            Action::Withdraw { task } => self.segments.withdraw(task),
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
        let output = machine.outputs.get(&attempt).filter(|_| machine.state == Power::On).cloned();
        let failed = self.fault(self.plan.commit_failures);
        let event = match output {
            Some((_, reads)) if !failed => {
                self.parts.entry(attempt.task).or_insert(reads);
                Event::Committed { attempt, bytes: 1 }
            }
            Some(_) | None => Event::CommitFailed { attempt, text: "the output did not arrive".to_owned() },
        };
        self.send(event);
    }
}

/// The machines' side.
impl World {
    fn join(&mut self, index: usize) {
        let host = format!("node{index}");
        let plan = self.plan.hosts[index];
        if plan.nature == Nature::Refused {
            return self.tell_all(Event::WorkerRefused { host, reason: "connection refused".to_owned() });
        }
        let worker = WorkerId(u32::try_from(self.machines.len()).expect("a fleet of less than 2^32"));
        self.machines.insert(worker, Machine::new(worker, host.clone(), plan));
        self.tell_all(Event::WorkerJoined { worker, host, slots: plan.slots });
    }

    /// A message of a worker goes out.
    fn send_from(&mut self, worker: WorkerId, event: Event) {
        if self.machines[&worker].state != Power::On {
            return;
        }
        if self.fault(self.plan.cut) {
            return self.lose(worker, Power::Cut);
        }
        self.send(event);
    }

    fn send(&mut self, event: Event) {
        let delay = self.random.between(0, self.plan.latency_max);
        if self.random.chance(self.plan.doubled) {
            let later = self.random.between(0, 5 * self.plan.latency_max);
            self.after(later, Happening::Tell(event.clone()));
        }
        self.after(delay, Happening::Tell(event));
    }

    fn arrive(&mut self, attempt: AttemptId, worker: WorkerId) {
        let machine = self.machines.get_mut(&worker).expect("attempts are sent to workers that joined");
        if machine.state == Power::Off {
            return;
        }
        machine.waiting.push(Waiting { attempt, input: None });
        let delay = self.random.between(0, 500);
        self.after(delay, Happening::Fetch(attempt, worker));
    }

    fn kill(&mut self, attempt: AttemptId, worker: WorkerId) {
        self.machines.get_mut(&worker).expect("it joined").forget(attempt);
        self.fill_slots(worker);
    }

    fn fetch(&mut self, attempt: AttemptId, worker: WorkerId) {
        let machine = &self.machines[&worker];
        let waits = machine.waiting.iter().any(|waiting| waiting.attempt == attempt && waiting.input.is_none());
        if machine.state == Power::Off || !waits {
            return;
        }
        let input = match attempt.task.stage {
            Stage::Map => Ok(Reads::default()),
            Stage::Reduce => match self.segments.read(self.plan.maps.len(), machine.plan.nature) {
                Some(input) => input,
                None => return,
            },
        };
        let machine = self.machines.get_mut(&worker).expect("it joined");
        match input {
            Ok(reads) => {
                for waiting in machine.waiting.iter_mut().filter(|waiting| waiting.attempt == attempt) {
                    waiting.input = Some(reads.clone());
                }
                self.fill_slots(worker);
            }
            Err(source) => {
                machine.forget(attempt);
                let failure = Failure::of(Cause::Fetch { source, text: "no such segment".to_owned() });
                self.send_from(worker, Event::AttemptFailed { attempt, worker, failure });
            }
        }
    }

    fn fill_slots(&mut self, worker: WorkerId) {
        let slowness = self.machines[&worker].plan.slowness;
        while let Some(attempt) = self.machines.get_mut(&worker).expect("it joined").take_slot() {
            let time = self.random.between(1, 20) * 1000 * slowness;
            self.after(time, Happening::End(attempt, worker));
            self.send_from(worker, Event::AttemptStarted { attempt, worker });
        }
    }

    fn attempt_ends(&mut self, attempt: AttemptId, worker: WorkerId) {
        let machine = self.machines.get_mut(&worker).expect("it joined");
        let Some(reads) = machine.running.remove(&attempt) else { return };
        if machine.state == Power::Off {
            return;
        }
        let is_map = attempt.task.stage == Stage::Map;
        if is_map && attempt.task.index < self.plan.deadly {
            return self.lose(worker, Power::Off);
        }
        let event = match self.failure(attempt, worker) {
            Some(cause) => Event::AttemptFailed { attempt, worker, failure: Failure::of(cause) },
            None => self.finish(attempt, worker, reads),
        };
        self.send_from(worker, event);
        self.fill_slots(worker);
    }

    fn failure(&mut self, attempt: AttemptId, worker: WorkerId) -> Option<Cause> {
        let step = attempt.task.stage.name().to_owned();
        let cursed = attempt.task.stage == Stage::Map && attempt.task.index < self.plan.cursed;
        match self.machines[&worker].plan.nature {
            Nature::Full => Some(Cause::DiskFull { text: "/scratch".to_owned() }),
            Nature::Broken => Some(Cause::Exit { step, code: 127 }),
            Nature::Sound | Nature::Deaf | Nature::Refused => {
                (cursed || self.fault(self.plan.flaky)).then_some(Cause::Signal { step, signal: 11 })
            }
        }
    }

    fn finish(&mut self, attempt: AttemptId, worker: WorkerId, reads: Reads) -> Event {
        let hash = match self.plan.program {
            Program::Deterministic => u64::from(attempt.task.index) + 1,
            Program::Random => self.random.next(),
        };
        let machine = self.machines.get_mut(&worker).expect("it joined");
        machine.outputs.insert(attempt, (hash, reads));
        Event::AttemptFinished { attempt, worker, work: Work { hash, ..Work::default() } }
    }
}

/// Faults that strike whole workers.
impl World {
    fn strike(&mut self) {
        let on = self.machines.values().filter(|machine| machine.state == Power::On).map(|machine| machine.id);
        let on: Vec<WorkerId> = on.collect();
        let Some(worker) = self.random.pick(&on) else { return };
        match self.random.between(0, 3) {
            0 => self.lose(worker, Power::Off),
            1 => self.lose(worker, Power::Cut),
            _ => {
                self.tell_all(Event::WorkerSuspect(worker));
                let time = self.random.between(1, 100) * 1000;
                self.after(time, Happening::Decide(worker));
            }
        }
    }

    fn decide_silent(&mut self, worker: WorkerId) {
        match self.random.chance(700) {
            true => self.tell_all(Event::WorkerBack(worker)),
            false => self.lose(worker, Power::Off),
        }
    }

    /// A worker dies, or its link does. The driver learns it later; the host may come back as another worker.
    fn lose(&mut self, worker: WorkerId, state: Power) {
        let machine = self.machines.get_mut(&worker).expect("it joined");
        machine.state = state;
        for (attempt, held_by, _) in self.segments.published.values() {
            if *held_by == worker {
                self.segments.unreadable.insert(attempt.task, *attempt);
            }
        }
        let time = self.random.between(1, 50) * 1000;
        let reason = "no answer".to_owned();
        self.after(time, Happening::Tell(Event::WorkerLost { worker, reason }));
        if self.random.chance(300) {
            let index = self.machines[&worker].name["node".len()..].parse().expect("names are made in `join`");
            self.after(time / 2, Happening::Join(index));
        }
    }
}

impl Segments {
    fn withdraw(&mut self, task: TaskId) {
        self.published.remove(&task);
        self.unreadable.remove(&task);
        self.snapshot = None;
    }

    /// What a reduce reads; or the segment that it cannot read; or nothing while a segment is being made.
    fn read(&mut self, maps: usize, nature: Nature) -> Option<Result<Reads, AttemptId>> {
        if let Some((_, source)) = self.unreadable.first_key_value() {
            return Some(Err(*source));
        }
        if self.published.len() < maps {
            return None;
        }
        match self.published.values().next() {
            Some((source, _, _)) if nature == Nature::Deaf => return Some(Err(*source)),
            Some(_) | None => {}
        }
        let published = &self.published;
        let all = || Rc::new(published.values().map(|(_, _, hash)| *hash).collect());
        Some(Ok(self.snapshot.get_or_insert_with(all).clone()))
    }
}
