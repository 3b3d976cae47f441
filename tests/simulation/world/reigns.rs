//! Drivers that die and drivers that go on; links that break and are mended.

use std::time::Duration;

use runner::clock::Moment;
use runner::facts::{Fact, Work};
use runner::ids::{Epoch, WorkerId};
use runner::scheduler::{Action, Config, Event, Known, KnownOutput, Scheduler};

use super::{Driver, Happening, World};
use crate::machine::Power;
use crate::model::Knowledge;

/// Drivers.
impl World {
    /// The driver dies now, or in the midst of what it does next.
    pub(super) fn strike_driver(&mut self) {
        match self.random.chance(500) {
            true => self.die(),
            false => self.driver = Driver::Dying,
        }
    }

    /// Leaves the actions that a dying driver gets done. Facts behind the last other action may not be durable.
    pub(super) fn cut_short(&mut self, actions: &mut Vec<Action>) {
        let done = self.random.between(0, actions.len() as u64);
        actions.truncate(done as usize);
        let unsynced = actions.iter().rev().take_while(|action| matches!(action, Action::Record(_))).count();
        let lost = self.random.between(0, unsynced as u64);
        actions.truncate(actions.len() - lost as usize);
    }

    /// Whether the driver dies during these actions, since enough facts are durable; leaves those that it gets done.
    pub(super) fn dies_here(&mut self, actions: &mut Vec<Action>) -> bool {
        let Some(most) = self.plan.dies_after.filter(|_| self.epoch == Epoch(0)) else { return false };
        let mut left = most.saturating_sub(self.facts.len());
        let is_beyond = |action: &Action| match action {
            Action::Record(_) if left == 0 => true,
            Action::Record(_) => {
                left -= 1;
                false
            }
            Action::Start { .. }
            | Action::Kill { .. }
            | Action::Publish { .. }
            | Action::Withdraw { .. }
            | Action::Commit { .. }
            | Action::Complete
            | Action::Release { .. }
            | Action::Conclude(_) => false,
        };
        let beyond = actions.iter().position(is_beyond);
        actions.truncate(beyond.unwrap_or(actions.len()));
        beyond.is_some()
    }

    /// What was under way to the driver is lost, or comes late; so are some of its orders.
    pub(super) fn die(&mut self) {
        if let Some(Fact::JobFinished { end }) = self.facts.last() {
            self.end = Some(end.clone());
            return;
        }
        self.driver = Driver::Dead;
        let queue = std::mem::take(&mut self.queue);
        for (time, happening) in queue {
            let stays = match &happening {
                Happening::Arrive(..) | Happening::Kill(..) => self.random.chance(700),
                // What the driver does by itself dies with it.
                Happening::Commit(..)
                | Happening::Complete
                | Happening::PartsGo(_)
                | Happening::Wake
                | Happening::Decide(_) => false,
                Happening::Tell(
                    Event::Committed { .. } | Event::CommitFailed { .. } | Event::Completed | Event::PartsLost(_),
                ) => false,
                Happening::Tell(_)
                | Happening::Join(_)
                | Happening::Drain
                | Happening::Relist(_)
                | Happening::Fetch(..)
                | Happening::End(..)
                | Happening::Strike
                | Happening::Report(_)
                | Happening::Break
                | Happening::Reattach(_)
                | Happening::Crash
                | Happening::Resume => true,
            };
            if stays {
                self.queue.insert(time, happening);
            }
        }
        self.wakes_at = None;
        let time = self.random.between(1, 100) * 1000;
        self.after(time, Happening::Resume);
    }

    /// Whether something that happens while there is no driver comes to nothing, or only later.
    pub(super) fn is_missed(&mut self, happening: &Happening) -> bool {
        let later = match happening {
            Happening::Join(_) | Happening::Drain | Happening::Relist(_) => true,
            Happening::Tell(
                Event::AttemptStarted { .. }
                | Event::AttemptProgressed { .. }
                | Event::AttemptFinished { .. }
                | Event::AttemptFailed { .. },
            ) => self.random.chance(500),
            Happening::Tell(_)
            | Happening::Reattach(_)
            | Happening::Wake
            | Happening::Break
            | Happening::Crash
            | Happening::Decide(_)
            | Happening::Commit(..)
            | Happening::Complete
            | Happening::PartsGo(_) => false,
            Happening::Strike
            | Happening::Arrive(..)
            | Happening::Kill(..)
            | Happening::Fetch(..)
            | Happening::End(..)
            | Happening::Report(_)
            | Happening::Resume => return false,
        };
        if later {
            let time = self.random.between(1, 60) * 1000;
            self.after(time, happening.clone());
        }
        true
    }

