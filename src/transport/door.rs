//! How other machines come to one that we are logged in to: its address, and host keys that are verified.
//!
//! The keys are those that our own ssh would have taken: `ssh-keygen -F` finds them under the name that ssh looks for,
//! hashed or not. Where they are on no file (`StrictHostKeyChecking no`, keys from the DNS), the host's own account of
//! them is taken, which came over a connection that the user's configuration holds for good.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::Transport;
use super::config::{self, Resolved};
use crate::fleet::HostSpec;
use crate::protocol::peer::{Door, Whereabouts};

impl Transport {
    /// How other machines reach a host that was looked at; none if they cannot.
    pub async fn door(&self, host: &HostSpec, whereabouts: &Whereabouts) -> Option<Door> {
        let resolved = Resolved::ask(&self.ssh_config, host).await.ok()?;
        find(&resolved, whereabouts, host.peer.clone()).await
    }
}

/// The door of a machine; `peer` is the address that the user said, else it is the one at which its sshd met us, which
/// is the inner one where the outer one is translated.
pub(super) async fn find(resolved: &Resolved, whereabouts: &Whereabouts, peer: Option<String>) -> Option<Door> {
    let (seen_address, port) = whereabouts.seen_at.clone()?;
    let known_as = resolved.host_key_alias.clone().unwrap_or_else(|| resolved.hostname.clone());
    let known_hosts = known_hosts(resolved, whereabouts, &known_as).await;
    if known_hosts.is_empty() {
        return None;
    }
    Some(Door { address: peer.unwrap_or(seen_address), port, user: resolved.user.clone(), known_as, known_hosts })
}

async fn known_hosts(resolved: &Resolved, whereabouts: &Whereabouts, known_as: &str) -> String {
    let home = std::env::home_dir().unwrap_or_default();
    let mut lines = String::new();
    for file in resolved.known_hosts.iter().chain(&resolved.system_known_hosts) {
        let file = config::expand_home(file, &home);
        for name in names(resolved) {
            lines.push_str(&lines_for(&look_up(&name, &file).await, known_as));
        }
    }
    if lines.is_empty() {
        lines = whereabouts.host_keys.iter().map(|key| format!("{known_as} {key}\n")).collect();
    }
    lines
}

/// Under which ssh looks: the port belongs to the name unless it is the usual one, and is left out at last.
fn names(resolved: &Resolved) -> Vec<String> {
    match &resolved.host_key_alias {
        Some(alias) => vec![alias.clone()],
        None if resolved.port == 22 => vec![resolved.hostname.clone()],
        None => vec![format!("[{}]:{}", resolved.hostname, resolved.port), resolved.hostname.clone()],
    }
}

async fn look_up(name: &str, file: &Path) -> String {
    if !file.is_file() {
        return String::new();
    }
    let file: PathBuf = file.to_owned();
    let output = Command::new("ssh-keygen")
        .args(["-F", name, "-f"])
        .arg(file)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// What `ssh-keygen -F` found, under the one name that others use. Markers (`@cert-authority`, `@revoked`) stay.
fn lines_for(found: &str, known_as: &str) -> String {
    let mut lines = String::new();
    for line in found.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace().peekable();
        let marker = words.next_if(|word| word.starts_with('@')).map(|marker| format!("{marker} ")).unwrap_or_default();
        if let (Some(_names), Some(kind), Some(key)) = (words.next(), words.next(), words.next()) {
            lines.push_str(&format!("{marker}{known_as} {kind} {key}\n"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_lines_get_the_name_that_others_use() {
        let found = "# Host h1 found: line 3 \nh1,10.0.0.1 ssh-ed25519 AA comment\n|1|x=|y= ssh-rsa BB\n\
            @cert-authority *.lan ssh-ed25519 CC\n@revoked * ssh-rsa DD\n";
        let expected = "h ssh-ed25519 AA\nh ssh-rsa BB\n@cert-authority h ssh-ed25519 CC\n@revoked h ssh-rsa DD\n";
        assert_eq!(lines_for(found, "h"), expected);
        assert_eq!(lines_for("", "h"), "");
    }

    #[test]
    fn names_are_looked_up_as_ssh_does() {
        let check = |alias: Option<&str>, port: u16, expected: &[&str]| {
            let resolved = Resolved {
                hostname: "n".to_owned(),
                port,
                host_key_alias: alias.map(str::to_owned),
                ..Resolved::default()
            };
            assert_eq!(names(&resolved), expected);
        };
        check(None, 22, &["n"]);
        check(None, 2222, &["[n]:2222", "n"]);
        check(Some("a"), 2222, &["a"]);
    }

    #[tokio::test]
    async fn keys_are_found_on_file_hashed_or_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("known hosts");
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0z0E7bkPjXtHZQ3nsX8HFKUYGhWnKQ6k0mYz1uQ0xY";
        fs_err::write(&file, format!("[n]:2222 {key}\n")).expect("writes");
        let resolved = Resolved {
            hostname: "n".to_owned(),
            port: 2222,
            known_hosts: vec![file.display().to_string()],
            ..Resolved::default()
        };
        let machine = Whereabouts { host_keys: vec!["ssh-rsa OWN".to_owned()], seen_at: None };
        assert_eq!(known_hosts(&resolved, &machine, "n").await, format!("n {key}\n"));
        let hashed = std::process::Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&file).output();
        assert!(hashed.expect("runs").status.success());
        assert_eq!(known_hosts(&resolved, &machine, "n").await, format!("n {key}\n"));
        fs_err::write(&file, "").expect("writes");
        assert_eq!(known_hosts(&resolved, &machine, "n").await, "n ssh-rsa OWN\n");
    }
}
