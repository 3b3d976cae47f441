//! The grammar of `workers.txt` and of a list of hosts on the command line.
//!
//! A line is `[N/][user@]host[:port]`, then options between white space: `slots= mem= scratch= data= peer=`, in any
//! order. The host may hold ranges ([`super::ranges`]); `peer=` too, if they give as many names. `:` is this machine, as
//! in GNU parallel. `#` starts a comment at the start of a word. Nothing is unescaped: a path with white space cannot be
//! written. `workers.txt.example` shows every form.

use std::path::PathBuf;

use super::ranges::{NAMES_MAX, expand, split_list};
use super::{HostSpec, Place};
use crate::error::{Fault, did_you_mean};
use crate::units::Bytes;

/// The options, as they are written before the `=`.
pub const OPTIONS: [&str; 5] = ["slots", "mem", "scratch", "data", "peer"];

/// More slots than any machine has threads, so a typing error.
const SLOTS_MAX: u32 = 10_000;

/// The hosts of a file's text, in its order; `shown` is the file's name for errors.
///
/// # Errors
/// A [`Fault`] of kind usage that names file and line and says what was expected.
pub fn parse_file(text: &str, shown: &str) -> Result<Vec<HostSpec>, Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    collect(text.lines().enumerate().map(|(index, line)| (format!("{shown}:{}", index + 1), line)))
}

/// The hosts of a list such as `node[01-04],4/gpu1,big slots=32`, each item in the grammar of a line.
///
/// # Errors
/// A [`Fault`] of kind usage that names the item and says what was expected.
pub fn parse_list(text: &str) -> Result<Vec<HostSpec>, Fault> {
    collect(split_list(text).enumerate().map(|(index, item)| (format!("list of workers, item {}", index + 1), item)))
}

fn collect<'a>(lines: impl Iterator<Item = (String, &'a str)>) -> Result<Vec<HostSpec>, Fault> {
    let mut hosts = Vec::new();
    for (place, line) in lines {
        hosts.extend(parse_line(line).map_err(|error| Fault::usage(format!("{place}: {error}")))?);
        if hosts.len() > NAMES_MAX {
            return Err(Fault::usage(format!("{place}: more than {NAMES_MAX} workers")));
        }
    }
    Ok(hosts)
}

fn parse_line(line: &str) -> Result<Vec<HostSpec>, String> {
    let mut words = line.split_whitespace().take_while(|word| !word.starts_with('#'));
    let Some(first) = words.next() else { return Ok(Vec::new()) };
    let (mut common, addresses) = parse_hosts(first)?;
    let mut seen = Vec::new();
    for word in words {
        let (key, value) = word
            .split_once('=')
            .ok_or_else(|| format!("`{word}` is no option: slots=, mem=, scratch=, data= or peer= is expected"))?;
        if seen.contains(&key) {
            return Err(format!("`{key}=` is given twice"));
        }
        seen.push(key);
        set_option(&mut common, key, value)?;
    }
    let peers = common.peer.take().map(|peers| parse_peers(&peers, addresses.len())).transpose()?;
    let mut hosts: Vec<_> = addresses.into_iter().map(|address| HostSpec { address, ..common.clone() }).collect();
    for (host, peer) in hosts.iter_mut().zip(peers.unwrap_or_default()) {
        host.peer = Some(peer);
    }
    Ok(hosts)
}

/// What the first word of a line says: what its hosts have in common, and their addresses.
fn parse_hosts(word: &str) -> Result<(HostSpec, Vec<String>), String> {
    let (slots, rest) = match word.split_once('/') {
        Some((number, rest)) => (Some(parse_slots(number, word)?), rest),
        None => (None, word),
    };
    if rest == ":" {
        let this_machine = HostSpec { slots, ..HostSpec::new(Place::ThisMachine, "local") };
        return Ok((this_machine, vec!["local".to_owned()]));
    }
    // The last `@`, as ssh has it: users of a directory service may have one in their names.
    let (user, rest) = rest.rsplit_once('@').map_or((None, rest), |(user, rest)| (Some(user), rest));
    if let Some(user) = user {
        check_word(user, "user", "[]")?;
    }
    let (host, port) = split_port(rest)?;
    let addresses = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) if address.contains(':') => vec![address.to_owned()],
        Some(_) | None => expand(host)?,
    };
    addresses.iter().try_for_each(|address| check_word(address, "host", "[]@"))?;
    let common = HostSpec { user: user.map(str::to_owned), port, slots, ..HostSpec::new(Place::Ssh, "") };
    Ok((common, addresses))
}

/// Host and port; colons in brackets belong to the host.
fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let behind_brackets = text.rfind(']').map_or(0, |at| at + 1);
    let Some(colon) = text[behind_brackets..].find(':').map(|at| at + behind_brackets) else { return Ok((text, None)) };
    let (host, port) = (&text[..colon], &text[colon + 1..]);
    if port.contains(':') {
        return Err(format!("`{text}`: an IPv6 address is written in brackets, as in `[::1]` or `[fe80::1]:22`"));
    }
    match port.parse() {
        Ok(port) if port > 0 => Ok((host, Some(port))),
        Ok(_) | Err(_) => Err(format!("`{port}` is no port: a number from 1 to 65535 is expected after the colon")),
    }
}

