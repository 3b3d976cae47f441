//! Why a worker cannot be reached or used, as far as can be concluded, and what helps.
//!
//! The text of a [`ConnectError`] does not name the host, so that the same trouble of many hosts can be said once, with
//! their names folded; [`ConnectError::fix`] is given them. [`super::classify`] makes these out of ssh's own words.

use std::path::PathBuf;

use thiserror::Error;

/// What went wrong between here and a worker that runs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConnectError {
    /// The name is known to nobody. Nothing was sent to the host.
    #[error("the name `{name}` does not resolve")]
    Unresolved {
        /// As ssh asked for it: `HostName` of the configuration, else the name given.
        name: String,
    },
    /// The machine is there, and nothing listens on the port.
    #[error("connection refused on port {port}")]
    Refused {
        /// The port.
        port: u16,
    },
    /// Nothing came back: it is down, or a firewall swallows what we send.
    #[error("no answer on port {port}: the connection timed out")]
    TimedOut {
        /// The port.
        port: u16,
    },
    /// The network says that there is no way.
    #[error("no route to the host")]
    NoRoute,
    /// It showed a key that no known_hosts file has; nothing was sent to it.
    #[error("its host key is not known")]
    HostKeyUnknown,
    /// It showed another key than the one on file; nothing was sent to it.
    #[error("its host key has changed: another is on file{}", at(.place))]
    HostKeyChanged {
        /// `FILE:LINE` of the key on file, if ssh told.
        place: Option<String>,
        /// The command that removes it, as ssh gave it.
        removal: Option<String>,
    },
    /// It is the right host, and it does not let us in.
    #[error("permission denied for user `{user}` (it takes {methods}){}", locked(.locked_keys))]
    Denied {
        /// Who we said we are.
        user: String,
        /// What the host accepts as proof, with commas.
        methods: String,
        /// Keys that would have been tried but have a passphrase that nobody could be asked for.
        locked_keys: Vec<PathBuf>,
    },
    /// It hung up before it said a word, each time: too many logins at once, or a filter in front of it.
    #[error("sshd hung up before the login began, {tries} times")]
    Dropped {
        /// How often we tried.
        tries: u32,
    },
    /// The connection holds, and no more sessions are given on it.
    #[error("sshd gives no session on the connection (MaxSessions)")]
    SessionRefused,
    /// The trouble is with a jump host on the way.
    #[error("at {}: {error}", jump(.name))]
    Jump {
        /// The jump host as the configuration has it; `ProxyCommand` where a command makes the connection.
        name: String,
        /// What is wrong there.
        error: Box<ConnectError>,
    },
    /// ssh's own configuration is wrong: no connection was tried.
    #[error("the ssh configuration is refused: {text}")]
    Configuration {
        /// ssh's words.
        text: String,
    },
    /// The host runs no Linux.
    #[error("it runs {system}: workers run Linux")]
    OtherSystem {
        /// As `uname -s` has it.
        system: String,
    },
    /// The host's processor is another, and no binary for it was given.
    #[error("it is {arch}, this binary is {ours}, and none for {arch} is set")]
    OtherArchitecture {
        /// The host's.
        arch: String,
        /// This machine's.
        ours: String,
    },
    /// Nowhere could the binary be put and started.
    #[error("no folder there can hold our binary: {}", .refused.join("; "))]
    NoFolder {
        /// Each that was tried, with why not.
        refused: Vec<String>,
    },
    /// Nowhere could the job's files be put.
    #[error("no folder there can hold scratch files: {}", .refused.join("; "))]
    NoScratch {
        /// Each that was tried, with why not.
        refused: Vec<String>,
    },
    /// The binary did not fit.
    #[error("no space left on the disk of {}", .folder.display())]
    DiskFull {
        /// Where it was put.
        folder: PathBuf,
    },
    /// The binary arrived and cannot be used.
    #[error("our binary could not be installed: {text}")]
    Install {
        /// Why.
        text: String,
    },
    /// The worker's process did not come up.
    #[error("the worker did not start: {text}")]
    Start {
        /// Its last words.
        text: String,
    },
    /// The connection went while something was being done.
    #[error("the connection was lost: {text}")]
    Lost {
        /// What is known of it.
        text: String,
    },
    /// Something is wrong on this machine.
    #[error("on this machine: {text}")]
    Here {
        /// What.
        text: String,
    },
    /// None of these: ssh's own words.
    #[error("{text}")]
    Other {
        /// The words.
        text: String,
    },
}

