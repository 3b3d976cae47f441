//! The handle by which an attempt is watched and ended from outside.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::processes::Pid;
use crate::clock::{self, Moment};
use crate::ids::AttemptId;
use crate::protocol::bulk::Aborter;
use crate::protocol::control::Progress;

/// Shared by the threads of an attempt, the worker's loop, and nobody else.
#[derive(Debug, Default)]
pub struct Control {
    ended: AtomicBool,
    /// When anything moved last, in microseconds on our clock.
    moved: AtomicU64,
    /// Threads that wait for input, or sort, merge and write for us: such time is not the user's program's.
    excused: AtomicUsize,
    /// Time spent waiting for input is not the attempt's.
    waits: Mutex<Waits>,
    bytes_done: AtomicU64,
    bytes_total: AtomicU64,
    ropes: Mutex<Ropes>,
    /// Cancelled with the ropes.
    is_cut: CancellationToken,
    commands: Mutex<Commands>,
}

/// How long input was waited for.
#[derive(Debug, Default)]
struct Waits {
    /// Readers that wait now.
    readers: usize,
    /// When the first of them began.
    since: Moment,
    /// All waits that are over.
    total: Duration,
}

impl Waits {
    fn so_far(&self, now: Moment) -> Duration {
        self.total + if self.readers > 0 { now.since(self.since) } else { Duration::ZERO }
    }
}

/// The commands of an attempt, for those who count what they take.
#[derive(Debug, Default)]
struct Commands {
    /// The supervisors of those that run.
    supervisors: Vec<Pid>,
    /// Processor time of those that have ended.
    ended: Duration,
}

/// What must be cut so that blocked threads wake up.
#[derive(Debug, Default)]
struct Ropes {
    lifelines: Vec<UnixStream>,
    streams: Vec<Aborter>,
}

impl Control {
    /// Ends the attempt, which then reports nothing.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.cut();
    }

    /// Makes the attempt fail: its commands are killed, its reads fail.
    pub fn cut(&self) {
        self.is_cut.cancel();
        let ropes = std::mem::take(&mut *self.ropes.lock().unwrap_or_else(PoisonError::into_inner));
        for lifeline in ropes.lifelines {
            let _gone = lifeline.shutdown(Shutdown::Both);
        }
        for stream in ropes.streams {
            stream.abort();
        }
    }

    /// Waits until [`Control::cut`] or [`Control::end`] is called.
    pub async fn until_cut(&self) {
        self.is_cut.cancelled().await;
    }

    /// Whether [`Control::end`] was called.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// A command's lifeline, cut when the attempt is ended.
    pub fn attach(&self, lifeline: UnixStream) {
        self.ropes.lock().unwrap_or_else(PoisonError::into_inner).lifelines.push(lifeline);
        if self.is_cut.is_cancelled() {
            self.cut();
        }
    }

    /// A stream that the attempt reads, aborted when it is ended.
    pub fn attach_stream(&self, stream: Aborter) {
        self.ropes.lock().unwrap_or_else(PoisonError::into_inner).streams.push(stream);
        if self.is_cut.is_cancelled() {
            self.cut();
        }
    }

    /// A command runs below this supervisor.
    pub fn begin_command(&self, supervisor: Pid) {
        self.commands().supervisors.push(supervisor);
    }

    /// It has ended, and took so much processor time in all.
    pub fn end_command(&self, supervisor: Pid, cpu_time: Duration) {
        let mut commands = self.commands();
        commands.supervisors.retain(|other| *other != supervisor);
        commands.ended += cpu_time;
    }

    /// The supervisors of the commands that run, and the processor time of those that have ended.
    pub fn processes(&self) -> (Vec<Pid>, Duration) {
        let commands = self.commands();
        (commands.supervisors.clone(), commands.ended)
    }

    /// Something was read, written or reported.
    pub fn alive(&self) {
        self.moved.store(clock::now().0, Ordering::Relaxed);
    }

    /// So much more of the input is used up.
    pub fn advance(&self, bytes: u64) {
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
        self.alive();
    }

    /// Counts a record that was merged.
    ///
    /// # Errors
    /// When the attempt has ended. Looking at the clock for each record would cost more than most records do, so it is
    /// done once in a while.
    pub fn count(&self, bytes: u64) -> io::Result<()> {
        let before = self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
        if (before ^ (before + bytes)) >> 16 != 0 {
            self.alive();
            if self.has_ended() {
                return Err(io::Error::other("the attempt was ended"));
            }
        }
        Ok(())
    }

    /// Begins a new count, of so many bytes.
    pub fn restart(&self, bytes_total: u64) {
        self.bytes_done.store(0, Ordering::Relaxed);
        self.expect(bytes_total);
        self.alive();
    }

    /// How much input there will be.
    pub fn expect(&self, bytes: u64) {
        self.bytes_total.store(bytes, Ordering::Relaxed);
    }

    /// Runs something that may wait for input from elsewhere.
    pub fn while_waiting<T>(&self, read: impl FnOnce() -> T) -> T {
        self.while_excused(|| {
            let began = clock::now();
            let mut waits = self.waits();
            if waits.readers == 0 {
                waits.since = began;
            }
            waits.readers += 1;
            drop(waits);
            let result = read();
            let mut waits = self.waits();
            (waits.total, waits.since) = (waits.so_far(clock::now()), clock::now());
            waits.readers -= 1;
            result
        })
    }

    /// Runs something long that is our own work, such as a sort.
    pub fn while_busy<T>(&self, work: impl FnOnce() -> T) -> T {
        self.while_excused(work)
    }

    fn while_excused<T>(&self, work: impl FnOnce() -> T) -> T {
        self.excused.fetch_add(1, Ordering::Relaxed);
        let result = work();
        self.alive();
        self.excused.fetch_sub(1, Ordering::Relaxed);
        result
    }

    /// Runs a program of the user's in the midst of [`Control::while_busy`]: it is not excused.
    pub fn while_watched<T>(&self, program: impl FnOnce() -> T) -> T {
        self.alive();
        self.excused.fetch_sub(1, Ordering::Relaxed);
        let result = program();
        self.excused.fetch_add(1, Ordering::Relaxed);
        result
    }

    /// Whether nothing moved for `limit` although the program could have.
    pub fn silent_for(&self, limit: Duration) -> bool {
        let moved = Moment(self.moved.load(Ordering::Relaxed));
        self.excused.load(Ordering::Relaxed) == 0 && clock::now().since(moved) >= limit
    }

    /// How far it is.
    pub fn progress(&self, attempt: AttemptId) -> Progress {
        Progress {
            attempt,
            bytes_done: self.bytes_done.load(Ordering::Relaxed),
            bytes_total: self.bytes_total.load(Ordering::Relaxed),
            waited: self.waits().so_far(clock::now()),
        }
    }

    fn commands(&self) -> MutexGuard<'_, Commands> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_users_program_is_ever_silent() {
        let control = Control::default();
        let silent = || control.silent_for(Duration::ZERO);
        assert!(silent());
        assert!(!control.while_waiting(silent));
        assert!(!control.while_busy(silent));
        assert!(control.while_busy(|| control.while_watched(silent)));
        assert!(silent());
    }
}
