//! Hosts for a job, from a tag: `ec2:NAME` and `ec2:KEY=VALUE`.
//!
//! Instances of a cluster that this machine launched are hosts by their ids, under the host keys on record. Those that
//! others launched are asked for their console, where cloud-init prints the public host keys at the first boot
//! (`cc_keys_to_console`), through EC2, which is no less to be trusted than what launched them. Where it shows none they are
//! hosts by their addresses, and the user's known_hosts decides, as for any other host.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures::StreamExt;
use tokio::process::Command;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use xxhash_rust::xxh3::xxh3_64;

use super::allow::shut_out;
use super::api::Api;
use super::labels::{self, USED_TAG};
use super::launch::bare;
use super::machine::{Machine, State};
use super::pace::Pace;
use super::record::{Clusters, Record, replace, write_ssh_config};
use super::request::{ClusterName, Reach};
use super::ssh_config::{push_host, quoted};
use crate::clock;
use crate::error::{Fault, Kind};
use crate::fleet::ec2::{self, CLUSTER_TAG, PAGE_INSTANCES_MAX, Tag};
use crate::fleet::{Fleet, HostSpec, Origin, Place};
use crate::folders::private_folder;

/// Public host keys, by the id of their instance.
type Known = BTreeMap<String, Vec<String>>;

/// Consoles that are read at once.
const CONSOLES_AT_ONCE: usize = 8;

/// For so long an instance that does not answer may still be booting.
const BOOT_MAX: Duration = Duration::from_secs(300);

/// How often a job's use is noted: an eighth of the time after which its machines would end, within these bounds.
const NOTE_EVERY_MIN: Duration = Duration::from_secs(60);
const NOTE_EVERY_MAX: Duration = Duration::from_secs(600);

/// How this machine goes to instances that it did not launch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// By which address.
    pub reach: Reach,
    /// A jump host; for a cluster of ours, instead of the one that it was launched with.
    pub bastion: Option<String>,
    /// The URL of a service that tells this machine's address, to be asked where a cluster of ours does not answer.
    pub address_service: Option<String>,
}

impl Way {
    /// A cluster of ours as it is reached this way.
    pub fn to(&self, mut record: Record) -> Record {
        if let Some(bastion) = &self.bastion {
            (record.request.bastion, record.request.reach) = (Some(bastion.clone()), Reach::Private);
        }
        record
    }
}

/// Hosts, and what ssh needs to know of them.
#[derive(Clone, Debug)]
pub struct Found {
    /// The hosts.
    pub fleet: Fleet,
    /// A configuration that goes before the user's.
    pub ssh_config: PathBuf,
    /// What the user should know.
    pub notes: Vec<String>,
    /// The cluster, if it is ours and some of its machines have no host key of their own on record yet.
    pub unwelcomed: Option<ClusterName>,
    /// The addresses of hosts that may still be booting.
    pub young: BTreeSet<String>,
}

/// Finds running instances; `query` is what was written behind `ec2:`.
///
/// # Errors
/// Usage: no tag was written. No worker: none runs. Cloud: EC2 says no, or the cluster is not whole. Others when this
/// machine's files fail us.
pub async fn discover(query: &str, clusters: &Clusters, way: &Way) -> anyhow::Result<Found> {
    let tag: Tag = query.parse()?;
    match record(&tag, clusters)? {
        Some(record) => of_ours(&way.to(record), clusters, &tag, way).await,
        None => of_others(clusters, &tag, way).await,
    }
}

/// The cluster that a tag means, if it was launched from here.
fn record(tag: &Tag, clusters: &Clusters) -> anyhow::Result<Option<Record>> {
    match tag.value.parse::<ClusterName>() {
        Ok(name) if tag.key == CLUSTER_TAG => clusters.read(&name),
        Ok(_) | Err(_) => Ok(None),
    }
}

/// Says in the tags of a cluster's instances that they are used, again and again, until it is dropped.
#[derive(Debug)]
pub struct Noting(AbortHandle);

impl Drop for Noting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Begins to note that a job uses these hosts; must be called within a runtime. It is for `runner cloud list`; what ends
/// instances is what their workers tell them. None where they are no cluster that was launched from here.
pub fn note_use(query: &str, clusters: &Clusters, fleet: &Fleet) -> Option<Noting> {
    let record = record(&query.parse().ok()?, clusters).ok()??;
    let ids: Vec<String> = fleet.hosts.iter().map(|host| host.address.clone()).collect();
    let every = Duration::from_secs(record.request.ttl_seconds? / 8).clamp(NOTE_EVERY_MIN, NOTE_EVERY_MAX);
    let noting = tokio::spawn(async move {
        let Ok(api) = Api::from_environment(Some(&record.region), Pace::default()).await else { return };
        loop {
            // A list that is a little wrong is no reason to disturb a job.
            let _unheard = api.tag(&ids, USED_TAG, &clock::wall_ms().to_string()).await;
            sleep(every).await;
        }
    });
    Some(Noting(noting.abort_handle()))
}

