//! What an event costs, with nothing around the scheduler but a queue.
//!
//! By hand: `WORKERS=5000 TASKS=1000000 cargo test --release --test simulation cost -- --nocapture`. The aim is 5 µs an
//! event at that size, with a deciding pass after each.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use runner::clock::Moment;
use runner::facts::{End, Work};
use runner::ids::{AttemptId, WorkerId};
use runner::scheduler::{Action, Config, Event, Scheduler};

/// Runs a job in which nothing goes wrong, and tells what an event costs.
pub fn measure(workers: u32, tasks: u32) -> Duration {
    let reduces = tasks / 20;
    let maps = vec![1 << 26; (tasks - reduces) as usize];
    let begin = Instant::now();
    let mut scheduler = Scheduler::new(Config { maps, reduces, ..Config::default() });
    let mut inbox: VecDeque<Event> = (0..workers).map(joined).collect();
    inbox.push_back(Event::FleetComplete);
    let (mut actions, mut events, mut end) = (Vec::new(), 0_u32, None);
    while let Some(event) = inbox.pop_front() {
        scheduler.handle(Moment(u64::from(events)), event);
        scheduler.decide(Moment(u64::from(events)), &mut actions);
        events += 1;
        for action in actions.drain(..) {
            match action {
                Action::Start { attempt, worker } => {
                    inbox.push_back(Event::AttemptStarted { attempt, worker });
                    for bytes_done in [1 << 24, 1 << 25] {
                        inbox.push_back(progressed(attempt, worker, bytes_done));
                    }
                    inbox.push_back(Event::AttemptFinished { attempt, worker, work: Work::default() });
                }
                Action::Commit { attempt, .. } => inbox.push_back(Event::Committed { attempt, bytes: 0 }),
                Action::Complete => inbox.push_back(Event::Completed),
                Action::Conclude(how) => end = Some(how),
                Action::Record(_)
                | Action::Kill { .. }
                | Action::Publish { .. }
                | Action::Withdraw { .. }
                | Action::Release { .. } => {}
            }
        }
    }
    let cost = begin.elapsed() / events;
    assert_eq!(end, Some(End::Done), "{events} events of {tasks} tasks on {workers} workers");
    cost
}

fn progressed(attempt: AttemptId, worker: WorkerId, bytes_done: u64) -> Event {
    Event::AttemptProgressed { attempt, worker, bytes_done, bytes_total: 1 << 26, waited: Duration::ZERO }
}

fn joined(index: u32) -> Event {
    Event::WorkerJoined { worker: WorkerId(index), host: format!("node{index}"), slots: 4 }
}
