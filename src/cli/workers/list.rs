//! `runner workers`: every host that is known, whether it answers, what it did, and what is held against it.

use std::collections::BTreeMap;

use futures::future::join_all;

use crate::cli::context::{Context, Form, say};
use crate::cli::output::print;
use crate::clock;
use crate::fleet::Fleet;
use crate::reliability::{Line, Presence, Record, Store, table};
use crate::transport::{Machine, Transport};

/// Asks the hosts of the fleet, and lists them with all that were workers before.
pub(in crate::cli) async fn run(context: &Context, fleet: &Fleet, transport: &Transport) -> anyhow::Result<()> {
    let memory = Store::new(&context.state_folder()?).read()?;
    let looks = join_all(fleet.hosts.iter().map(|host| transport.look(host))).await;
    let now_ms = clock::wall_ms();
    // In the order of their names; what is asked now stands over what is only known.
    let mut lines: BTreeMap<String, Line> = memory
        .iter()
        .map(|(name, record)| (name.clone(), Line::new(name.clone(), Presence::Known, None, record.clone(), now_ms)))
        .collect();
    for ((name, host), look) in fleet.names().into_iter().zip(&fleet.hosts).zip(looks) {
        let record = memory.get(&name).cloned().unwrap_or_default();
        let line = match look {
            Ok(machine) => {
                // What its last worker granted says more: its owner may lend less than is asked for.
                let granted = Some(record.slots).filter(|slots| *slots > 0);
                let slots = granted.or(host.slots).or(context.settings.worker.slots).unwrap_or(machine.cores);
                present(name.clone(), &machine, Record { slots, ..record }, now_ms)
            }
            Err(error) => {
                say(&format!("{name}: {error}"));
                Line::new(name.clone(), Presence::Down, None, record, now_ms)
            }
        };
        lines.insert(name, line);
    }
    match context.form {
        Form::Json => print(|out| {
            lines.values().try_for_each(|line| {
                serde_json::to_writer(&mut *out, line)?;
                writeln!(out)
            })
        }),
        Form::Text => print(|out| write!(out, "{}", table(lines.values()))),
    }
}

fn present(name: String, machine: &Machine, record: Record, now_ms: u64) -> Line {
    let load = f64::from(machine.load_percent) / 100.0;
    Line::new(name, Presence::Up, Some(load), record, now_ms)
}