async fn of_ours(record: &Record, clusters: &Clusters, tag: &Tag, way: &Way) -> anyhow::Result<Found> {
    record.must_be_up()?;
    let api = Api::from_environment(Some(&record.region), Pace::default()).await?;
    let mut machines = api.machines(&labels::of_id(&record.id)).await?;
    let all = machines.len();
    machines.retain(|machine| machine.state == State::Running && machine.address(record.request.reach).is_some());
    let folder = clusters.folder(&record.request.name);
    // Jobs may still have to come back to those that leave.
    write_ssh_config(record, &folder, &machines)?;
    let running = machines.len();
    machines.retain(|machine| !machine.labels.is_leaving());
    if machines.is_empty() {
        return Err(none_serves(record, all, running).into());
    }
    let hosts = machines
        .iter()
        .map(|machine| HostSpec { peer: machine.private.clone(), ..HostSpec::new(Place::Ssh, machine.id.as_str()) });
    let unknown: Vec<&str> =
        machines.iter().map(|machine| machine.id.as_str()).filter(|id| !record.host_keys.contains_key(*id)).collect();
    let mut notes = Vec::new();
    if !unknown.is_empty() {
        notes.push(format!(
            "the host keys of {} are not on record here: they were launched elsewhere",
            unknown.join(", ")
        ));
    }
    if let Some(service) = &way.address_service {
        notes.extend(shut_out(record, &machines, service).await);
    }
    let is_unwelcomed = |machine: &Machine| record.host_keys.get(&machine.id).is_none_or(|known| !known.is_own);
    Ok(Found {
        fleet: Fleet { hosts: hosts.collect(), origin: Origin::Ec2(format!("tag {tag}, {}", record.region)) },
        ssh_config: folder.ssh_config(),
        notes,
        unwelcomed: machines.iter().any(is_unwelcomed).then(|| record.request.name.clone()),
        young: machines.iter().filter(|machine| is_young(machine)).map(|machine| machine.id.clone()).collect(),
    })
}

fn is_young(machine: &Machine) -> bool {
    machine.age(clock::wall_ms()) < BOOT_MAX
}

/// Why there is no host among so many instances, of which so many run.
fn none_serves(record: &Record, all: usize, running: usize) -> Fault {
    let (name, region) = (&record.request.name, &record.region);
    let text = match running {
        0 => format!(
            "no instance of the cluster {name} runs in {region} (of {all} that EC2 remembers): they end themselves when \
             nobody uses them; `runner cloud terminate {name}` removes what is left, `runner cloud add` launches new ones"
        ),
        _ => format!(
            "`runner cloud remove` ends what is left of the cluster {name}: `runner cloud add` launches new ones"
        ),
    };
    Fault::new(Kind::NoWorker, text)
}

async fn of_others(clusters: &Clusters, tag: &Tag, way: &Way) -> anyhow::Result<Found> {
    let config = ec2::access(None).await?;
    let instances = ec2::running(&config, tag, PAGE_INSTANCES_MAX).await?;
    let api = Api::new(&config, Pace::default())?;
    let machines: Vec<Machine> = instances.iter().map(Machine::read).collect();
    if machines.iter().all(|machine| machine.labels.is_leaving()) {
        let text = format!("all instances with tag {tag} in {} are being removed", api.region());
        return Err(Fault::new(Kind::NoWorker, text).into());
    }
    let folder = clusters.elsewhere();
    private_folder(&folder)?;
    let (known, notes) = keys_of(&api, &machines, &folder.join("known_hosts")).await?;
    let mut text = String::from("# Instances that others launched, as runner last saw them; written anew each time.\n");
    let mut hosts = Vec::new();
    let mut young = BTreeSet::new();
    for (instance, machine) in instances.iter().zip(&machines) {
        let plain = ec2::host(instance);
        let address = machine.address(way.reach).map_or(plain.address.clone(), str::to_owned);
        let has_key = known.contains_key(&machine.id);
        if has_key {
            push_host(&mut text, &[&machine.id], &address, &machine.id);
            text.push_str(&format!(
                "    UserKnownHostsFile {}\n    GlobalKnownHostsFile /dev/null\n    StrictHostKeyChecking yes\n",
                quoted(&folder.join("known_hosts"))?
            ));
        }
        let name = if has_key { machine.id.clone() } else { address };
        if let Some(bastion) = &way.bastion {
            text.push_str(&format!("Host {name}\n    ProxyJump {bastion}\n"));
        }
        if machine.labels.is_leaving() {
            continue;
        }
        if is_young(machine) {
            young.insert(name.clone());
        }
        hosts.push(HostSpec { address: name, ..plain });
    }
    // Jobs at the same time may look for different instances.
    let ssh_config = folder.join(format!("ssh_config-{:016x}", xxh3_64(tag.to_string().as_bytes())));
    replace(&ssh_config, text.as_bytes())?;
    Ok(Found {
        fleet: Fleet { hosts, origin: Origin::Ec2(format!("tag {tag}, {}", api.region())) },
        ssh_config,
        notes,
        unwelcomed: None,
        young,
    })
}

