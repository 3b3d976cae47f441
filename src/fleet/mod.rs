//! Where hosts come from: a `workers.txt`, a list on the command line, this machine, EC2.
//!
//! What was said becomes a [`Source`] ([`choose`]), a source becomes a [`Fleet`] ([`Fleet::resolve`]): hosts as they were
//! written, none of them tried yet. [`workers_file`] holds the grammar, [`ranges`] the `node[01-16]` in it, [`local`] this
//! machine. A source on EC2 is only recognised here; [`ec2::discover`] resolves it, since that takes requests and time.
//!
//! Nothing here connects to a host or resolves a name, and only [`ec2`] depends on the environment, through AWS's own SDK.

#[cfg(feature = "ec2")]
pub mod ec2;
#[cfg(not(feature = "ec2"))]
#[path = "no_ec2.rs"]
pub mod ec2;
pub mod local;
pub mod ranges;
pub mod workers_file;

mod source;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Fault, Kind};
use crate::units::Bytes;

pub use source::{LocalChoice, Source, choose};

/// One worker as it was asked for. What is none is found out or defaulted when the host is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostSpec {
    /// Whether it takes ssh to get there.
    pub place: Place,
    /// As given to ssh: an alias of its configuration, a name, or an address (IPv6 without brackets).
    pub address: String,
    /// The user to log in as; none leaves it to ssh.
    pub user: Option<String>,
    /// The port to connect to; none leaves it to ssh.
    pub port: Option<u16>,
    /// How many attempts run at once, at least 1.
    pub slots: Option<u32>,
    /// How much memory the attempts together may plan with, more than 0.
    pub memory: Option<Bytes>,
    /// The folder on the host for what goes with the job; absolute.
    pub scratch: Option<PathBuf>,
    /// The folder on the host for datasets; absolute.
    pub data: Option<PathBuf>,
    /// The address by which other workers reach it, where that is another one.
    pub peer: Option<String>,
}

/// How a host is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Place {
    /// Over ssh.
    Ssh,
    /// It is the machine that this process runs on.
    ThisMachine,
}

impl HostSpec {
    /// A host of which only the address is known.
    pub fn new(place: Place, address: impl Into<String>) -> Self {
        HostSpec {
            place,
            address: address.into(),
            user: None,
            port: None,
            slots: None,
            memory: None,
            scratch: None,
            data: None,
            peer: None,
        }
    }

    /// The host for people: `node1`, `node1:2222`, `[::1]:22`. Where two hosts of a fleet share one, [`Fleet::names`]
    /// tells them apart.
    pub fn name(&self) -> String {
        match self.port {
            Some(port) if self.address.contains(':') => format!("[{}]:{port}", self.address),
            Some(port) => format!("{}:{port}", self.address),
            None => self.address.clone(),
        }
    }

    fn name_with_user(&self) -> String {
        self.user.as_ref().map_or_else(|| self.name(), |user| format!("{user}@{}", self.name()))
    }
}

/// The hosts of a job, in the order in which they were written: the place is the worker's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// At least one. The same host may be there twice: each is a worker of its own.
    pub hosts: Vec<HostSpec>,
    /// Where they were found.
    pub origin: Origin,
}

impl Fleet {
    /// The hosts that a source names.
    ///
    /// # Errors
    /// A [`Fault`] of kind usage: the file is missing, unreadable, malformed or without hosts. A bug is reported for a
    /// source on EC2, which the caller has to hand to [`ec2::discover`].
    pub fn resolve(source: &Source) -> Result<Fleet, Fault> {
        let (hosts, origin) = match source {
            Source::ThisMachine => return Ok(local::fleet()),
            Source::File(path) => (source::read(path)?, Origin::File(path.clone())),
            Source::List(text) => (workers_file::parse_list(text)?, Origin::List(text.clone())),
            Source::Ec2(_) => {
                return Err(Fault::new(Kind::Bug, format!("{source:?} reached the parser of hosts")));
            }
        };
        if hosts.is_empty() {
            return Err(no_hosts(&origin));
        }
        Ok(Fleet { hosts, origin })
    }

