//! Hosts that are slow: where copies of stragglers won because the same bytes went far faster elsewhere.
//!
//! Such a host gets half of its places, then a quarter, then none, for a while. A task at a normal pace clears it: a
//! program that hangs here and there marks no host that does its other tasks well. What waited for input, or just had more
//! of it, is no evidence. Never more than a share of the hosts is marked or barred.

use std::time::Duration;

use super::Scheduler;
use super::host::{Mark, Standing};
use super::rules::StragglerRules;
use super::task::{Headway, Live, Phase};
use super::worker::HostId;
use crate::clock::Moment;
use crate::facts::{Fact, Slowness};
use crate::ids::{AttemptId, WorkerId};

impl Scheduler {
    /// Learns from an attempt that has just ended well how fast its host is, and how slow those where the same task
    /// still runs.
    pub(super) fn learn_pace(&mut self, attempt: AttemptId, worker: WorkerId, bytes_in: u64) {
        let Some(rules) = self.rules.stragglers else { return };
        let Some(mut ended) = self.tasks.find_live(attempt, worker).copied() else { return };
        if ended.headway.total == 0 {
            ended.headway.total = bytes_in;
        }
        let (Headway { total, .. }, time) = (ended.headway, ended.worked(self.now));
        let finished = &mut self.tasks.stage_mut(ended.id.task.stage).finished;
        let usual = finished.time_for(total);
        finished.add(total, time);
        let host = self.fleet.host_of(ended.worker);
        if usual.is_some_and(|usual| time <= usual.saturating_mul(rules.slowness_min)) {
            self.clear(host, ended.since);
        }
        for beaten in
            self.tasks.get(attempt.task).live.iter().filter(|live| live.id != attempt).copied().collect::<Vec<_>>()
        {
            self.compare(&beaten, &ended, rules);
        }
    }

    /// A host did a task at a normal pace.
    fn clear(&mut self, id: HostId, since: Moment) {
        let now = self.now;
        self.fleet.change_host(id, |host| host.normal_at = Some(now));
        if self.fleet.host(id).mark().is_some_and(|mark| mark.since <= since) {
            self.unmark(id);
        }
    }

    /// A copy has ended before the attempt that it is a copy of: if the pace was the host's, the host is marked.
    fn compare(&mut self, beaten: &Live, winner: &Live, rules: StragglerRules) {
        let (there, elsewhere) = (beaten.worked(self.now), winner.worked(self.now));
        let is_slower = match beaten.is_reading() {
            true => beaten.rate(self.now).is_slower(rules.slowness_min, winner_rate(winner, elsewhere)),
            false => there > elsewhere.saturating_mul(rules.slowness_min),
        };
        let host = self.fleet.host_of(beaten.worker);
        let has_proven_itself = self.fleet.host(host).normal_at.is_some_and(|at| at > beaten.since);
        let overtaken = beaten.phase == Phase::Running && beaten.since < winner.since;
        if overtaken && is_slower && !has_proven_itself && host != self.fleet.host_of(winner.worker) {
            let slowness = Slowness { attempt: beaten.id, there, winner: winner.id, elsewhere };
            self.mark(host, slowness, rules);
        }
    }

    /// Gives a host fewer tasks, or none.
    fn mark(&mut self, id: HostId, slowness: Slowness, rules: StragglerRules) {
        let host = self.fleet.host(id);
        let (marks, since) = match host.standing {
            Standing::Barred(_) => return,
            Standing::Good => (1, self.now),
            Standing::Slow(mark) | Standing::Outpaced(mark) => (mark.marks + 1, mark.since),
        };
        if !host.is_present() || !self.can_spare(id) {
            return;
        }
        let mark = Mark { marks, since, until: self.now + rules.mark_lasts, slowness: Some(slowness) };
        let outpaced = marks >= rules.marks_max;
        self.fleet.set_standing(id, if outpaced { Standing::Outpaced(mark) } else { Standing::Slow(mark) });
        for worker in self.fleet.workers_of(id) {
            self.record_if_marked(worker);
            if outpaced {
                self.call_back_queue(worker);
            }
        }
    }

    /// Says what a worker gets, if its host is marked.
    pub(super) fn record_if_marked(&mut self, worker: WorkerId) {
        let host = self.fleet.host(self.fleet.host_of(worker));
        let Some(Mark { until, slowness: Some(slowness), .. }) = host.mark() else { return };
        let share_percent = host.share_percent();
        self.record(Fact::WorkerMarked { worker, slowness, share_percent, until });
    }

    /// Takes a mark away.
    pub(super) fn unmark(&mut self, id: HostId) {
        if matches!(self.fleet.host(id).standing, Standing::Barred(_)) {
            // Another chance is a whole one.
            self.fleet.change_host(id, |host| (host.failures, host.contradicted) = (0, 0));
        }
        self.fleet.set_standing(id, Standing::Good);
        for worker in self.fleet.workers_of(id) {
            self.record(Fact::WorkerCleared { worker });
        }
    }

    /// Takes marks away that have lasted long enough; whether there were such.
    pub(super) fn end_marks(&mut self) -> bool {
        let mut ended = false;
        while let Some(id) = self.fleet.mark_over(self.now) {
            self.unmark(id);
            ended = true;
        }
        ended
    }
}

fn winner_rate(winner: &Live, time: Duration) -> super::pace::Rate {
    super::pace::Rate::of(winner.headway.total, time)
}