    /// Another driver folds the facts and asks the workers.
    pub(super) fn resume(&mut self) {
        self.driver = Driver::Alive;
        self.epoch = Epoch(self.epoch.0 + 1);
        let mut known = Known::fold(&self.facts);
        self.completing = false;
        let gone = self.parts_gone();
        gone.iter().for_each(|task| drop(self.parts.remove(task)));
        self.parts.retain(|task, _| {
            known.tasks.get(task).is_some_and(|task| match task.output {
                KnownOutput::Committed { .. } => true,
                KnownOutput::Finished { .. } => !task.in_doubt,
                KnownOutput::None | KnownOutput::Gone { .. } => false,
            })
        });
        let missing: Vec<_> = known.tasks.keys().filter(|task| !self.parts.contains_key(task)).copied().collect();
        missing.into_iter().for_each(|task| known.lose_part(task));
        if let Some(homes) = &mut self.part_homes {
            homes.retain(|task, _| self.parts.contains_key(task));
        }
        let config = Config {
            maps: self.plan.maps.clone(),
            reduces: self.plan.reduces,
            rules: self.plan.rules.clone(),
            epoch: self.epoch,
            // Where splits lie is a preference: without it, all must end as well.
            ..Config::default()
        };
        self.scheduler = Scheduler::resume(Moment(self.now), config, &known);
        self.scheduler.sanity_check();
        self.facts.push(Fact::JobResumed { epoch: self.epoch, driver: "another".to_owned(), wall_ms: 0 });
        self.model.resume();
        self.segments = Default::default();
        let mut last = 0;
        for worker in self.machines.keys().copied().collect::<Vec<_>>() {
            let time = self.random.between(0, 30) * 1000;
            last = last.max(time);
            self.after(time, Happening::Reattach(worker));
        }
        let joins = self.queue.iter().filter(|(_, happening)| matches!(happening, Happening::Join(_)));
        let last = joins.map(|((time, _), _)| time - self.now).fold(last, u64::max);
        self.after(last + 1, Happening::Tell(Event::FleetComplete));
        self.decide();
    }
}

/// Links.
impl World {
    /// A link breaks, with what is on it; it will be mended before the worker is given up.
    pub(super) fn break_link(&mut self) {
        let on = self.machines.values().filter(|machine| machine.state == Power::On).map(|machine| machine.id);
        let on: Vec<WorkerId> = on.collect();
        let Some(worker) = self.random.pick(&on) else { return };
        self.machines.get_mut(&worker).expect("it joined").state = Power::Apart;
        let queue = std::mem::take(&mut self.queue);
        for (time, happening) in queue {
            if !is_on_link(&happening, worker) || self.random.chance(300) {
                self.queue.insert(time, happening);
            }
        }
        let time = self.random.between(1, 50) * 1000;
        self.after(time, Happening::Reattach(worker));
        self.tell_all(Event::WorkerSuspect(worker));
    }

    /// A worker that answers tells all that it has.
    pub(super) fn reattach(&mut self, worker: WorkerId) {
        let machine = self.machines.get_mut(&worker).expect("it joined");
        match machine.state {
            Power::On | Power::Apart => machine.state = Power::On,
            Power::Cut | Power::Off => {
                let reason = "no answer".to_owned();
                return match self.model.knows(worker) {
                    Knowledge::Present => self.tell_all(Event::WorkerLost { worker, reason }),
                    Knowledge::Unheard | Knowledge::Lost => {}
                };
            }
        }
        let machine = self.machines[&worker].clone();
        match self.model.knows(worker) {
            Knowledge::Present => {}
            Knowledge::Unheard => {
                self.tell(Event::WorkerJoined { worker, host: machine.name.clone(), slots: machine.plan.slots });
            }
            // Whoever was given up stays away.
            Knowledge::Lost => return,
        }
        for attempt in machine.running.keys().copied() {
            self.tell(Event::AttemptStarted { attempt, worker });
        }
        for (attempt, (hash, _)) in &machine.outputs {
            let work = Work { hash: *hash, took: Duration::from_millis(5), ..Work::default() };
            self.tell(Event::AttemptFinished { attempt: *attempt, worker, work });
        }
        for (attempt, failure) in &machine.failures {
            self.tell(Event::AttemptFailed { attempt: *attempt, worker, failure: failure.clone() });
        }
        self.tell(Event::WorkerHolds { worker, attempts: machine.holds() });
        self.tell(Event::WorkerBack(worker));
        if machine.reports_at.is_none() && !machine.running.is_empty() {
            self.plan_report(worker);
        }
        self.decide();
    }
}

/// Whether something is a message between the driver and this worker.
fn is_on_link(happening: &Happening, worker: WorkerId) -> bool {
    let of = |other: &WorkerId| *other == worker;
    match happening {
        Happening::Arrive(_, other) | Happening::Kill(_, other) => of(other),
        Happening::Tell(
            Event::AttemptStarted { worker: other, .. }
            | Event::AttemptProgressed { worker: other, .. }
            | Event::AttemptFinished { worker: other, .. }
            | Event::AttemptFailed { worker: other, .. },
        ) => of(other),
        Happening::Tell(_)
        | Happening::Join(_)
        | Happening::Drain
        | Happening::Relist(_)
        | Happening::Fetch(..)
        | Happening::End(..)
        | Happening::Commit(..)
        | Happening::Complete
        | Happening::PartsGo(_)
        | Happening::Strike
        | Happening::Decide(_)
        | Happening::Report(_)
        | Happening::Break
        | Happening::Reattach(_)
        | Happening::Crash
        | Happening::Resume
        | Happening::Wake => false,
    }
}
