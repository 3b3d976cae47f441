//! One attempt from its order to its result.
//!
//! It begins to fetch its input at once, waits for a slot of its job and for one of the host, runs on a thread of its own, and reports. An attempt that was
//! ended reports nothing: whoever ended it knows.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use super::blame;
use super::context::Context;
use super::control::Control;
use super::map_input::MapInput;
use super::scratch::AttemptFolder;
use super::stderr::{Kept, Log};
use super::through::Commands;
use super::watch::{LOOK_EVERY, Watch};
use super::{fetch, map, reduce};
use crate::clock;
use crate::facts::{Cause, Failure, Work};
use crate::ids::AttemptId;
use crate::input::Split;
use crate::protocol::control::{TaskInput, ToDriver};

/// An attempt while it runs.
pub struct Attempt {
    /// Its name.
    pub id: AttemptId,
    /// What it shares with the others.
    pub context: Arc<Context>,
    /// By which it is watched and ended.
    pub control: Arc<Control>,
    /// Where its files are.
    pub folder: AttemptFolder,
    log: Log,
    env: Vec<(OsString, OsString)>,
    work_folder: PathBuf,
}

/// What is run once a slot is free.
type Job = Box<dyn FnOnce() -> io::Result<Work> + Send>;

/// Runs an attempt to its end and reports it.
pub async fn run(
    id: AttemptId,
    input: TaskInput,
    context: Arc<Context>,
    control: Arc<Control>,
    report: UnboundedSender<ToDriver>,
) {
    let attempt = Arc::new(Attempt::new(id, &input, context, Arc::clone(&control)));
    let result = attempt.fetch_and_run(input, &report).await;
    if result.is_err() {
        // Whatever else it fetches or runs is of no use any more.
        control.cut();
    }
    let closing = tokio::task::spawn_blocking(move || attempt.close(result));
    let message = match closing.await {
        Ok(None) => return,
        Ok(Some(message)) => message,
        Err(error) => failed(id, &panicked(error), Kept::default()),
    };
    // Without a driver the result waits in the queue.
    let _gone = report.send(message);
}

fn finished(attempt: AttemptId, mut work: Work, kept: Kept) -> ToDriver {
    work.counters = kept.counters.into_iter().map(|((group, name), amount)| (group, name, amount)).collect();
    ToDriver::Finished { attempt, work, stderr_bytes: kept.bytes }
}

fn failed(attempt: AttemptId, error: &io::Error, kept: Kept) -> ToDriver {
    let failure = Failure { cause: blame::cause_of(error), stderr_tail: kept.tail };
    ToDriver::Failed { attempt, failure, stderr_bytes: kept.bytes }
}

impl Attempt {
    fn new(id: AttemptId, input: &TaskInput, context: Arc<Context>, control: Arc<Control>) -> Self {
        let folder = context.scratch.attempt(id);
        let log = Log::new(folder.stderr(), context.job().limits.stderr_max);
        let env = environment(id, input, &context, &folder);
        let work_folder = folder.work();
        Attempt { id, context, control, folder, log, env, work_folder }
    }

