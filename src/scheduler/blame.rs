//! What failures say about hosts.
//!
//! A full disk is held against the host at once. A command that fails is held against it only when enough different
//! tasks that failed there have succeeded elsewhere, so that bad user code never condemns a host. Never more than a
//! share of the hosts is barred: when the fleet shrinks, the least blamed gets tasks again.

use super::Scheduler;
use super::host::{HostCounts, Standing};
use super::worker::{Contact, HostId};
use crate::facts::{Blame, DropReason, Fact};
use crate::ids::{TaskId, WorkerId};

impl Scheduler {
    /// A task failed on a host, by its command or by the machine.
    pub(super) fn blame_failure(&mut self, task: TaskId, host: HostId, blame: Blame) {
        let entry = self.tasks.get_mut(task);
        entry.avoid(host);
        match blame {
            Blame::Worker => self.blame_host(host),
            Blame::Task => entry.trouble_mut().accused.push((host, None)),
            // Fetches are judged by which segment it was, in `react::outputs`.
            Blame::Source => {}
        }
    }

    /// A failure is held against a host.
    pub(super) fn blame_host(&mut self, host: HostId) {
        self.fleet.change_host(host, |host| host.failures += 1);
        self.judge(host);
    }

    /// A task succeeded: that speaks against the other hosts where it failed, each once. A segment that could not be
    /// read there speaks against the reader only if it is the very one that was read now.
    pub(super) fn vindicate(&mut self, task: TaskId, here: HostId) {
        let Some(trouble) = &mut self.tasks.get_mut(task).trouble else { return };
        trouble.losses = 0;
        let mut accused = std::mem::take(&mut trouble.accused);
        accused.retain(|(host, source)| *host != here && source.is_none_or(|it| self.tasks.holds(it).is_some()));
        accused.sort_unstable_by_key(|(host, _)| *host);
        accused.dedup_by_key(|(host, _)| *host);
        for (host, _) in accused {
            self.fleet.change_host(host, |host| host.contradicted += 1);
            self.judge(host);
        }
    }

    /// Bars a host if enough is held against it and the fleet can spare it.
    fn judge(&mut self, id: HostId) {
        let host = self.fleet.host(id);
        let failures = host.blamed(&self.rules);
        let is_barred = matches!(host.standing, Standing::Barred(_));
        if failures < self.rules.host_failures_max || is_barred || !host.is_present() || !self.can_spare(id) {
            return;
        }
        self.fleet.set_standing(id, Standing::Barred(self.now + self.rules.bar_lasts));
        for worker in self.fleet.workers_of(id) {
            self.record_if_barred(worker);
            self.call_back_queue(worker);
        }
    }

    /// Whether the fleet can do without a host, or does already.
    pub(super) fn can_spare(&self, id: HostId) -> bool {
        let HostCounts { marked, present, .. } = self.fleet.counts;
        let marked = marked + u32::from(!self.fleet.host(id).is_marked());
        marked.saturating_mul(self.rules.barred_one_in) <= present
    }

    /// Says that a worker gets nothing or less, if its host is barred, slow or short of something: when that begins, and when
    /// a worker comes or comes back while it holds.
    pub(super) fn record_if_barred(&mut self, worker: WorkerId) {
        let host = self.fleet.host(self.fleet.host_of(worker));
        match (host.standing, &host.evidence, host.until()) {
            (_, Some(evidence), Some(until)) => {
                let (share_percent, evidence) = (host.share_percent(), evidence.clone());
                self.record(Fact::WorkerRemembered { worker, share_percent, until, evidence });
            }
            (Standing::Barred(until), None, _) => {
                let failures = host.blamed(&self.rules);
                self.record(Fact::WorkerBarred { worker, failures, until });
            }
            (Standing::Good | Standing::Slow(_) | Standing::Outpaced(_), _, _)
            | (Standing::Barred(_), Some(_), None) => {
                self.record_if_marked(worker);
            }
        }
        if let Some(shortage) = self.fleet.host(self.fleet.host_of(worker)).shortage {
            self.record(Fact::WorkerHeld { worker, shortage });
        }
    }

    /// What waits on a barred host goes elsewhere; what runs there may end.
    pub(super) fn call_back_queue(&mut self, worker: WorkerId) {
        let queue = &self.fleet.get(worker).queue;
        for attempt in queue.map.iter().chain(&queue.reduce).copied().collect::<Vec<_>>() {
            self.kill(attempt, worker, DropReason::Moved);
            self.settle(attempt.task);
        }
    }

    /// Lets slow and barred hosts back in, the least blamed first, while they are too large a share of what is left.
    pub(super) fn pardon(&mut self) {
        while self.fleet.counts.marked.saturating_mul(self.rules.barred_one_in) > self.fleet.counts.present {
            let marked =
                (0..).map(HostId).zip(&self.fleet.hosts).filter(|(_, host)| host.is_marked() && host.is_present());
            let Some((id, host)) = marked.min_by_key(|(_, host)| (host.is_barred(), host.blamed(&self.rules))) else {
                return;
            };
            if host.mark().is_some() || host.evidence.is_some() {
                self.unmark(id);
                continue;
            }
            self.fleet.set_standing(id, Standing::Good);
            for worker in self.fleet.workers_of(id) {
                // A shortage ends with a fact of its own, which says nothing of this.
                if self.fleet.get(worker).tie() == Contact::Well {
                    self.record(Fact::WorkerBack { worker });
                }
            }
        }
    }
}
