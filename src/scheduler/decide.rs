//! The pass that follows a batch of events: is the job over, what goes where, what is moved.
//!
//! A pass costs what it changes: when nothing happened it looks at nothing, and else it walks ordered sets from the
//! front and stops where no place is free. Copies of stragglers are the last step, in `copies`.

use super::rules::EarlyReduces;
use super::stage::StageCourse;
use super::task::{Headway, Live, Phase, Role, State};
use super::worker::{Contact, FULL};
use super::{Action, Completion, Course, Hiring, Scheduler};
use crate::error::Kind;
use crate::facts::{DropReason, End, Fact};
use crate::ids::{AttemptId, Stage, TaskId, WorkerId};

/// How many attempts that cannot go to any free place a pass looks past before it leaves the places free. They are
/// those that failed on exactly the free hosts, so that such a place is no loss, and a pass stays short.
const LOOKS_MAX: usize = 64;

impl Scheduler {
    pub(super) fn run_pass(&mut self) {
        if self.course == Course::Settled && (self.end_home_wait() || self.end_marks()) {
            self.course = Course::Changed;
        }
        match std::mem::replace(&mut self.course, Course::Settled) {
            Course::Settled => self.copy_stragglers(),
            Course::Changed => {
                self.apply_remembered();
                self.finish_stages();
                match self.verdict() {
                    Some(End::Done) => self.complete(),
                    Some(end) => self.conclude(end),
                    None => {
                        self.place_all();
                        self.copy_stragglers();
                        self.release_drained();
                    }
                }
            }
            Course::Ending(end) => self.conclude(end),
            Course::Over => self.course = Course::Over,
        }
    }

    fn finish_stages(&mut self) {
        for stage in [Stage::Map, Stage::Reduce] {
            let table = self.tasks.stage_mut(stage);
            if table.unfinished() == 0 && table.course == StageCourse::Begun {
                table.course = StageCourse::Finished;
                self.record(Fact::StageFinished { stage });
            }
        }
        // Reduces that were sent early have only waited so far.
        if self.tasks.map.unfinished() == 0 && self.tasks.reduce.ready_count() < self.tasks.reduce.count() {
            self.begin(Stage::Reduce);
        }
    }

    fn begin(&mut self, stage: Stage) {
        let table = self.tasks.stage_mut(stage);
        if table.course == StageCourse::Waiting {
            table.course = StageCourse::Begun;
            self.record(Fact::StageStarted { stage });
        }
    }

    /// The end that is near, when all parts are committed or nobody is left to make them.
    fn verdict(&self) -> Option<End> {
        let complete = self.hiring == Hiring::Complete;
        let begun = complete || !self.fleet.workers.is_empty();
        if begun && self.tasks.stage(self.tasks.last_stage()).unfinished() == 0 {
            return Some(End::Done);
        }
        let nobody = complete && self.fleet.present == 0 && !self.drained_may_help();
        nobody.then(|| End::Failed { kind: Kind::NoWorker, text: self.no_worker_text() })
    }

    /// Whether workers that are to go still bring tasks to their end.
    fn drained_may_help(&self) -> bool {
        let last = self.tasks.last_stage();
        let helps = |id: &WorkerId| {
            let worker = self.fleet.get(*id);
            !worker.live().is_empty() || worker.outputs.iter().any(|task| task.stage == last)
        };
        self.fleet.draining.iter().any(helps)
    }

    /// Lets workers go that were drained: nothing runs there, and nothing lies there that anybody needs.
    fn release_drained(&mut self) {
        let idle = |id: &WorkerId| self.fleet.get(*id).live().is_empty() && self.fleet.get(*id).outputs.is_empty();
        for worker in self.fleet.draining.iter().copied().filter(idle).collect::<Vec<_>>() {
            self.fleet.set_contact(worker, Contact::Lost);
            self.record(Fact::WorkerReleased { worker });
            self.out.push(Action::Release { worker });
        }
    }

    fn no_worker_text(&self) -> String {
        const SHOWN_MAX: usize = 3;
        let (count, joined) = (self.refused.len(), self.fleet.workers.len());
        let shown = self.refused.iter().rev().take(SHOWN_MAX).cloned().collect::<Vec<_>>().join("; ");
        let more = if count > SHOWN_MAX { format!("; and {} more", count - SHOWN_MAX) } else { String::new() };
        match (joined, count) {
            (0, 0) => "no worker was named".to_owned(),
            (0, _) => format!("no worker can be used: {shown}{more}"),
            (_, 0) => "no worker is left: all hosts were taken off the list".to_owned(),
            (_, _) => format!("no worker is left: {shown}{more}"),
        }
    }

    /// Asks for the whole output, once: the job is done when it is in its place.
    fn complete(&mut self) {
        match self.completion {
            Completion::NotAsked => self.out.push(Action::Complete),
            Completion::Asked => {}
        }
        self.completion = Completion::Asked;
    }

    fn conclude(&mut self, end: End) {
        for stage in [Stage::Map, Stage::Reduce] {
            for (attempt, worker) in self.live_attempts(stage) {
                self.kill(attempt, worker, DropReason::JobEnds);
                self.settle(attempt.task);
            }
        }
        self.course = Course::Over;
        self.record(Fact::JobFinished { end: end.clone() });
        self.out.push(Action::Conclude(end));
    }

    fn place_all(&mut self) {
        for stage in [Stage::Map, Stage::Reduce] {
            if stage == Stage::Map || self.tasks.map.unfinished() == 0 {
                self.place(stage);
                self.balance(stage);
            }
        }
        if self.rules.early_reduces == EarlyReduces::WhileMapsEnd {
            self.place_early();
        }
    }

