//! `runner cloud ssh`, `hosts` and `allow`: the ways to a cluster's machines for people and other programs.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context as _;

use super::{AllowArgs, NameArgs, SshArgs, select};
use crate::cli::context::{Context, say};
use crate::cli::output::print;
use crate::cli::runtime::wait_for;
use crate::cli::transport;
use crate::cloud::allow::shut_out;
use crate::cloud::record::write_ssh_config;
use crate::cloud::{Cidr, Folder, Machine, Record, allow, caller, write_login_config};
use crate::error::Fault;
use crate::worker::in_use::LAST_USED;

/// Prints lines for workers.txt. They hold with the cluster's ssh configuration, which the first line names.
pub(super) fn hosts(args: &NameArgs, context: &Context) -> anyhow::Result<()> {
    let Found { record, folder, machines } = wait_for(find(context, args.name.as_deref()))??;
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
    let found = wait_for(async {
        let found = find(context, Some(&args.name)).await?;
        let service = &context.settings.cloud.address_service;
        shut_out(&found.record, &found.machines, service).await.iter().for_each(|text| say(text));
        Ok::<_, anyhow::Error>(found)
    })??;
    let Found { folder, machines, .. } = found;
    let first = args.words.first().map(|word| select::meant(&machines, word)).transpose()?.flatten();
    let words = if first.is_some() { &args.words[1..] } else { &args.words[..] };
    let machine = first.or_else(|| machines.first()).ok_or_else(|| Fault::usage("no machine"))?;
    let touch = format!("[ ! -e {LAST_USED} ] || touch {LAST_USED}");
    let extra = transport::readable(context.settings.ssh.config.as_deref())?;
    let mut command = Command::new("ssh");
    command.arg("-F").arg(write_login_config(&folder, extra.as_deref())?);
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

/// Lets this machine in, or others.
pub(super) fn allow(args: &AllowArgs, context: &Context) -> anyhow::Result<()> {
    wait_for(async {
        let mut cluster = select::cluster(&select::clusters(context)?, args.name.as_deref())?;
        let mut from = Vec::new();
        for text in &args.from {
            from.push(text.parse::<Cidr>().map_err(|error| Fault::usage(format!("--from: {error}")))?);
        }
        if from.is_empty() {
            from.push(caller::address(&context.settings.cloud.address_service).await?);
        }
        let api = select::api(&cluster.record).await?;
        allow::allow(&api, &mut cluster, &from).await?;
        let all: Vec<String> = cluster.record.request.from.iter().map(Cidr::to_string).collect();
        say(&format!("{} lets in {}", cluster.record.request.name, all.join(", ")));
        Ok(())
    })?
}

/// The running machines of a cluster, and what leads to them.
struct Found {
    record: Record,
    folder: Folder,
    machines: Vec<Machine>,
}

async fn find(context: &Context, name: Option<&str>) -> anyhow::Result<Found> {
    let clusters = select::clusters(context)?;
    let record = select::way(context).to(select::record(&clusters, name)?);
    let api = select::api(&record).await?;
    let machines = select::running(&api, &record).await?;
    let folder = clusters.folder(&record.request.name);
    write_ssh_config(&record, &folder, &machines)?;
    Ok(Found { record, folder, machines })
}