/// Refuses what ssh would take for an option or refuse itself: the rules are those of `valid_hostname` and `valid_ruser`
/// in OpenSSH's `ssh.c`.
fn check_word(word: &str, what: &str, also_refused: &str) -> Result<(), String> {
    if word.is_empty() {
        return Err(format!("the {what} is missing: [N/][user@]host[:port] is expected"));
    }
    let refused =
        |c: char| c.is_control() || c.is_whitespace() || "'`\"$;&<>|(){}=/".contains(c) || also_refused.contains(c);
    if word.starts_with('-') || word.ends_with('\\') || word.contains(refused) {
        return Err(format!("`{word}` is no {what} name: [N/][user@]host[:port] is expected"));
    }
    Ok(())
}

fn set_option(host: &mut HostSpec, key: &str, value: &str) -> Result<(), String> {
    match key {
        "slots" if host.slots.is_some() => {
            return Err("slots are given twice: write either N/host or slots=N".to_owned());
        }
        "slots" => host.slots = Some(parse_slots(value, &format!("slots={value}"))?),
        "mem" => match value.parse().map_err(|error| format!("mem: {error}"))? {
            Bytes(0) => return Err("mem: more than 0 is expected, as in mem=16G".to_owned()),
            memory => host.memory = Some(memory),
        },
        "scratch" => host.scratch = Some(parse_folder(key, value)?),
        "data" => host.data = Some(parse_folder(key, value)?),
        "peer" => host.peer = Some(value.to_owned()),
        unknown => {
            let expected = "slots=, mem=, scratch=, data= or peer= is expected";
            return Err(format!("unknown option `{unknown}`{}: {expected}", did_you_mean(unknown, OPTIONS)));
        }
    }
    Ok(())
}

/// One address for each of so many hosts.
fn parse_peers(text: &str, hosts: usize) -> Result<Vec<String>, String> {
    let mut peers = expand(text)?;
    if peers.len() != hosts {
        return Err(format!(
            "peer: as many addresses as hosts are expected: `{text}` gives {} for {hosts}",
            peers.len()
        ));
    }
    for peer in &mut peers {
        // Brackets came through `expand` as they were; they only mark the address as IPv6.
        let bare = peer.strip_prefix('[').and_then(|peer| peer.strip_suffix(']')).unwrap_or(peer).to_owned();
        check_word(&bare, "peer", "[]@")
            .map_err(|_| format!("peer: `{peer}` is no address: a name, or one such as 10.0.0.7, is expected"))?;
        *peer = bare;
    }
    Ok(peers)
}

fn parse_slots(number: &str, word: &str) -> Result<u32, String> {
    match number.parse() {
        Ok(slots) if (1..=SLOTS_MAX).contains(&slots) && !number.starts_with('+') => Ok(slots),
        Ok(_) | Err(_) => Err(format!(
            "`{word}`: `{number}` is no number of slots: 1 to {SLOTS_MAX} is expected, as in 4/host or slots=4"
        )),
    }
}

