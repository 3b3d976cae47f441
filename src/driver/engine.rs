//! The loop: notes of hosts become events, actions of the scheduler become orders.
//!
//! It performs actions in order. A recorded fact is durable before the first action behind it that others can see; one
//! sync serves all facts in between. What workers tell over new connections is taken in by [`holdings`].

mod answer;
mod commits;
mod holdings;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use commits::fetch_log;

use super::ask::Asked;
use super::collect::Collector;
use super::copies::{COPIES, Copies};
use super::crew::Crew;
use super::listing::Listed;
use super::opening::Opening;
use super::output::OutputFolder;
use super::peers::Introductions;
use super::shared::Note;
use super::starter::{Host, Reads, Starter};
use super::state::{JobFolder, Remains};
use crate::clock::{self, Moment};
use crate::error::Kind;
use crate::facts::{End, Fact, Stamped, Work};
use crate::ids::{AttemptId, Stage, WorkerId};
use crate::input::Split;
use crate::journal::Journal;
use crate::progress::Progress;
use crate::protocol::control::{self, SegmentNews, SegmentPlace, TaskInput, ToDriver, ToWorker};
use crate::reliability::Fold;
use crate::scheduler::{Action, Event, Scheduler};

/// How often the copies of the journal are brought up to date.
const COPY_EVERY: Duration = Duration::from_millis(250);
/// How often the display is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// Notes taken together before the scheduler decides: enough to serve a busy moment with one sync.
const BATCH_MAX: usize = 4096;

/// How long the end of a job waits for logs of its last attempts.
const LOGS_WAIT_MAX: Duration = Duration::from_secs(10);

/// A running job.
pub struct Engine {
    /// Decides.
    pub scheduler: Scheduler,
    /// Keeps facts.
    pub journal: Journal,
    /// Shows facts.
    pub progress: Progress,
    /// By worker.
    pub hosts: Vec<Host>,
    /// Which of them are on the list.
    pub crew: Crew,
    /// Lets hosts join.
    pub starter: Starter,
    /// The stage whose attempts write output parts.
    pub last_stage: Stage,
    /// The input of each map.
    pub splits: Arc<Vec<Split>>,
    /// Fetches results.
    pub collector: Collector,
    /// Introduces workers to each other.
    pub introductions: Arc<Introductions>,
    /// Where parts become output.
    pub output: OutputFolder,
    /// Where logs go.
    pub folder: JobFolder,
    /// Where hosts speak.
    pub notes: mpsc::UnboundedReceiver<(WorkerId, Note)>,
    /// Where the user's wish to end comes in.
    pub interrupts: mpsc::Receiver<Kind>,
    /// Where other terminals ask for something.
    pub asks: mpsc::UnboundedReceiver<Asked>,
    /// What workers keep of the job.
    pub copies: Copies,
    /// What this run says about its hosts.
    pub hosts_seen: Fold,
    /// Where another list of hosts comes in.
    pub lists: mpsc::Receiver<Listed>,
    /// Facts, segments and results of the moment.
    pub desk: Desk,
}

/// Ends at a moment, if there is one.
async fn wait_until(moment: Option<Moment>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(clock::instant(moment).into()).await,
        None => std::future::pending().await,
    }
}

/// What becomes of the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// They remove everything and end.
    End,
    /// They keep what they have for another driver.
    Leave,
}

/// What finished attempts did, and where their stderr goes if they wrote any.
pub type FinishedAttempts = HashMap<AttemptId, (Work, Option<PathBuf>)>;

/// What the engine has in its hands.
#[derive(Default)]
pub struct Desk {
    opening: Opening,
    /// What finished attempts did and where their stderr goes, until they are committed.
    pub finished: FinishedAttempts,
    /// Attempts whose stderr was asked for.
    logged: HashSet<AttemptId>,
    /// All that became known of segments, in order.
    pub published: Vec<SegmentNews>,
    /// Commits under way; each ends in an event.
    commits: JoinSet<Event>,
    /// Logs under way.
    logs: JoinSet<()>,
    interrupted_by: Option<Kind>,
    /// Whether the whole output is being put in its place.
    completing: bool,
    /// Whether another driver has taken over: nothing is done any more.
    fenced: bool,
    end: Option<End>,
}

