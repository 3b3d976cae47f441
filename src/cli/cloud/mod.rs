//! `runner cloud`: what was typed about clusters on EC2, and the command for each.
//!
//! The flags of a launch are settings (`[cloud]`), so that a folder or a person can have them once. Where this build has no
//! EC2, the commands are known and say so.

#[cfg(feature = "ec2")]
mod change;
#[cfg(feature = "ec2")]
mod launch;
#[cfg(feature = "ec2")]
mod list;
#[cfg(feature = "ec2")]
mod login;
#[cfg(feature = "ec2")]
mod select;
#[cfg(feature = "ec2")]
mod terminate;

use clap::{Args, Subcommand};

use super::context::Context;
use crate::settings::Flag;

#[cfg(feature = "ec2")]
pub(super) use select::way;

/// What to do with clusters on EC2.
#[derive(Clone, Debug, Subcommand)]
pub enum CloudCommand {
    /// Launch machines, and wait until they let us in
    ///
    /// Access, region and profile are those of AWS's own tools. Ends with the command for a job on them. A machine that
    /// nobody used for the time of --ttl ends itself.
    Launch(Box<LaunchArgs>),
    /// Every instance of every cluster in the region, with its age and the time it has left
    List(ListArgs),
    /// The machines of a cluster as lines for workers.txt
    Hosts(NameArgs),
    /// Log in to a machine of a cluster, or run a command there
    Ssh(SshArgs),
    /// Launch more machines for a cluster
    Add(AddArgs),
    /// Let this machine ssh in from the address that it has now, or others
    Allow(AllowArgs),
    /// End some machines of a cluster, once no job needs them
    ///
    /// Jobs that run give them nothing new as soon as they look at the list again, and do without them in the end.
    Remove(RemoveArgs),
    /// End a cluster: its machines, then what they needed
    Terminate(TerminateArgs),
    /// Find what nobody claims any more, and end it
    Reap(ReapArgs),
}

/// What `cloud launch` takes.
#[derive(Clone, Debug, Args)]
pub struct LaunchArgs {
    /// The cluster's name; one by chance where none is given
    pub name: Option<String>,
    /// How many machines
    #[arg(long, value_name = "N")]
    pub count: Option<String>,
    /// Return as soon as so many let us in; fewer are a failure
    #[arg(long, value_name = "M")]
    pub min: Option<u32>,
    /// The machines' type
    #[arg(long = "type", value_name = "T")]
    pub instance_type: Option<String>,
    /// Take spot machines, which EC2 may take back
    #[arg(long)]
    pub spot: bool,
    /// Take others where there are not enough spot machines
    #[arg(long, requires = "spot")]
    pub spot_fallback: bool,
    /// A machine that nobody used for so long ends itself; "none" for never
    #[arg(long, value_name = "TIME")]
    pub ttl: Option<String>,
    /// The image's id; the latest Amazon Linux where none is given
    #[arg(long, value_name = "AMI")]
    pub image: Option<String>,
    /// Whom to log in as
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// The size of the root disk
    #[arg(long, value_name = "SIZE")]
    pub disk: Option<String>,
    /// Subnets to try, in this order
    #[arg(long, value_name = "SUBNET", value_delimiter = ',')]
    pub subnet: Vec<String>,
    /// Who may ssh in; this machine alone where nothing is given
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub from: Vec<String>,
    /// A private key of yours to log in with, instead of a new one
    #[arg(long, value_name = "FILE")]
    pub key: Option<String>,
    /// By which of their addresses to reach them: public or private
    #[arg(long, value_name = "WHICH")]
    pub address: Option<String>,
    /// Do not wait until they let us in
    #[arg(long, conflicts_with = "min")]
    pub no_wait: bool,
    /// Show what would be made, and make nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Launch without asking
    #[arg(long, short)]
    pub yes: bool,
}

/// What `cloud list` takes.
#[derive(Clone, Debug, Args)]
pub struct ListArgs {}

/// What names a cluster.
#[derive(Clone, Debug, Args)]
pub struct NameArgs {
    /// The cluster; may be left out where there is only one
    pub name: Option<String>,
}

/// What `cloud ssh` takes.
#[derive(Clone, Debug, Args)]
pub struct SshArgs {
    /// The cluster
    pub name: String,
    /// The machine (its id or the beginning of it, an address, or its number from 1; the first where none is given),
    /// and a command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "HOST CMD")]
    pub words: Vec<String>,
}

