//! The far side of the links: machines that run attempts, and the faults that strike them.

use std::time::Duration;

use runner::facts::{Cause, Failure, HostLoad, Work};
use runner::ids::{AttemptId, Stage, WorkerId};
use runner::scheduler::Event;
use runner::units::Bytes;

use super::{Happening, World};
use crate::machine::{Course, Machine, Power, Reads, Running, Waiting};
use crate::plan::{Nature, Pace, Program};
use crate::random::Random;

/// The machines' side.
impl World {
    pub(super) fn join(&mut self, index: usize) {
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

    pub(super) fn send(&mut self, event: Event) {
        let delay = self.random.between(0, self.plan.latency_max);
        if self.random.chance(self.plan.doubled) {
            let later = self.random.between(0, 5 * self.plan.latency_max);
            self.after(later, Happening::Tell(event.clone()));
        }
        self.after(delay, Happening::Tell(event));
    }

    pub(super) fn arrive(&mut self, attempt: AttemptId, worker: WorkerId) {
        let machine = self.machines.get_mut(&worker).expect("attempts are sent to workers that joined");
        if machine.state == Power::Off {
            return;
        }
        machine.waiting.push(Waiting { attempt, input: None });
        let delay = self.random.between(0, 500);
        self.after(delay, Happening::Fetch(attempt, worker));
    }

    pub(super) fn kill(&mut self, attempt: AttemptId, worker: WorkerId) {
        self.machines.get_mut(&worker).expect("it joined").forget(attempt);
        self.fill_slots(worker);
    }

    pub(super) fn fetch(&mut self, attempt: AttemptId, worker: WorkerId) {
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
                let event = self.fail(attempt, worker, failure);
                self.send_from(worker, event);
            }
        }
    }

    fn fill_slots(&mut self, worker: WorkerId) {
        while let Some(attempt) = self.machines.get_mut(&worker).expect("it joined").take_slot() {
            let course = self.course(attempt, worker);
            self.after(course.takes(), Happening::End(attempt, worker));
            let machine = self.machines.get_mut(&worker).expect("it joined");
            machine.running.get_mut(&attempt).expect("it took a slot").course = course;
            if machine.reports_at.is_none() {
                self.plan_report(worker);
            }
            self.send_from(worker, Event::AttemptStarted { attempt, worker });
        }
    }

    fn course(&mut self, attempt: AttemptId, worker: WorkerId) -> Course {
        let bytes = match attempt.task.stage {
            Stage::Map => self.plan.maps[attempt.task.index as usize],
            Stage::Reduce => 10_000,
        };
        let time = match self.plan.pace {
            Pace::Any => self.random.between(1, 20) * 1000,
            Pace::ByBytes => bytes.max(1) * self.random.between(90, 110) / 100,
        };
        let works = time.max(1) * self.machines[&worker].plan.slowness;
        let sometimes =
            |random: &mut Random, per_mille| if random.chance(per_mille) { random.between(1, 300) * 1000 } else { 0 };
        let waits = sometimes(&mut self.random, self.plan.waits);
        let stalls = sometimes(&mut self.random, self.plan.stalls);
        Course { since: self.now, bytes, works, waits, stalls }
    }

    pub(super) fn plan_report(&mut self, worker: WorkerId) {
        let time = self.plan.report_every;
        self.machines.get_mut(&worker).expect("it joined").reports_at = Some(self.now + time);
        self.after(time, Happening::Report(worker));
    }

    pub(super) fn report(&mut self, worker: WorkerId) {
        let machine = self.machines.get_mut(&worker).expect("it joined");
        machine.reports_at = None;
        if machine.state != Power::On || machine.running.is_empty() {
            return;
        }
        for (attempt, running) in machine.running.clone() {
            let (bytes_done, waited) = running.course.at(self.now);
            let (bytes_total, waited) = (running.course.bytes, Duration::from_micros(waited));
            self.send(Event::AttemptProgressed { attempt, worker, bytes_done, bytes_total, waited });
        }
        self.plan_report(worker);
    }

    pub(super) fn attempt_ends(&mut self, attempt: AttemptId, worker: WorkerId) {
        let machine = self.machines.get_mut(&worker).expect("it joined");
        let Some(Running { reads, .. }) = machine.running.remove(&attempt) else { return };
        if machine.state == Power::Off {
            return;
        }
        let is_map = attempt.task.stage == Stage::Map;
        if is_map && attempt.task.index < self.plan.deadly {
            return self.lose(worker, Power::Off);
        }
        let event = match self.failure(attempt, worker) {
            Some(cause) => self.fail(attempt, worker, Failure::of(cause)),
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

    fn fail(&mut self, attempt: AttemptId, worker: WorkerId, failure: Failure) -> Event {
        let machine = self.machines.get_mut(&worker).expect("it joined");
        machine.failures.insert(attempt, failure.clone());
        Event::AttemptFailed { attempt, worker, failure }
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

/// The list of hosts, which somebody edits while the job runs.
impl World {
    pub(super) fn drain(&mut self) {
        let all: Vec<WorkerId> = self.machines.keys().copied().collect();
        let Some(worker) = self.random.pick(&all) else { return };
        self.tell_all(Event::WorkerDraining(worker));
        if self.random.chance(600) {
            let time = self.random.between(1, 60) * 1000;
            self.after(time, Happening::Relist(worker));
        }
    }

    /// As a driver does: a worker that was not let go yet is kept, else its host joins as another.
    pub(super) fn relist(&mut self, worker: WorkerId) {
        if matches!(self.machines[&worker].state, Power::On | Power::Apart) {
            return self.tell_all(Event::WorkerKept(worker));
        }
        let index = self.machines[&worker].name["node".len()..].parse().expect("names are made in `join`");
        self.tell_all(Event::FleetGrows);
        let time = self.random.between(1, 20) * 1000;
        self.after(time, Happening::Join(index));
        self.after(time + 1, Happening::Tell(Event::FleetComplete));
    }

    /// A worker that is let go cleans up: whoever wants something of it afterwards finds nothing.
    pub(super) fn release(&mut self, worker: WorkerId) {
        let machine = self.machines.get_mut(&worker).expect("it joined");
        machine.state = Power::Off;
        machine.outputs.clear();
        self.after(1, Happening::PartsGo(worker));
    }
}

/// Faults that strike whole workers.
impl World {
    pub(super) fn strike(&mut self) {
        let on = self.machines.values().filter(|machine| machine.state == Power::On).map(|machine| machine.id);
        let on: Vec<WorkerId> = on.collect();
        let Some(worker) = self.random.pick(&on) else { return };
        match self.random.between(0, 4) {
            0 => self.lose(worker, Power::Off),
            1 => self.lose(worker, Power::Cut),
            2 => self.starve(worker),
            _ => {
                self.tell_all(Event::WorkerSuspect(worker));
                let time = self.random.between(1, 100) * 1000;
                self.after(time, Happening::Decide(worker));
            }
        }
    }

    /// A host is short of memory for a while.
    fn starve(&mut self, worker: WorkerId) {
        let load = |mebi: u64| HostLoad {
            cores: 1,
            memory_free: Bytes::mebi(mebi),
            disk_free: Bytes::mebi(1 << 20),
            ..HostLoad::default()
        };
        self.tell_all(Event::WorkerLoad { worker, load: load(1) });
        let time = self.random.between(1, 100) * 1000;
        self.after(time, Happening::Tell(Event::WorkerLoad { worker, load: load(1 << 20) }));
    }

    pub(super) fn decide_silent(&mut self, worker: WorkerId) {
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
        self.after(time, Happening::PartsGo(worker));
        if self.random.chance(300) {
            let index = self.machines[&worker].name["node".len()..].parse().expect("names are made in `join`");
            self.after(time / 2, Happening::Join(index));
        }
    }
}
