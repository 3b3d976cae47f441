//! Decides who runs what: a value that events go into and actions come out of.
//!
//! [`Scheduler::handle`] takes one [`Event`] and changes tables: reacting is not deciding. [`Scheduler::decide`], once
//! a batch of events, fills free places and hands out the [`Action`]s, to be performed in order. It does no I/O, asks no
//! clock, throws no dice, and iterates nothing that is hashed, so that a run is repeated exactly by its events:
//! `tests/simulation` runs whole fleets of made-up workers through it.
//!
//! | file | what it holds |
//! |---|---|
//! | `rules` | the numbers that decisions rest on |
//! | `task` in `stage`; `worker`, `host` in `fleet` | the tables, with the ordered sets and counters that make events cheap |
//! | `react` | one `on_*` function per event |
//! | `blame` | what failures say about hosts and tasks |
//! | `decide` | the pass that fills places, moves what waits behind others, and ends the job |
//! | `pace`, `copies`, `slow` | how fast attempts are; copies of stragglers; hosts that are slow |
//! | `known`, `resume` | what earlier drivers have made of the job, and the tables filled from it |
//! | `explain`, `overview` | why a task is not running, and a host gets nothing, in words |
//! | `check` | whether the tables agree |
//! | `remembered` | marks that hosts bring along from earlier jobs |
//! | `home` | maps that wait for the hosts that have their splits |
//! | `load` | hosts that are loaded by others, or short of memory or disk |
//!
//! What a task goes through: *ready* → *out* (attempts queued or running) → *held* (a segment on its worker) or
//! *committing* → *committed*. A lost worker, an unreadable segment or a failed commit leads back to ready, and so does the
//! loss of a committed part, where parts stay on workers, until the whole output is in its place. Reduces begin
//! when no map is unfinished, which is a counter: maps × reduces appears nowhere.
//!
//! A task can have several live attempts: the first commit wins, of maps with a segment the first that ends, and the others
//! are dropped as beaten. Copies of stragglers are looked for by time, see [`Scheduler::deadline`].
//!
//! A host that is taken off the list is *drained*: its worker gets nothing new, what runs there may end, what it holds is
//! served, and it is let go once nothing of it is needed.
//!
//! A map whose split lies on disks of workers goes to one of those while there is one with room; to another only where a
//! slot would stay free. It is a preference, and no task waits for it longer than for a slot.
//!
//! Places kept free for what comes.

mod blame;
mod check;
mod copies;
mod decide;
mod event;
mod explain;
mod fleet;
mod home;
mod host;
mod known;
mod load;
mod overview;
mod pace;
mod react;
mod remembered;
mod resume;
mod rules;
mod slow;
mod stage;
mod task;
mod worker;

pub use event::{Action, Event};
pub use known::{Known, KnownOutput, KnownTask, KnownWorker};
pub use remembered::{Remembered, RememberedStanding};
pub use rules::{Config, EarlyReduces, Rules, StragglerRules};

use crate::clock::Moment;
use crate::facts::{DropReason, End, Fact};
use crate::ids::{AttemptId, Epoch, Stage, TaskId, WorkerId};
use fleet::Fleet;
use remembered::Remembrance;
use stage::Tasks;
use task::{Live, Role, State};
use worker::{HostId, Worker};

/// The scheduler of one job.
#[derive(Debug)]
pub struct Scheduler {
    rules: Rules,
    epoch: Epoch,
    now: Moment,
    tasks: Tasks,
    fleet: Fleet,
    hiring: Hiring,
    /// What earlier jobs saw on hosts, until it is held against them.
    remembered: Remembrance,
    /// Hosts that cannot take part, or no longer, with the reasons: the text of a job without workers.
    refused: Vec<String>,
    /// Commits that were asked for and may stand: as long as there is one, maps must repeat exactly.
    commits: u32,
    home_wait: HomeWait,
    completion: Completion,
    course: Course,
    /// When stragglers are looked for next, if there is reason to.
    look_at: Moment,
    /// What reactions ask for, until the next pass hands it out.
    out: Vec<Action>,
    stale: u64,
}

/// Whether workers may still join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hiring {
    Open,
    Complete,
}

/// Whether maps go only where their splits lie; see [`Rules::home_wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HomeWait {
    /// No worker has joined.
    Ahead,
    /// Before this moment.
    Until(Moment),
    /// Not any more.
    Over,
}

/// Whether the whole output is being put in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Completion {
    NotAsked,
    /// It is: the answer ends the job, or says which parts are to be made again.
    Asked,
}

/// How far the job is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Course {
    /// Nothing happened since the last pass.
    Settled,
    /// Something did.
    Changed,
    /// The next pass ends the job like this.
    Ending(End),
    /// The end was handed out.
    Over,
}

impl Scheduler {
    /// A scheduler with all tasks ready and no worker yet.
    pub fn new(config: Config) -> Self {
        Scheduler {
            epoch: config.epoch,
            now: Moment::default(),
            tasks: Tasks::new(config.maps, config.homes, config.reduces),
            fleet: Fleet::new(config.rules.clone()),
            rules: config.rules,
            hiring: Hiring::Open,
            remembered: Remembrance::new(config.remembered),
            refused: Vec::new(),
            commits: 0,
            home_wait: HomeWait::Ahead,
            completion: Completion::NotAsked,
            course: Course::Settled,
            look_at: Moment::default(),
            out: Vec::new(),
            stale: 0,
        }
    }

