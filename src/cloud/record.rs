//! What this machine knows of its clusters: a folder each under `$XDG_STATE_HOME/runner/clusters`, for us alone.
//!
//! The record is written before each call that makes something, so that whatever happens between the call and its answer
//! leaves nothing unknown. Beside it lie the cluster's key, its known_hosts and an ssh configuration that ties them to
//! its instances; both files are made from the record and from what EC2 tells. Commands that change a cluster hold a
//! lock on its folder, which goes with the process.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use fs_err::File;
use serde::{Deserialize, Serialize};

use super::campaign::Campaign;
use super::labels::Labels;
use super::machine::Machine;
use super::request::{ClusterName, Request};
use super::ssh_config;
use crate::error::{Fault, Kind};
use crate::folders::private_folder;

/// The version of the record that is written and read here.
const VERSION: u32 = 1;
const RECORD: &str = "cluster.json";

/// The folder of all clusters.
#[derive(Clone, Debug)]
pub struct Clusters {
    root: PathBuf,
}

/// The paths of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

/// A cluster of ours, held by this process.
#[derive(Debug)]
pub struct Cluster {
    /// What is known of it.
    pub record: Record,
    /// Where that is written.
    pub folder: Folder,
    _lock: File,
}

/// What is known of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The record's form.
    pub version: u32,
    /// Tells it from all others that ever had its name.
    pub id: String,
    /// Where it is.
    pub region: String,
    /// Who launched it.
    pub by: String,
    /// What was asked for.
    pub request: Request,
    /// Where it stands.
    pub phase: Phase,
    /// Every search for machines, the last one being the one at hand.
    pub campaigns: Vec<Campaign>,
    /// When EC2 was last asked for machines: milliseconds since 1970.
    pub asked_ms: u64,
    /// Host keys that an instance may show, by its id.
    pub host_keys: BTreeMap<String, HostKeys>,
}

/// Where a cluster stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// A launch is on its way, or broke off.
    Launching,
    /// It is there.
    Up,
    /// It is being ended, or that broke off.
    Ending,
}

/// The public keys that an instance may show. There are two for the moment in which one replaces the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostKeys {
    /// `ssh-ed25519 AAAA…`.
    pub keys: Vec<String>,
    /// Whether the last one was made on the instance, where nobody else has seen it.
    pub is_own: bool,
}

impl Clusters {
    /// The clusters below a folder for state, which need not exist.
    ///
    /// # Errors
    /// When the process's folder is gone.
    pub fn new(state: &Path) -> anyhow::Result<Self> {
        Ok(Clusters { root: std::path::absolute(state.join("clusters"))? })
    }

    /// The paths of a cluster, there or not.
    pub fn folder(&self, name: &ClusterName) -> Folder {
        Folder(self.root.join(name.as_str()))
    }

    /// A folder for what is known of instances that others launched.
    pub fn elsewhere(&self) -> PathBuf {
        // No cluster can have this name.
        self.root.join(".elsewhere")
    }

    /// The records of all clusters, by name.
    ///
    /// # Errors
    /// When the folder cannot be listed, or a record is not readable.
    pub fn all(&self) -> anyhow::Result<Vec<Record>> {
        let entries = match fs_err::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut records = Vec::new();
        for entry in entries {
            let Ok(name) = entry?.file_name().to_string_lossy().parse::<ClusterName>() else { continue };
            records.extend(self.read(&name)?);
        }
        records.sort_by(|a, b| a.request.name.cmp(&b.request.name));
        Ok(records)
    }

    /// The record of a cluster; none where there is no such cluster.
    ///
    /// # Errors
    /// When it is not readable.
    pub fn read(&self, name: &ClusterName) -> anyhow::Result<Option<Record>> {
        let path = self.folder(name).record();
        let text = match fs_err::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let broken = || format!("{} is no record of a cluster that this version reads", path.display());
        let record: Record = serde_json::from_slice(&text).with_context(broken)?;
        anyhow::ensure!(record.version == VERSION, "{}", broken());
        Ok(Some(record))
    }

