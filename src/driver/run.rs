//! A job from its plan to its end: everything is set up here, and everything is taken down here.
//!
//! A job that is begun and one that is gone on with differ in what is known beforehand; see [`mod@super::resume`].

use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::ask::AskSocket;
use super::collect::Collector;
use super::copies::Copies;
use super::crew::Crew;
use super::engine::{Desk, Engine, Parting};
use super::feed::Feed;
use super::host::Entrance;
use super::listing::{self, Finder};
use super::output::OutputFolder;
use super::peers::{Introductions, Shuffle};
use super::remember;
use super::shared::{Note, Shared};
use super::starter::{Host, Starter};
use super::state::{JobFolder, StateFolder};
use super::stored::StoredJob;
use crate::clock;
use crate::error::{Fault, Kind};
use crate::facts::{End, Fact, Plan};
use crate::fleet::{Fleet, HostSpec, Place};
use crate::ids::{Epoch, JobId, Stage, WorkerId};
use crate::input::Split;
use crate::journal::Journal;
use crate::progress::Progress;
use crate::protocol::control::{Assignment, Reign};
use crate::reliability::Fold;
use crate::scheduler::{Config, Scheduler};
use crate::shuffle::policy::Travel;
use crate::transport::Transport;
use crate::units::Span;

/// A job that is ready to run.
pub struct Request {
    /// What to run, by whom, by which rules.
    pub job: StoredJob,
    /// On what.
    pub splits: Vec<Split>,
    /// What the user should know beforehand.
    pub hints: Vec<String>,
    /// With what.
    pub means: Means,
}

/// What a driver works with.
pub struct Means {
    /// How hosts are reached.
    pub transport: Transport,
    /// This program's build.
    pub build: String,
    /// This program.
    pub binary: PathBuf,
    /// Who this driver is, for people.
    pub driver: String,
    /// Where jobs keep their state.
    pub state: PathBuf,
    /// What looks again for hosts on EC2.
    pub finder: Finder,
    /// What shows the job.
    pub progress: Progress,
}

/// Runs a job.
///
/// # Errors
/// A [`Fault`] that says why the job did not end well; others when this machine fails us.
pub async fn run(request: Request) -> anyhow::Result<()> {
    let Request { job, splits, hints, mut means } = request;
    OutputFolder::check(&job.output)?;
    let id = JobId::new(&job.job.name, clock::wall_ms() ^ u64::from(std::process::id()) << 20);
    let folder = StateFolder::new(&means.state).create(&id, &job, &splits, &means.binary)?;
    let output = OutputFolder::create(job.output.clone(), &id)?;
    let journal = Journal::create(&folder.journal())?;
    means.progress.say(&format!("job {id} on {} (from {})", workers(&job.fleet), job.fleet.origin));
    hints.iter().for_each(|hint| means.progress.say(hint));
    let plan = plan(&job, &splits, &id);
    let scheduler = Scheduler::new(Config {
        maps: plan.splits.clone(),
        homes: homes(&splits),
        reduces: plan.reduces,
        remembered: remember::marks(&means.state, &mut means.progress),
        epoch: Epoch(0),
        rules: job.rules.clone(),
    });
    let hosts = seats(&job.fleet);
    let reign = reign(Epoch(0), &means.driver);
    let start = Start {
        id,
        folder,
        output,
        journal,
        scheduler,
        beginning: vec![Fact::JobPlanned(plan)],
        hosts,
        desk: Desk::default(),
        hosts_seen: Fold::default(),
        state: means.state,
        finder: means.finder,
        job,
        splits: Arc::new(splits),
    };
    let shared = shared(&start, reign, means.transport, means.build);
    start.run(shared, means.progress).await
}

/// A job that is about to run.
pub(super) struct Start {
    pub id: JobId,
    pub job: StoredJob,
    pub splits: Arc<Vec<Split>>,
    pub folder: JobFolder,
    pub output: OutputFolder,
    pub journal: Journal,
    pub scheduler: Scheduler,
    /// Facts to begin with.
    pub beginning: Vec<Fact>,
    /// By worker, without gaps.
    pub hosts: Vec<Seat>,
    pub desk: Desk,
    /// What is known of the hosts' names, to count what they do.
    pub hosts_seen: Fold,
    /// Where this machine keeps what it knows.
    pub state: PathBuf,
    /// What looks again for hosts on EC2.
    pub finder: Finder,
}