impl Engine {
    /// Runs the job to its end; `beginning` is recorded first.
    ///
    /// # Errors
    /// When the journal or the output cannot be written.
    pub async fn run(&mut self, beginning: Vec<Fact>) -> anyhow::Result<End> {
        beginning.into_iter().try_for_each(|fact| self.record(fact))?;
        self.journal.sync()?;
        if let Some(end) = self.desk.end.take() {
            return Ok(end);
        }
        if self.is_settled() {
            self.step(vec![Event::FleetComplete])?;
        }
        let mut draw = tokio::time::interval(DRAW_EVERY);
        let mut copy = tokio::time::interval(COPY_EVERY);
        loop {
            let deadline = self.scheduler.deadline();
            let mut events = Vec::new();
            tokio::select! {
                Some((worker, note)) = self.notes.recv() => {
                    self.take_note(worker, note, &mut events);
                    self.take_waiting_notes(&mut events);
                }
                Some(Ok(event)) = self.desk.commits.join_next() => self.take_committed(event, &mut events),
                Some(_saved) = self.desk.logs.join_next() => {}
                Some(kind) = self.interrupts.recv() => {
                    self.desk.interrupted_by = Some(kind);
                    events.push(Event::Interrupted);
                }
                Some(asked) = self.asks.recv() => self.answer(asked, &mut events),
                Some(listed) = self.lists.recv() => self.take_list(listed, &mut events),
                () = wait_until(deadline), if deadline.is_some() => {}
                _ = draw.tick() => self.progress.tick(clock::now()),
                _ = copy.tick() => self.send_copies()?,
            }
            self.step(events)?;
            if let Some(end) = self.desk.end.take() {
                return Ok(end);
            }
        }
    }

    /// Which signal the user ended the job with.
    pub fn interrupted_by(&self) -> Kind {
        self.desk.interrupted_by.unwrap_or(Kind::Interrupted)
    }

    /// Whether a complete result lies under its temporary name, since it could not be put in place.
    pub fn keeps_result(&self) -> bool {
        self.desk.completing
    }

    /// Waits for the logs that are under way, then leaves every host, or tells it to end; what one may have left is noted.
    pub async fn wind_down(&mut self, parting: Parting) {
        self.desk.commits.shutdown().await;
        let logs = async { while self.desk.logs.join_next().await.is_some() {} };
        let _late = tokio::time::timeout(LOGS_WAIT_MAX, logs).await;
        self.desk.logs.shutdown().await;
        if parting == Parting::End {
            for host in &self.hosts {
                let _gone = host.orders.send(ToWorker::Shutdown);
            }
        }
        self.hosts.clear();
        let remains = self.starter.wait().await;
        if (remains, parting) == (Remains::Something, Parting::End) {
            // Without the note the job is cleaned up after only when that is asked for by its name.
            let _full = self.folder.note(Remains::Something);
            self.progress.say("a host was out of reach at the end: `runner clean` removes what is left there");
        }
    }

    fn take_waiting_notes(&mut self, events: &mut Vec<Event>) {
        while events.len() < BATCH_MAX
            && let Ok((worker, note)) = self.notes.try_recv()
        {
            self.take_note(worker, note, events);
        }
    }

    fn take_note(&mut self, worker: WorkerId, note: Note, events: &mut Vec<Event>) {
        if let Note::InputGone = note {
            return events.push(self.input_is_gone());
        }
        let host = &mut self.hosts[worker.index()];
        if host.dismissed {
            return;
        }
        let settles = match note {
            Note::Joined { .. } | Note::Refused(_) | Note::Back | Note::Lost(_) | Note::Fenced(_) => true,
            Note::Said(_) | Note::Holds(_) | Note::Suspect | Note::Advice(_) | Note::InputGone => false,
        };
        let settled = settles && std::mem::take(&mut host.pending);
        if settles {
            host.present = matches!(note, Note::Joined { .. } | Note::Back);
        }
        match note {
            Note::Joined { slots } => events.push(Event::WorkerJoined { worker, host: host.name.clone(), slots }),
            Note::Refused(reason) => {
                events.push(Event::WorkerRefused { host: host.name.clone(), reason });
                self.crew.set_gone(worker);
            }
            Note::Advice(text) => self.progress.say(&text),
            Note::Suspect => events.push(Event::WorkerSuspect(worker)),
            Note::Back => events.push(Event::WorkerBack(worker)),
            Note::Lost(reason) => {
                self.tell_of_loss(worker);
                events.push(Event::WorkerLost { worker, reason });
                self.lose_parts(worker, events);
                self.crew.set_gone(worker);
            }
            Note::Said(message) => self.take_message(worker, message, events),
            Note::Holds(attempts) => self.take_holdings(worker, attempts, events),
            Note::Fenced(reign) => events.push(self.yield_to(worker, &reign)),
            Note::InputGone => {}
        }
        if settled && self.is_settled() {
            events.push(Event::FleetComplete);
        }
    }

