//! `runner cloud add` and `remove`: more machines, and fewer.

use super::{AddArgs, RemoveArgs, select};
use crate::cli::agree::agrees;
use crate::cli::context::{Context, say};
use crate::cli::runtime::wait_for;
use crate::cli::{build, transport};
use crate::cloud::bring_up::{self, Wait};
use crate::cloud::end::end_some;
use crate::cloud::interrupt::Interrupts;
use crate::cloud::record::write_ssh_config;
use crate::cloud::{Api, Cluster, Folder, Record, caller, leave};
use crate::error::{Fault, Kind};
use crate::report::count_of;

/// Launches more machines as the others were.
pub(super) fn add(args: &AddArgs, context: &Context) -> anyhow::Result<()> {
    if args.count == 0 {
        return Err(Fault::usage("add 0: at least one machine is expected").into());
    }
    wait_for(add_to(args, context))?
}

async fn add_to(args: &AddArgs, context: &Context) -> anyhow::Result<()> {
    let mut cluster = select::cluster(&select::clusters(context)?, args.name.as_deref())?;
    cluster.record.must_be_up()?;
    let api = select::api(&cluster.record).await?;
    let name = cluster.record.request.name.clone();
    let machines = format!("{} more of {} for {name}", args.count, cluster.record.request.instance_type);
    if !agrees(args.yes, &format!("launch {machines}?"), "launches")? {
        return Err(Fault::new(Kind::Cloud, "nothing was launched").into());
    }
    let_us_in(&mut cluster, context).await;
    let interrupts = Interrupts::listen()?;
    let transport = transport::transport(context, build::ID, context.settings.ssh.config.as_deref())?;
    let wait = match args.no_wait {
        true => Wait::No,
        false => Wait::For(&transport, context.settings.cloud.wait_max.0),
    };
    let done = bring_up::add(&api, &mut cluster, args.count, wait, &interrupts, &say).await;
    transport.close().await;
    for (id, reason) in done?.arrivals.unwrap_or_default().missing {
        say(&format!("{id} did not come: {reason}"));
    }
    Ok(())
}

/// This machine may have another address than at the launch. That it cannot be asked for is no reason to fail.
async fn let_us_in(cluster: &mut Cluster, context: &Context) {
    if !context.settings.cloud.from.is_empty() || cluster.record.request.from.len() != 1 {
        return;
    }
    if let Ok(now) = caller::address(&context.settings.cloud.address_service).await
        && !cluster.record.request.from.contains(&now)
    {
        cluster.record.request.from.push(now);
    }
}

/// Ends some machines.
pub(super) fn remove(args: &RemoveArgs, context: &Context) -> anyhow::Result<()> {
    wait_for(remove_from(args, context))?
}

async fn remove_from(args: &RemoveArgs, context: &Context) -> anyhow::Result<()> {
    let clusters = select::clusters(context)?;
    let mut words: Vec<&str> = args.hosts.iter().map(String::as_str).collect();
    let mut chosen = Vec::new();
    for record in clusters.all()? {
        let api = select::api(&record).await?;
        let machines = match select::running(&api, &record).await {
            Err(fault) if fault.kind == Kind::NoWorker => continue,
            machines => machines?,
        };
        let mut ids = Vec::new();
        let mut unknown = Vec::new();
        for word in words {
            match select::meant(&machines, word)?.filter(|_| word.parse::<usize>().is_err()) {
                Some(machine) => ids.push(machine.id.clone()),
                None => unknown.push(word),
            }
        }
        words = unknown;
        if !ids.is_empty() {
            chosen.push((record, api, ids));
        }
    }
    if !words.is_empty() {
        let text = format!("no running machine of a cluster launched from here: {}", words.join(", "));
        return Err(Fault::usage(text).into());
    }
    let count: usize = chosen.iter().map(|(.., ids)| ids.len()).sum();
    if !agrees(args.yes, &format!("end {}?", count_of(count as u64, "machine")), "ends them")? {
        return Err(Fault::new(Kind::Cloud, "nothing was ended").into());
    }
    for (record, api, ids) in chosen {
        let name = record.request.name.as_str();
        if !args.now {
            let_jobs_go(context, &api, &record, &clusters.folder(&record.request.name), &ids).await?;
        }
        let mut cluster = select::cluster(&clusters, Some(name))?;
        end_some(&api, &ids, &say).await?;
        cluster.record.host_keys.retain(|id, _| !ids.contains(id));
        cluster.save()?;
    }
    Ok(())
}

/// Tells jobs, and waits until they need the machines no more. Nobody is kept from changing the cluster meanwhile.
async fn let_jobs_go(
    context: &Context,
    api: &Api,
    record: &Record,
    folder: &Folder,
    ids: &[String],
) -> anyhow::Result<()> {
    leave::tell(api, ids).await?;
    let machines = select::running(api, record).await?;
    write_ssh_config(&select::way(context).to(record.clone()), folder, &machines)?;
    let transport = transport::transport(context, build::ID, context.settings.ssh.config.as_deref())?;
    transport.put_first(&folder.ssh_config())?;
    leave::wait_until_unused(&transport, ids, context.settings.cloud.leave_max.0, &say).await;
    transport.close().await;
    Ok(())
}
