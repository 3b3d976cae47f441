//! Comparisons with the usual tools, side by side: `make bench`, or `make bench ONLY=sort` for one of them, or for
//! those whose names have a word in common. `SCALE=0.1` makes the data smaller, `RUNS=5` the medians calmer.
//!
//! It makes its own data once, runs ours and theirs in turn on the same two processors, checks that the answers agree, and
//! prints a line for each pair. Machines are noisy, so a ratio that is missed is said and is no failure; an answer that
//! differs is one. Where to go next: [`contest`] is how one is run, and the other modules are the contests.

mod contest;
mod counting;
mod data;
mod datasets;
mod driving;
mod dying;
mod events;
mod fetching;
mod hosts;
mod measure;
mod programs;
mod sorting;
mod starting;
mod tight;
mod troubles;

use std::process::ExitCode;

use contest::Contest;
use data::Data;

/// What was asked for in the environment.
struct Wish {
    only: Option<String>,
    scale: f64,
    runs: usize,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some((first, files)) = words.split_first()
        && first == tight::SUBCOMMAND
    {
        return exit_code(tight::main(files));
    }
    // Cargo adds `--bench` to what was typed.
    let only = words.into_iter().find(|word| !word.starts_with("--"));
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<f64>().ok());
    let runs = number("RUNS").unwrap_or(3.0).max(1.0) as usize;
    exit_code(run(&Wish { only, scale: number("SCALE").unwrap_or(1.0), runs }))
}

fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// All contests, each made only when its turn has come.
type Make = fn(&Data) -> anyhow::Result<Option<Contest>>;

const CONTESTS: [(&str, Make); 15] = [
    ("wordcount", counting::here),
    ("python", programs::python),
    ("sort", sorting::here),
    ("fetch-ssh", fetching::over_ssh),
    ("start-ssh", starting::over_ssh),
    ("wordcount-ssh", counting::over_ssh),
    ("driver", driving::tasks),
    ("resume", dying::killed_at_half),
    ("slow-host", troubles::slow_host),
    ("dying-host", troubles::dying_host),
    ("scheduler", events::cost),
    ("fs-put", datasets::put),
    ("fs-get", datasets::get),
    ("fs-ls", datasets::list),
    ("fs-wordcount", datasets::in_place),
];

fn run(wish: &Wish) -> anyhow::Result<()> {
    let only = wish.only.as_deref().unwrap_or_default();
    let exact = CONTESTS.iter().any(|(name, _)| *name == only);
    let wanted = |name: &str| if exact { name == only } else { name.contains(only) };
    let chosen: Vec<_> = CONTESTS.iter().filter(|(name, _)| wanted(name)).collect();
    anyhow::ensure!(!chosen.is_empty(), "no comparison of that name; there are {:?}", CONTESTS.map(|(name, _)| name));
    let data = Data::at_scale(wish.scale)?;
    println!("{}", contest::HEADING);
    let mut failed = Vec::new();
    for (name, make) in chosen {
        let held = make(&data).and_then(|contest| match contest {
            Some(contest) => contest.hold(name, wish.runs),
            None => Ok(()),
        });
        if let Err(error) = held {
            println!("{name:<14} FAILED: {error:#}");
            failed.push(*name);
        }
    }
    anyhow::ensure!(failed.is_empty(), "failed: {failed:?}");
    Ok(())
}
