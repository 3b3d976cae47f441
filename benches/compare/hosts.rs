//! Ssh hosts on this machine, made by `scripts/testbed`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context;

use crate::data::Data;

const HOSTS: usize = 4;
/// A host's disk holds the whole input, as rsync may put it there.
const DISK: &str = "4G";

/// Hosts that go with their owner.
pub struct Hosts {
    folder: PathBuf,
    count: usize,
    is_owner: bool,
}

impl Hosts {
    /// Makes them; none, with loud words, where they cannot be made.
    ///
    /// # Errors
    /// When the testbed cannot be started at all.
    pub fn up(data: &Data) -> anyhow::Result<Option<Self>> {
        Hosts::so_many(data, HOSTS)
    }

    /// The same, of another number.
    ///
    /// # Errors
    /// As [`Hosts::up`].
    pub fn so_many(data: &Data, count: usize) -> anyhow::Result<Option<Self>> {
        let hosts = Hosts { folder: data.path("hosts"), count, is_owner: true };
        hosts.call(&["down"])?;
        let up = hosts.call(&["up", &count.to_string()])?;
        let mode = fs_err::read_to_string(hosts.folder.join("mode")).unwrap_or_default();
        if up && mode.trim() == "namespaces" {
            return Ok(Some(hosts));
        }
        println!("SKIPPED: hosts in namespaces cannot be made here");
        Ok(None)
    }

    /// The same hosts, which stay when this goes.
    pub fn share(&self) -> Hosts {
        Hosts { folder: self.folder.clone(), count: self.count, is_owner: false }
    }

    /// Bytes that came to all of them over their links so far.
    ///
    /// # Errors
    /// When a host cannot be asked.
    pub fn received(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for name in self.names() {
            let mut command = self.testbed(&["exec", &name, "cat", "/proc/net/dev"]);
            let output = command.output().context("starting scripts/testbed")?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let links = text.lines().filter_map(|line| line.split_once(':')).filter(|(link, _)| link.trim() != "lo");
            let received = links.filter_map(|(_, numbers)| numbers.split_whitespace().next()?.parse::<u64>().ok());
            sum += received.sum::<u64>();
        }
        Ok(sum)
    }

    /// The configuration for ssh that knows them.
    pub fn ssh_config(&self) -> String {
        self.folder.join("ssh_config").display().to_string()
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        (1..=self.count).map(|host| format!("h{host}")).collect()
    }

    /// A file that names them, with a slot each.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn workers_file(&self) -> anyhow::Result<String> {
        let lines: String = self.names().iter().map(|name| format!("{name} slots=1\n")).collect();
        let path = self.folder.join("bench-workers");
        fs_err::write(&path, lines)?;
        Ok(path.display().to_string())
    }

    /// Lets `scripts/testbed` do something; whether it could.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn call(&self, words: &[&str]) -> anyhow::Result<bool> {
        let mut command = self.testbed(words);
        Ok(command.stdout(Stdio::null()).status().context("starting scripts/testbed")?.success())
    }

    fn testbed(&self, words: &[&str]) -> Command {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/testbed"));
        command.args(&words[..1]).arg("--dir").arg(&self.folder).args(&words[1..]);
        command.env("TESTBED_DISK", DISK).stdin(Stdio::null());
        command
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        if !self.is_owner {
            return;
        }
        let _still_there = self.call(&["down"]);
    }
}
