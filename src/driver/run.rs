//! A job from its plan to its end: everything is set up here, and everything is taken down here.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::ask::{AskSocket, Asked};
use super::collect::{Collector, PartPlace};
use super::engine::{Desk, Engine, Host};
use super::feed::Feed;
use super::host::{self, Shared, Timing};
use super::output::OutputFolder;
use super::state::{JobFolder, StateFolder};
use super::stored::StoredJob;
use crate::clock;
use crate::error::{Fault, Kind};
use crate::facts::{End, Plan};
use crate::fleet::{Fleet, Place, Source};
use crate::ids::{Epoch, JobId, Stage, WorkerId};
use crate::input::Split;
use crate::job::{Job, Output};
use crate::journal::Journal;
use crate::progress::Progress;
use crate::protocol::control::Assignment;
use crate::scheduler::{Config, Rules, Scheduler};
use crate::transport::Transport;

/// A job that is ready to run.
pub struct Request {
    /// What to run.
    pub job: Job,
    /// On what.
    pub splits: Vec<Split>,
    /// What is shown of the input; the rest of the plan follows from the other fields.
    pub files: u64,
    /// Where the result goes.
    pub output: Output,
    /// By whom.
    pub fleet: Fleet,
    /// Where those were found, to be asked again.
    pub source: Source,
    /// Slots of a host that does not say; 0 for its cores.
    pub slots: u32,
    /// How hosts are reached.
    pub transport: Transport,
    /// The configuration for ssh that it was made with, absolute.
    pub ssh_config: Option<PathBuf>,
    /// This program's build.
    pub build: String,
    /// This program.
    pub binary: PathBuf,
    /// When things are given up.
    pub rules: Rules,
    /// When silence counts.
    pub timing: Timing,
    /// Where jobs keep their state.
    pub state: PathBuf,
    /// What the user should know beforehand.
    pub hints: Vec<String>,
    /// What shows the job.
    pub progress: Progress,
}

/// Runs a job.
///
/// # Errors
/// A [`Fault`] that says why the job did not end well; others when this machine fails us.
pub async fn run(request: Request) -> anyhow::Result<()> {
    OutputFolder::check(&request.output)?;
    let id = JobId::new(&request.job.name, clock::wall_ms() ^ u64::from(std::process::id()) << 20);
    let folder = StateFolder::new(&request.state).create(&id, &stored(&request), &request.splits, &request.binary)?;
    let output = OutputFolder::create(request.output.clone(), &id)?;
    let (socket, asks) = AskSocket::bind(folder.path())?;
    let ended = run_into(request, &id, folder, output.clone(), asks).await;
    if !ended.as_ref().is_ok_and(|ended| ended.keeps_result) {
        output.abandon();
    }
    socket.close().await;
    ended?.into_result(&id)
}

/// How a job ended.
struct Ended {
    end: End,
    interrupted_by: Kind,
    /// Whether the result is complete but not in its place.
    keeps_result: bool,
}

impl Ended {
    fn into_result(self, id: &JobId) -> anyhow::Result<()> {
        let fault = match self.end {
            End::Done => return Ok(()),
            End::Failed { kind: kind @ Kind::TaskFailed, text } => {
                Fault::new(kind, format!("{text}\n(`runner logs {id}` shows all that the attempts wrote to stderr)"))
            }
            End::Failed { kind, text } => Fault::new(kind, text),
            End::Interrupted => Fault::new(self.interrupted_by, "interrupted"),
            End::Cancelled => Fault::new(Kind::Cancelled, "cancelled by `runner cancel`"),
        };
        Err(fault.into())
    }
}

