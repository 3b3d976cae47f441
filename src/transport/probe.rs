//! The one look at a machine before anything is done there: `probe.sh`, and what its answers mean.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::error::ConnectError;
use super::machine::{Machine, ScratchQuality, machine_id};
use super::shell::{Site, words_or};
use crate::clock;
use crate::protocol::peer::{Whereabouts, server_end};
use crate::units::Bytes;

/// Whether the folders that were looked for stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A job comes: they are made.
    Job,
    /// Somebody only looks: nothing stays, and the way there and back is timed.
    Look,
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Probed {
    pub machine: Machine,
    /// Where our binary may lie and run, ours alone.
    pub folder: PathBuf,
    /// Whether this build's binary is there.
    pub cached: bool,
}

/// Looks at the machine of `site`. `build` names the binary, `scratch` the folder that was asked for.
///
/// # Errors
/// No Linux; no usable folder; the connection was lost.
pub(super) async fn probe(
    site: &Site,
    build: &str,
    scratch: Option<&Path>,
    purpose: Purpose,
) -> Result<Probed, ConnectError> {
    let scratch = scratch.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    let mode = match purpose {
        Purpose::Job => "keep",
        Purpose::Look => "look",
    };
    let variables = [("build", build), ("scratch", scratch.as_str()), ("mode", mode)];
    let asked = clock::now();
    let mut running =
        site.script(&variables, concat!("begin\n", include_str!("quota.sh"), include_str!("probe.sh"))).await?;
    let mut latency = clock::now().since(asked);
    let lost = |error: std::io::Error| ConnectError::Lost { text: error.to_string() };
    let mut text = Vec::new();
    while running.stdout.read_buf(&mut text).await.map_err(lost)? > 0 {
        if text.ends_with(b"ping=1\n") {
            let asked = clock::now();
            running.stdin.as_mut().ok_or_else(closed)?.write_all(b"\n").await.map_err(lost)?;
            running.stdout.read_buf(&mut text).await.map_err(lost)?;
            latency = clock::now().since(asked);
        }
    }
    let text = String::from_utf8_lossy(&text);
    if !text.ends_with("end=1\n") {
        let words = words_or(&running.stderr.end().await, "the look at it was not finished");
        return Err(ConnectError::Lost { text: words });
    }
    parse(&text, latency)
}

fn closed() -> ConnectError {
    ConnectError::here("the stream to a probe is closed")
}

fn parse(text: &str, latency: Duration) -> Result<Probed, ConnectError> {
    let answers = Answers::new(text);
    let system = answers.get("system");
    if system != "Linux" {
        return Err(ConnectError::OtherSystem { system: system.to_owned() });
    }
    let Some(folder) = answers.find("folder") else {
        return Err(ConnectError::NoFolder { refused: answers.all("refused") });
    };
    let Some(scratch) = answers.find("scratch") else {
        return Err(ConnectError::NoScratch { refused: answers.all("scratch_refused") });
    };
    let kilobytes = |key: &str| Bytes(answers.number(key).saturating_mul(1024));
    let machine = Machine {
        arch: arch(answers.get("arch")).to_owned(),
        hostname: answers.get("hostname").to_owned(),
        uid: u32::try_from(answers.number("uid")).unwrap_or(u32::MAX),
        cores: u32::try_from(answers.number("cores").max(1)).unwrap_or(u32::MAX),
        load_percent: load_percent(answers.get("load")),
        memory: kilobytes("memory_kb"),
        disk_free: kilobytes("disk_free_kb"),
        machine_id: machine_id(
            answers.get("boot_id"),
            answers.get("mounts"),
            answers.get("machine"),
            answers.get("hostname"),
        ),
        // `OpenSSH_9.2p1 Debian-2, OpenSSL 3.0.19`: who cares for the library is rare.
        ssh_client: answers.find("ssh").map(|version| version.split(',').next().unwrap_or(version).to_owned()),
        sshd: None,
        has_gzip: answers.find("gzip").is_some(),
        home: answers.find("home").map(PathBuf::from).filter(|home| home.is_absolute()),
        whereabouts: Whereabouts {
            seen_at: answers.find("connection").and_then(server_end),
            host_keys: answers.all("host_key"),
        },
        latency,
        scratch: PathBuf::from(scratch),
        scratch_quality: match answers.number("scratch_rank") {
            0 => ScratchQuality::Good,
            1 => ScratchQuality::NoExecution,
            _ => ScratchQuality::NotLocalDisk,
        },
    };
    Ok(Probed { machine, folder: PathBuf::from(folder), cached: answers.find("cached").is_some() })
}