/// A worker's place in the job.
pub(super) struct Seat {
    /// Its name for people.
    pub name: String,
    /// What is known of its host; none once it was given up.
    pub host: Option<(HostSpec, Entrance)>,
}

/// Whether segments go from machine to machine.
fn travel(fleet: &Fleet) -> Travel {
    let is_away = |host: &HostSpec| host.place == Place::Ssh;
    if fleet.hosts.len() > 1 && fleet.hosts.iter().any(is_away) { Travel::Cross } else { Travel::Stay }
}

/// Everything that the tasks of hosts share, with the end at which the engine hears them.
pub(super) fn shared(
    start: &Start,
    reign: Reign,
    transport: Transport,
    build: String,
) -> (Arc<Shared>, mpsc::UnboundedReceiver<(WorkerId, Note)>) {
    let (notes, notes_in) = mpsc::unbounded_channel();
    let apart = start.job.job.reduces() == 0 || start.job.fleet.hosts.len() < 2;
    let shuffle = if apart { Shuffle::Relayed } else { start.job.shuffle };
    let introductions = Arc::new(Introductions::new(shuffle, start.id.clone(), build.clone()));
    let shared = Arc::new(Shared {
        introductions,
        job: start.id.clone(),
        build,
        reign,
        transport,
        feed: Arc::new(Feed::new(
            Arc::clone(&start.splits),
            start.job.job.files.clone(),
            start.output.uploads(),
            notes.clone(),
        )),
        assignment: Assignment {
            job: start.job.job.clone(),
            id: start.id.clone(),
            worker: WorkerId(0),
            slots: start.job.slots,
            memory: None,
            output_here: Some(start.output.temporary().to_owned()),
            peers: None,
            compression: start.job.compression,
            travel: travel(&start.job.fleet),
            data: None,
            output_data: start.job.output.dataset.clone().map(|dataset| (dataset.name, dataset.generation)),
        },
        timing: start.job.timing,
        closing: TaskTracker::new(),
        notes,
    });
    (shared, notes_in)
}

impl Start {
    /// Runs it to its end.
    ///
    /// # Errors
    /// As [`run`].
    pub async fn run(
        self,
        (shared, notes): (Arc<Shared>, mpsc::UnboundedReceiver<(WorkerId, Note)>),
        progress: Progress,
    ) -> anyhow::Result<()> {
        let interrupts = listen_for_interrupts()?;
        let (socket, asks) = AskSocket::bind(self.folder.path())?;
        make_key_ahead(&shared);
        let (mut starter, mut crew, mut hosts) =
            (Starter::new(Arc::clone(&shared), self.output.dataset().cloned()), Crew::default(), Vec::new());
        for (worker, Seat { name, host }) in (0..).map(WorkerId).zip(self.hosts) {
            crew.seat(name.clone(), host.as_ref().map(|(host, _)| host.clone()));
            hosts.push(match host {
                Some((host, entrance)) => starter.start(worker, name, host, entrance),
                None => Host::gone(name),
            });
        }
        let (changes, lists) = mpsc::channel(1);
        let (source, fleet) = (self.job.source.clone(), self.job.fleet.clone());
        tokio::spawn(listing::watch(source, fleet, self.finder, self.job.list_every, changes));
        let reduces = self.job.job.reduces();
        let mut engine = Engine {
            scheduler: self.scheduler,
            journal: self.journal,
            progress,
            hosts,
            crew,
            starter,
            last_stage: if reduces == 0 { Stage::Map } else { Stage::Reduce },
            splits: self.splits,
            collector: Collector::new(Arc::clone(&shared.feed), self.output.clone()),
            introductions: Arc::clone(&shared.introductions),
            output: self.output.clone(),
            copies: Copies::new(self.folder.path()),
            folder: self.folder,
            notes,
            interrupts,
            asks,
            hosts_seen: self.hosts_seen,
            lists,
            desk: self.desk,
        };
        let end = engine.run(self.beginning).await;
        let ended = Ended { end, interrupted_by: engine.interrupted_by(), keeps_result: engine.keeps_result() };
        remember::keep(&self.state, &engine.hosts_seen, &mut engine.progress);
        if ended.parting() == Parting::End && !matches!(ended.end, Ok(End::Done)) {
            engine.collector.discard().await;
        }
        take_down(engine, &shared, ended.parting()).await;
        if ended.parting() == Parting::End && !ended.keeps_result {
            self.output.abandon();
        }
        socket.close().await;
        ended.into_result(&self.id, &self.job)
    }
}