/// Runs a job whose folders are made.
async fn run_into(
    request: Request,
    id: &JobId,
    folder: JobFolder,
    output: OutputFolder,
    asks: mpsc::UnboundedReceiver<Asked>,
) -> anyhow::Result<Ended> {
    let plan = plan(&request, id);
    let mut progress = request.progress;
    progress.say(&format!("job {id} on {} (from {})", workers(&request.fleet), request.fleet.origin));
    request.hints.iter().for_each(|hint| progress.say(hint));
    let splits = Arc::new(request.splits);
    let feed = Arc::new(Feed::new(Arc::clone(&splits), request.job.files.clone()));
    let journal = Journal::create(&folder.journal())?;
    let interrupts = listen_for_interrupts()?;
    let (notes, notes_in) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        job: id.clone(),
        build: request.build,
        epoch: Epoch(0),
        transport: request.transport,
        feed: Arc::clone(&feed),
        assignment: Assignment {
            job: request.job,
            id: id.clone(),
            worker: WorkerId(0),
            slots: request.slots,
            memory: None,
            output_here: Some(output.temporary().to_owned()),
        },
        timing: request.timing,
        notes,
    });
    let (hosts, tasks) = start_hosts(&request.fleet, &shared);
    let mut engine = Engine {
        scheduler: Scheduler::new(Config {
            maps: plan.splits.clone(),
            reduces: plan.reduces,
            epoch: Epoch(0),
            rules: request.rules,
        }),
        journal,
        progress,
        hosts,
        last_stage: if plan.reduces == 0 { Stage::Map } else { Stage::Reduce },
        splits,
        collector: Collector::new(feed, output.clone()),
        output,
        folder,
        notes: notes_in,
        interrupts,
        asks,
        desk: Desk::default(),
    };
    let end = engine.run(plan).await;
    let (interrupted_by, keeps_result) = (engine.interrupted_by(), engine.keeps_result());
    take_down(engine, tasks, &shared).await;
    Ok(Ended { end: end?, interrupted_by, keeps_result })
}

/// What another driver needs to go on.
fn stored(request: &Request) -> StoredJob {
    StoredJob {
        version: StoredJob::VERSION,
        build: request.build.clone(),
        job: request.job.clone(),
        output: request.output.clone(),
        files: request.files,
        source: request.source.clone(),
        fleet: request.fleet.clone(),
        slots: request.slots,
        rules: request.rules.clone(),
        timing: request.timing,
        ssh_config: request.ssh_config.clone(),
    }
}

fn plan(request: &Request, id: &JobId) -> Plan {
    let splits: Vec<u64> = request.splits.iter().map(Split::bytes).collect();
    Plan {
        job: Some(id.clone()),
        name: request.job.name.clone(),
        wall_ms: clock::wall_ms(),
        output: request.output.folder.clone(),
        files: request.files,
        bytes: splits.iter().sum(),
        splits,
        reduces: request.job.reduces(),
    }
}

fn workers(fleet: &Fleet) -> String {
    match fleet.hosts.len() {
        1 => "1 worker".to_owned(),
        many => format!("{many} workers"),
    }
}

/// Starts a task a host; connects go out at once, as far as the transport lets them.
fn start_hosts(fleet: &Fleet, shared: &Arc<Shared>) -> (Vec<Host>, JoinSet<()>) {
    let mut tasks = JoinSet::new();
    let mut hosts = Vec::new();
    for ((index, host), name) in fleet.hosts.iter().enumerate().zip(fleet.names()) {
        let worker = WorkerId(index as u32);
        let (orders, orders_in) = mpsc::unbounded_channel();
        let parts = match host.place {
            Place::ThisMachine => PartPlace::Here,
            Place::Ssh => PartPlace::Worker(worker),
        };
        hosts.push(Host::new(name, orders, parts));
        tasks.spawn(host::run(Arc::clone(shared), worker, host.clone(), orders_in));
    }
    (hosts, tasks)
}

/// Ends all workers and connections, then the display.
async fn take_down(mut engine: Engine, mut tasks: JoinSet<()>, shared: &Shared) {
    engine.wind_down().await;
    while tasks.join_next().await.is_some() {}
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
