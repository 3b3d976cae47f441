//! `runner fs`: datasets on the workers' own disks.
//!
//! Names are typed without a scheme, as `hdfs dfs` has it. Each subcommand opens a stream to every worker, looks what is
//! there, and does its part; what went wrong on some of them is said on stderr, whatever else happens.

mod list;
mod mend;
mod put;
mod read;
mod show;

use std::sync::Arc;

use super::context::{Context, say};
use super::runtime::wait_for;
use super::{build, hosts, transport};
use crate::dataset::{Name, Pattern};
use crate::datasets::{self, Copies, Selected, Stations, View, Watch};
use crate::error::Fault;
use crate::settings::Shuffle;
use crate::transport::Load;

const PATTERNS: &str = "\
A pattern is the name of a dataset, or one with *, ? and [a-z] in it; NAME/PATTERN means parts, as
in 'data/part-0000*'. It is answered on the workers, so keep it from your shell with quotes.";

/// What to do with datasets.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Put(put::Args),
    /// List datasets, or parts of them, and how evenly they are spread
    ///
    /// Exit code: 0 if every part that is listed has a copy of the right size on a host that answered, also where there are
    /// fewer copies than there should be, which is said on stderr; 7 if one has none. What is in the copies is not looked
    /// at: that is `check`.
    #[command(after_help = PATTERNS)]
    Ls(list::Args),
    Get(read::GetArgs),
    /// Write datasets to stdout, in order
    #[command(after_help = PATTERNS)]
    Cat(read::CatArgs),
    /// Write their first lines
    #[command(after_help = PATTERNS)]
    Head(read::EndArgs),
    /// Write their last lines
    #[command(after_help = PATTERNS)]
    Tail(read::EndArgs),
    /// Show how much they take
    #[command(after_help = PATTERNS)]
    Du(list::PatternArgs),
    /// Show all that is known of a dataset
    Stat(list::StatArgs),
    /// Remove datasets
    #[command(after_help = PATTERNS)]
    Rm(mend::RemoveArgs),
    /// Give a dataset another name; nothing is copied
    Mv(mend::RenameArgs),
    /// Have the workers read all copies, and say which are lost, short or corrupt
    ///
    /// Exit code: 0 if all are good, else 7.
    #[command(after_help = PATTERNS)]
    Check(list::PatternArgs),
    /// Make lost and corrupt copies again, from good ones
    ///
    /// Exit code: 0 if all are good afterwards, else 7.
    #[command(after_help = PATTERNS)]
    Repair(list::PatternArgs),
}

/// Does it.
///
/// # Errors
/// A [`Fault`] with the documented exit code; others when this machine fails us.
pub fn run(command: Command, context: &Context) -> anyhow::Result<()> {
    let load = match &command {
        Command::Put(_) | Command::Get(_) | Command::Cat(_) | Command::Repair(_) => Load::Bytes,
        Command::Ls(_)
        | Command::Head(_)
        | Command::Tail(_)
        | Command::Du(_)
        | Command::Stat(_)
        | Command::Rm(_)
        | Command::Mv(_)
        | Command::Check(_) => Load::Words,
    };
    // What is wrong with what was typed is said before anybody is asked.
    let checked = command.check()?;
    let fleet = hosts::fleet(context)?;
    let transport = Arc::new(transport::transport(context, build::ID, context.settings.ssh.config.as_deref())?);
    let copies = match context.settings.shuffle {
        Shuffle::Auto => Copies::Direct(Arc::clone(&transport)),
        Shuffle::Relay => Copies::Relayed,
    };
    wait_for(async {
        let done = match Stations::open(&fleet, &transport, load, copies).await {
            Ok(stations) => {
                let desk = Desk { stations, context, watch: Watch::default() };
                let done = checked.run(&desk).await;
                desk.stations.part().await;
                done
            }
            Err(fault) => Err(fault.into()),
        };
        transport.close().await;
        done
    })?
}

