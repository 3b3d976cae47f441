//! Four ssh hosts on this machine, made by `scripts/testbed`.

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
}

impl Hosts {
    /// Makes them; none, with loud words, where they cannot be made.
    ///
    /// # Errors
    /// When the testbed cannot be started at all.
    pub fn up(data: &Data) -> anyhow::Result<Option<Self>> {
        let hosts = Hosts { folder: data.path("hosts") };
        hosts.call(&["down"])?;
        let up = hosts.call(&["up", &HOSTS.to_string()])?;
        let mode = fs_err::read_to_string(hosts.folder.join("mode")).unwrap_or_default();
        if up && mode.trim() == "namespaces" {
            return Ok(Some(hosts));
        }
        println!("SKIPPED: hosts in namespaces cannot be made here");
        Ok(None)
    }

    /// The configuration for ssh that knows them.
    pub fn ssh_config(&self) -> String {
        self.folder.join("ssh_config").display().to_string()
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        (1..=HOSTS).map(|host| format!("h{host}")).collect()
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
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/testbed");
        let mut command = Command::new(script);
        command.args(&words[..1]).arg("--dir").arg(&self.folder).args(&words[1..]);
        command.env("TESTBED_DISK", DISK).stdin(Stdio::null()).stdout(Stdio::null());
        Ok(command.status().context("starting scripts/testbed")?.success())
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let _still_there = self.call(&["down"]);
    }
}