    /// A name for each host, all different: [`HostSpec::name`]; with the user before it where that tells two apart; with
    /// `#2` and so on behind it for a host that is there again.
    pub fn names(&self) -> Vec<String> {
        let mut users: HashMap<String, Option<&Option<String>>> = HashMap::new();
        for host in &self.hosts {
            // None once two different users were seen.
            let user = users.entry(host.name()).or_insert(Some(&host.user));
            *user = user.filter(|user| **user == host.user);
        }
        let mut seen: HashMap<String, u32> = HashMap::new();
        let mut names = Vec::with_capacity(self.hosts.len());
        for host in &self.hosts {
            let one_user = users.get(&host.name()).is_some_and(Option::is_some);
            let name = if one_user { host.name() } else { host.name_with_user() };
            let count = seen.entry(name.clone()).and_modify(|count| *count += 1).or_insert(1);
            names.push(if *count == 1 { name } else { format!("{name}#{count}") });
        }
        names
    }
}

/// Where the hosts of a fleet were found; displayed as in "job ID on N workers (from WHERE)".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Nobody named any: this machine's cores.
    ThisMachine,
    /// A file of hosts.
    File(PathBuf),
    /// A list, as it was written.
    List(String),
    /// EC2, with what selected the instances: `tag KEY=VALUE, REGION`.
    Ec2(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Enough to recognise a list by.
        const LIST_CHARS_MAX: usize = 60;
        match self {
            Origin::ThisMachine => f.write_str("this machine"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::List(text) if text.chars().count() > LIST_CHARS_MAX => {
                write!(f, "{}…", text.chars().take(LIST_CHARS_MAX).collect::<String>())
            }
            Origin::List(text) => f.write_str(text),
            Origin::Ec2(selection) => write!(f, "EC2, {selection}"),
        }
    }
}

fn no_hosts(origin: &Origin) -> Fault {
    let help = "[N/][user@]host[:port] is expected, a line each; workers.txt.example shows every form";
    match origin {
        Origin::File(path) => Fault::usage(format!("{}: no host in it: {help}", path.display())),
        Origin::List(text) => Fault::usage(format!("list of workers `{text}`: no host in it: host1,host2 is expected")),
        Origin::ThisMachine | Origin::Ec2(_) => Fault::usage(format!("no host from {origin}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_all_different() {
        let check = |list: &str, names: &[&str]| {
            let fleet = Fleet::resolve(&Source::List(list.to_owned())).expect(list);
            assert_eq!(fleet.names(), names, "{list}");
        };
        check("node1,ann@node2,node3:2222", &["node1", "node2", "node3:2222"]);
        check("[::1],[::1]:22", &["::1", "[::1]:22"]);
        check("ann@n,bob@n", &["ann@n", "bob@n"]);
        check("ann@n,n,ann@n", &["ann@n", "n", "ann@n#2"]);
        check("n,n,n,m", &["n", "n#2", "n#3", "m"]);
        check("n:1,n:2", &["n:1", "n:2"]);
    }

    #[test]
    fn origins_read_well_in_a_sentence() {
        let check = |origin: Origin, text: &str| assert_eq!(origin.to_string(), text);
        check(Origin::ThisMachine, "this machine");
        check(Origin::File("workers.txt".into()), "workers.txt");
        check(Origin::List("node[01-04],gpu".into()), "node[01-04],gpu");
        check(Origin::List("n,".repeat(100)), &format!("{}…", "n,".repeat(30)));
        check(Origin::Ec2("tag role=worker, eu-west-1".into()), "EC2, tag role=worker, eu-west-1");
    }

    #[test]
    fn a_list_without_hosts_is_refused() {
        let fault = Fleet::resolve(&Source::List(" , ".into())).expect_err("no host");
        assert_eq!(fault.text, "list of workers ` , `: no host in it: host1,host2 is expected");
    }
}