    /// While the last maps run, reduces go to slots that no map is left for, and begin to fetch what there is. They
    /// take no slot before they have all, so a map that must run again finds its place as ever.
    fn place_early(&mut self) {
        if self.tasks.map.unfinished() == 0 || self.tasks.map.ready_count() > 0 {
            return;
        }
        while let Some((task, worker)) = self.find_early() {
            self.send(task, worker, Role::Single);
        }
    }

    /// The next reduce, and a free slot for it on a worker that has less than its share of them: else those that end
    /// their maps first would get all, and the others sit idle.
    fn find_early(&self) -> Option<(TaskId, WorkerId)> {
        let task = self.tasks.reduce.ready().next()?;
        let shunned = self.shunned(task);
        let free = self.fleet.open(Stage::Reduce).take_while(|(fill, _)| *fill < FULL).take(LOOKS_MAX);
        let fits = |worker: &WorkerId| {
            let (worker, reduces) = (self.fleet.get(*worker), self.tasks.reduce.count() as u64);
            let share = (reduces * u64::from(worker.slots)).div_ceil(u64::from(self.fleet.slots.max(1)));
            !shunned.contains(&worker.host) && (worker.queue.reduce.len() as u64) < share
        };
        free.map(|(_, worker)| worker).find(fits).map(|worker| (task, worker))
    }

    /// Sends ready tasks to the emptiest workers: every slot first, breadth-first over the workers, then the places
    /// ahead.
    fn place(&mut self, stage: Stage) {
        while let Some((task, worker)) = self.find_home(stage) {
            self.send(task, worker, Role::Single);
        }
        let mut passed = 0;
        while passed < LOOKS_MAX && self.fleet.open(stage).next().is_some() {
            let Some(task) = self.tasks.stage(stage).ready().nth(passed) else { return };
            match self.place_for(task) {
                Some((_, worker)) => self.send(task, worker, Role::Single),
                None => passed += 1,
            }
        }
    }

    /// The emptiest worker with room that has a ready task's split, and that task.
    fn find_home(&self, stage: Stage) -> Option<(TaskId, WorkerId)> {
        let table = self.tasks.stage(stage);
        if !table.has_homes() {
            return None;
        }
        self.fleet.open(stage).map(|(_, worker)| worker).find_map(|worker| {
            let host = self.fleet.host_of(worker);
            let may_come = |task: &TaskId| !self.shunned(*task).contains(&host);
            table.ready_at(worker).take(LOOKS_MAX).find(may_come).map(|task| (task, worker))
        })
    }

    /// The emptiest worker that may take the task, with how full it is. Few are passed over: those on the hosts that
    /// failed it. What has a home elsewhere is not sent ahead, since the split would have to travel for nothing.
    fn place_for(&self, id: TaskId) -> Option<(u32, WorkerId)> {
        let (shunned, task) = (self.shunned(id), self.tasks.get(id));
        let only_home = self.awaits_home(task, &shunned);
        let mut open = self.fleet.open(id.stage).take_while(|(fill, _)| task.homes.is_empty() || *fill < FULL);
        open.find(|(_, worker)| {
            (!only_home || task.homes.contains(worker)) && !shunned.contains(&self.fleet.host_of(*worker))
        })
    }

    /// The name that the next attempt of a task gets.
    pub(super) fn next_attempt(&self, task: TaskId) -> AttemptId {
        AttemptId { task, epoch: self.epoch, number: self.tasks.get(task).next_number }
    }

    pub(super) fn send(&mut self, id: TaskId, worker: WorkerId, role: Role) {
        if id.stage == Stage::Map || self.tasks.map.unfinished() == 0 {
            self.begin(id.stage);
        }
        let attempt = self.next_attempt(id);
        let live =
            Live { id: attempt, worker, phase: Phase::Queued, since: self.now, role, headway: Headway::default() };
        let task = self.tasks.get_mut(id);
        task.next_number += 1;
        task.live.push(live);
        self.tasks.enter(id, State::Out);
        self.tasks.stage_mut(id.stage).copies += u32::from(role == Role::Copy);
        self.fleet.send(attempt, worker);
        self.record(Fact::AttemptQueued { attempt, worker });
        self.out.push(Action::Start { attempt, worker });
    }

    /// Moves attempts that wait behind others to slots that nothing else can fill. Each move leaves one attempt less
    /// waiting, so it ends.
    fn balance(&mut self, stage: Stage) {
        while let Some((attempt, from, to)) = self.find_move(stage) {
            self.kill(attempt, from, DropReason::Moved);
            self.settle(attempt.task);
            self.send(attempt.task, to, Role::Single);
        }
    }

    /// Whether nothing of a task but one attempt is under way: no other one runs, or has its output committed now.
    fn is_alone(&self, task: TaskId) -> bool {
        let task = self.tasks.get(task);
        task.state == State::Out && task.live.len() == 1
    }

    /// The attempt that would start last on the fullest worker, and a free slot for it. One whose task runs elsewhere too
    /// stays: it was given a slot, and will get the next.
    fn find_move(&self, stage: Stage) -> Option<(AttemptId, WorkerId, WorkerId)> {
        let has_slot = |(fill, worker): (u32, WorkerId)| (fill < FULL).then_some(worker);
        self.fleet.open(stage).next().and_then(has_slot)?;
        let waiting = self.fleet.crowded(stage).flat_map(|from| {
            let queue = self.fleet.get(from).queue.get(stage);
            queue.iter().rev().map(move |attempt| (*attempt, from))
        });
        waiting
            .filter(|(attempt, _)| self.is_alone(attempt.task))
            .take(LOOKS_MAX)
            .find_map(|(attempt, from)| Some((attempt, from, has_slot(self.place_for(attempt.task)?)?)))
    }
}
