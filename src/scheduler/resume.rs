//! The tables of a new driver, filled from what is known of the ones before.
//!
//! Every worker that was not given up is suspect: it keeps what it runs and holds, and gets nothing new until it is heard
//! of. So a resumed job is one whose workers have all fallen silent, and what follows is what always follows: one that
//! answers says what it holds, one that does not is lost. What the last facts would have been followed by is done first.

use super::known::{Known, KnownLive, KnownOutput, KnownTask};
use super::stage::StageCourse;
use super::task::{Headway, Live, Phase, Role, State};
use super::worker::{Contact, HostId};
use super::{Action, Config, Course, Scheduler};
use crate::clock::Moment;
use crate::facts::{DropReason, Fact};
use crate::ids::{AttemptId, TaskId, WorkerId};

impl Scheduler {
    /// A scheduler that goes on where others stopped. The epoch of `config` must be a new one.
    pub fn resume(now: Moment, config: Config, known: &Known) -> Self {
        let mut scheduler = Scheduler::new(config);
        scheduler.now = now;
        for (id, worker) in &known.workers {
            scheduler.fleet.join(*id, &worker.host, worker.slots);
            scheduler.fleet.set_contact(*id, Contact::Suspect);
        }
        scheduler.remembered.note_joined();
        for stage in &known.begun {
            scheduler.tasks.stage_mut(*stage).course = StageCourse::Begun;
        }
        for (stage, bytes, took) in &known.paces {
            scheduler.tasks.stage_mut(*stage).finished.add(*bytes, *took);
        }
        let known_tasks = known.tasks.iter().filter(|(id, _)| scheduler.tasks.find(**id).is_some());
        let known_tasks: Vec<_> = known_tasks.collect();
        for (id, task) in &known_tasks {
            scheduler.restore(**id, task);
        }
        for (id, task) in &known_tasks {
            scheduler.make_up(**id, task);
        }
        for (id, _) in known.workers.iter().filter(|(_, worker)| worker.lost) {
            scheduler.fleet.set_contact(*id, Contact::Lost);
            scheduler.lose_all_of(*id);
        }
        if let Some(map) = known.changed {
            scheduler.segment_changed(map);
        }
        if scheduler.course == Course::Settled {
            scheduler.course = Course::Changed;
        }
        scheduler
    }

    /// What is known of a task becomes its state.
    fn restore(&mut self, id: TaskId, known: &KnownTask) {
        let avoids: Vec<HostId> = known.avoids.iter().filter_map(|host| self.fleet.host_named(host)).collect();
        let task = self.tasks.get_mut(id);
        task.hash = known.hash;
        if known.failures + known.losses > 0 || !avoids.is_empty() {
            let trouble = task.trouble_mut();
            (trouble.failures, trouble.losses, trouble.avoids) = (known.failures, known.losses, avoids);
        }
        known.live.iter().for_each(|live| self.restore_live(live));
        match &known.output {
            KnownOutput::None => {}
            KnownOutput::Finished { attempt, worker, .. } => self.restore_output(*attempt, *worker),
            KnownOutput::Committed { attempt, .. } => {
                self.commits += 1;
                self.tasks.enter(id, State::Committed { attempt: *attempt });
            }
            KnownOutput::Gone { attempt } => self.record(Fact::OutputLost { attempt: *attempt }),
        }
    }

    fn restore_live(&mut self, known: &KnownLive) {
        let KnownLive { id, worker, started, copy, .. } = *known;
        let role = if copy { Role::Copy } else { Role::Single };
        let phase = if started { Phase::Running } else { Phase::Queued };
        let live = Live { id, worker, phase, since: self.now, role, headway: Headway::default() };
        self.tasks.get_mut(id.task).live.push(live);
        self.tasks.enter(id.task, State::Out);
        self.tasks.stage_mut(id.task.stage).copies += u32::from(copy);
        self.fleet.send(id, worker);
        if started {
            self.fleet.run(id, worker);
        }
    }

    fn restore_output(&mut self, attempt: AttemptId, worker: WorkerId) {
        self.fleet.keep_output(attempt.task, worker);
        if attempt.task.stage == self.tasks.last_stage() {
            self.commits += 1;
            self.tasks.enter(attempt.task, State::Committing { attempt, worker });
            self.out.push(Action::Commit { attempt, worker });
        } else {
            self.tasks.enter(attempt.task, State::Held { attempt, worker });
            self.out.push(Action::Publish { attempt, worker });
        }
    }

    /// Ends attempts that would have been ended, had the facts gone on.
    fn make_up(&mut self, id: TaskId, known: &KnownTask) {
        match self.tasks.get(id).state {
            State::Held { .. } | State::Committed { .. } => self.kill_all(id, DropReason::Beaten),
            State::Ready | State::Out | State::Committing { .. } => {}
        }
        for live in known.live.iter().filter(|live| live.outdated) {
            self.kill(live.id, live.worker, DropReason::InputGone);
            self.settle(id);
        }
    }
}
