//! Whether workers reach each other, for `runner workers check`: tried for real, from each host to the others.
//!
//! Nothing is logged in to and nothing is left: a host that shows the right key and then asks who we are is reached.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use futures::future::join_all;

use super::in_groups;
use crate::fleet::ranges::fold;
use crate::fleet::{HostSpec, Place};
use crate::protocol::peer::Door;
use crate::transport::{Machine, Transport};

/// Up to so many hosts, all pairs are tried,
const ALL_PAIRS_MAX: usize = 16;
/// and so many others from each where there are more.
const OTHERS_MAX: usize = 3;

/// A host that answered.
pub(super) struct Reached<'a> {
    pub name: &'a str,
    pub host: &'a HostSpec,
    pub machine: &'a Machine,
}

/// What was tried, and what came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pairs {
    tried: usize,
    /// From, to, and why not.
    apart: Vec<(String, String, String)>,
}

/// Tries pairs of hosts that are reached over ssh.
pub(super) async fn try_pairs(hosts: &[Reached<'_>], transport: &Transport) -> Pairs {
    let hosts: Vec<&Reached> = hosts.iter().filter(|host| host.host.place == Place::Ssh).collect();
    let doors = join_all(hosts.iter().map(|host| transport.door(host.host, &host.machine.whereabouts))).await;
    let tries = (0..hosts.len()).map(|from| {
        let others = others(from, hosts.len()).into_iter();
        let others = others.filter(|to| hosts[*to].machine.machine_id != hosts[from].machine.machine_id).collect();
        try_from(transport, &hosts, &doors, from, others)
    });
    let mut answers = join_all(tries).await;
    let closed: Vec<Option<String>> = answers.iter_mut().map(|answer| answer.said.remove("keys")).collect();
    let mut pairs = Pairs::default();
    for (from, answer) in answers.into_iter().enumerate() {
        for to in answer.others {
            pairs.tried += 1;
            let problem = match (&closed[to], &doors[to]) {
                (Some(closed), _) => Some(closed.clone()),
                (None, None) => Some("its address or host key is not known".to_owned()),
                (None, Some(_)) => problem(&answer.said, to),
            };
            pairs.apart.extend(problem.map(|why| (hosts[from].name.to_owned(), hosts[to].name.to_owned(), why)));
        }
    }
    pairs
}

/// Those that one host tries: all, or the next few in a ring.
fn others(from: usize, count: usize) -> Vec<usize> {
    let most = if count <= ALL_PAIRS_MAX { count.saturating_sub(1) } else { OTHERS_MAX };
    (1..=most).map(|step| (from + step) % count).collect()
}

/// What a host said of the others.
struct Answer {
    others: Vec<usize>,
    said: BTreeMap<String, String>,
}

async fn try_from(
    transport: &Transport,
    hosts: &[&Reached<'_>],
    doors: &[Option<Door>],
    from: usize,
    others: Vec<usize>,
) -> Answer {
    let script = script(others.iter().filter_map(|to| Some((*to, doors[*to].as_ref()?))));
    let said = match transport.exec(hosts[from].host, &script).await {
        Ok(executed) => String::from_utf8_lossy(&executed.stdout).into_owned(),
        Err(error) => format!("ssh={error}"),
    };
    let said = said.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.into(), value.into()));
    Answer { others, said: said.collect() }
}

fn script<'a>(doors: impl Iterator<Item = (usize, &'a Door)>) -> String {
    let mut script = include_str!("reach.sh").to_owned();
    for (number, door) in doors {
        let words = [&door.user, &door.address, &door.known_as, &door.known_hosts];
        // No word of these has a NUL, which alone cannot be quoted.
        let words = words.map(|word| shlex::try_quote(word).unwrap_or_default().into_owned());
        let [user, address, known_as, known_hosts] = words;
        // Writing to a string cannot fail.
        let _ = writeln!(script, "try {number} {} {user} {address} {known_as} {known_hosts} &", door.port);
    }
    script + "wait\nexit 0\n"
}

/// Why a host is not reached, if it is not.
fn problem(said: &BTreeMap<String, String>, to: usize) -> Option<String> {
    match (said.get("ssh").map(String::as_str), said.get(&to.to_string())) {
        (Some("none"), _) => Some("there is no ssh client".to_owned()),
        (Some(error), _) => Some(error.to_owned()),
        // Let in without a proof, or asked for one.
        (None, Some(words)) if words.is_empty() || words.contains("Permission denied") => None,
        (None, Some(words)) => Some(words.clone()),
        (None, None) => Some("it could not be tried".to_owned()),
    }
}

impl Pairs {
    /// A line for people, if anything was tried.
    pub fn line(&self) -> String {
        let reached = self.tried - self.apart.len();
        match self.tried {
            0 => String::new(),
            tried if reached == tried => format!("peers: all {tried} tried pairs reach each other\n"),
            tried => format!("peers: {reached} of {tried} tried pairs reach each other\n"),
        }
    }

    /// Each reason once for the hosts that share it.
    pub fn notes(&self) -> String {
        let mut text = String::new();
        for (same, (_, to, why)) in in_groups(&self.apart, |(_, to, why)| (to.clone(), why.clone())) {
            let from = fold(same.iter().map(|(from, ..)| from));
            let _ =
                writeln!(text, "{from}: note: {to} is not reached from there, so the driver passes segments on: {why}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pairs_of_few_hosts_and_a_ring_of_many() {
        assert!(others(0, 1).is_empty());
        assert_eq!(others(1, 3), [2, 0]);
        assert_eq!(others(0, 16).len(), 15);
        assert_eq!(others(15, 17), [16, 0, 1]);
    }

    #[test]
    fn a_host_that_asks_who_we_are_is_reached() {
        let check = |said: &[(&str, &str)], expected: Option<&str>| {
            let said = said.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            assert_eq!(problem(&said, 2).as_deref(), expected);
        };
        check(&[("2", "worker@10.0.0.2: Permission denied (publickey).")], None);
        check(&[("2", "Host key verification failed.")], Some("Host key verification failed."));
        check(&[("ssh", "none")], Some("there is no ssh client"));
        check(&[("1", "")], Some("it could not be tried"));
    }

    #[test]
    fn the_same_reason_is_told_once() {
        let apart = |from: &str, to: &str| (from.to_owned(), to.to_owned(), "refused".to_owned());
        let pairs = Pairs { tried: 6, apart: vec![apart("h1", "h3"), apart("h2", "h3")] };
        assert_eq!(pairs.line(), "peers: 4 of 6 tried pairs reach each other\n");
        let notes = "h[1-2]: note: h3 is not reached from there, so the driver passes segments on: refused\n";
        assert_eq!(pairs.notes(), notes);
        assert_eq!(Pairs { tried: 6, ..Pairs::default() }.line(), "peers: all 6 tried pairs reach each other\n");
        assert_eq!(Pairs::default().line(), "");
    }
}
