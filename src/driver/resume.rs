//! Going on with a job whose driver is gone.
//!
//! The facts so far say what was done; the workers that are still there say what they have. A new epoch is begun, under
//! which they obey this driver and no older one. It acts only where most of the job's workers accept it: of two drivers
//! that are cut off from each other, at most one goes on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};

use super::engine::Desk;
use super::host::Entrance;
use super::line::{self, Broken, Line};
use super::output::OutputFolder;
use super::remember;
use super::run::{Means, Seat, Start, reign, shared, workers};
use super::settle::{hosts_of_all, last_stage, lose_missing_parts, rehome, settle_dataset, settle_parts};
use super::shared::{Note, Shared};
use super::state::{JobFolder, StateFolder};
use super::stored::StoredJob;
use crate::clock;
use crate::datasets::Found;
use crate::error::{Fault, Kind};
use crate::facts::{End, Fact, Stamped};
use crate::fleet::{Fleet, HostSpec, Source};
use crate::ids::{Epoch, JobId, TaskId, WorkerId};
use crate::input::Split;
use crate::job::Output;
use crate::journal::Journal;
use crate::protocol::control::{Holdings, SegmentNews};
use crate::reliability::Fold;
use crate::scheduler::{Config, Known, KnownOutput, Remembered, Scheduler};
use crate::transport;

/// How often another driver may have begun a newer epoch than the one that was asked for.
const EPOCHS_MAX: u32 = 10;

/// How long an answer to the question who accepts this driver is waited for; who answers later is a worker all the same.
const ANSWERS_MAX: Duration = Duration::from_secs(30);

/// A job to go on with.
pub struct Resumption {
    /// Which.
    pub id: JobId,
    /// Hosts to work on, where they are others than before,
    pub fleet: Option<Fleet>,
    /// and where those were found.
    pub source: Option<Source>,
    /// Where workers were found, if they were looked for.
    pub places: BTreeMap<WorkerId, HostSpec>,
    /// Where the result goes, if elsewhere than before.
    pub output: Option<PathBuf>,
    /// What to do where most of its workers cannot be asked.
    pub force: Force,
    /// With what.
    pub means: Means,
}

/// Whether a job is gone on with although an older driver may be at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// Goes on with a job.
///
/// # Errors
/// A [`Fault`]: there is no such job, it has ended, a driver holds it, or too few of its workers can be asked. Then as
/// [`super::run()`].
pub async fn resume(resumption: Resumption) -> anyhow::Result<()> {
    let Resumption { id, fleet, source, places, output, force, mut means } = resumption;
    let folder = StateFolder::new(&means.state).open(&id)?;
    let mut job = folder.stored()?;
    let splits = Arc::new(folder.splits()?);
    let (journal, contents) = Journal::open(&folder.journal())?;
    let mut known = Known::fold(contents.facts.iter().map(|stamped| &stamped.fact));
    refuse_ended(&known, &id, &job.output.folder)?;
    if let (Some(_), Some(dataset)) = (&output, &job.output.dataset) {
        let text =
            format!("job {id} makes the dataset fs:{}, which stays on the workers: leave out --output", dataset.name);
        return Err(Fault::usage(text).into());
    }
    let former = hosts_of_all(&job);
    job.fleet = fleet.unwrap_or(job.fleet);
    job.source = source.unwrap_or(job.source);
    job.output.folder = output.unwrap_or(job.output.folder);
    job.places.extend(places);
    OutputFolder::check(&job.output)?;
    refuse_missing_parent(&job.output)?;
    let output = OutputFolder::create(job.output.clone(), &id)?;
    if output.dataset().is_none() {
        settle_parts(&mut known, &output)?;
    }
    folder.store(&job)?;
    means.progress.say(&format!("job {id} on {} (from {})", workers(&job.fleet), job.fleet.origin));
    replay(&contents.facts, &mut means);
    let mut start = Start {
        scheduler: Scheduler::new(Config::default()),
        beginning: Vec::new(),
        hosts: Vec::new(),
        desk: Desk::default(),
        hosts_seen: Fold::default(),
        state: means.state.clone(),
        finder: means.finder.clone(),
        id,
        job,
        splits,
        folder,
        output,
        journal,
    };
    let (shared, notes, met) = take_over(&start, &known, means.transport, means.build, &means.driver, force).await?;
    start.hosts = seats(&start.job, &known, met);
    start.splits = rehome(&start.splits, &former, &start.hosts);
    shared.feed.serve_instead(Arc::clone(&start.splits));
    let found = match settle_dataset(&start, &known, &shared).await {
        Ok(found) => found,
        Err(fault) => {
            start.hosts.clear();
            shared.transport.close().await;
            return Err(fault.into());
        }
    };
    for (worker, seat) in (0..).map(WorkerId).zip(&start.hosts) {
        if seat.host.is_none() && known.workers.get(&worker).is_some_and(|known| !known.lost) {
            let text = "its process is gone, or its host is not among those to work on".to_owned();
            let _over = shared.notes.send((worker, Note::Lost(text)));
        }
    }
    start.beginning = beginning(&start, &known, &shared);
    match found {
        // The driver before had made it visible, and did not come to say so.
        Some(Found::Whole) => start.beginning.push(Fact::JobFinished { end: End::Done }),
        Some(Found::Parts(parts)) => lose_missing_parts(&mut known, &parts),
        None => {}
    }
    start.desk.finished = finished(&start.folder, &known);
    // What workers were told under the driver before this one may be wrong by now.
    let maps = 0..start.splits.len() as u32;
    start.desk.published = maps.map(|map| SegmentNews::Gone(TaskId::map(map))).collect();
    let remembered = remember::marks(&start.state, &mut means.progress);
    start.scheduler = scheduler(&start, &known, shared.reign.epoch, remembered);
    start.hosts_seen.take_over(&contents.facts);
    start.run((shared, notes), means.progress).await
}