    /// Takes note of an event. Late, doubled and swapped ones are harmless; after the end all are ignored.
    pub fn handle(&mut self, now: Moment, event: Event) {
        match self.course {
            Course::Ending(_) | Course::Over => return,
            // These come by the thousand; most change no decision.
            Course::Settled | Course::Changed
                if matches!(event, Event::AttemptProgressed { .. } | Event::WorkerLoad { .. }) => {}
            Course::Settled | Course::Changed => self.course = Course::Changed,
        }
        self.now = now;
        self.react(event);
    }

    /// Decides what follows from all events since the last call, and appends what must be done to `actions`.
    pub fn decide(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.now = now;
        self.run_pass();
        actions.append(&mut self.out);
    }

    /// When [`Scheduler::decide`] must be called although nothing happened; none as long as nothing is decided by time.
    pub fn deadline(&self) -> Option<Moment> {
        match self.course {
            Course::Settled => {
                [self.next_look(), self.fleet.next_mark_over(), self.homes_over()].into_iter().flatten().min()
            }
            Course::Changed | Course::Ending(_) => Some(self.now),
            Course::Over => None,
        }
    }

    /// How many reduces there are.
    pub fn reduces(&self) -> u32 {
        self.tasks.reduce.count() as u32
    }

    /// Messages that came late, twice or for old attempts, and were dropped.
    pub fn stale(&self) -> u64 {
        self.stale
    }

    /// Whether the job has ended: [`Action::Conclude`] was handed out.
    pub fn is_over(&self) -> bool {
        self.course == Course::Over
    }

    fn record(&mut self, fact: Fact) {
        self.out.push(Action::Record(fact));
    }

    /// Something happened that the next pass should look at.
    fn change(&mut self) {
        match self.course {
            Course::Settled | Course::Changed => self.course = Course::Changed,
            Course::Ending(_) | Course::Over => {}
        }
    }

    /// Ends the job with the next pass; the first reason counts.
    fn end(&mut self, end: End) {
        match self.course {
            Course::Settled | Course::Changed => self.course = Course::Ending(end),
            Course::Ending(_) | Course::Over => {}
        }
    }

    /// Takes a live attempt out of all tables; none if there is no such attempt there.
    fn take_live(&mut self, attempt: AttemptId, worker: WorkerId) -> Option<Live> {
        let live = *self.tasks.find_live(attempt, worker)?;
        self.tasks.get_mut(attempt.task).live.retain(|other| other.id != attempt);
        self.fleet.release(attempt, worker, live.phase);
        self.tasks.stage_mut(attempt.task.stage).copies -= u32::from(live.role == Role::Copy);
        Some(live)
    }

    /// Makes a task ready again if nothing of it is left.
    fn settle(&mut self, task: TaskId) {
        match self.tasks.get(task).state {
            State::Out if self.tasks.get(task).live.is_empty() => self.tasks.enter(task, State::Ready),
            State::Out | State::Ready | State::Committing { .. } | State::Held { .. } | State::Committed { .. } => {}
        }
    }

    /// Ends a live attempt; what becomes of its task is the caller's.
    fn kill(&mut self, attempt: AttemptId, worker: WorkerId, reason: DropReason) {
        if self.take_live(attempt, worker).is_some() {
            self.record(Fact::AttemptDropped { attempt, worker, reason });
            self.out.push(Action::Kill { attempt, worker });
        }
    }

    /// Ends all live attempts of a task.
    fn kill_all(&mut self, task: TaskId, reason: DropReason) {
        for live in self.tasks.get(task).live.clone() {
            self.kill(live.id, live.worker, reason);
        }
    }

    /// All live attempts of a stage, with their workers.
    fn live_attempts(&self, stage: Stage) -> Vec<(AttemptId, WorkerId)> {
        let sent = |(id, worker): (&WorkerId, &Worker)| worker.live().into_iter().map(|it| (it, *id)).collect();
        let all = self.fleet.workers.iter().flat_map::<Vec<_>, _>(sent);
        all.filter(|(attempt, _)| attempt.task.stage == stage).collect()
    }

    /// The hosts that the task must not go to: those that failed it, or could not read a segment which is still the
    /// one to read; unless no other is usable or may still join.
    fn shunned(&self, task: TaskId) -> Vec<HostId> {
        let Some(trouble) = &self.tasks.get(task).trouble else { return Vec::new() };
        let mut shunned = trouble.avoids.clone();
        for (host, source) in &trouble.accused {
            let unread = source.is_some_and(|source| self.tasks.holds(source).is_some());
            if unread && !shunned.contains(host) {
                shunned.push(*host);
            }
        }
        let usable = shunned.iter().filter(|host| self.fleet.host(**host).is_usable()).count();
        let another = self.hiring == Hiring::Open || usable < self.fleet.counts.usable as usize;
        if another { shunned } else { Vec::new() }
    }
}