fn parse_folder(key: &str, value: &str) -> Result<PathBuf, String> {
    if !value.starts_with('/') {
        return Err(format!("{key}: `{value}` is no absolute path: one that starts with / on the worker is expected"));
    }
    Ok(PathBuf::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A host as `user@address:port slots mem scratch data peer`, with `-` for what is open.
    fn shown(host: &HostSpec) -> String {
        fn or_dash<T: ToString>(value: Option<T>) -> String {
            value.map_or("-".to_owned(), |value| value.to_string())
        }
        let path = |path: &Option<PathBuf>| or_dash(path.as_ref().map(|path| path.display()));
        format!(
            "{}@{}:{} {} {} {} {} {}",
            or_dash(host.user.as_ref()),
            host.address,
            or_dash(host.port),
            or_dash(host.slots),
            or_dash(host.memory.map(|memory| memory.0)),
            path(&host.scratch),
            path(&host.data),
            or_dash(host.peer.as_ref()),
        )
    }

    #[test]
    fn every_form_of_a_line_is_read() {
        let check = |line: &str, hosts: &[&str]| {
            let read: Vec<String> = parse_file(line, "w").expect(line).iter().map(shown).collect();
            assert_eq!(read, hosts, "{line:?}");
        };
        check("", &[]);
        check("  # nothing\n\n\t\n", &[]);
        check("node1", &["-@node1:- - - - - -"]);
        check("\u{feff}node1\r\nnode2\r\n", &["-@node1:- - - - - -", "-@node2:- - - - - -"]);
        check("ann@node1:2222 # ours", &["ann@node1:2222 - - - - -"]);
        check("ann@corp.org@node1", &["ann@corp.org@node1:- - - - - -"]);
        check("CORP\\ann@node1", &["CORP\\ann@node1:- - - - - -"]);
        check("4/node1", &["-@node1:- 4 - - - -"]);
        check("4/ann@node1:22 mem=2K", &["ann@node1:22 4 2048 - - -"]);
        check("n peer=10.0.0.7 data=/d scratch=/s mem=1 slots=3", &["-@n:- 3 1 /s /d 10.0.0.7"]);
        check("[::1]:22", &["-@::1:22 - - - - -"]);
        check("2/ann@[fe80::1%eth0] peer=[fd00::1]", &["ann@fe80::1%eth0:- 2 - - - fd00::1"]);
        check("n[08-10]:2222", &["-@n08:2222 - - - - -", "-@n09:2222 - - - - -", "-@n10:2222 - - - - -"]);
        check("n[1,3] peer=10.0.0.[1,3]", &["-@n1:- - - - - 10.0.0.1", "-@n3:- - - - - 10.0.0.3"]);
        check("same\nsame", &["-@same:- - - - - -", "-@same:- - - - - -"]);
        check("n scratch=/a#b", &["-@n:- - - /a#b - -"]);
        check(": slots=2", &["-@local:- 2 - - - -"]);
        check("4/:", &["-@local:- 4 - - - -"]);
    }

    #[test]
    fn lists_have_the_same_grammar() {
        let read = parse_list("n[1,2],4/gpu, big slots=32 ,:").expect("a list");
        let names: Vec<&str> = read.iter().map(|host| host.address.as_str()).collect();
        assert_eq!(names, ["n1", "n2", "gpu", "big", "local"]);
        assert_eq!(read[3].slots, Some(32));
        assert_eq!(read[4].place, Place::ThisMachine);
        let error = parse_list("a,b slot=1").expect_err("an unknown option");
        assert!(
            error.text.starts_with("list of workers, item 2: unknown option `slot` (did you mean `slots`?)"),
            "{error}"
        );
    }

    #[test]
    fn errors_name_the_line_and_what_was_expected() {
        let check = |line: &str, part: &str| {
            let fault = parse_file(&format!("# first\n{line}\nlast"), "hosts/w.txt").expect_err(line);
            assert_eq!(fault.kind, crate::error::Kind::Usage);
            assert!(fault.text.starts_with("hosts/w.txt:2: ") && fault.text.contains(part), "{line}: {fault}");
        };
        check("node slot=4", "unknown option `slot` (did you mean `slots`?): slots=, mem=,");
        check("node zebra=4", "unknown option `zebra`: slots=");
        check("node node2", "`node2` is no option: slots=");
        check("node slots=0", "`0` is no number of slots: 1 to 10000 is expected");
        check("node slots=many", "no number of slots");
        check("x/node", "`x` is no number of slots");
        check("+1/node", "no number of slots");
        check("4/node slots=4", "either N/host or slots=N");
        check("node slots=4 slots=4", "`slots=` is given twice");
        check("node mem=lots", "mem: `lots` is no size");
        check("node mem=0", "more than 0");
        check("node scratch=tmp", "no absolute path");
        check("node data=~/d", "no absolute path");
        check("n[1-2] peer=10.0.0.1", "peer: as many addresses as hosts are expected: `10.0.0.1` gives 1 for 2");
        check("node peer=a;b", "is no address");
        check("node:ssh", "`ssh` is no port: a number from 1 to 65535");
        check("node:0", "is no port");
        check("node:65536", "is no port");
        check("node:", "is no port");
        check("fe80::1", "written in brackets, as in `[::1]`");
        check("[::1", "written in brackets");
        check("n[1", "`]` is missing");
        check("n[5-1]", "runs backwards");
        check("@node", "the user is missing");
        check("ann@", "the host is missing");
        check("4/", "the host is missing");
        check("ssh://node", "no number of slots");
        check("-oProxyCommand=x", "is no host name");
        check("-x@node", "is no user name");
        check("a$(b)", "is no host name");
        check("slots=4", "is no host name");
    }

    proptest! {
        #[test]
        fn any_text_gives_hosts_that_ssh_takes_or_one_line_of_error(
            text in "[an1[09]{0,3}@:/\\[\\],=# .\"$ü-]{0,24}|([1-9]/)?(a@)?(n\\[[0-9],[0-9]-[0-9]\\]|\\[::1\\])(:[0-9]{1,6})?( slots=[0-9])?"
        ) {
            match parse_list(&text) {
                Ok(hosts) => for host in hosts {
                    let word = format!("{}{}", host.address, host.user.unwrap_or_default());
                    prop_assert!(!host.address.is_empty() && !host.address.starts_with('-'), "{text}");
                    prop_assert!(!word.contains(['"', '$', '/', ' ', '[', ']']), "{text}");
                    prop_assert!(host.slots != Some(0) && host.port != Some(0), "{text}");
                },
                Err(fault) => prop_assert!(!fault.text.contains('\n') && !fault.text.is_empty(), "{text}"),
            }
        }
    }
}