/// How a job ended.
struct Ended {
    end: anyhow::Result<End>,
    interrupted_by: Kind,
    /// Whether the result is complete but not in its place.
    keeps_result: bool,
}

impl Ended {
    /// What is worth being kept is kept: another driver can go on, unless all is done or cannot be done.
    fn parting(&self) -> Parting {
        match &self.end {
            Ok(End::Failed { kind: Kind::Fenced, .. } | End::Interrupted) | Err(_) => Parting::Leave,
            Ok(End::Done | End::Failed { .. } | End::Cancelled) => Parting::End,
        }
    }

    fn into_result(self, id: &JobId, job: &StoredJob) -> anyhow::Result<()> {
        let grace = Span(job.timing.orphan_grace);
        let resume = format!("`runner resume {id}` goes on with it, on workers that keep what they have for {grace}");
        let fault = match self.end {
            Ok(End::Done) => return Ok(()),
            Ok(End::Failed { kind: kind @ Kind::TaskFailed, text }) => {
                Fault::new(kind, format!("{text}\n(`runner logs {id}` shows all that the attempts wrote to stderr)"))
            }
            Ok(End::Failed { kind, text }) => Fault::new(kind, text),
            Ok(End::Interrupted) => Fault::new(self.interrupted_by, format!("interrupted; {resume}")),
            Ok(End::Cancelled) => Fault::new(Kind::Cancelled, "cancelled by `runner cancel`"),
            Err(error) => return Err(error.context(format!("the job stopped; {resume}"))),
        };
        Err(fault.into())
    }
}

pub(super) fn plan(job: &StoredJob, splits: &[Split], id: &JobId) -> Plan {
    let bytes: Vec<u64> = splits.iter().map(Split::bytes).collect();
    Plan {
        job: Some(id.clone()),
        name: job.job.name.clone(),
        wall_ms: clock::wall_ms(),
        output: job.output.folder.clone(),
        files: job.files,
        bytes: bytes.iter().sum(),
        splits: bytes,
        reduces: job.job.reduces(),
    }
}

/// The workers that have each split.
pub(super) fn homes(splits: &[Split]) -> Vec<Vec<WorkerId>> {
    splits.iter().map(|split| split.home.holders().to_vec()).collect()
}

/// This driver's turn at a job.
pub(super) fn reign(epoch: Epoch, driver: &str) -> Reign {
    use std::hash::{BuildHasher, RandomState};
    // The standard library keys its hash tables by chance.
    let token = RandomState::new().hash_one(std::process::id());
    Reign { epoch, token, driver: driver.to_owned() }
}

pub(super) fn workers(fleet: &Fleet) -> String {
    match fleet.hosts.len() {
        1 => "1 worker".to_owned(),
        many => format!("{many} workers"),
    }
}

/// A place for each host of a fleet.
fn seats(fleet: &Fleet) -> Vec<Seat> {
    let hosts = fleet.hosts.iter().zip(fleet.names());
    hosts.map(|(host, name)| Seat { name, host: Some((host.clone(), Entrance::New)) }).collect()
}

/// While hosts are logged in to, so that the first one need not wait for it.
fn make_key_ahead(shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    tokio::spawn(async move { shared.introductions.key(&shared.transport).await });
}

/// Ends all connections, and workers as `parting` says; then the display.
async fn take_down(mut engine: Engine, shared: &Shared, parting: Parting) {
    engine.wind_down(parting).await;
    // Each gives its ssh a few seconds.
    shared.closing.close();
    shared.closing.wait().await;
    shared.feed.disconnect_all();
    shared.transport.close().await;
    engine.progress.finish();
}

/// The first Ctrl-C or SIGTERM ends the job in order; the second ends the program at once.
fn listen_for_interrupts() -> anyhow::Result<mpsc::Receiver<Kind>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        for first in [true, false] {
            let kind = tokio::select! {
                _ = interrupt.recv() => Kind::Interrupted,
                _ = terminate.recv() => Kind::Terminated,
            };
            if !first {
                std::process::exit(i32::from(kind.exit_code()));
            }
            let _over = sender.send(kind).await;
        }
    });
    Ok(receiver)
}