/// Only what was interrupted can be gone on with.
fn refuse_ended(known: &Known, id: &JobId, output: &Path) -> Result<(), Fault> {
    match &known.end {
        None | Some(End::Interrupted | End::Failed { kind: Kind::Fenced, .. }) => Ok(()),
        Some(End::Done) => Err(Fault::usage(format!("job {id} is done: its result is in {}", output.display()))),
        Some(End::Cancelled) => Err(Fault::usage(format!("job {id} was cancelled, and nothing of it is left"))),
        Some(End::Failed { text, .. }) => {
            Err(Fault::usage(format!("job {id} has failed, and cannot be gone on with: {text}")))
        }
    }
}

/// On another machine the folders may be others.
fn refuse_missing_parent(output: &Output) -> Result<(), Fault> {
    if output.dataset.is_some() {
        return Ok(());
    }
    let output = &output.folder;
    let parent = output.parent().unwrap_or(Path::new("/"));
    if parent.is_dir() {
        return Ok(());
    }
    let text = format!("no folder {} for the output here (--output puts it elsewhere)", parent.display());
    Err(Fault::usage(text))
}

fn replay(facts: &[Stamped], means: &mut Means) {
    facts.iter().for_each(|fact| means.progress.replay(fact));
}

/// How a worker of an earlier driver was found.
enum Met {
    /// It obeys us.
    There(Box<(Line, Holdings)>),
    /// Its process is gone.
    Gone,
    /// Its host cannot be reached.
    Away(String),
}

type Notes = tokio::sync::mpsc::UnboundedReceiver<(WorkerId, Note)>;

/// Begins an epoch that most of the job's workers accept.
async fn take_over(
    start: &Start,
    known: &Known,
    transport: transport::Transport,
    build: String,
    driver: &str,
    force: Force,
) -> anyhow::Result<(Arc<Shared>, Notes, BTreeMap<WorkerId, Met>)> {
    let (first, mut notes) = shared(start, reign(Epoch(known.epoch.0 + 1), driver), transport, build);
    let mut shared = first;
    let hosts = hosts_of(&start.job, known);
    for _ in 0..EPOCHS_MAX {
        let (met, newest) = ask(&shared, &hosts).await;
        let Some(newest) = newest else {
            let refused = if force == Force::No { refuse_minority(&met, known) } else { Ok(()) };
            if let Err(fault) = refused {
                drop(met);
                shared.transport.close().await;
                return Err(fault.into());
            }
            return Ok((shared, notes, met));
        };
        // Another driver was here after the facts that we have; whoever comes last is meant.
        drop(met);
        let newer = reign(Epoch(newest.0 + 1), driver);
        let owned = Arc::into_inner(shared).ok_or_else(|| anyhow::anyhow!("a question is still under way"))?;
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        (shared, notes) = (Arc::new(Shared { reign: newer, notes: sender, ..owned }), receiver);
    }
    let text = format!("other drivers take job {} over again and again", start.id);
    Err(Fault::new(Kind::Fenced, text).into())
}

/// The hosts of the workers that were not given up, as far as they are among those to work on.
fn hosts_of(job: &StoredJob, known: &Known) -> BTreeMap<WorkerId, HostSpec> {
    let by_name: BTreeMap<String, &HostSpec> = job.fleet.names().into_iter().zip(&job.fleet.hosts).collect();
    let present = known.workers.iter().filter(|(_, worker)| !worker.lost);
    let host = |id: &WorkerId, name: &String| job.places.get(id).or_else(|| by_name.get(name).copied()).cloned();
    present.filter_map(|(id, worker)| Some((*id, host(id, &worker.host)?))).collect()
}

