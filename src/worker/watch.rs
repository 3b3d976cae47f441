//! Watches an attempt while it holds its slot: whether it moves, and whether its commands take more than they may.
//!
//! What they take is looked at a few times a second, for the whole tree below its supervisors, since no limit that the
//! kernel offers to everybody holds for a tree: those of setrlimit(2) are for one process or for all of a user.

use std::sync::Arc;
use std::time::Duration;

use super::control::Control;
use super::processes::{self, Census};
use crate::clock::{self, Moment};
use crate::facts::{Cause, Lender, Limit};
use crate::job::ProcessLimits;
use crate::units::Bytes;

/// How often an attempt is looked at.
pub const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The limits that hold for an attempt here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Those of the job.
    pub job: ProcessLimits,
    /// The share of an attempt in the memory that the owner of the host lends.
    pub lent_memory: Option<Bytes>,
    /// How long it may stand still.
    pub silence_max: Option<Duration>,
}

/// See the module.
pub struct Watch {
    control: Arc<Control>,
    bounds: Bounds,
    began: Moment,
}

impl Watch {
    /// Begins to watch the attempt of `control`.
    pub fn new(control: Arc<Control>, bounds: Bounds) -> Self {
        Watch { control, bounds, began: clock::now() }
    }

    /// Why the attempt must end now, if it must. It reads /proc, so it may take some milliseconds.
    pub fn look(&self) -> Option<Cause> {
        let ProcessLimits { wall_time, .. } = self.bounds.job;
        if let Some(limit) = wall_time.filter(|limit| clock::now().since(self.began) >= *limit) {
            return Some(Cause::Limit { limit: Limit::WallTime(limit), by: Lender::Job });
        }
        if let Some(limit) = self.bounds.silence_max.filter(|limit| self.control.silent_for(*limit)) {
            return Some(Cause::Silent { limit });
        }
        if self.bounds.needs_census() { self.look_at_tree() } else { None }
    }

    fn look_at_tree(&self) -> Option<Cause> {
        let (supervisors, ended) = self.control.processes();
        if supervisors.is_empty() {
            return None;
        }
        let taken = Census::take().below(&supervisors);
        let by_job = |limit| Some(Cause::Limit { limit, by: Lender::Job });
        let ProcessLimits { processes, cpu_time, .. } = self.bounds.job;
        if let Some(limit) = processes.filter(|limit| taken.processes.len() > *limit as usize) {
            return by_job(Limit::Processes(limit));
        }
        if let Some(limit) = cpu_time.filter(|limit| taken.cpu_time + ended > *limit) {
            return by_job(Limit::CpuTime(limit));
        }
        let (memory, by) = self.bounds.memory()?;
        // The cheap sum is never too small; the exact one is asked for only where it matters.
        let is_more =
            processes::resident(&taken.processes) > memory && processes::proportional(&taken.processes) > memory;
        is_more.then_some(Cause::Limit { limit: Limit::Memory(memory), by })
    }
}

impl Bounds {
    fn needs_census(&self) -> bool {
        let ProcessLimits { memory, cpu_time, wall_time: _, processes, nice: _ } = self.job;
        memory.or(self.lent_memory).is_some() || cpu_time.is_some() || processes.is_some()
    }

    /// The lower limit of the two, and whose it is.
    fn memory(&self) -> Option<(Bytes, Lender)> {
        match (self.job.memory, self.lent_memory) {
            (Some(job), Some(lent)) if lent < job => Some((lent, Lender::Owner)),
            (None, Some(lent)) => Some((lent, Lender::Owner)),
            (job, _) => job.map(|job| (job, Lender::Job)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_limit_holds_and_its_owner_is_named() {
        let check = |job: Option<u64>, lent: Option<u64>, expected: Option<(u64, Lender)>| {
            let job = ProcessLimits { memory: job.map(Bytes), ..ProcessLimits::default() };
            let bounds = Bounds { job, lent_memory: lent.map(Bytes), silence_max: None };
            assert_eq!(bounds.memory(), expected.map(|(bytes, by)| (Bytes(bytes), by)), "{bounds:?}");
            assert_eq!(bounds.needs_census(), expected.is_some());
        };
        check(None, None, None);
        check(Some(5), None, Some((5, Lender::Job)));
        check(None, Some(5), Some((5, Lender::Owner)));
        check(Some(5), Some(4), Some((4, Lender::Owner)));
        check(Some(4), Some(5), Some((4, Lender::Job)));
    }

    #[test]
    fn time_is_up_also_without_a_command() {
        let job = ProcessLimits { wall_time: Some(Duration::ZERO), ..ProcessLimits::default() };
        let watch = Watch::new(Arc::default(), Bounds { job, ..Bounds::default() });
        let expected = Cause::Limit { limit: Limit::WallTime(Duration::ZERO), by: Lender::Job };
        assert_eq!(watch.look(), Some(expected));
        assert_eq!(Watch::new(Arc::default(), Bounds::default()).look(), None);
    }
}
