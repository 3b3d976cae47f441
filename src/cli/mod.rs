//! The command line: what was typed, and what it means.
//!
//! Each subcommand has a file or folder; here are the flags that all share. What was typed is a type of clap's, what it
//! means another, and only the second leaves this module. Settings are resolved once, before a subcommand runs; the
//! hidden `worker` commands, which run on other machines, never look at them.

mod agree;
mod build;
mod cancel;
mod clean;
mod cloud;
mod context;
mod explain;
mod fs;
mod hosts;
mod jobs;
mod logs;
mod mapreduce;
mod output;
mod person;
mod resume;
mod runtime;
mod transport;
mod worker;
mod workers;

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::settings::Flag;
use context::Context;

const EXAMPLES: &str = "\
Examples:
  runner mapreduce wordcount books/ counts             on this machine's cores
  runner --workers workers.txt mapreduce wordcount books/ counts
  runner mapreduce --map 'python3 m.py' --reduce 'python3 r.py' --file m.py --file r.py books/ out
  runner --workers workers.txt workers check           who answers, with what; who does not, and why
  runner fs put books/ data                            onto the workers' disks; then fs:data
  runner jobs                                          what ran here, and how it ended
  runner resume wordcount-7k2m9q                       goes on with a job that was interrupted
  runner logs wordcount-7k2m9q map-3                   what a task said on stderr
  runner explain wordcount-7k2m9q                      what runs, what waits, and for what
  runner cloud launch demo --count 4                   four machines from EC2, for a while

Settings come from flags, then RUNNER_* variables, then ./runner.toml, then
~/.config/runner/runner.toml. Exit codes: 0 done, 1 a task failed, 2 usage, 3 input missing,
4 output exists, 5 no usable worker, 6 another driver has the job, 7 data missing or corrupt,
8 the cloud said no, 9 cancelled, 130 and 143 interrupted.";

/// Turns machines that you can ssh into, into a batch cluster for as long as a job lasts.
#[derive(Debug, Parser)]
#[command(name = "runner", version, max_term_width = 100, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

/// Flags that may stand before and behind every subcommand.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of all commands")]
struct Shared {
    /// The machines to work on: a file such as workers.txt, or a list host1,host2
    #[arg(long, value_name = "FILE|LIST", global = true)]
    workers: Option<String>,
    /// Work on this machine alone, whatever else is said
    #[arg(long, global = true, conflicts_with = "workers")]
    local: bool,
    /// A configuration for ssh that goes before yours and the system's
    #[arg(long, value_name = "FILE", global = true)]
    ssh_config: Option<String>,
    /// A jump host on the way to machines from EC2, as ssh -J takes it
    #[arg(long, value_name = "HOST", global = true)]
    bastion: Option<String>,
    /// JSON lines on stdout, for programs
    #[arg(long, global = true)]
    json: bool,
    /// Show nothing but what went wrong
    #[arg(long, short, global = true, conflicts_with = "json")]
    quiet: bool,
    /// Any setting of runner.toml, as in --set worker.slots=2
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    set: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Mapreduce(Box<mapreduce::Args>),
    /// Put data onto the workers' own disks, and look after it there
    #[command(subcommand)]
    Fs(fs::Command),
    /// List the jobs that were started on this machine
    Jobs,
    /// Go on with a job that was interrupted or whose driver is gone
    Resume(resume::Args),
    /// Show what the attempts of a job said on stderr
    Logs(logs::Args),
    /// Say why a task of a job is not running, or what each host does and why it gets nothing
    Explain(explain::Args),
    /// End a running job for good: nothing of it is left, and it cannot be resumed
    Cancel(cancel::Args),
    /// Remove all that jobs without a driver have left, here and on their hosts
    ///
    /// A job that was interrupted cannot be resumed after that.
    Clean(clean::Args),
    /// List the machines to work on and all that were: state, load, what they did, what is held against them
    Workers {
        #[command(subcommand)]
        command: Option<workers::WorkersCommand>,
    },
    /// Machines from EC2 for as long as they are needed: launch them, see them, end them
    #[command(subcommand)]
    Cloud(cloud::CloudCommand),
    #[command(subcommand, hide = true)]
    Worker(worker::Command),
}