    /// Makes the folder of a new cluster, and writes its record.
    ///
    /// # Errors
    /// Usage: there is one of this name. Others when it cannot be made.
    pub fn create(&self, record: Record) -> anyhow::Result<Cluster> {
        let folder = self.folder(&record.request.name);
        private_folder(&self.root)?;
        private_folder(folder.path())?;
        let lock = folder.lock()?;
        if folder.record().exists() {
            let name = &record.request.name;
            return Err(Fault::usage(format!(
                "there is a cluster {name} already: another name, or `runner cloud terminate {name}`, or `runner cloud \
                 add` for more machines in it"
            ))
            .into());
        }
        let cluster = Cluster { record, folder, _lock: lock };
        cluster.save()?;
        Ok(cluster)
    }

    /// Takes hold of a cluster; none where there is no such cluster.
    ///
    /// # Errors
    /// Usage: another process holds it. Others when it is not readable.
    pub fn open(&self, name: &ClusterName) -> anyhow::Result<Option<Cluster>> {
        let folder = self.folder(name);
        if !folder.record().exists() {
            return Ok(None);
        }
        let lock = folder.lock()?;
        let record = self.read(name)?;
        Ok(record.map(|record| Cluster { record, folder, _lock: lock }))
    }
}

impl Folder {
    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The private key made for the cluster.
    pub fn key(&self) -> PathBuf {
        self.0.join("key")
    }

    /// The host key that instances are given; there only while a launch is on its way.
    pub fn host_key(&self) -> PathBuf {
        self.0.join("host_key")
    }

    /// The instances' host keys.
    pub fn known_hosts(&self) -> PathBuf {
        self.0.join("known_hosts")
    }

    /// The configuration for ssh that knows the instances.
    pub fn ssh_config(&self) -> PathBuf {
        self.0.join("ssh_config")
    }

    fn record(&self) -> PathBuf {
        self.0.join(RECORD)
    }

    fn lock(&self) -> anyhow::Result<File> {
        let lock = File::create(self.0.join("lock"))?;
        match lock.file().try_lock() {
            Ok(()) => Ok(lock),
            Err(std::fs::TryLockError::WouldBlock) => {
                let name = self.0.file_name().unwrap_or_default().to_string_lossy();
                Err(Fault::usage(format!("another `runner cloud` is at work on the cluster {name}: wait for it"))
                    .into())
            }
            Err(std::fs::TryLockError::Error(error)) => Err(error).context(format!("locking {}", self.0.display())),
        }
    }
}

impl Cluster {
    /// Writes the record.
    ///
    /// # Errors
    /// When that fails.
    pub fn save(&self) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec_pretty(&self.record)?;
        text.push(b'\n');
        replace(&self.folder.record(), &text)
    }

    /// Sets the host keys that an instance may show, in the record and in known_hosts.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn trust(&mut self, id: &str, keys: HostKeys) -> anyhow::Result<()> {
        self.record.host_keys.insert(id.to_owned(), keys);
        self.save()?;
        replace(&self.folder.known_hosts(), self.record.known_hosts().as_bytes())
    }

    /// Writes the configuration by which ssh finds these machines.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn write_ssh_config(&self, machines: &[Machine]) -> anyhow::Result<()> {
        write_ssh_config(&self.record, &self.folder, machines)
    }

    /// Forgets the cluster: all of its folder goes.
    ///
    /// # Errors
    /// When that fails.
    pub fn forget(self) -> anyhow::Result<()> {
        // The record first: without it there is no cluster, whatever else is left.
        fs_err::remove_file(self.folder.record())?;
        Ok(fs_err::remove_dir_all(self.folder.path())?)
    }
}

/// The same for a cluster that this process does not hold.
///
/// # Errors
/// When that cannot be written.
pub fn write_ssh_config(record: &Record, folder: &Folder, machines: &[Machine]) -> anyhow::Result<()> {
    replace(&folder.ssh_config(), ssh_config::text(record, folder, machines)?.as_bytes())
}

impl Record {
    /// That of a cluster of which nothing exists yet.
    pub fn new(request: Request, id: String, region: String, by: String) -> Self {
        Record {
            version: VERSION,
            id,
            region,
            by,
            request,
            phase: Phase::Launching,
            campaigns: Vec::new(),
            asked_ms: 0,
            host_keys: BTreeMap::new(),
        }
    }

    /// The tags of all that belongs to it.
    pub fn labels(&self) -> Labels {
        Labels {
            cluster: self.request.name.to_string(),
            id: self.id.clone(),
            by: self.by.clone(),
            ttl_seconds: self.request.ttl_seconds,
            ..Labels::default()
        }
    }

