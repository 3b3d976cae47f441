//! Copies of stragglers: attempts that are so slow that another host would overtake them.
//!
//! Reports of progress only change tables. Once in a while, and only when nothing else could use the idle slots, a look
//! goes over everything that runs: an attempt is a straggler if its peers are far faster and a copy would be expected to
//! end before it. The longest time left goes first. Who wins is no matter of this file: the first one does, as with any
//! two attempts.

use std::cmp::Reverse;
use std::time::Duration;

use super::Scheduler;
use super::pace::{Finished, Rate};
use super::rules::StragglerRules;
use super::task::{Live, Phase, Role, State, Task};
use super::worker::FULL;
use crate::clock::Moment;
use crate::facts::{Fact, Lag};
use crate::ids::{AttemptId, Stage, TaskId, WorkerId};

/// An attempt that should be copied.
struct Straggler {
    id: AttemptId,
    worker: WorkerId,
    lag: Lag,
}

/// What a stage's attempts are measured by.
struct Peers<'a> {
    rules: StragglerRules,
    now: Moment,
    /// The rate of those that run or have ended.
    rate: Option<Rate>,
    /// Those that have ended, if they are enough.
    finished: Option<&'a Finished>,
}

impl Scheduler {
    /// Copies stragglers, if it is time to look for them.
    pub(super) fn copy_stragglers(&mut self) {
        let Some(rules) = self.rules.stragglers else { return };
        if self.now < self.look_at {
            return;
        }
        for stage in [Stage::Map, Stage::Reduce] {
            if self.may_copy(stage) {
                self.look_at = self.now + rules.look_every;
                self.copy_stragglers_of(stage, rules);
            }
        }
    }

    /// When stragglers should be looked for next.
    pub(super) fn next_look(&self) -> Option<Moment> {
        let any =
            self.rules.stragglers.is_some() && [Stage::Map, Stage::Reduce].into_iter().any(|it| self.may_copy(it));
        any.then_some(self.look_at)
    }

    /// Whether attempts of a stage run, none waits for a slot, and there is one to spare. An attempt that waits for its
    /// input has a slot to come to, so it does not count.
    fn may_copy(&self, stage: Stage) -> bool {
        let table = self.tasks.stage(stage);
        let begun = table.unfinished() > 0 && (stage == Stage::Map || self.tasks.map.unfinished() == 0);
        let waits = table.ready_count() > 0 || self.fleet.crowded(stage).next().is_some();
        begun && !waits && self.fleet.counts.usable > 1 && self.free_slots(stage).next().is_some()
    }

    fn free_slots(&self, stage: Stage) -> impl Iterator<Item = WorkerId> {
        self.fleet.open(stage).take_while(|(fill, _)| *fill < FULL).map(|(_, worker)| worker)
    }

    fn copy_stragglers_of(&mut self, stage: Stage, rules: StragglerRules) {
        let (running, mut stragglers) = self.stragglers(stage, rules);
        stragglers.sort_unstable_by_key(|it| (Reverse(it.lag.left()), it.id));
        for straggler in stragglers {
            if self.tasks.stage(stage).copies >= rules.copies_max(running) {
                return;
            }
            if let Some(worker) = self.place_for_copy(straggler.id.task) {
                self.copy(&straggler, worker);
            }
        }
    }