    /// For running this attempt's commands.
    pub fn commands(&self) -> Commands<'_> {
        Commands {
            folder: &self.work_folder,
            env: &self.env,
            control: &self.control,
            log: &self.log,
            nice: self.context.bounds.job.nice,
        }
    }

    async fn fetch_and_run(self: &Arc<Self>, input: TaskInput, report: &UnboundedSender<ToDriver>) -> io::Result<Work> {
        self.folder.create(&self.context.scratch.files())?;
        let job = self.prepare(input).await?;
        let permit = Arc::clone(&self.context.slots).acquire_owned().await.map_err(io::Error::other)?;
        let lease = self.context.leases.take(&self.control).await?;
        if self.control.has_ended() {
            return Err(io::Error::other("the attempt was ended"));
        }
        let _gone = report.send(ToDriver::Started(self.id));
        self.control.alive();
        let started = clock::now();
        let running = tokio::task::spawn_blocking(move || {
            let result = job();
            drop((lease, permit));
            result
        });
        let mut work = self.watched(running).await?;
        work.took = clock::now().since(started);
        Ok(work)
    }

    /// Gets the input under way.
    async fn prepare(self: &Arc<Self>, input: TaskInput) -> io::Result<Job> {
        let attempt = Arc::clone(self);
        match input {
            TaskInput::Split(split) => {
                self.control.expect(split.bytes());
                let bytes = MapInput::begin(self, &split).await?;
                Ok(Box::new(move || {
                    let (input, origin) = bytes.open(&split).map_err(blame::input)?;
                    let work = map::run(&attempt, &split, input)?;
                    Ok(Work { bytes_local: origin.local(), bytes_distant: origin.distant(), ..work })
                }))
            }
            TaskInput::Partition { maps } => {
                let sources = fetch::fetch(self, maps).await?;
                Ok(Box::new(move || reduce::run(&attempt, sources)))
            }
        }
    }

    /// Waits for the end; ends the attempt itself where it stands still or takes more than it may.
    async fn watched(&self, running: tokio::task::JoinHandle<io::Result<Work>>) -> io::Result<Work> {
        let mut running = running;
        let watch = Arc::new(Watch::new(Arc::clone(&self.control), self.context.bounds));
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                result = &mut running => return result.map_err(panicked)?,
                _ = looks.tick() => {
                    let watch = Arc::clone(&watch);
                    let look = tokio::task::spawn_blocking(move || watch.look());
                    if let Some(cause) = look.await.map_err(panicked)? {
                        self.control.cut();
                        // It may have come to its end in this moment.
                        let cut = running.await.map_err(panicked)?;
                        return cut.map_err(|_cut| blame::carry(cause));
                    }
                }
            }
        }
    }

    /// Puts everything away; what is then to be told, which is nothing where the attempt was ended.
    fn close(&self, result: io::Result<Work>) -> Option<ToDriver> {
        let kept = self.log.finish();
        let _litter = self.folder.tidy();
        if self.control.has_ended() {
            self.drop_output();
            let _litter = self.folder.remove();
            return None;
        }
        Some(match result {
            Ok(work) => finished(self.id, work, kept),
            Err(error) => {
                // Where a disk is full, nothing else gets on while this lies there.
                self.drop_output();
                failed(self.id, &error, kept)
            }
        })
    }

    /// Removes what an attempt made that is not wanted.
    fn drop_output(&self) {
        self.context.drop_segment(self.id);
        for output in [self.folder.segment(), self.context.part(self.id)] {
            let _never_made = fs_err::remove_file(output);
        }
    }
}

fn panicked(error: tokio::task::JoinError) -> io::Error {
    blame::carry(Cause::Worker { text: format!("a bug of runner: {error}") })
}

/// What the commands of an attempt see: Hadoop Streaming's names (MRJobConfig, with dots as underscores).
fn environment(
    id: AttemptId,
    input: &TaskInput,
    context: &Context,
    folder: &AttemptFolder,
) -> Vec<(OsString, OsString)> {
    let mut env = context.environment();
    let mut add = |name: &str, value: OsString| env.push((name.into(), value));
    add("TMPDIR", folder.tmp().into());
    add("mapreduce_task_id", id.task.to_string().into());
    add("mapreduce_task_attempt_id", id.to_string().into());
    add("mapreduce_task_partition", id.task.index.to_string().into());
    add("mapreduce_task_ismap", matches!(input, TaskInput::Split(_)).to_string().into());
    if let TaskInput::Split(Split { pieces, .. }) = input
        && let Some(first) = pieces.first()
    {
        add("mapreduce_map_input_file", first.path.clone().into());
        add("mapreduce_map_input_start", first.start.to_string().into());
        add("mapreduce_map_input_length", (first.end - first.start).to_string().into());
    }
    env
}
