//! `runner cancel`: ends a job that runs, from any terminal.
//!
//! Its driver does that, and closes the connection when nothing is left of the job: so who cancels can wait for it.

use super::context::{Context, say};
use super::explain::{ask_driver, what_helps};
use crate::driver::ask::Ask;
use crate::driver::state::{JobFolder, StateFolder};
use crate::error::Fault;
use crate::ids::JobId;
use crate::report::{Driver, State, Tally};

/// Which job.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job, as `runner jobs` lists it
    job: JobId,
}

/// Cancels it, and waits until its workers have cleaned up.
///
/// # Errors
/// No such job; one without a driver, or that ends otherwise in this moment; a driver that does not answer.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let job = &args.job;
    let folder = StateFolder::new(&context.state_folder()?).find(job)?;
    if folder.driver() == Driver::Gone {
        let state = state(&folder)?;
        let help = what_helps(state, job).map(|help| format!("; {help}")).unwrap_or_default();
        return Err(Fault::usage(format!("{job} does not run: {}{help}", without_driver(state))).into());
    }
    ask_driver(&folder, &Ask::Cancel, job)?;
    match state(&folder)? {
        State::Cancelled => {
            say(&format!("{job} is cancelled: its workers have cleaned up, and nothing of its output is left"));
            Ok(())
        }
        // It came to its end before it heard of us, or its driver was killed meanwhile.
        other => Err(Fault::usage(format!("{job} could not be cancelled: {}", without_driver(other))).into()),
    }
}

fn state(folder: &JobFolder) -> anyhow::Result<State> {
    let mut tally = Tally::default();
    folder.facts()?.iter().for_each(|fact| tally.observe(fact));
    Ok(tally.state())
}

fn without_driver(state: State) -> &'static str {
    match state {
        State::Running | State::Interrupted => "it was interrupted",
        State::Done => "it is done",
        State::Failed => "it has failed",
        State::Cancelled => "it was cancelled",
    }
}