impl Cli {
    /// What was typed.
    ///
    /// # Errors
    /// The exit code, where that is not to be run: what was asked for, such as help, or what is wrong was said.
    pub fn read() -> Result<Cli, ExitCode> {
        Cli::try_parse().map_err(|said| {
            // Who is gone hears nothing: that is no reason for another exit code.
            let _nobody = match said.kind() {
                ErrorKind::DisplayVersion => print_version(),
                ErrorKind::DisplayHelp => said.print().map_err(anyhow::Error::from),
                _ => {
                    let text = said.render().to_string();
                    let text = text.strip_prefix("error: ").unwrap_or(&text);
                    write!(std::io::stderr(), "runner: {text}").map_err(anyhow::Error::from)
                }
            };
            ExitCode::from(u8::try_from(said.exit_code()).unwrap_or(2))
        })
    }

    /// Whether a thread that panics is no reason to end.
    pub fn survives_panics(&self) -> bool {
        matches!(self.command, Command::Worker(_))
    }
}

/// Does what was typed.
///
/// # Errors
/// With a [`crate::error::Fault`] in its chain, which tells the exit code.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    raise_file_limit();
    match cli.command {
        Command::Worker(command) => worker::run(command),
        Command::Mapreduce(args) => mapreduce::run(*args, &Context::resolve(&cli.shared)?),
        Command::Fs(command) => fs::run(command, &Context::resolve(&cli.shared)?),
        Command::Jobs => jobs::run(&Context::resolve(&cli.shared)?),
        Command::Resume(args) => resume::run(&args, &Context::resolve(&cli.shared)?),
        Command::Logs(args) => logs::run(&args, &Context::resolve(&cli.shared)?),
        Command::Explain(args) => explain::run(&args, &Context::resolve(&cli.shared)?),
        Command::Clean(args) => clean::run(&args, &Context::resolve(&cli.shared)?),
        Command::Cancel(args) => cancel::run(&args, &Context::resolve(&cli.shared)?),
        Command::Workers { command } => run_workers(command.as_ref(), &Context::resolve(&cli.shared)?),
        Command::Cloud(command) => cloud::run(&command, &Context::resolve_with(&cli.shared, command.flags())?),
    }
}

fn run_workers(command: Option<&workers::WorkersCommand>, context: &Context) -> anyhow::Result<()> {
    let fleet = hosts::fleet(context)?;
    let transport = transport::transport(context, build::ID, context.settings.ssh.config.as_deref())?;
    runtime::wait_for(workers::run(command, context, &fleet, &transport))?
}

impl Shared {
    /// Those flags that are settings.
    fn settings(&self) -> Result<Vec<Flag>, crate::error::Fault> {
        let mut flags: Vec<Flag> = Vec::new();
        for pair in &self.set {
            let (key, text) = pair.split_once('=').ok_or_else(|| {
                crate::error::Fault::usage(format!("--set {pair}: KEY=VALUE is expected, as in worker.slots=2"))
            })?;
            flags.push(Flag { shown: format!("--set {key}"), key: key.to_owned(), text: text.to_owned() });
        }
        let ssh_config = self.ssh_config.iter().map(|text| Flag {
            shown: "--ssh-config".to_owned(),
            key: "ssh.config".to_owned(),
            text: text.clone(),
        });
        flags.extend(ssh_config);
        flags.extend(self.bastion.iter().map(|text| Flag {
            shown: "--bastion".to_owned(),
            key: "cloud.bastion".to_owned(),
            text: text.clone(),
        }));
        Ok(flags)
    }
}

/// The version with the build behind it, which tells two of one version apart.
fn print_version() -> anyhow::Result<()> {
    let build = build::ID;
    output::print(|out| writeln!(out, "runner {build}"))
}

/// Lets this process have as many files open as it may: a merge has one a run, a driver several a worker. More than the
/// bound would only make programs slow that close every possible descriptor.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    const FILES_MAX: u64 = 1 << 16;
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(FILES_MAX, |maximum| maximum.min(FILES_MAX));
    if limit.current.is_some_and(|current| current < wanted) {
        let _kept = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    }
}
