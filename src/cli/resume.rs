//! `runner resume`: goes on with a job whose driver is gone, by the build that began it.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::context::Context;
use super::mapreduce::{means, place};
use super::runtime::wait_for;
use super::{build, hosts};
use crate::driver::state::StateFolder;
use crate::driver::{self, Force, Resumption};
use crate::error::{Fault, Kind};
use crate::ids::JobId;

/// Which job.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job, as `runner jobs` lists it
    job: JobId,
    /// Put the result into this folder instead of the one that was named first
    #[arg(long, value_name = "OUT")]
    output: Option<String>,
    /// Go on although most of its workers cannot be asked whether another driver is at work
    #[arg(long)]
    force: bool,
}

/// Goes on with it, on the hosts that it had, or those that `--workers` names; where this machine does not know the job,
/// they are asked for it.
///
/// # Errors
/// As [`driver::resume`].
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let source = context.workers.as_ref().map(|_| hosts::source(context)).transpose()?;
    let fleet = source.as_ref().map(|source| hosts::for_job(context, source)).transpose()?;
    let state = StateFolder::new(&context.state_folder()?);
    let places = match (state.find(&args.job), &fleet) {
        (Err(_), Some(fleet)) => {
            let means = means(context, context.settings.ssh.config.as_deref())?;
            wait_for(driver::find(&means, &args.job, fleet))??
        }
        (found, _) => found.map(|_| BTreeMap::new())?,
    };
    let folder = state.find(&args.job)?;
    if let Some(build) = folder.build()?.filter(|build| build != build::ID) {
        return Err(hand_over(&folder.binary(), &build));
    }
    let stored = folder.stored()?;
    if fleet.is_none() {
        hosts::lead(context, &stored.source)?;
    }
    let ssh_config = context.settings.ssh.config.clone().or(stored.ssh_config);
    let output = args.output.as_deref().map(|typed| place::output(typed, false, None)).transpose()?;
    let output = output.map(|output| output.folder);
    let force = if args.force { Force::Yes } else { Force::No };
    let means = means(context, ssh_config.as_deref())?;
    wait_for(driver::resume(Resumption { id: args.job.clone(), fleet, source, places, output, force, means }))?
}

/// Becomes the build that began the job: workers talk to no other. Gives why that did not happen.
fn hand_over(binary: &Path, build: &str) -> anyhow::Error {
    let error = Command::new(binary).args(std::env::args_os().skip(1)).exec();
    let text = format!(
        "the job was begun by runner {build}, this is {}, and {} cannot be run: {error}",
        build::ID,
        binary.display()
    );
    Fault::new(Kind::Usage, text).into()
}
