//! `runner explain`: why a task of a job is not running, and why a host gets nothing.
//!
//! The job's driver knows; where there is none any more, the journal tells what is left.

use super::context::Context;
use super::output::print;
use super::runtime::wait_for;
use crate::driver::ask::{Answer, Ask, ask};
use crate::driver::state::{JobFolder, StateFolder};
use crate::error::Fault;
use crate::ids::{JobId, TaskId};
use crate::report::{Driver, State, Tally, account_of_job, account_of_task};

/// What is to be explained.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job, as `runner jobs` lists it
    job: JobId,
    /// A task such as map-3; the whole job with its hosts where nothing is said
    task: Option<TaskId>,
}

/// Explains it.
///
/// # Errors
/// No such job; a driver that does not answer; a journal that cannot be read.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let folder = StateFolder::new(&context.state_folder()?).find(&args.job)?;
    let lines = match folder.driver() {
        Driver::Alive { .. } => ask_driver(&folder, &Ask::Explain { task: args.task }, &args.job)?,
        Driver::Gone => from_journal(&folder, args)?,
    };
    print(|out| lines.iter().try_for_each(|line| writeln!(out, "{line}")))
}

/// What the driver of a job answers, line by line, until it closes.
///
/// # Errors
/// A [`Fault`] when it does not listen or refuses.
pub(super) fn ask_driver(folder: &JobFolder, question: &Ask, job: &JobId) -> anyhow::Result<Vec<String>> {
    let (mut lines, mut refused) = (Vec::new(), None);
    let heard = wait_for(ask(folder.path(), question, |answer| match answer {
        Answer::Said(line) => lines.push(line),
        Answer::Refused(why) => refused = Some(why),
    }))?;
    if let Some(why) = refused {
        return Err(Fault::usage(format!("{job}: {why}")).into());
    }
    match heard {
        Ok(()) if !lines.is_empty() => Ok(lines),
        Ok(()) => Err(Fault::usage(format!("{job} is just ending")).into()),
        Err(error) => Err(Fault::usage(format!("the driver of {job} does not answer: {error}")).into()),
    }
}

fn from_journal(folder: &JobFolder, args: &Args) -> anyhow::Result<Vec<String>> {
    let facts = folder.facts()?;
    if let Some(task) = args.task {
        return Ok(account_of_task(&facts, task));
    }
    let mut tally = Tally::default();
    facts.iter().for_each(|fact| tally.observe(fact));
    let mut lines = account_of_job(&tally);
    lines.extend(what_helps(tally.state(), &args.job));
    Ok(lines)
}

/// The command that is next for a job without a driver.
pub(super) fn what_helps(state: State, job: &JobId) -> Option<String> {
    match state {
        State::Done | State::Cancelled => None,
        State::Failed => Some(format!("`runner logs {job}` shows what its attempts wrote to stderr")),
        State::Running | State::Interrupted => {
            Some(format!("`runner resume {job}` goes on with it, `runner clean {job}` removes what it left"))
        }
    }
}