/// Asks all workers at once whether they accept us; gives the newest epoch that one obeys instead.
async fn ask(shared: &Shared, hosts: &BTreeMap<WorkerId, HostSpec>) -> (BTreeMap<WorkerId, Met>, Option<Epoch>) {
    let question = |(worker, host): (&WorkerId, &HostSpec)| {
        let (worker, host) = (*worker, host.clone());
        async move {
            let asked = line::connect(shared, worker, &host, transport::Start::No);
            let late = || Err(Broken::Away("no answer".to_owned()));
            (worker, tokio::time::timeout(ANSWERS_MAX, asked).await.unwrap_or_else(|_| late()))
        }
    };
    let mut answers: FuturesUnordered<_> = hosts.iter().map(question).collect();
    let (mut met, mut newest) = (BTreeMap::new(), None);
    while let Some((worker, answer)) = answers.next().await {
        match answer {
            Ok(line) => _ = met.insert(worker, Met::There(Box::new(line))),
            Err(Broken::Gone(_)) => _ = met.insert(worker, Met::Gone),
            Err(Broken::Away(text)) => _ = met.insert(worker, Met::Away(text)),
            Err(Broken::Fenced(reign)) => newest = newest.max(Some(reign.epoch)),
        }
    }
    (met, newest)
}

/// A worker whose process is gone obeys nobody else.
fn refuse_minority(met: &BTreeMap<WorkerId, Met>, known: &Known) -> Result<(), Fault> {
    let count = known.workers.values().filter(|worker| !worker.lost).count();
    let answered = met.values().filter(|met| matches!(met, Met::There(_) | Met::Gone)).count();
    if answered * 2 > count || count == 0 {
        return Ok(());
    }
    let away = met.iter().find_map(|(worker, met)| match met {
        Met::Away(text) => Some(format!(" ({}: {text})", known.workers[worker].host)),
        Met::There(_) | Met::Gone => None,
    });
    let text = format!(
        "only {answered} of {count} workers of the job answer{}: a driver may be at work with the others; \
         --force goes on all the same",
        away.unwrap_or_default()
    );
    Err(Fault::new(Kind::NoWorker, text))
}

/// Every worker that there was keeps its id; hosts without one get a new worker.
fn seats(job: &StoredJob, known: &Known, mut met: BTreeMap<WorkerId, Met>) -> Vec<Seat> {
    let (fleet, hosts) = (&job.fleet, hosts_of(job, known));
    let mut seats: BTreeMap<WorkerId, Seat> = BTreeMap::new();
    let mut taken: Vec<HostSpec> = Vec::new();
    for (id, worker) in &known.workers {
        let found = met.remove(id);
        let host = hosts.get(id).cloned().and_then(|host| match found {
            Some(Met::There(line)) => Some((host, Entrance::Known(Some(line)))),
            Some(Met::Away(_)) => Some((host, Entrance::Known(None))),
            Some(Met::Gone) | None => None,
        });
        taken.extend(host.iter().map(|(host, _)| host.clone()));
        seats.insert(*id, Seat { name: worker.host.clone(), host });
    }
    let names = fleet.names();
    let mut next = known.next_worker().0.max(fleet.hosts.len() as u32);
    for ((index, host), name) in (0..).zip(&fleet.hosts).zip(&names) {
        // The same host may be there twice, for two workers.
        if let Some(place) = taken.iter().position(|taken| taken == host) {
            taken.remove(place);
            continue;
        }
        // A worker that was never heard of may have been started under this id.
        let id = if known.workers.contains_key(&WorkerId(index)) { next } else { index };
        next = next.max(id + 1);
        seats.insert(WorkerId(id), Seat { name: name.clone(), host: Some((host.clone(), Entrance::Unheard)) });
    }
    let count = seats.last_key_value().map_or(0, |(id, _)| id.0 + 1);
    let gap = |id: u32| Seat { name: WorkerId(id).to_string(), host: None };
    (0..count).map(|id| seats.remove(&WorkerId(id)).unwrap_or_else(|| gap(id))).collect()
}

/// That another driver goes on, and which of its workers are no more.
fn beginning(start: &Start, known: &Known, shared: &Shared) -> Vec<Fact> {
    let mut facts = Vec::new();
    if known.plan.job.is_none() {
        facts.push(Fact::JobPlanned(super::run::plan(&start.job, &start.splits, &start.id)));
    }
    let Epoch(epoch) = shared.reign.epoch;
    let (driver, wall_ms) = (shared.reign.driver.clone(), clock::wall_ms());
    facts.push(Fact::JobResumed { epoch: Epoch(epoch), driver, wall_ms });
    facts
}

/// What commits need that facts do not say: where the stderr of what has finished goes.
fn finished(folder: &JobFolder, known: &Known) -> super::engine::FinishedAttempts {
    let last = last_stage(known);
    let of_last = known.tasks.iter().filter(|(id, _)| id.stage == last);
    of_last
        .filter_map(|(_, task)| match &task.output {
            KnownOutput::Finished { attempt, work, .. } => Some((*attempt, (work.clone(), Some(folder.log(*attempt))))),
            KnownOutput::None | KnownOutput::Committed { .. } | KnownOutput::Gone { .. } => None,
        })
        .collect()
}

fn scheduler(start: &Start, known: &Known, epoch: Epoch, remembered: Vec<Remembered>) -> Scheduler {
    let maps = start.splits.iter().map(Split::bytes).collect();
    let homes = super::run::homes(&start.splits);
    let config =
        Config { maps, homes, reduces: start.job.job.reduces(), remembered, epoch, rules: start.job.rules.clone() };
    Scheduler::resume(clock::now(), config, known)
}
