//! `runner cloud list`: every instance of every cluster, whoever launched it.

use std::collections::BTreeSet;

use super::select;
use crate::cli::context::{Context, Form, say};
use crate::cli::output::print;
use crate::cli::runtime::wait_for;
use crate::clock;
use crate::cloud::{Api, Machine, Pace, Reach, Record, State, labels};
use crate::report::{Column, Table};
use crate::units::Span;

/// Lists the region of the environment, and those of the clusters that were launched from here.
pub(super) fn run(context: &Context) -> anyhow::Result<()> {
    wait_for(list(context))?
}

async fn list(context: &Context) -> anyhow::Result<()> {
    let records = select::clusters(context)?.all()?;
    let mut machines = Vec::new();
    let mut regions = BTreeSet::new();
    let here = Api::from_environment(None, Pace::default()).await;
    // Without a region there are still those on record.
    if let (Err(fault), true) = (&here, records.is_empty()) {
        return Err(fault.clone().into());
    }
    if let Ok(api) = here {
        machines.extend(api.machines(&labels::of_all()).await?);
        regions.insert(api.region().to_owned());
    }
    for record in &records {
        if regions.insert(record.region.clone()) {
            machines.extend(select::api(record).await?.machines(&labels::of_all()).await?);
        }
    }
    machines.retain(|machine| machine.state != State::Terminated);
    let now_ms = clock::wall_ms();
    match context.form {
        Form::Json => print(|out| machines.iter().try_for_each(|machine| writeln!(out, "{}", json(machine, now_ms)))),
        Form::Text => {
            if !machines.is_empty() {
                print(|out| write!(out, "{}", table(&machines, now_ms)))?;
            }
            let regions: Vec<String> = regions.into_iter().collect();
            if machines.is_empty() {
                say(&format!("no instance in {}", regions.join(", ")));
            }
            records.iter().filter_map(|record| remark(record, &machines)).for_each(|text| say(&text));
            Ok(())
        }
    }
}

fn table(machines: &[Machine], now_ms: u64) -> Table {
    let mut table = Table::new([
        Column::Left("CLUSTER"),
        Column::Left("INSTANCE"),
        Column::Left("STATE"),
        Column::Left("TYPE"),
        Column::Left("ZONE"),
        Column::Left("ADDRESS"),
        Column::Right("AGE"),
        Column::Right("LEFT"),
        Column::Left("BY"),
    ]);
    for machine in machines {
        table.row([
            machine.labels.cluster.clone(),
            machine.id.clone(),
            if machine.labels.is_leaving() { "leaving".to_owned() } else { machine.state.to_string() },
            machine.instance_type.clone(),
            machine.zone.clone(),
            machine.address(Reach::Public).unwrap_or("-").to_owned(),
            Span(machine.age(now_ms)).to_string(),
            machine.left(now_ms).map_or("ever".to_owned(), |left| Span(left).to_string()),
            machine.labels.by.clone(),
        ]);
    }
    table
}

fn json(machine: &Machine, now_ms: u64) -> serde_json::Value {
    serde_json::json!({
        "cluster": machine.labels.cluster, "instance": machine.id, "state": machine.state.to_string(),
        "type": machine.instance_type, "zone": machine.zone, "public": machine.public, "private": machine.private,
        "age_seconds": machine.age(now_ms).as_secs(), "left_seconds": machine.left(now_ms).map(|left| left.as_secs()),
        "leaving": machine.labels.is_leaving(),
        "by": machine.labels.by,
    })
}

/// What is not whole about a cluster on record.
fn remark(record: &Record, machines: &[Machine]) -> Option<String> {
    if let Err(fault) = record.must_be_up() {
        return Some(fault.text);
    }
    let name = &record.request.name;
    let has_some = machines.iter().any(|machine| machine.labels.id == record.id);
    (!has_some).then(|| format!("{name} has no instance any more: `runner cloud terminate {name}` removes the rest"))
}