    /// Whether every host has answered in some way.
    pub(super) fn is_settled(&self) -> bool {
        self.hosts.iter().all(|host| !host.pending)
    }

    fn take_message(&mut self, worker: WorkerId, message: ToDriver, events: &mut Vec<Event>) {
        match message {
            ToDriver::Started(attempt) => events.push(Event::AttemptStarted { attempt, worker }),
            ToDriver::Progress(attempts) => {
                for control::Progress { attempt, bytes_done, bytes_total, waited } in attempts {
                    self.progress.sample(attempt, bytes_done, bytes_total);
                    events.push(Event::AttemptProgressed { attempt, worker, bytes_done, bytes_total, waited });
                }
            }
            ToDriver::Load(load) => {
                self.progress.await_slots(worker, load.awaiting_slots, load.slot_holders.clone());
                events.push(Event::WorkerLoad { worker, load });
            }
            ToDriver::Finished { attempt, work, stderr_bytes } => {
                events.push(self.take_finished(attempt, worker, work, stderr_bytes));
            }
            ToDriver::Failed { attempt, failure, stderr_bytes } => {
                self.clear_up(attempt, worker, stderr_bytes);
                events.push(Event::AttemptFailed { attempt, worker, failure });
            }
            ToDriver::Doorway(doorway) => self.introductions.doorway(worker, doorway),
            // Said before the host has joined, or after it has left; or taken by its task.
            ToDriver::Ready { .. }
            | ToDriver::NotReady(_)
            | ToDriver::Bye
            | ToDriver::Holds(_)
            | ToDriver::Fenced(_) => {}
        }
    }

    fn take_finished(&mut self, attempt: AttemptId, worker: WorkerId, work: Work, stderr_bytes: u64) -> Event {
        let log = self.log(attempt, stderr_bytes);
        if attempt.task.stage == self.last_stage {
            // Saved with the output: after that the worker forgets both.
            self.desk.finished.insert(attempt, (work.clone(), log));
        } else if let Some(log) = log
            && self.desk.logged.insert(attempt)
        {
            self.desk.logs.spawn(fetch_log(self.collector.clone(), attempt, worker, log));
        }
        Event::AttemptFinished { attempt, worker, work }
    }

    /// Where the stderr of an attempt goes, if it wrote any.
    fn log(&self, attempt: AttemptId, bytes: u64) -> Option<PathBuf> {
        (bytes > 0).then(|| self.folder.log(attempt))
    }

    /// Saves what a failed attempt said, then lets its worker forget it.
    fn clear_up(&mut self, attempt: AttemptId, worker: WorkerId, stderr_bytes: u64) {
        if !self.desk.logged.insert(attempt) {
            // Said again over a new connection.
            return;
        }
        let (collector, orders) = (self.collector.clone(), self.hosts[worker.index()].orders.clone());
        let log = self.log(attempt, stderr_bytes);
        self.desk.logs.spawn(async move {
            if let Some(log) = log {
                fetch_log(collector, attempt, worker, log).await;
            }
            let _gone = orders.send(ToWorker::Forget(attempt));
        });
    }

    /// Brings the copies of the job up to date.
    fn send_copies(&mut self) -> anyhow::Result<()> {
        let present = (0..).map(WorkerId).zip(&self.hosts).filter(|(_, host)| host.present);
        for (worker, host) in present.take(COPIES) {
            if let Some(piece) = self.copies.next(worker)? {
                let _gone = host.orders.send(piece);
            }
        }
        Ok(())
    }