impl ConnectError {
    /// What the user can do about it, for one host or for several folded into an expression; a sentence fragment.
    pub fn fix(&self, hosts: &str) -> String {
        match self {
            ConnectError::Unresolved { .. } => "correct the name, or give its HostName in the ssh configuration".into(),
            ConnectError::Refused { port } => {
                format!("start sshd there; if it listens elsewhere than on port {port}, write HOST:PORT")
            }
            ConnectError::TimedOut { .. } | ConnectError::NoRoute => {
                "see that it is switched on, and that no firewall stands between".into()
            }
            ConnectError::HostKeyUnknown => format!("runner workers trust '{hosts}'"),
            ConnectError::HostKeyChanged { removal, .. } => {
                let removal = removal.clone().unwrap_or_else(|| "ssh-keygen -R HOST".into());
                format!(
                    "if you know why it changed: {removal}, then runner workers trust '{hosts}'; else somebody is in between"
                )
            }
            ConnectError::Denied { locked_keys, .. } if !locked_keys.is_empty() => {
                let keys: Vec<String> = locked_keys.iter().map(|key| key.display().to_string()).collect();
                format!("ssh-add {} (with an agent running: eval $(ssh-agent))", keys.join(" "))
            }
            ConnectError::Denied { .. } => {
                "put your public key there (ssh-copy-id), or name the right user (user@host) or key (IdentityFile)"
                    .into()
            }
            ConnectError::Dropped { .. } => {
                "raise MaxStartups in its sshd_config, or look for a filter that shuts this address out".into()
            }
            ConnectError::SessionRefused => {
                "allow at least one session a connection (MaxSessions in its sshd_config)".into()
            }
            ConnectError::Jump { name, error } => error.fix(name),
            ConnectError::Configuration { .. } => "correct that file".into(),
            ConnectError::OtherSystem { .. } => "leave it out of the workers".into(),
            ConnectError::OtherArchitecture { arch, .. } => {
                format!("give a binary built for it: `{arch} = \"PATH\"` under [worker.binaries] in runner.toml")
            }
            ConnectError::NoFolder { .. } => {
                "make one of these folders usable, or set XDG_CACHE_HOME there to one that allows execution".into()
            }
            ConnectError::NoScratch { .. } => "name a folder on a local disk: scratch=DIR in workers.txt".into(),
            ConnectError::DiskFull { .. } => "free some space there".into(),
            ConnectError::Install { .. } | ConnectError::Start { .. } => {
                format!("try it by hand: runner workers exec --workers '{hosts}' id")
            }
            ConnectError::Lost { .. } => "try again; if it happens often, look at the network between".into(),
            ConnectError::Here { .. } => "correct that here".into(),
            ConnectError::Other { .. } => format!("see what `ssh -v` says for {hosts}"),
        }
    }

    /// Whether another try, a little later and with fewer others, may well succeed.
    pub(super) fn passes(&self) -> bool {
        match self {
            ConnectError::Dropped { .. } => true,
            ConnectError::Jump { error, .. } => error.passes(),
            ConnectError::Unresolved { .. }
            | ConnectError::Refused { .. }
            | ConnectError::TimedOut { .. }
            | ConnectError::NoRoute
            | ConnectError::HostKeyUnknown
            | ConnectError::HostKeyChanged { .. }
            | ConnectError::Denied { .. }
            | ConnectError::SessionRefused
            | ConnectError::Configuration { .. }
            | ConnectError::OtherSystem { .. }
            | ConnectError::OtherArchitecture { .. }
            | ConnectError::NoFolder { .. }
            | ConnectError::NoScratch { .. }
            | ConnectError::DiskFull { .. }
            | ConnectError::Install { .. }
            | ConnectError::Start { .. }
            | ConnectError::Lost { .. }
            | ConnectError::Here { .. }
            | ConnectError::Other { .. } => false,
        }
    }

    /// The same, where it was met in the try of this number.
    pub(super) fn after(self, number: u32) -> Self {
        match self {
            ConnectError::Dropped { .. } => ConnectError::Dropped { tries: number },
            ConnectError::Jump { name, error } => ConnectError::Jump { name, error: Box::new(error.after(number)) },
            other => other,
        }
    }

    /// A failure of our own machine's files or processes.
    pub(super) fn here(error: impl std::fmt::Display) -> Self {
        ConnectError::Here { text: error.to_string() }
    }
}

fn jump(name: &str) -> String {
    if name == "ProxyCommand" { "its ProxyCommand".to_owned() } else { format!("jump host {name}") }
}

fn at(place: &Option<String>) -> String {
    place.as_ref().map(|place| format!(" at {place}")).unwrap_or_default()
}

fn locked(keys: &[PathBuf]) -> String {
    let names: Vec<String> = keys.iter().map(|key| key.display().to_string()).collect();
    if names.is_empty() {
        return String::new();
    }
    format!("; {} has a passphrase and no agent holds it", names.join(", "))
}