    /// The ids of all machines that ever came.
    pub fn came(&self) -> Vec<String> {
        self.campaigns.iter().flat_map(Campaign::came).cloned().collect()
    }

    /// Whether there may be machines that EC2 has not told of: an answer was not heard.
    pub fn is_open(&self) -> bool {
        self.campaigns.iter().any(Campaign::is_open)
    }

    /// Fails where the cluster cannot be used.
    ///
    /// # Errors
    /// A [`Fault`] that says what to do.
    pub fn must_be_up(&self) -> Result<(), Fault> {
        let name = &self.request.name;
        match self.phase {
            Phase::Up => Ok(()),
            Phase::Launching => Err(Fault::new(
                Kind::Cloud,
                format!(
                    "the launch of {name} broke off: `runner cloud launch {name} --count {}` goes on with it, `runner \
                     cloud terminate {name}` removes what it made",
                    self.request.count
                ),
            )),
            Phase::Ending => Err(Fault::new(
                Kind::Cloud,
                format!("the end of {name} broke off: `runner cloud terminate {name}` goes on with it"),
            )),
        }
    }

    fn known_hosts(&self) -> String {
        let lines =
            self.host_keys.iter().flat_map(|(id, known)| known.keys.iter().map(move |key| format!("{id} {key}\n")));
        lines.collect()
    }
}

/// Replaces a file as a whole, readable by us alone.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    // Made 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(|| format!("writing {}", path.display()))?;
    file.write_all(bytes)
        .and_then(|()| file.as_file().sync_all())
        .with_context(|| format!("writing {}", path.display()))?;
    file.persist(path).with_context(|| format!("writing {}", path.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::request::example;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn record() -> Record {
        Record::new(example(), "4f".into(), "eu-west-1".into(), "ann@desk".into())
    }

    #[test]
    fn a_cluster_is_kept_for_us_alone_and_forgotten_whole() {
        let state = tempfile::tempdir().expect("a folder");
        let clusters = Clusters::new(state.path()).expect("clusters");
        assert!(clusters.all().expect("none").is_empty());
        let mut cluster = clusters.create(record()).expect("is made");
        cluster
            .trust("i-1", HostKeys { keys: vec!["ssh-ed25519 A".into(), "ssh-ed25519 B".into()], is_own: false })
            .expect("writes");
        let mode = |path: &Path| fs_err::metadata(path).expect("is there").permissions().mode() & 0o777;
        assert_eq!(mode(cluster.folder.path()), 0o700);
        assert_eq!([mode(&cluster.folder.known_hosts()), mode(&cluster.folder.record())], [0o600; 2]);
        let known = fs_err::read_to_string(cluster.folder.known_hosts()).expect("reads");
        assert_eq!(known, "i-1 ssh-ed25519 A\ni-1 ssh-ed25519 B\n");
        assert_eq!(clusters.all().expect("one"), [cluster.record.clone()]);
        cluster.forget().expect("goes");
        assert!(clusters.all().expect("none").is_empty());
        assert!(!state.path().join("clusters/demo").exists());
    }

    #[test]
    fn only_one_process_changes_a_cluster() {
        let state = tempfile::tempdir().expect("a folder");
        let clusters = Clusters::new(state.path()).expect("clusters");
        let name = example().name;
        assert!(clusters.open(&name).expect("none").is_none());
        let cluster = clusters.create(record()).expect("is made");
        let text = clusters.open(&name).expect_err("is held").to_string();
        assert!(text.contains("another `runner cloud` is at work on the cluster demo"), "{text}");
        drop(cluster);
        assert_eq!(clusters.open(&name).expect("opens").expect("is there").record, record());
        let text = clusters.create(record()).expect_err("is there").to_string();
        assert!(text.starts_with("there is a cluster demo already"), "{text}");
    }

    #[test]
    fn a_record_of_another_version_is_named() {
        let state = tempfile::tempdir().expect("a folder");
        let clusters = Clusters::new(state.path()).expect("clusters");
        let mut newer = record();
        newer.version = 2;
        drop(clusters.create(newer).expect("is made"));
        let text = clusters.all().expect_err("is not read").to_string();
        assert!(text.contains("clusters/demo/cluster.json is no record"), "{text}");
    }
}
