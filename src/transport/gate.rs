//! How many logins are on their way to one sshd at once.
//!
//! sshd drops connections at random when too many have not logged in yet (`MaxStartups`, by default from the tenth on).
//! A gate lets so many through; when sshd dropped one, half as many.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug)]
struct State {
    bound: usize,
    inside: usize,
    /// How often the bound was halved.
    narrowed: u64,
}

impl Gate {
    pub(super) fn new(bound: usize) -> Arc<Self> {
        let state = State { bound: bound.max(1), inside: 0, narrowed: 0 };
        Arc::new(Gate { state: Mutex::new(state), freed: Notify::new() })
    }

    /// Waits until there is room.
    pub(super) async fn enter(self: Arc<Self>) -> Pass {
        loop {
            let mut freed = pin!(self.freed.notified());
            // In the queue before we look, so that room that comes in between is not missed.
            freed.as_mut().enable();
            if let Some(narrowed) = self.try_enter() {
                return Pass { narrowed, gate: Arc::clone(&self) };
            }
            freed.await;
        }
    }

    /// Goes in if there is room; gives how often the bound had been halved by then.
    fn try_enter(&self) -> Option<u64> {
        let mut state = self.lock();
        let room = state.inside < state.bound;
        state.inside += usize::from(room);
        room.then_some(state.narrowed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Numbers only: whoever panicked left them whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to log in; given back when dropped.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Gate>,
    /// How often the bound had been halved when this one went in.
    narrowed: u64,
}

impl Pass {
    /// The login was dropped: halves the bound, once for all that were on their way together.
    pub(super) fn narrow(self) {
        let mut state = self.gate.lock();
        if state.narrowed == self.narrowed {
            state.bound = (state.bound / 2).max(1);
            state.narrowed += 1;
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.lock().inside -= 1;
        self.gate.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_so_many_are_inside() {
        let gate = Gate::new(2);
        let first = gate.clone().enter().await;
        let _second = gate.clone().enter().await;
        assert_eq!(gate.try_enter(), None);
        let waiting = tokio::spawn(gate.clone().enter());
        drop(first);
        waiting.await.expect("gets in");
    }

    #[tokio::test]
    async fn drops_at_the_same_time_halve_the_bound_once() {
        let gate = Gate::new(8);
        let passes = [gate.clone().enter().await, gate.clone().enter().await, gate.clone().enter().await];
        passes.into_iter().for_each(Pass::narrow);
        assert_eq!(gate.lock().bound, 4);
        for expected in [2, 1, 1] {
            let pass = gate.clone().enter().await;
            pass.narrow();
            assert_eq!(gate.lock().bound, expected);
        }
        assert_eq!(gate.lock().inside, 0);
    }
}