/// The host keys of these instances as far as they are on file or on their consoles, and a note on those that are not.
async fn keys_of(api: &Api, machines: &[Machine], file: &Path) -> anyhow::Result<(Known, Vec<String>)> {
    let mut known = read_known(&fs_err::read_to_string(file).unwrap_or_default());
    let new: Vec<Machine> = machines.iter().filter(|machine| !known.contains_key(&machine.id)).cloned().collect();
    let consoles = new.into_iter().map(|machine| async move {
        if is_known_to_user(&machine).await {
            return (machine.id, Ok(None));
        }
        let console = api.console(&machine.id).await.map(Some);
        (machine.id, console)
    });
    let consoles: Vec<_> = futures::stream::iter(consoles).buffered(CONSOLES_AT_ONCE).collect().await;
    let mut silent = Vec::new();
    let mut refused = None;
    for (id, console) in consoles {
        match console {
            Ok(None) => {}
            Ok(Some(console)) => match keys_on_console(&console) {
                keys if keys.is_empty() => silent.push(id),
                keys => _ = known.insert(id, keys),
            },
            Err(fault) => refused = Some(fault),
        }
    }
    let lines: String =
        known.iter().flat_map(|(id, keys)| keys.iter().map(move |key| format!("{id} {key}\n"))).collect();
    replace(file, lines.as_bytes())?;
    let mut notes: Vec<String> =
        refused.map(|fault| format!("consoles cannot be read for host keys: {fault}")).into_iter().collect();
    if !silent.is_empty() {
        notes.push(format!(
            "no host keys on the console of {}: it is minutes late, and some images print none; your own known_hosts holds, \
             and `runner workers trust` shows what they show",
            silent.join(", ")
        ));
    }
    Ok((known, notes))
}

/// Whether the user's own known_hosts has the host, as after `runner workers trust`.
async fn is_known_to_user(machine: &Machine) -> bool {
    for name in [machine.public.as_deref(), machine.private.as_deref()].into_iter().flatten() {
        let found =
            Command::new("ssh-keygen").args(["-F", name]).stdin(Stdio::null()).stderr(Stdio::null()).output().await;
        if found.is_ok_and(|output| output.status.success() && !output.stdout.is_empty()) {
            return true;
        }
    }
    false
}

fn read_known(text: &str) -> Known {
    let mut known = Known::new();
    for (id, key) in text.lines().filter_map(|line| line.split_once(' ')) {
        known.entry(id.to_owned()).or_default().push(key.to_owned());
    }
    known
}

/// The public host keys that cloud-init printed; of several boots the last.
fn keys_on_console(console: &str) -> Vec<String> {
    const BEGIN: &str = "-----BEGIN SSH HOST KEY KEYS-----";
    const END: &str = "-----END SSH HOST KEY KEYS-----";
    let Some((_, rest)) = console.rsplit_once(BEGIN) else { return Vec::new() };
    // Without its end a key may be cut.
    let Some((block, _)) = rest.split_once(END) else { return Vec::new() };
    // Some consoles put the time or the kernel's brackets before each line.
    let keys = block.lines().filter_map(|line| {
        let at = ["ssh-ed25519 ", "ecdsa-sha2-", "ssh-rsa "].into_iter().filter_map(|kind| line.find(kind)).min()?;
        Some(bare(&line[at..]))
    });
    keys.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_keys_are_read_from_a_console() {
        let console = "[  9.1] cloud-init[1]: boot\r\n-----BEGIN SSH HOST KEY KEYS-----\r\nssh-ed25519 OLD root@ip\r\n\
            -----END SSH HOST KEY KEYS-----\r\n-----BEGIN SSH HOST KEY FINGERPRINTS-----\n256 SHA256:x\n\
            -----BEGIN SSH HOST KEY KEYS-----\n[   12.3] ssh-ed25519 AAAAC3 root@ip-10-0-0-1\nci-info: no\n\
            ecdsa-sha2-nistp256 AAAAE2 root@ip\n-----END SSH HOST KEY KEYS-----\nlogin:";
        assert_eq!(keys_on_console(console), ["ssh-ed25519 AAAAC3", "ecdsa-sha2-nistp256 AAAAE2"]);
        assert!(keys_on_console("-----BEGIN SSH HOST KEY KEYS-----\nssh-ed25519 AAAAC3").is_empty());
        assert!(keys_on_console("login:").is_empty());
    }

    #[test]
    fn what_is_on_file_is_read() {
        let known = read_known("i-1 ssh-ed25519 A\ni-2 ssh-ed25519 B\ni-1 ssh-rsa C\n");
        assert_eq!(
            known.get("i-1").map(Vec::as_slice),
            Some(&["ssh-ed25519 A".to_owned(), "ssh-rsa C".to_owned()][..])
        );
        assert_eq!(known.len(), 2);
    }
}
