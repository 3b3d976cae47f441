//! `runner workers check`: a table of what answers, and why the rest does not.

use std::fmt::Write as _;

use futures::future::join_all;

use super::reach::{self, Pairs, Reached};
use super::{Trouble, explain};
use crate::cli::output::{print, print_error};
use crate::error::{Fault, Kind};
use crate::fleet::Fleet;
use crate::report::{Column, Table};
use crate::transport::{Machine, ScratchQuality, Transport};

/// Looks at all hosts at once and prints what there is.
pub(super) async fn run(fleet: &Fleet, transport: &Transport) -> anyhow::Result<()> {
    let names = fleet.names();
    let looks = join_all(fleet.hosts.iter().map(|host| transport.look(host))).await;
    let mut machines = Vec::new();
    let mut troubles = Vec::new();
    for (name, look) in names.into_iter().zip(looks) {
        match look {
            Ok(machine) => machines.push((name, machine)),
            Err(error) => troubles.push((name, error)),
        }
    }
    let pairs = pairs(fleet, &machines, transport).await;
    print(|out| write!(out, "{}{}", table(&machines, &troubles), pairs.line()))?;
    print_error(&(notes(&machines) + &pairs.notes() + &explain(&troubles)))?;
    if machines.is_empty() {
        return Err(Fault::new(Kind::NoWorker, format!("none of {} workers can be used", troubles.len())).into());
    }
    Ok(())
}

/// Whether those that answered reach each other.
async fn pairs(fleet: &Fleet, machines: &[(String, Machine)], transport: &Transport) -> Pairs {
    let names = fleet.names();
    let spec = |name: &str| names.iter().zip(&fleet.hosts).find(|(other, _)| *other == name).map(|(_, host)| host);
    let reached: Vec<Reached> =
        machines.iter().filter_map(|(name, machine)| Some(Reached { name, host: spec(name)?, machine })).collect();
    reach::try_pairs(&reached, transport).await
}

fn table(machines: &[(String, Machine)], troubles: &[Trouble]) -> Table {
    let mut table = Table::new([
        Column::Left("HOST"),
        Column::Left("STATE"),
        Column::Right("LATENCY"),
        Column::Left("ARCH"),
        Column::Right("CORES"),
        Column::Right("MEMORY"),
        Column::Right("DISK"),
        Column::Left("SSH"),
        Column::Left("SSHD"),
    ]);
    for (name, machine) in machines {
        table.row([
            name.clone(),
            "ok".to_owned(),
            format!("{:.1}ms", machine.latency.as_secs_f64() * 1000.0),
            machine.arch.clone(),
            machine.cores.to_string(),
            machine.memory.to_string(),
            machine.disk_free.to_string(),
            short_version(machine.ssh_client.as_deref()),
            short_version(machine.sshd.as_deref()),
        ]);
    }
    for (name, _) in troubles {
        table.row([name.as_str(), "no"]);
    }
    table
}

/// `9.2p1` of `OpenSSH_9.2p1 Debian-2`; a dash if there is none.
fn short_version(version: Option<&str>) -> String {
    let Some(version) = version else { return "-".to_owned() };
    let first = version.split(' ').next().unwrap_or(version);
    first.strip_prefix("OpenSSH_").unwrap_or(first).to_owned()
}

/// What works but may surprise.
fn notes(machines: &[(String, Machine)]) -> String {
    let mut text = String::new();
    for (name, machine) in machines {
        let scratch = machine.scratch.display();
        // Writing to a string cannot fail.
        let _ = match machine.scratch_quality {
            ScratchQuality::Good => Ok(()),
            ScratchQuality::NoExecution => {
                writeln!(
                    text,
                    "{name}: note: {scratch} is noexec, so shipped programs start only through `sh` or `python3`"
                )
            }
            ScratchQuality::NotLocalDisk => {
                writeln!(text, "{name}: note: {scratch} is in memory or on a network; scratch=DIR names a local disk")
            }
        };
        if let Some((other, _)) = machines.iter().find(|(_, other)| other.machine_id == machine.machine_id)
            && other != name
        {
            let _ = writeln!(text, "{name}: note: the same machine as {other}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_short() {
        let check = |version: Option<&str>, short: &str| assert_eq!(short_version(version), short);
        check(Some("OpenSSH_9.2p1 Debian-2+deb12u10"), "9.2p1");
        check(Some("dropbear_2022.83"), "dropbear_2022.83");
        check(None, "-");
    }
}
