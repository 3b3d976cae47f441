//! Maps wait a moment for the hosts that have their splits, while these join.

use super::task::Task;
use super::worker::HostId;
use super::{Hiring, HomeWait, Scheduler};
use crate::clock::Moment;
use crate::ids::WorkerId;

impl Scheduler {
    /// The first worker is there: from now on it counts.
    pub(super) fn begin_home_wait(&mut self) {
        if self.home_wait == HomeWait::Ahead {
            self.home_wait = match self.tasks.map.has_homes() {
                true => HomeWait::Until(self.now + self.rules.home_wait),
                false => HomeWait::Over,
            };
        }
    }

    /// Whether it has just come to its end.
    pub(super) fn end_home_wait(&mut self) -> bool {
        let ends = matches!(self.home_wait, HomeWait::Until(end) if end <= self.now);
        if ends {
            self.home_wait = HomeWait::Over;
        }
        ends
    }

    /// When maps may go elsewhere that wait for their homes.
    pub(super) fn homes_over(&self) -> Option<Moment> {
        match self.home_wait {
            HomeWait::Until(end) if self.tasks.map.unfinished() > 0 => Some(end),
            HomeWait::Ahead | HomeWait::Until(_) | HomeWait::Over => None,
        }
    }

    /// Whether a task goes nowhere but to a worker that has its split: there is one of use, or may still come.
    pub(super) fn awaits_home(&self, task: &Task, shunned: &[HostId]) -> bool {
        let comes = |home: &WorkerId| match self.fleet.workers.get(home) {
            Some(worker) => self.fleet.is_usable(worker) && !shunned.contains(&worker.host),
            None => self.hiring == Hiring::Open,
        };
        matches!(self.home_wait, HomeWait::Until(end) if self.now < end) && task.homes.iter().any(comes)
    }
}
