//! `runner cloud ssh` and `hosts`: the ways to a cluster's machines for people and other programs.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context as _;

use super::{NameArgs, SshArgs, select};
use crate::cli::context::Context;
use crate::cli::output::print;
use crate::cli::runtime::wait_for;
use crate::cloud::record::write_ssh_config;
use crate::cloud::{Folder, Machine, Record};
use crate::error::Fault;
use crate::worker::in_use::LAST_USED;

/// Prints lines for workers.txt. They hold with the cluster's ssh configuration, which the first line names.
pub(super) fn hosts(args: &NameArgs, context: &Context) -> anyhow::Result<()> {
    let (record, folder, machines) = wait_for(find(context, args.name.as_deref()))??;
    let config = folder.ssh_config();
    print(|out| {
        writeln!(out, "# {}: use it with --ssh-config {}", record.request.name, config.display())?;
        for machine in &machines {
            let Some(address) = machine.address(record.request.reach) else { continue };
            let peer = machine.private.as_deref().filter(|private| *private != address);
            let peer = peer.map(|peer| format!(" peer={peer}")).unwrap_or_default();
            writeln!(out, "{}@{address}{peer} # {}", record.request.user, machine.id)?;
        }
        Ok(())
    })
}

/// Becomes ssh. Each login says that the machine is used.
pub(super) fn ssh(args: &SshArgs, context: &Context) -> anyhow::Result<()> {
    let (_, folder, machines) = wait_for(find(context, Some(&args.name)))??;
    let first = args.words.first().map(|word| select::meant(&machines, word)).transpose()?.flatten();
    let words = if first.is_some() { &args.words[1..] } else { &args.words[..] };
    let machine = first.or_else(|| machines.first()).ok_or_else(|| Fault::usage("no machine"))?;
    let touch = format!("[ ! -e {LAST_USED} ] || touch {LAST_USED}");
    let mut command = Command::new("ssh");
    command.arg("-F").arg(folder.ssh_config());
    match words {
        [] => command.args(["-t", &machine.id, &format!("{touch}; exec \"$SHELL\" -l")]),
        // One argument is for the shell there as it is; several are words that no shell changes.
        [line] => command.args([&machine.id, &format!("{touch}; {line}")]),
        words => {
            let line =
                shlex::try_join(words.iter().map(String::as_str)).context("a command line cannot have a NUL in it")?;
            command.args([&machine.id, &format!("{touch}; {line}")])
        }
    };
    Err(command.exec()).context("ssh cannot be started")
}

/// The running machines of a cluster, with a configuration that leads to them.
async fn find(context: &Context, name: Option<&str>) -> anyhow::Result<(Record, Folder, Vec<Machine>)> {
    let clusters = select::clusters(context)?;
    let record = select::record(&clusters, name)?;
    let api = select::api(&record).await?;
    let machines = select::running(&api, &record).await?;
    let folder = clusters.folder(&record.request.name);
    write_ssh_config(&record, &folder, &machines)?;
    Ok((record, folder, machines))
}
