//! `runner cloud terminate` and `reap`: the end of clusters, claimed and not.

use std::collections::BTreeSet;

use super::launch::me;
use super::{ReapArgs, TerminateArgs, select};
use crate::cli::agree::agrees;
use crate::cli::context::{Context, say};
use crate::cli::output::{print, print_error};
use crate::cli::runtime::wait_for;
use crate::clock;
use crate::cloud::end::{Target, end, end_target};
use crate::cloud::reap::{Everything, Orphan, orphans};
use crate::cloud::{Api, ClusterName, Clusters, Pace, labels};
use crate::error::{Fault, Kind};
use crate::report::count_of;

/// Ends a cluster, or all.
pub(super) fn run(args: &TerminateArgs, context: &Context) -> anyhow::Result<()> {
    wait_for(terminate(args, context))?
}

async fn terminate(args: &TerminateArgs, context: &Context) -> anyhow::Result<()> {
    let clusters = select::clusters(context)?;
    let names: Vec<ClusterName> = match (&args.name, args.all) {
        (_, true) => clusters.all()?.into_iter().map(|record| record.request.name).collect(),
        (Some(name), false) => {
            let name: ClusterName = name.parse().map_err(Fault::usage)?;
            if clusters.read(&name)?.is_none() {
                return terminate_elsewhere(args, &name).await;
            }
            vec![name]
        }
        (None, false) => vec![select::record(&clusters, None)?.request.name],
    };
    if names.is_empty() {
        say("no cluster was launched from here");
        return Ok(());
    }
    let shown: Vec<&str> = names.iter().map(ClusterName::as_str).collect();
    if !agrees(args.yes, &format!("end {}?", shown.join(", ")), "ends it")? {
        return Err(Fault::new(Kind::Cloud, "nothing was ended").into());
    }
    for name in names {
        end_one(&clusters, &name).await?;
    }
    Ok(())
}

async fn end_one(clusters: &Clusters, name: &ClusterName) -> anyhow::Result<()> {
    let cluster = select::cluster(clusters, Some(name.as_str()))?;
    let api = select::api(&cluster.record).await?;
    end(&api, cluster, &say).await.map_err(|error| error.context(format!("{name} is not ended yet")))?;
    say(&format!("{name} is ended: nothing of it is left"));
    Ok(())
}

/// A cluster that this machine knows nothing of, by its name in the region of the environment.
async fn terminate_elsewhere(args: &TerminateArgs, name: &ClusterName) -> anyhow::Result<()> {
    let api = Api::from_environment(None, Pace::default()).await?;
    let target = Target::named(name.as_str());
    let machines = api.machines(&target.selection).await?;
    let live: Vec<_> = machines.iter().filter(|machine| machine.state.is_live()).collect();
    let things = api.groups(&target.selection).await?.len() + api.keys(&target.selection).await?.len();
    if live.is_empty() && things == 0 {
        return Err(
            Fault::usage(format!("no cluster {name} was launched from here, and none is in {}", api.region())).into()
        );
    }
    let by: BTreeSet<&str> = live.iter().map(|machine| machine.labels.by.as_str()).collect();
    let by =
        if by.is_empty() { String::new() } else { format!(" of {}", by.into_iter().collect::<Vec<_>>().join(", ")) };
    let question =
        format!("{name} was not launched from here: end its {}{by}?", count_of(live.len() as u64, "instance"));
    if !agrees(args.yes, &question, "ends it")? {
        return Err(Fault::new(Kind::Cloud, "nothing was ended").into());
    }
    end_target(&api, &target, &say).await?;
    say(&format!("{name} is ended: nothing of it is left"));
    Ok(())
}

/// Finds what nobody claims, and ends it.
pub(super) fn reap(args: &ReapArgs, context: &Context) -> anyhow::Result<()> {
    wait_for(reap_all(args, context))?
}

async fn reap_all(args: &ReapArgs, context: &Context) -> anyhow::Result<()> {
    let api = Api::from_environment(None, Pace::default()).await?;
    let claimed = select::clusters(context)?.all()?.into_iter().map(|record| record.id).collect();
    let all = labels::of_all();
    let everything = Everything {
        machines: api.machines(&all).await?,
        groups: api.groups(&all).await?,
        keys: api.keys(&all).await?,
    };
    let found = orphans(&everything, &claimed, &me(context), clock::wall_ms());
    if found.is_empty() {
        say(&format!("nothing in {} is unclaimed", api.region()));
        return Ok(());
    }
    let lines: String = found.iter().map(|orphan| format!("{orphan}\n")).collect();
    print(|out| out.write_all(lines.as_bytes()))?;
    if !agrees(args.yes, "end all of this?", "ends it")? {
        return Err(Fault::new(Kind::Cloud, "nothing was ended").into());
    }
    let mut left = Vec::new();
    for Orphan { labels, .. } in &found {
        if let Err(fault) = end_target(&api, &Target::of_id(&labels.id), &say).await {
            left.push(fault.text);
        }
    }
    match left.is_empty() {
        true => print_error("runner: nothing of it is left\n"),
        false => Err(Fault::new(Kind::Cloud, left.join("\n")).into()),
    }
}
