//! `runner workers`: what is known of hosts, whether they are there, a command on all of them, their host keys.
//!
//! None of these touches a job, and none leaves anything on a host.

mod check;
mod exec;
mod list;
mod reach;
mod trust;

use clap::{Args, Subcommand};

use super::context::Context;
use crate::fleet::Fleet;
use crate::reliability::Store;
use crate::transport::{ConnectError, Transport};

/// What to do with the workers.
#[derive(Clone, Debug, Subcommand)]
pub enum WorkersCommand {
    /// Log in to all workers at once, and show what they are, which do not answer, and whether they reach each other
    ///
    /// Exit code: 0 if at least one worker can be used, and those that cannot are named on stderr; 5 if none can.
    Check(CheckArguments),
    /// Run a command on all workers at once; equal outputs are shown once
    ///
    /// Exit code: 0 if it ended with 0 everywhere, else 1.
    Exec(ExecArguments),
    /// Forget what speaks against hosts, so that the next job treats them like all others
    Forgive(ForgiveArguments),
    /// Show the host keys that are not known yet, and add them to known_hosts when you agree
    Trust(TrustArguments),
}

/// What `workers check` takes.
#[derive(Clone, Debug, Args)]
pub struct CheckArguments {}

/// What `workers forgive` takes.
#[derive(Clone, Debug, Args)]
pub struct ForgiveArguments {
    /// Hosts, as `runner workers` names them
    #[arg(required = true, value_name = "HOST")]
    pub hosts: Vec<String>,
}

/// What `workers exec` takes.
#[derive(Clone, Debug, Args)]
pub struct ExecArguments {
    /// For `sh` there: one argument is a command line as it is, several are words that no shell changes
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// What `workers trust` takes.
#[derive(Clone, Debug, Args)]
pub struct TrustArguments {
    /// Hosts as in workers.txt; all workers if none is given
    #[arg(value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Add the keys without asking
    #[arg(long)]
    pub yes: bool,
}

/// Does it. Tables and outputs go to stdout, what went wrong to stderr.
///
/// # Errors
/// A [`crate::error::Fault`] with the documented exit code; others if this machine fails us.
pub async fn run(
    command: Option<&WorkersCommand>,
    context: &Context,
    fleet: &Fleet,
    transport: &Transport,
) -> anyhow::Result<()> {
    match command {
        None => list::run(context, fleet, transport).await,
        Some(command) => run_on(command, context, fleet, transport).await,
    }
}

async fn run_on(
    command: &WorkersCommand,
    context: &Context,
    fleet: &Fleet,
    transport: &Transport,
) -> anyhow::Result<()> {
    match command {
        WorkersCommand::Forgive(arguments) => Store::new(&context.state_folder()?).forgive(&arguments.hosts),
        WorkersCommand::Check(CheckArguments {}) => check::run(fleet, transport).await,
        WorkersCommand::Exec(arguments) => exec::run(arguments, fleet, transport).await,
        WorkersCommand::Trust(arguments) => trust::run(arguments, fleet, transport).await,
    }
}

/// A host that could not be reached, by its name.
type Trouble = (String, ConnectError);

/// Each reason once, with the hosts that it holds for folded, and what helps; two lines each.
pub(super) fn explain(troubles: &[Trouble]) -> String {
    let mut text = String::new();
    for (names, (_, error)) in in_groups(troubles, |(_, error)| error.clone()) {
        let hosts = crate::fleet::ranges::fold(names.iter().map(|(name, _)| name));
        text.push_str(&format!("{hosts}: {error}\n    fix: {}\n", error.fix(&hosts)));
    }
    text
}

/// Items with the same key together, in the order in which the keys were first met; beside each group its first item.
fn in_groups<T, K: PartialEq>(items: &[T], key: impl Fn(&T) -> K) -> Vec<(Vec<&T>, &T)> {
    let mut groups: Vec<(K, Vec<&T>)> = Vec::new();
    for item in items {
        let its = key(item);
        match groups.iter_mut().find(|(known, _)| *known == its) {
            Some((_, group)) => group.push(item),
            None => groups.push((its, vec![item])),
        }
    }
    groups.into_iter().filter_map(|(_, group)| group.first().copied().map(|first| (group, first))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_is_told_once() {
        let refused = ConnectError::Refused { port: 22 };
        let troubles = [
            ("node01".to_owned(), refused.clone()),
            ("gpu".to_owned(), ConnectError::HostKeyUnknown),
            ("node02".to_owned(), refused),
        ];
        let text = explain(&troubles);
        let expected = "node[01-02]: connection refused on port 22\n    fix: start sshd there; if it listens elsewhere than \
            on port 22, write HOST:PORT\ngpu: its host key is not known\n    fix: runner workers trust 'gpu'\n";
        assert_eq!(text, expected);
        assert_eq!(explain(&[]), "");
    }
}
