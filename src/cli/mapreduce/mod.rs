//! `runner mapreduce`: what was typed ([`args`]) and a job file become one description ([`typed`]), that becomes the job
//! as it runs ([`resolve`], with [`input`], [`ship`] and [`place`]), and the driver runs it.

mod args;
mod data;
mod input;
pub mod place;
mod resolve;
mod ship;
mod split_size;
mod typed;

use std::path::Path;

use super::context::{Context, say};
use super::output::print;
use super::runtime::wait_for;
use super::{build, hosts, person, transport};
use crate::driver::state::StateFolder;
use crate::driver::stored::StoredJob;
use crate::driver::{self, Means, Request, Timing};
use crate::fleet::Fleet;
use crate::job::builtin::BUILTINS;
use crate::progress::Progress;
use crate::reliability::Store;
use crate::scheduler::{Rules, StragglerRules};
use crate::settings::{Settings, Shuffle, Straggler};
use crate::transport::Transport;

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
    let source = hosts::source(context)?;
    let fleet = hosts::for_job(context, &source)?;
    let settings = &context.settings;
    let ssh_config = settings.ssh.config.as_ref().map(std::path::absolute).transpose()?;
    let means = means(context, ssh_config.as_deref())?;
    // What cannot be read is said when the job begins.
    let memory = Store::new(&means.state).read().unwrap_or_default();
    let slots = split_size::slots(&fleet, settings.worker.slots, &memory);
    let resolved = resolved(typed, settings, slots, &fleet, &means.transport)?;
    // The new job is one of those that stay. That an old one does not go is no reason not to run it.
    if let Err(error) = StateFolder::new(&means.state).keep_newest(settings.jobs_kept as usize - 1) {
        say(&format!("old jobs stay: {error:#}"));
    }
    let hints = resolved.hints.into_iter().chain(hosts::hint(context, &fleet)).collect();
    let job = StoredJob {
        version: StoredJob::VERSION,
        build: build::ID.to_owned(),
        rules: rules(settings, resolved.job.limits.attempts_max),
        job: resolved.job,
        output: resolved.output,
        files: resolved.files,
        source,
        fleet,
        places: Default::default(),
        shuffle: shuffle(settings),
        compression: settings.compression,
        former: Vec::new(),
        list_every: settings.worker.list_every.0,
        slots: settings.worker.slots.unwrap_or(0),
        timing: timing(settings),
        ssh_config,
    };
    wait_for(async {
        let _noting = hosts::note_use(context, &job.source, &job.fleet);
        driver::run(Request { job, splits: resolved.splits, hints, means }).await
    })?
}

/// The job that was typed. Where it names datasets, the workers are asked for them.
fn resolved(
    typed: typed::Typed,
    settings: &Settings,
    slots: u64,
    fleet: &Fleet,
    transport: &Transport,
) -> anyhow::Result<resolve::Resolved> {
    let words = resolve::inputs(&typed)?.into_iter().chain([typed.output.clone()]);
    let words: Vec<String> = words.filter(|word| data::dataset(word).is_some()).collect();
    if words.is_empty() {
        return resolve::resolve(typed, settings, slots, None);
    }
    wait_for(async {
        let data = data::Data::ask(&words, fleet, transport).await?;
        resolve::resolve(typed, settings, slots, Some(&data))
    })?
}

/// What a driver of this process works with.
///
/// # Errors
/// As [`transport::transport`], and where there is no place for the state of jobs.
pub fn means(context: &Context, ssh_config: Option<&Path>) -> anyhow::Result<Means> {
    Ok(Means {
        state: context.state_folder()?,
        transport: transport::transport(context, build::ID, ssh_config)?,
        build: build::ID.to_owned(),
        binary: build::OURSELVES.into(),
        driver: driver_name(context),
        finder: hosts::finder(context, ssh_config)?,
        progress: Progress::new(context.style),
    })
}

/// Who this driver is, for whoever finds that it has taken over.
fn driver_name(context: &Context) -> String {
    format!("{} on {} (process {})", person::user(context), person::machine(), std::process::id())
}

fn rules(settings: &Settings, attempts_max: u32) -> Rules {
    let Settings { retry, straggler, worker, .. } = settings;
    Rules {
        attempts_max,
        losses_max: retry.losses_per_task_max,
        host_failures_max: retry.host_failures_max,
        bar_lasts: retry.bar_lasts.0,
        barred_one_in: one_in(retry.barred_share_max),
        load_percent_max: worker.load_max.map(|load| (load * 100.0).round() as u32),
        memory_free_min: worker.memory_free_min,
        disk_free_min: worker.disk_free_min,
        stragglers: straggler.enabled.then(|| straggler_rules(straggler)),
        ..Rules::default()
    }
}

fn straggler_rules(straggler: &Straggler) -> StragglerRules {
    let percent = |share: f64| (share * 100.0).round() as u32;
    StragglerRules {
        floor: straggler.floor.0,
        look_every: straggler.look_every.0,
        start_up: straggler.start_up.0,
        slowness_min: straggler.slowness_min,
        copies_percent: percent(straggler.copies_share_max),
        copies_min: straggler.copies_min,
        finished_percent: percent(straggler.finished_share_min),
        marks_max: straggler.marks_max,
        mark_lasts: straggler.mark_lasts.0,
    }
}

/// The number of hosts of which one is such a share. Rounded up, but for what 0.33 lacks of a third.
fn one_in(share: f64) -> u32 {
    // A share of 0 gives infinity, which becomes the largest number.
    (1.0 / share - 0.05).ceil() as u32
}

fn shuffle(settings: &Settings) -> driver::Shuffle {
    match settings.shuffle {
        Shuffle::Auto => driver::Shuffle::Direct,
        Shuffle::Relay => driver::Shuffle::Relayed,
    }
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
    fn the_default_settings_are_the_schedulers_own() {
        let rules = rules(&Settings::default(), Rules::default().attempts_max);
        assert_eq!(rules, Rules::default());
    }

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
