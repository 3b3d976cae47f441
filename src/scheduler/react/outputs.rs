//! Finished outputs that are lost, cannot be read, or change.

use crate::error::Kind;
use crate::facts::{DropReason, End, Fact};
use crate::ids::{AttemptId, Stage, TaskId, WorkerId};
use crate::scheduler::task::State;
use crate::scheduler::worker::{Contact, HostId};
use crate::scheduler::{Action, Scheduler};

impl Scheduler {
    /// The finished output of a task went with its worker: it runs again, if anybody still needs it.
    pub(super) fn lose_output(&mut self, task: TaskId) {
        self.lose_segment(task);
        if let State::Committing { attempt, worker } = self.tasks.get(task).state {
            self.fleet.drop_output(task, worker);
            self.record(Fact::OutputLost { attempt });
            self.tasks.get_mut(task).trouble_mut().in_doubt.push(attempt);
            self.tasks.enter(task, State::Out);
            self.settle(task);
        }
    }

    /// A segment, if the task has one, is gone or as good as gone.
    fn lose_segment(&mut self, task: TaskId) {
        let State::Held { attempt, worker } = self.tasks.get(task).state else { return };
        self.fleet.drop_output(task, worker);
        if self.tasks.reduce.unfinished() > 0 {
            self.withdraw(attempt);
        }
    }

    /// Segments of workers that were lost while no reduce was to run are missed now that one is.
    pub(super) fn withdraw_lost_segments(&mut self) {
        let held = self.tasks.map.iter().filter_map(|(_, task)| match task.state {
            State::Held { attempt, worker } => Some((attempt, worker)),
            State::Ready | State::Out | State::Committing { .. } | State::Committed { .. } => None,
        });
        let lost = held.filter(|(_, worker)| self.fleet.get(*worker).contact == Contact::Lost);
        for (attempt, _) in lost.collect::<Vec<_>>() {
            self.withdraw(attempt);
        }
    }

    fn withdraw(&mut self, attempt: AttemptId) {
        self.record(Fact::OutputLost { attempt });
        self.out.push(Action::Withdraw { task: attempt.task });
        if let Some(trouble) = &mut self.tasks.get_mut(attempt.task).trouble {
            trouble.unreadable.clear();
        }
        self.tasks.enter(attempt.task, State::Ready);
    }

    /// A reduce could not read a segment. If it is the present one, either the reader's host is at fault, which a
    /// success elsewhere will show, or the holder's, which a report from a second host shows.
    pub(super) fn fetch_failed(&mut self, reduce: TaskId, reader: HostId, source: AttemptId, text: &str) {
        let Some(holder) = self.tasks.holds(source) else { return };
        self.tasks.get_mut(reduce).trouble_mut().accused.push((reader, Some(source)));
        let nowhere_else = self.shunned(reduce).is_empty();
        let reports = &mut self.tasks.get_mut(source.task).trouble_mut().unreadable;
        if nowhere_else || !reports.contains(&reader) {
            reports.push(reader);
        }
        if reports.len() >= self.rules.fetch_reports_min as usize {
            let by_others = reports.iter().any(|host| *host != reports[0]);
            self.make_again(source.task, holder, text);
            if by_others {
                self.blame_host(self.fleet.host_of(holder));
            }
        }
    }

    /// A segment is believed to be unreadable. Where the holder is silent as well, all that it holds is.
    fn make_again(&mut self, map: TaskId, holder: WorkerId, text: &str) {
        let host = self.fleet.host_of(holder);
        match self.fleet.get(holder).contact {
            Contact::Suspect => {
                for task in self.fleet.get(holder).outputs.clone() {
                    self.lose_segment(task);
                }
            }
            Contact::Well | Contact::Lost => self.lose_segment(map),
        }
        self.tasks.get_mut(map).avoid(host);
        self.count_repeat(map, text);
    }

    /// Counts a start that was not the task's failure: its output could not be read or committed.
    pub(super) fn count_repeat(&mut self, task: TaskId, text: &str) {
        let trouble = self.tasks.get_mut(task).trouble_mut();
        trouble.repeats += 1;
        if trouble.repeats >= self.rules.repeats_max {
            let times = trouble.repeats;
            let text = format!(
                "{task} ran {times} times and its output never arrived where it is needed; the last time: {text}"
            );
            self.end(End::Failed { kind: Kind::Data, text });
        }
    }

    /// A map that ran again made another segment than the first time: whatever read the first starts again, and what
    /// may be committed from it cannot stand beside what would be made from the second.
    pub(in crate::scheduler) fn segment_changed(&mut self, map: TaskId) {
        if self.commits > 0 {
            let text = format!(
                "{map} ran again, since its output was lost, and wrote something else than before, while parts made from \
                 the first are committed: the program is not deterministic, and outputs are never mixed. Start the job \
                 again, or make the map command write the same for the same input"
            );
            return self.end(End::Failed { kind: Kind::TaskFailed, text });
        }
        for (attempt, worker) in self.live_attempts(Stage::Reduce) {
            self.kill(attempt, worker, DropReason::InputGone);
            self.settle(attempt.task);
        }
    }
}