/// The load average as /proc/loadavg has it, in percent of a processor.
pub(super) fn load_percent(text: &str) -> u32 {
    (text.parse::<f64>().unwrap_or(0.0) * 100.0).round() as u32
}

/// An architecture in the words of `uname -m` on Linux, which Rust uses too.
pub(super) fn arch(name: &str) -> &str {
    match name {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    }
}

struct Answers<'a> {
    by_key: HashMap<&'a str, Vec<&'a str>>,
}

impl<'a> Answers<'a> {
    fn new(text: &'a str) -> Self {
        let mut by_key: HashMap<&str, Vec<&str>> = HashMap::new();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            by_key.entry(key).or_default().push(value);
        }
        Answers { by_key }
    }

    /// An answer that says something.
    fn find(&self, key: &str) -> Option<&'a str> {
        self.by_key.get(key)?.first().copied().filter(|value| !value.is_empty())
    }

    fn get(&self, key: &str) -> &'a str {
        self.find(key).unwrap_or_default()
    }

    fn all(&self, key: &str) -> Vec<String> {
        self.by_key.get(key).into_iter().flatten().map(|value| (*value).to_owned()).collect()
    }

    fn number(&self, key: &str) -> u64 {
        self.get(key).parse().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = "system=Linux\narch=arm64\nhostname=h1\nuid=1000\ncores=4\nload=1.27\nmemory_kb=2048\nboot_id=b\nmounts=m\n\
        machine=x\nssh=OpenSSH_9.2p1 Debian-2, OpenSSL 3.0.19\ngzip=yes\nrefused=/a: noexec=on\nrefused=/b: it is a link\n\
        home=/home/a\nconnection=10.0.0.1 5000 10.0.0.2 22\nhost_key=ssh-ed25519 AA\nhost_key=ssh-rsa BB\n\
        folder=/tmp/runner-1000\ncached=yes\nscratch=/var/tmp/runner-1000\nscratch_rank=1\ndisk_free_kb=3\nend=1\n";

    #[test]
    fn answers_become_a_machine() {
        let probed = parse(TOLD, Duration::from_millis(3)).expect("parses");
        let machine = &probed.machine;
        assert_eq!((machine.arch.as_str(), machine.hostname.as_str(), machine.uid), ("aarch64", "h1", 1000));
        assert_eq!((machine.cores, machine.memory, machine.disk_free), (4, Bytes(2 << 20), Bytes(3072)));
        assert_eq!(machine.load_percent, 127);
        assert_eq!(machine.ssh_client.as_deref(), Some("OpenSSH_9.2p1 Debian-2"));
        assert_eq!((machine.has_gzip, machine.scratch_quality), (true, ScratchQuality::NoExecution));
        assert_eq!(machine.home.as_deref(), Some(Path::new("/home/a")));
        assert_eq!(machine.whereabouts.seen_at, Some(("10.0.0.2".to_owned(), 22)));
        assert_eq!(machine.whereabouts.host_keys, ["ssh-ed25519 AA", "ssh-rsa BB"]);
        assert_eq!((probed.folder.to_str(), probed.cached), (Some("/tmp/runner-1000"), true));
    }

    #[test]
    fn what_is_missing_is_an_error_with_the_reasons() {
        let check = |from: &str, to: &str, expected: ConnectError| {
            assert_eq!(parse(&TOLD.replace(from, to), Duration::ZERO), Err(expected), "{from}");
        };
        check("system=Linux", "system=Darwin", ConnectError::OtherSystem { system: "Darwin".into() });
        let refused = vec!["/a: noexec=on".to_owned(), "/b: it is a link".to_owned()];
        check("\nfolder=", "\nx=", ConnectError::NoFolder { refused });
        check(
            "\nscratch=",
            "\nscratch_refused=",
            ConnectError::NoScratch { refused: vec!["/var/tmp/runner-1000".into()] },
        );
    }

    #[test]
    fn others_may_come_where_we_came() {
        let check = |said: &str, address: Option<(&str, u16)>| {
            assert_eq!(server_end(said), address.map(|(address, port)| (address.to_owned(), port)), "{said}");
        };
        check("10.0.0.1 5000 10.0.0.2 2222", Some(("10.0.0.2", 2222)));
        check("::1 5000 2001:db8::2 22", Some(("2001:db8::2", 22)));
        check("fe80::1%eth0 5000 fe80::2%eth0 22", None);
        check("UNKNOWN", None);
        check("", None);
    }

    #[test]
    fn workers_on_one_system_have_one_id() {
        let id = |text: &str| parse(text, Duration::ZERO).expect("parses").machine.machine_id;
        assert_eq!(id(TOLD), id(&TOLD.replace("uid=1000", "uid=1001")));
        for part in ["boot_id=b", "mounts=m", "machine=x", "hostname=h1"] {
            assert_ne!(id(TOLD), id(&TOLD.replace(part, &format!("{part}2"))), "{part}");
        }
    }

    #[test]
    fn quotas_of_control_groups_are_found() {
        let folder = tempfile::TempDir::new().expect("a folder");
        for (file, text) in [
            ("x/cpu.max", "150000 100000"),
            ("x/y/cpu.max", "max 100000"),
            ("cpu/a/cpu.cfs_quota_us", "400000"),
            ("cpu/a/cpu.cfs_period_us", "100000"),
            ("cpu/a/b/cpu.cfs_quota_us", "-1"),
            ("cpu/a/b/cpu.cfs_period_us", "100000"),
        ] {
            let path = folder.path().join(file);
            fs_err::create_dir_all(path.parent().expect("a folder")).expect("is made");
            fs_err::write(path, text).expect("writes");
        }
        let check = |membership: &str, expected: &str| {
            let script = format!(
                "groups='{}'\n{}\necho '{membership}' | quotas",
                folder.path().display(),
                include_str!("quota.sh")
            );
            let output = std::process::Command::new("sh").arg("-c").arg(script).output().expect("sh runs");
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected, "{membership}");
        };
        check("0::/x/y", "1");
        check("3:cpu,cpuacct:/a/b", "4");
        check("0::/not/seen/here", "");
        check("2:cpuset:/a", "");
    }

    #[tokio::test]
    async fn this_machine_can_be_looked_at_and_nothing_stays() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let probed = probe(&Site::Here, "b", Some(folder.path()), Purpose::Look).await.expect("looks");
        assert_eq!(probed.machine.arch, std::env::consts::ARCH);
        assert!(probed.machine.scratch.starts_with(folder.path()));
        assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 0);
    }

    #[tokio::test]
    async fn a_planted_link_is_refused() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let target = tempfile::TempDir::new().expect("a folder");
        let planted = folder.path().join(crate::folders::own_name());
        std::os::unix::fs::symlink(target.path(), &planted).expect("is planted");
        let refused = vec![format!("{}: it is a link", planted.display())];
        let probed = probe(&Site::Here, "b", Some(folder.path()), Purpose::Look).await.map(|_| ());
        assert_eq!(probed, Err(ConnectError::NoScratch { refused }));
    }
}