/// A subcommand whose words make sense.
enum Checked {
    Put(Box<put::Checked>),
    Ls(list::Args, Vec<Pattern>),
    Get(read::Get),
    Cat(Vec<Pattern>),
    Head(read::Ends),
    Tail(read::Ends),
    Du(Vec<Pattern>),
    Stat(Pattern),
    Rm(Vec<Pattern>),
    Mv(Name, Name),
    Check(Vec<Pattern>),
    Repair(Vec<Pattern>),
}

impl Command {
    fn check(self) -> Result<Checked, Fault> {
        Ok(match self {
            Command::Put(args) => Checked::Put(Box::new(args.check()?)),
            Command::Ls(args) => {
                let patterns = patterns(&args.patterns)?;
                Checked::Ls(args, patterns)
            }
            Command::Get(args) => Checked::Get(args.check()?),
            Command::Cat(args) => Checked::Cat(patterns(&args.patterns)?),
            Command::Head(args) => Checked::Head(args.check()?),
            Command::Tail(args) => Checked::Tail(args.check()?),
            Command::Du(args) => Checked::Du(patterns(&args.patterns)?),
            Command::Stat(args) => Checked::Stat(pattern(name(&args.name)?.as_str())?),
            Command::Rm(args) => Checked::Rm(patterns(&args.patterns)?),
            Command::Mv(args) => Checked::Mv(name(&args.old)?, name(&args.new)?),
            Command::Check(args) => Checked::Check(patterns(&args.patterns)?),
            Command::Repair(args) => Checked::Repair(patterns(&args.patterns)?),
        })
    }
}

impl Checked {
    async fn run(self, desk: &Desk<'_>) -> anyhow::Result<()> {
        match self {
            Checked::Put(put) => put.run(desk).await,
            Checked::Ls(args, patterns) => list::ls(desk, &args, &patterns).await,
            Checked::Get(get) => get.run(desk).await,
            Checked::Cat(patterns) => read::cat(desk, &patterns).await,
            Checked::Head(ends) => read::head(desk, &ends).await,
            Checked::Tail(ends) => read::tail(desk, &ends).await,
            Checked::Du(patterns) => list::du(desk, &patterns).await,
            Checked::Stat(pattern) => list::stat(desk, pattern).await,
            Checked::Rm(patterns) => mend::remove(desk, &patterns).await,
            Checked::Mv(old, new) => mend::rename(desk, &old, &new).await,
            Checked::Check(patterns) => mend::check(desk, &patterns).await,
            Checked::Repair(patterns) => mend::repair(desk, &patterns).await,
        }
    }
}

/// Where a subcommand works.
struct Desk<'a> {
    stations: Stations,
    context: &'a Context,
    watch: Watch,
}

impl Desk<'_> {
    /// What there is, with a word about hosts that did not answer.
    async fn look(&self, patterns: &[Pattern]) -> View {
        let view = self.stations.look(patterns).await;
        for (host, why) in view.silent() {
            say(&format!("{host} did not answer: {why}"));
        }
        for host in &view.hosts {
            host.troubles.iter().for_each(|trouble| say(&format!("{}: {trouble}", host.name)));
        }
        view
    }

    /// What the patterns choose.
    async fn select(&self, patterns: &[Pattern]) -> Result<(View, Vec<Selected>), Fault> {
        let view = self.look(patterns).await;
        if let Ok(selected) = datasets::select(&view, patterns) {
            return Ok((view, selected));
        }
        // Hosts tell what matches only; which name is near a mistyped one shows among all.
        let view = self.look(&[]).await;
        let selected = datasets::select(&view, patterns)?;
        Ok((view, selected))
    }
}

fn name(word: &str) -> Result<Name, Fault> {
    word.strip_prefix("fs:").unwrap_or(word).parse().map_err(Fault::usage)
}

fn pattern(word: &str) -> Result<Pattern, Fault> {
    Pattern::new(word).map_err(Fault::usage)
}

fn patterns(words: &[String]) -> Result<Vec<Pattern>, Fault> {
    words.iter().map(|word| pattern(word)).collect()
}