    /// Lets the scheduler react and decide, and does what it says.
    fn step(&mut self, events: Vec<Event>) -> anyhow::Result<()> {
        let now = clock::now();
        let settled = self.is_settled();
        for event in self.desk.opening.pass(now, settled, events) {
            self.scheduler.handle(now, event);
        }
        let mut actions = Vec::new();
        self.scheduler.decide(now, &mut actions);
        let mut dirty = false;
        for action in actions {
            if let Action::Record(fact) = action {
                self.record(fact)?;
                dirty = true;
                continue;
            }
            if std::mem::take(&mut dirty) {
                self.journal.sync()?;
            }
            self.perform(action);
        }
        if dirty {
            self.journal.sync()?;
        }
        self.tell_readers();
        Ok(())
    }

    /// Keeps and shows a fact.
    fn record(&mut self, fact: Fact) -> anyhow::Result<()> {
        let stamped = Stamped { at: clock::now(), fact };
        self.journal.append(&stamped)?;
        self.progress.observe(&stamped);
        self.hosts_seen.observe(&stamped);
        if let Fact::JobFinished { end } = stamped.fact {
            self.desk.end = Some(end);
        }
        Ok(())
    }

    fn perform(&mut self, action: Action) {
        if self.desk.fenced {
            return;
        }
        match action {
            Action::Record(_) | Action::Conclude(_) => {}
            Action::Start { attempt, worker } => self.start(attempt, worker),
            Action::Kill { attempt, worker } => self.order(worker, ToWorker::Kill(attempt)),
            Action::Publish { attempt, worker } => {
                self.desk.published.push(SegmentNews::Made(SegmentPlace { map: attempt, holder: worker }));
            }
            // Whoever fetches from there fails, and waits for the next one when it starts again.
            Action::Withdraw { task } => self.desk.published.push(SegmentNews::Gone(task)),
            Action::Commit { attempt, worker } => self.commit(attempt, worker),
            Action::Complete => self.complete(),
            Action::Release { worker } => {
                self.hosts[worker.index()].dismiss();
                self.crew.set_gone(worker);
            }
        }
    }

    fn start(&mut self, attempt: AttemptId, worker: WorkerId) {
        let input = match attempt.task.stage {
            Stage::Map => TaskInput::Split(self.splits[attempt.task.index as usize].clone()),
            Stage::Reduce => {
                self.tell_places(worker);
                TaskInput::Partition { maps: self.splits.len() as u32 }
            }
        };
        self.order(worker, ToWorker::Start { attempt, input });
    }

    /// Whoever fetches from a lost worker need not wait for it.
    fn tell_of_loss(&self, lost: WorkerId) {
        let readers = self.hosts.iter().filter(|host| host.reads == Reads::Segments);
        readers.for_each(|host| drop(host.orders.send(ToWorker::PeerLost(lost))));
    }

    /// Tells those where reduces were sent of what was published since.
    fn tell_readers(&mut self) {
        for index in 0..self.hosts.len() {
            if self.hosts[index].reads == Reads::Segments && self.hosts[index].told < self.desk.published.len() {
                self.tell_places(WorkerId(index as u32));
            }
        }
    }

    /// Tells a worker of all segments that it does not know of yet.
    fn tell_places(&mut self, worker: WorkerId) {
        let host = &mut self.hosts[worker.index()];
        host.reads = Reads::Segments;
        let peers = self.introductions.news(host.acquainted);
        if !peers.is_empty() {
            host.acquainted += peers.len();
            self.order(worker, ToWorker::Peers(peers));
        }
        let host = &mut self.hosts[worker.index()];
        let news = self.desk.published[host.told..].to_vec();
        if !news.is_empty() {
            host.told = self.desk.published.len();
            self.order(worker, ToWorker::Published(news));
        }
    }

    fn order(&self, worker: WorkerId, order: ToWorker) {
        // A host that is gone has told so, or is about to.
        let _gone = self.hosts[worker.index()].orders.send(order);
    }
}
