//! `runner mapreduce`: what was typed ([`args`]) and a job file become one description ([`typed`]), that becomes the job
//! as it runs ([`resolve`], with [`input`], [`ship`] and [`place`]), and the driver runs it.

mod args;
mod input;
mod place;
mod resolve;
mod ship;
mod typed;

use super::context::Context;
use super::output::print;
use super::runtime::wait_for;
use super::{build, hosts, transport};
use crate::driver::{self, Request, Timing};
use crate::job::builtin::BUILTINS;
use crate::progress::Progress;
use crate::scheduler::Rules;
use crate::settings::{Retry, Settings};

pub use args::Args;

/// Runs the job that was typed.
///
/// # Errors
/// As everything is checked before anything is made: usage, then an output that exists, then missing input; then as
/// [`driver::run`].
pub fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    if args.list {
        return print(|out| BUILTINS.iter().try_for_each(|listed| writeln!(out, "{listed}")));
    }
    let typed = typed::typed(args)?;
    let fleet = hosts::fleet(context)?;
    let state = context.state_folder()?;
    let resolved = resolve::resolve(typed, &context.settings)?;
    let build = build::ID;
    let settings = &context.settings;
    let request = Request {
        rules: rules(&settings.retry, resolved.job.limits.attempts_max),
        job: resolved.job,
        splits: resolved.splits,
        files: resolved.files,
        output: resolved.output,
        fleet,
        slots: settings.worker.slots.unwrap_or(0),
        transport: transport::transport(context, build)?,
        build: build.to_owned(),
        timing: timing(settings),
        state,
        hints: resolved.hints,
        progress: Progress::new(context.style),
    };
    wait_for(driver::run(request))?
}

fn rules(retry: &Retry, attempts_max: u32) -> Rules {
    Rules {
        attempts_max,
        losses_max: retry.losses_per_task_max,
        host_failures_max: retry.host_failures_max,
        barred_one_in: one_in(retry.barred_share_max),
        ..Rules::default()
    }
}

/// The number of hosts of which one is such a share. Rounded up, but for what 0.33 lacks of a third.
fn one_in(share: f64) -> u32 {
    // A share of 0 gives infinity, which becomes the largest number.
    (1.0 / share - 0.05).ceil() as u32
}

fn timing(settings: &Settings) -> Timing {
    let worker = &settings.worker;
    Timing {
        suspect_after: worker.suspect_after.0,
        lost_after: worker.lost_after.0,
        orphan_grace: worker.orphan_grace.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_one_in_so_many() {
        let check = |share, hosts| assert_eq!(one_in(share), hosts, "{share}");
        check(0.33, 3);
        check(1.0, 1);
        check(0.5, 2);
        check(0.3, 4);
        check(0.25, 4);
        check(0.0, u32::MAX);
    }
}
