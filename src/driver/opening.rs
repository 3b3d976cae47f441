//! The opening of a job: workers that join at about the same time are counted together.
//!
//! Hosts answer within some ten milliseconds of each other. Without a pause the first one would take all the tasks that
//! it may, and what is said of the shards before the first task would know of one worker. A host that takes longer, such
//! as one that is down, is not waited for.

use std::time::Duration;

use crate::clock::Moment;
use crate::scheduler::Event;

/// How long the first worker waits for the others.
const PAUSE: Duration = Duration::from_millis(300);

/// Holds events back until the opening is over.
#[derive(Debug, Default)]
pub enum Opening {
    /// No worker has joined.
    #[default]
    Before,
    /// Some have.
    Gathering {
        /// Not longer than this.
        until: Moment,
        /// What happened meanwhile.
        held: Vec<Event>,
    },
    /// Everything passes.
    Over,
}

impl Opening {
    /// What the scheduler may know of `events` now. `settled` says whether every host has answered in some way.
    pub fn pass(&mut self, now: Moment, settled: bool, mut events: Vec<Event>) -> Vec<Event> {
        if matches!(self, Opening::Before) && events.iter().any(|event| matches!(event, Event::WorkerJoined { .. })) {
            *self = Opening::Gathering { until: now + PAUSE, held: Vec::new() };
        }
        let Opening::Gathering { until, held } = self else { return events };
        held.append(&mut events);
        let urgent = held.iter().any(|event| matches!(event, Event::Interrupted | Event::Cancelled));
        if !settled && !urgent && now < *until {
            return Vec::new();
        }
        let held = std::mem::take(held);
        *self = Opening::Over;
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::WorkerId;

    fn joined(worker: u32) -> Event {
        Event::WorkerJoined { worker: WorkerId(worker), host: format!("h{worker}"), slots: 1 }
    }

    #[test]
    fn workers_that_join_together_are_counted_together() {
        let mut opening = Opening::default();
        assert_eq!(opening.pass(Moment(0), false, vec![]), []);
        assert_eq!(opening.pass(Moment(10), false, vec![joined(0)]), []);
        assert_eq!(opening.pass(Moment(20), true, vec![joined(1)]), [joined(0), joined(1)]);
        assert_eq!(opening.pass(Moment(30), true, vec![joined(2)]), [joined(2)]);
    }

    #[test]
    fn nobody_waits_for_a_host_that_is_down() {
        let mut opening = Opening::default();
        assert_eq!(opening.pass(Moment(10), false, vec![joined(0)]), []);
        assert_eq!(opening.pass(Moment(10) + PAUSE, false, vec![]), [joined(0)]);
    }

    #[test]
    fn a_lone_worker_and_an_interrupt_do_not_wait() {
        assert_eq!(Opening::default().pass(Moment(0), true, vec![joined(0)]), [joined(0)]);
        let mut opening = Opening::default();
        opening.pass(Moment(0), false, vec![joined(0)]);
        assert_eq!(opening.pass(Moment(1), false, vec![Event::Interrupted]), [joined(0), Event::Interrupted]);
    }
}
