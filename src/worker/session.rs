//! The worker's state: the job it was given, the attempts that it runs, and what has become of them.
//!
//! What attempts report goes through here on its way to the driver, so that a driver that comes, or comes back, is told
//! everything that it may not have heard.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, OnceLock};

use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;

use super::answer::Answers;
use super::attempt;
use super::context::Context;
use super::control::Control;
use super::kept;
use super::load::LoadMeter;
use super::owner::Owner;
use super::peers::{self, Doorway, Roads};
use super::scratch::Scratch;
use super::ship;
use crate::facts::HostLoad;
use crate::ids::AttemptId;
use crate::protocol::bulk::Mux;
use crate::protocol::control::{Assignment, Held, Holdings, Progress, Setup, Stay, TaskInput, ToDriver, ToWorker};
use crate::protocol::copy::KeptFile;
use crate::protocol::peer;

/// Whether there is more to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Go on.
    More,
    /// The driver leaves, and may come back.
    Leave,
    /// The job has ended.
    Last,
}

/// See the module.
pub struct Session {
    scratch: Scratch,
    owner: Owner,
    answers: Arc<Answers>,
    report: mpsc::UnboundedSender<ToDriver>,
    bulk: watch::Receiver<Option<Mux>>,
    stay: Stay,
    /// Attempts that are not forgotten.
    attempts: BTreeMap<AttemptId, Entry>,
    setup: Setup,
    /// Of the setup command.
    setup_control: Arc<Control>,
    /// By which other workers come in; it must be closed.
    doorway: Arc<OnceLock<Doorway>>,
    /// What the driver is told of it.
    doorway_said: Option<peer::Doorway>,
    tasks: TaskTracker,
    load: LoadMeter,
}

/// An attempt.
struct Entry {
    control: Arc<Control>,
    held: Held,
}

impl Entry {
    /// Whether it has not reported its end.
    fn is_live(&self) -> bool {
        match self.held {
            Held::Waiting | Held::Running => true,
            Held::Finished { .. } | Held::Failed { .. } => false,
        }
    }
}

impl Session {
    /// A worker without a job.
    pub fn new(
        scratch: Scratch,
        owner: Owner,
        answers: Arc<Answers>,
        report: mpsc::UnboundedSender<ToDriver>,
        bulk: watch::Receiver<Option<Mux>>,
        stay: Stay,
    ) -> Self {
        Session {
            scratch,
            owner,
            answers,
            report,
            bulk,
            stay,
            attempts: BTreeMap::new(),
            setup: Setup::Awaited,
            setup_control: Arc::default(),
            doorway: Arc::default(),
            doorway_said: None,
            tasks: TaskTracker::new(),
            load: LoadMeter::default(),
        }
    }

    /// Does what the driver says.
    pub fn obey(&mut self, order: ToWorker) -> Order {
        match order {
            ToWorker::Prepare(assignment) => self.prepare(*assignment),
            ToWorker::Start { attempt, input } => self.start(attempt, input),
            ToWorker::Kill(attempt) => self.kill(attempt),
            ToWorker::Forget(attempt) => self.forget(attempt),
            ToWorker::Peers(peers) => {
                if let Some(roads) = self.roads() {
                    roads.learn(peers);
                }
            }
            ToWorker::PeerLost(worker) => {
                if let Some(roads) = self.roads() {
                    roads.give_up(worker);
                }
            }
            ToWorker::Published(places) => {
                if let Some(context) = self.answers.context.get() {
                    context.publish(&places);
                }
            }
            ToWorker::Keep { file, offset, bytes } => self.keep(file, offset, bytes),
            ToWorker::Ping => {}
            ToWorker::Leave => return Order::Leave,
            ToWorker::Shutdown => return Order::Last,
        }
        Order::More
    }

    /// Takes note of a report; whether the driver is to hear it. One that was ended in the moment in which it came to its
    /// end is of no interest any more.
    pub fn note(&mut self, report: &ToDriver) -> bool {
        let (attempt, held) = match report {
            ToDriver::Started(attempt) => (*attempt, Held::Running),
            ToDriver::Finished { attempt, work, stderr_bytes } => {
                (*attempt, Held::Finished { work: work.clone(), stderr_bytes: *stderr_bytes })
            }
            ToDriver::Failed { attempt, failure, stderr_bytes } => {
                (*attempt, Held::Failed { failure: failure.clone(), stderr_bytes: *stderr_bytes })
            }
            ToDriver::Ready { slots, .. } => {
                self.setup = Setup::Done { slots: *slots };
                return true;
            }
            ToDriver::NotReady(failure) => {
                self.setup = Setup::Failed(failure.clone());
                return true;
            }
            ToDriver::Doorway(doorway) => {
                self.doorway_said = Some(doorway.clone());
                return true;
            }
            ToDriver::Holds(_) | ToDriver::Fenced(_) | ToDriver::Progress(_) | ToDriver::Load(_) | ToDriver::Bye => {
                return true;
            }
        };
        match self.attempts.get_mut(&attempt) {
            Some(entry) => {
                entry.held = held;
                true
            }
            None => {
                if held != Held::Running {
                    self.forget(attempt);
                }
                false
            }
        }
    }