    /// How many attempts of a stage run, and which of them should be copied.
    fn stragglers(&self, stage: Stage, rules: StragglerRules) -> (u32, Vec<Straggler>) {
        let running = || {
            let all = self.fleet.workers.values().flat_map(|worker| &worker.running);
            let tasks = all.filter(|attempt| attempt.task.stage == stage).map(|it| (it, self.tasks.get(it.task)));
            tasks.flat_map(|(id, task)| task.live.iter().filter(|live| live.id == *id).map(move |live| (live, task)))
        };
        let finished = &self.tasks.stage(stage).finished;
        let mut rates = finished.rates.clone();
        let mut count = 0;
        for (live, _) in running() {
            count += 1;
            if live.headway.total > 0 && live.worked(self.now) >= rules.floor {
                rates.add_rate(live.rate(self.now));
            }
        }
        let finished_min = (self.tasks.stage(stage).count() as u64 * u64::from(rules.finished_percent)).div_ceil(100);
        let finished = (finished.count() >= finished_min.max(1)).then_some(finished);
        let peers = Peers { rules, now: self.now, rate: rates.median_rate(), finished };
        // A task is judged once, with its first attempt.
        let judged = running().filter(|(live, task)| task.live[0].id == live.id);
        (count, judged.filter_map(|(_, task)| peers.judge(task)).collect())
    }

    /// A free slot on a host that has no attempt of the task, and where none of it failed.
    fn place_for_copy(&self, id: TaskId) -> Option<WorkerId> {
        let task = self.tasks.get(id);
        let known = |worker: WorkerId| {
            let host = self.fleet.host_of(worker);
            task.live.iter().any(|live| self.fleet.host_of(live.worker) == host)
                || task.trouble.as_ref().is_some_and(|trouble| trouble.has_seen(host))
                || self.fleet.host(host).is_marked()
        };
        self.free_slots(id.stage).find(|worker| !known(*worker))
    }

    fn copy(&mut self, straggler: &Straggler, worker: WorkerId) {
        let Straggler { id, worker: from, lag } = *straggler;
        let attempt = self.next_attempt(id.task);
        self.tasks.get_mut(id.task).trouble_mut().copies += 1;
        self.record(Fact::AttemptCopied { attempt, worker, of: id, from, lag });
        self.send(id.task, worker, Role::Copy);
    }
}

impl Peers<'_> {
    /// The attempt of a task that would end first, if even that one is a straggler.
    fn judge(&self, task: &Task) -> Option<Straggler> {
        match task.state {
            State::Out => {}
            State::Ready | State::Committing { .. } | State::Held { .. } | State::Committed { .. } => return None,
        }
        let copies = task.trouble.as_ref().map_or(0, |trouble| trouble.copies);
        let patience = 1_u32.checked_shl(copies)?;
        let lags: Option<Vec<Lag>> = task.live.iter().map(|live| self.lag(live, patience)).collect();
        let (live, lag) = task.live.iter().zip(lags?).min_by_key(|(_, lag)| lag.left())?;
        Some(Straggler { id: live.id, worker: live.worker, lag })
    }

    /// How far an attempt lags behind its peers, if it is a straggler.
    fn lag(&self, live: &Live, patience: u32) -> Option<Lag> {
        let worked = live.worked(self.now);
        if live.phase == Phase::Queued || worked < self.rules.floor {
            return None;
        }
        // Some 300 KiB that count as read may still lie in buffers and the pipe: of a small split, nearly all. So one that
        // seems to be nearly done is measured by its time as well.
        let in_reading = live.is_reading().then(|| self.lag_in_reading(live, worked, patience)).flatten();
        in_reading.or_else(|| self.overdue(live, worked, patience))
    }

    fn lag_in_reading(&self, live: &Live, worked: Duration, patience: u32) -> Option<Lag> {
        let (usual, rate) = (self.rate?, live.rate(self.now));
        let left = Rate::of(live.headway.done.max(1), worked).time_for(live.headway.total - live.headway.done);
        let elsewhere = usual.time_for(live.headway.total) + self.rules.start_up;
        let is_straggler = rate.is_slower(self.rules.slowness_min, usual) && left > elsewhere.saturating_mul(patience);
        is_straggler.then_some(Lag::Rate { left, elsewhere })
    }

    fn overdue(&self, live: &Live, worked: Duration, patience: u32) -> Option<Lag> {
        let usual = self.finished?.time_for(live.headway.total)?;
        let limit = usual.saturating_mul(self.rules.slowness_min).saturating_mul(patience);
        (worked > limit).then_some(Lag::Overdue { worked, usual })
    }
}
