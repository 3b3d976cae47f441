//! The worker's state: the job it was given and the attempts that it runs.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;

use super::answer::Answers;
use super::attempt;
use super::context::Context;
use super::control::Control;
use super::scratch::Scratch;
use super::ship;
use crate::ids::AttemptId;
use crate::protocol::bulk::Mux;
use crate::protocol::control::{Assignment, Progress, TaskInput, ToDriver, ToWorker};

/// Whether there is more to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Go on.
    More,
    /// The job has ended.
    Last,
}

impl Order {
    /// Whether this was the end.
    pub fn is_last(self) -> bool {
        self == Order::Last
    }
}

/// See the module.
pub struct Session {
    scratch: Scratch,
    answers: Arc<Answers>,
    report: mpsc::UnboundedSender<ToDriver>,
    bulk: watch::Receiver<Option<Mux>>,
    /// Attempts that have not ended; those that have are dropped from it now and then.
    attempts: HashMap<AttemptId, Arc<Control>>,
    /// Of the setup command.
    setup: Arc<Control>,
    tasks: TaskTracker,
}

impl Session {
    /// A worker without a job.
    pub fn new(
        scratch: Scratch,
        answers: Arc<Answers>,
        report: mpsc::UnboundedSender<ToDriver>,
        bulk: watch::Receiver<Option<Mux>>,
    ) -> Self {
        Session {
            scratch,
            answers,
            report,
            bulk,
            attempts: HashMap::new(),
            setup: Arc::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// Does what the driver says.
    pub fn obey(&mut self, order: ToWorker) -> Order {
        match order {
            ToWorker::Prepare(assignment) => self.prepare(*assignment),
            ToWorker::Start { attempt, input } => self.start(attempt, input),
            ToWorker::Kill(attempt) => self.kill(attempt),
            ToWorker::Forget(attempt) => self.forget(attempt),
            ToWorker::Published(places) => {
                if let Some(context) = self.answers.context.get() {
                    places.iter().for_each(|place| context.publish(place.map, place.holder));
                }
            }
            ToWorker::Ping => {}
            ToWorker::Shutdown => return Order::Last,
        }
        Order::More
    }

    /// How far the running attempts are.
    pub fn progress(&mut self) -> Vec<Progress> {
        // An attempt's task holds the other end of its control: without it, it has ended.
        self.attempts.retain(|_, control| Arc::strong_count(control) > 1);
        self.attempts.iter().map(|(attempt, control)| control.progress(*attempt)).collect()
    }

    /// Ends everything and removes all files.
    pub async fn clean_up(&mut self) {
        self.setup.end();
        self.attempts.values().for_each(|control| control.end());
        self.tasks.close();
        self.tasks.wait().await;
        if let Err(error) = self.scratch.remove() {
            eprintln!("scratch files remain: {error}");
        }
    }

    fn prepare(&mut self, assignment: Assignment) {
        let context = Arc::new(Context::new(assignment, self.scratch.clone(), self.bulk.clone()));
        if self.answers.context.set(Arc::clone(&context)).is_err() {
            // Said twice: the first time counts.
            return;
        }
        let (report, control) = (self.report.clone(), Arc::clone(&self.setup));
        self.tasks.spawn(async move {
            let message = match ship::prepare(context, control).await {
                Ok(()) => ToDriver::Ready,
                Err(failure) => ToDriver::NotReady(failure),
            };
            let _gone = report.send(message);
        });
    }

    fn start(&mut self, attempt: AttemptId, input: TaskInput) {
        let Some(context) = self.answers.context.get() else { return };
        if self.attempts.contains_key(&attempt) {
            return;
        }
        let control = Arc::new(Control::default());
        self.attempts.insert(attempt, Arc::clone(&control));
        self.tasks.spawn(attempt::run(attempt, input, Arc::clone(context), control, self.report.clone()));
    }

    fn kill(&mut self, attempt: AttemptId) {
        match self.attempts.remove(&attempt).filter(|control| Arc::strong_count(control) > 1) {
            Some(control) => control.end(),
            // It had finished in this moment.
            None => self.forget(attempt),
        }
    }

    fn forget(&mut self, attempt: AttemptId) {
        let Some(context) = self.answers.context.get().cloned() else { return };
        context.drop_segment(attempt);
        self.tasks.spawn_blocking(move || context.scratch.attempt(attempt).remove());
    }
}
