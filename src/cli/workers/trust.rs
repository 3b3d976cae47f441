//! `runner workers trust`: host keys are shown, and added when somebody agrees.

use std::collections::BTreeMap;
use std::path::PathBuf;

use futures::future::join_all;

use super::{Trouble, TrustArguments, explain};
use crate::cli::agree::agrees;
use crate::cli::output::{print, print_error};
use crate::error::{Fault, Kind};
use crate::fleet::ranges::fold;
use crate::fleet::{Fleet, HostSpec, Place, Source};
use crate::transport::{ConnectError, Hop, HostKey, Transport, add_known_hosts};

/// Asks the hosts for their keys, jump hosts first, since what is behind them is only reached once they are trusted.
pub(super) async fn run(arguments: &TrustArguments, fleet: &Fleet, transport: &Transport) -> anyhow::Result<()> {
    let named;
    let fleet = match arguments.hosts.as_slice() {
        [] => fleet,
        hosts => {
            named = Fleet::resolve(&Source::List(hosts.join(",")))?;
            &named
        }
    };
    let mut troubles = Vec::new();
    let mut known = Vec::new();
    for level in levels(fleet, transport, &mut troubles).await {
        let found = join_all(level.iter().map(|(_, hop)| transport.host_key(hop))).await;
        let mut new = Vec::new();
        for ((name, _), key) in level.into_iter().zip(found) {
            match key {
                Ok(HostKey::Known) => known.push(name),
                Ok(HostKey::New { fingerprints, lines, file }) => new.push(New { name, fingerprints, lines, file }),
                Err(error) => troubles.push((name, error)),
            }
        }
        if !new.is_empty() {
            show(&new)?;
            agree(arguments.yes, new.len())?;
            add(new)?;
        }
    }
    if !known.is_empty() {
        print(|out| writeln!(out, "already known: {}", fold(&known)))?;
    }
    finish(&troubles)
}

struct New {
    name: String,
    fingerprints: Vec<String>,
    lines: String,
    file: PathBuf,
}

/// The hosts in the order in which they can be reached: each list only needs those before it. The same hop of many
/// hosts is asked once.
async fn levels(fleet: &Fleet, transport: &Transport, troubles: &mut Vec<Trouble>) -> Vec<Vec<(String, Hop)>> {
    let hosts: Vec<(String, &HostSpec)> =
        fleet.names().into_iter().zip(&fleet.hosts).filter(|(_, host)| host.place == Place::Ssh).collect();
    let ways = join_all(hosts.iter().map(|(_, host)| transport.hops(host))).await;
    let mut levels: Vec<Vec<(String, Hop)>> = Vec::new();
    for ((name, _), way) in hosts.iter().zip(ways) {
        let way = match way {
            Ok(way) => way,
            Err(error) => {
                troubles.push((name.clone(), error));
                continue;
            }
        };
        let last = way.len().saturating_sub(1);
        for (depth, hop) in way.into_iter().enumerate() {
            let name = if depth == last { name.clone() } else { hop.host.name() };
            levels.resize_with(levels.len().max(depth + 1), Vec::new);
            if !levels.iter().flatten().any(|(_, other)| *other == hop) {
                levels[depth].push((name, hop));
            }
        }
    }
    levels
}

fn show(new: &[New]) -> anyhow::Result<()> {
    let mut text = String::from("not known yet:\n");
    for key in new {
        for fingerprint in &key.fingerprints {
            text.push_str(&format!("  {}  {fingerprint}\n", key.name));
        }
    }
    print(|out| out.write_all(text.as_bytes()))
}

/// Compare the fingerprints with what the machines themselves say: that is the one moment at which it can be done.
fn agree(yes: bool, count: usize) -> Result<(), Fault> {
    let keys = if count == 1 { "this key".to_owned() } else { format!("these {count} keys") };
    match agrees(yes, &format!("add {keys} to known_hosts?"), "adds the keys")? {
        true => Ok(()),
        false => Err(Fault::new(Kind::NoWorker, "nothing was added")),
    }
}

fn add(new: Vec<New>) -> anyhow::Result<()> {
    let mut files: BTreeMap<PathBuf, (Vec<String>, String)> = BTreeMap::new();
    for key in new {
        let (names, lines) = files.entry(key.file).or_default();
        names.push(key.name);
        // Two names of one machine give the same line.
        if !lines.contains(&key.lines) {
            lines.push_str(&key.lines);
        }
    }
    for (file, (names, lines)) in files {
        add_known_hosts(&file, &lines)?;
        print(|out| writeln!(out, "added to {}: {}", file.display(), fold(&names)))?;
    }
    Ok(())
}

fn finish(troubles: &[Trouble]) -> anyhow::Result<()> {
    if troubles.is_empty() {
        return Ok(());
    }
    print_error(&explain(troubles))?;
    let names = fold(troubles.iter().map(|(name, _)| name));
    let changed = troubles.iter().filter(|(_, error)| matches!(error, ConnectError::HostKeyChanged { .. })).count();
    let text = match changed {
        0 => format!("no key from {names}"),
        _ => format!("CHANGED HOST KEYS ARE NEVER REPLACED HERE; see above: {names}"),
    };
    Err(Fault::new(Kind::NoWorker, text).into())
}