    /// Whether a driver came so far as to give it the job.
    pub fn has_job(&self) -> bool {
        self.setup != Setup::Awaited
    }

    /// All that there is.
    pub fn holdings(&self) -> Holdings {
        let attempts = self.attempts.iter().map(|(attempt, entry)| (*attempt, entry.held.clone())).collect();
        Holdings { stay: self.stay, setup: self.setup.clone(), doorway: self.doorway_said.clone(), attempts }
    }

    /// How far the attempts are that have not ended.
    pub fn progress(&self) -> Vec<Progress> {
        let live = self.attempts.iter().filter(|(_, entry)| entry.is_live());
        live.map(|(attempt, entry)| entry.control.progress(*attempt)).collect()
    }

    /// How loaded the host is, if it is time to tell the driver.
    pub fn load(&mut self) -> Option<HostLoad> {
        let context = self.answers.context.get()?;
        let meter = &mut self.load;
        tokio::task::block_in_place(|| meter.tell(&context.leases, context.scratch.root()))
    }

    /// Nobody has come who goes on with the job: what it made of a dataset is of no use.
    pub fn abandon_output(&self) {
        if let Some(context) = self.answers.context.get() {
            context.abandon_output();
        }
    }

    /// Ends everything and removes all files.
    pub async fn clean_up(&mut self) {
        self.setup_control.end();
        self.attempts.values().for_each(|entry| entry.control.end());
        self.tasks.close();
        self.tasks.wait().await;
        if let Some(context) = self.answers.context.get() {
            context.leases.leave();
        }
        if let Some(roads) = self.roads() {
            roads.close().await;
        }
        if let Err(error) = self.scratch.remove() {
            eprintln!("scratch files remain: {error}");
        }
        // After the files, since a full disk has room for this then.
        if let Some(doorway) = self.doorway.get()
            && let Err(error) = doorway.close()
        {
            eprintln!("a line for the job remains in authorized_keys: {error}");
        }
    }

    fn roads(&self) -> Option<&Roads> {
        self.answers.context.get()?.roads.as_ref()
    }

    fn prepare(&mut self, assignment: Assignment) {
        let context = Arc::new(Context::new(assignment, self.scratch.clone(), self.bulk.clone(), &self.owner));
        if self.answers.context.set(Arc::clone(&context)).is_err() {
            // Said twice: the first time counts.
            return;
        }
        self.setup = Setup::UnderWay;
        let (report, control) = (self.report.clone(), Arc::clone(&self.setup_control));
        let doorway = Arc::clone(&self.doorway);
        self.tasks.spawn(async move {
            let opened = context.assignment.peers.clone().map(|access| {
                let (job, worker) = (context.assignment.id.clone(), context.assignment.worker);
                tokio::task::spawn_blocking(move || peers::open(&access, &job, worker))
            });
            let message = match ship::prepare(Arc::clone(&context), control).await {
                Ok(()) => ToDriver::Ready { slots: context.slots_granted, load: load_now(&context) },
                Err(failure) => ToDriver::NotReady(failure),
            };
            let _gone = report.send(message);
            if let Some(opened) = opened {
                let said = say_whether_open(opened.await.map_err(io::Error::other).flatten(), &doorway);
                let _gone = report.send(ToDriver::Doorway(said));
            }
        });
    }

    fn start(&mut self, attempt: AttemptId, input: TaskInput) {
        let Some(context) = self.answers.context.get() else { return };
        if self.attempts.contains_key(&attempt) {
            return;
        }
        let control = Arc::new(Control::default());
        self.attempts.insert(attempt, Entry { control: Arc::clone(&control), held: Held::Waiting });
        self.tasks.spawn(attempt::run(attempt, input, Arc::clone(context), control, self.report.clone()));
    }

    fn keep(&mut self, file: KeptFile, offset: u64, bytes: Vec<u8>) {
        // In order, since pieces of the journal follow each other; small enough not to be felt.
        if let Err(error) = kept::write(self.scratch.root(), file, offset, &bytes) {
            eprintln!("the copy of the job cannot be kept: {error}");
        }
    }

    fn kill(&mut self, attempt: AttemptId) {
        match self.attempts.remove(&attempt).filter(Entry::is_live) {
            Some(entry) => entry.control.end(),
            // It has ended.
            None => self.forget(attempt),
        }
    }

    fn forget(&mut self, attempt: AttemptId) {
        self.attempts.remove(&attempt);
        let Some(context) = self.answers.context.get().cloned() else { return };
        context.drop_segment(attempt);
        self.tasks.spawn_blocking(move || context.scratch.attempt(attempt).remove());
    }
}

fn load_now(context: &Context) -> HostLoad {
    tokio::task::block_in_place(|| LoadMeter::default().measure(&context.leases, context.scratch.root()))
}

/// Keeps a doorway, and tells the driver of it.
fn say_whether_open(opened: io::Result<Doorway>, kept: &OnceLock<Doorway>) -> peer::Doorway {
    match opened {
        Ok(doorway) => {
            let _first = kept.set(doorway);
            peer::Doorway::Open
        }
        Err(error) => peer::Doorway::Closed(error.to_string()),
    }
}