/// What `cloud add` takes.
#[derive(Clone, Debug, Args)]
pub struct AddArgs {
    /// How many more
    pub count: u32,
    /// The cluster; may be left out where there is only one
    #[arg(long, value_name = "CLUSTER")]
    pub name: Option<String>,
    /// Do not wait until they let us in
    #[arg(long)]
    pub no_wait: bool,
    /// Launch without asking
    #[arg(long, short)]
    pub yes: bool,
}

/// What `cloud allow` takes.
#[derive(Clone, Debug, Args)]
pub struct AllowArgs {
    /// The cluster; may be left out where there is only one
    pub name: Option<String>,
    /// Who may ssh in; this machine where nothing is given
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub from: Vec<String>,
}

/// What `cloud remove` takes.
#[derive(Clone, Debug, Args)]
pub struct RemoveArgs {
    /// Machines: ids or the beginnings of them, or addresses
    #[arg(required = true, value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Do not wait for jobs
    #[arg(long)]
    pub now: bool,
    /// End them without asking
    #[arg(long, short)]
    pub yes: bool,
}

/// What `cloud terminate` takes.
#[derive(Clone, Debug, Args)]
pub struct TerminateArgs {
    /// The cluster; may be left out where there is only one
    pub name: Option<String>,
    /// All clusters that were launched from here
    #[arg(long, conflicts_with = "name")]
    pub all: bool,
    /// End it without asking
    #[arg(long, short)]
    pub yes: bool,
}

/// What `cloud reap` takes.
#[derive(Clone, Debug, Args)]
pub struct ReapArgs {
    /// End it without asking
    #[arg(long, short)]
    pub yes: bool,
}

impl CloudCommand {
    /// Those flags that are settings.
    pub fn flags(&self) -> Vec<Flag> {
        let CloudCommand::Launch(args) = self else { return Vec::new() };
        let text = |shown: &str, key: &str, text: &Option<String>| {
            text.clone().map(|text| Flag { shown: format!("--{shown}"), key: format!("cloud.{key}"), text })
        };
        let list = |items: &[String]| {
            let quoted: Vec<String> = items.iter().map(|item| format!("{item:?}")).collect();
            (!items.is_empty()).then(|| format!("[{}]", quoted.join(", ")))
        };
        let on = |is_on: bool| is_on.then(|| "true".to_owned());
        let flags = [
            text("count", "count", &args.count),
            text("type", "type", &args.instance_type),
            text("spot", "spot", &on(args.spot)),
            text("spot-fallback", "spot_fallback", &on(args.spot_fallback)),
            text("ttl", "ttl", &args.ttl),
            text("image", "image", &args.image),
            text("user", "user", &args.user),
            text("disk", "disk", &args.disk),
            text("subnet", "subnets", &list(&args.subnet)),
            text("from", "from", &list(&args.from)),
            text("key", "key", &args.key),
            text("address", "address", &args.address),
        ];
        flags.into_iter().flatten().collect()
    }
}

/// Does it.
///
/// # Errors
/// A [`crate::error::Fault`] with the documented exit code; others if this machine fails us.
#[cfg(feature = "ec2")]
pub fn run(command: &CloudCommand, context: &Context) -> anyhow::Result<()> {
    match command {
        CloudCommand::Launch(args) => launch::run(args, context),
        CloudCommand::List(ListArgs {}) => list::run(context),
        CloudCommand::Hosts(args) => login::hosts(args, context),
        CloudCommand::Ssh(args) => login::ssh(args, context),
        CloudCommand::Add(args) => change::add(args, context),
        CloudCommand::Allow(args) => login::allow(args, context),
        CloudCommand::Remove(args) => change::remove(args, context),
        CloudCommand::Terminate(args) => terminate::run(args, context),
        CloudCommand::Reap(args) => terminate::reap(args, context),
    }
}

/// This build cannot ask EC2.
///
/// # Errors
/// Always one of kind usage that says how to get a build that can.
#[cfg(not(feature = "ec2"))]
pub fn run(_command: &CloudCommand, _context: &Context) -> anyhow::Result<()> {
    Err(crate::error::Fault::usage(
        "cloud: this build has no EC2 support: build it with `make build` (or cargo without --no-default-features)",
    )
    .into())
}
