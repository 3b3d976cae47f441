//! From what ssh wrote to what can be concluded.
//!
//! ssh tells everything in sentences only, and the crate's own reading of them keeps the kind but loses jump hosts, host
//! keys and time-outs of the greeting. The sentences here were taken from OpenSSH 9.2 and its sources (`sshconnect.c`,
//! `sshconnect2.c`, `kex.c`), where they have stood for many years.

use super::config::Resolved;
use super::error::ConnectError;

/// What a login that failed means: `log` is the log of ssh itself, `jump` what the ssh processes wrote that it started
/// for jump hosts.
pub(super) fn classify(log: &str, jump: &str, host: &Resolved) -> ConnectError {
    let error = of_log(log, host);
    let via = match (&host.proxy_jump, &host.proxy_command) {
        (Some(jumps), _) => jumps.split(',').next().unwrap_or(jumps),
        (None, Some(_)) => "ProxyCommand",
        (None, None) => return error,
    };
    match (error, of_forwarding(jump, host)) {
        // With a jump host in between, ssh only sees that its pipe closes; the reason is what the other one wrote.
        (ConnectError::Dropped { .. }, Some(error)) => error,
        (ConnectError::Dropped { .. }, None) if spoken(jump).next().is_some() => {
            ConnectError::Jump { error: Box::new(of_log(jump, &host.as_jump(via))), name: via.to_owned() }
        }
        (error, _) => error,
    }
}

/// The version that the server told, as `OpenSSH_9.2p1 Debian-2`.
pub(super) fn server_version(log: &str) -> Option<String> {
    let (_, version) = log.split_once("remote software version ")?;
    version.lines().next().map(|version| version.trim().to_owned())
}

/// The files of keys that the server would have taken but that ssh could not use.
pub(super) fn accepted_keys(log: &str) -> impl Iterator<Item = &str> {
    log.lines().filter_map(|line| line.strip_prefix("debug1: Server accepts key: ")).map(path_of_key)
}

/// The files of keys whose public half was shown to the server.
pub(super) fn offered_keys(log: &str) -> impl Iterator<Item = &str> {
    log.lines().filter_map(|line| line.strip_prefix("debug1: Offering public key: ")).map(path_of_key)
}

/// `PATH ED25519 SHA256:… explicit`: the path may hold spaces.
fn path_of_key(text: &str) -> &str {
    let before = text.split(" SHA256:").next().unwrap_or(text);
    before.rsplit_once(' ').map_or(before, |(path, _)| path)
}

fn of_log(log: &str, host: &Resolved) -> ConnectError {
    let has = |part: &str| log.contains(part);
    let port = host.port;
    if has("REMOTE HOST IDENTIFICATION HAS CHANGED") || has("has changed and you have requested strict checking") {
        return changed_key(log);
    }
    if has("host key is known for") || has("Host key verification failed") {
        return ConnectError::HostKeyUnknown;
    }
    if has("Could not resolve hostname") {
        return ConnectError::Unresolved { name: host.hostname.clone() };
    }
    if has("Bad configuration option") || has("bad configuration options") || has("Bad owner or permissions on") {
        return ConnectError::Configuration { text: last_words(log) };
    }
    if has("timed out during banner exchange") {
        return ConnectError::TimedOut { port };
    }
    if let Some(error) = spoken(log).find_map(|line| denied(line, host)) {
        return error;
    }
    // `ssh: connect to host 10.0.0.1 port 22: Connection refused`, once for each address of the name.
    if let Some(error) =
        spoken(log).filter(|line| line.contains("connect to host ")).find_map(|line| of_reason(line, host))
    {
        return error;
    }
    if has("kex_exchange_identification") || has("ssh_exchange_identification") || has("stdio forwarding failed") {
        return ConnectError::Dropped { tries: 1 };
    }
    if has(" timed out") {
        return ConnectError::TimedOut { port };
    }
    ConnectError::Other { text: last_words(log) }
}

/// What the jump host told of the host behind it.
fn of_forwarding(jump: &str, host: &Resolved) -> Option<ConnectError> {
    let line = spoken(jump).find(|line| line.contains("open failed: "))?;
    Some(of_reason(line, host).unwrap_or_else(|| ConnectError::Other {
        text: format!("the jump host does not forward: {}", line.rsplit("open failed: ").next().unwrap_or(line)),
    }))
}

/// The system's word for why a connection was not made, at the end of a line.
fn of_reason(line: &str, host: &Resolved) -> Option<ConnectError> {
    let reason = line.rsplit(": ").next().unwrap_or(line).trim_end_matches('.');
    match reason {
        "Connection refused" => Some(ConnectError::Refused { port: host.port }),
        "Connection timed out" | "Operation timed out" => Some(ConnectError::TimedOut { port: host.port }),
        "No route to host" | "Network is unreachable" | "Host is down" => Some(ConnectError::NoRoute),
        "Name or service not known" | "Temporary failure in name resolution" | "Unknown host" => {
            Some(ConnectError::Unresolved { name: host.hostname.clone() })
        }
        _ => None,
    }
}

/// `worker@10.0.0.1: Permission denied (publickey,password).`
fn denied(line: &str, host: &Resolved) -> Option<ConnectError> {
    let methods = match line.split_once("Permission denied (") {
        Some((_, methods)) => methods.trim_end_matches(").").to_owned(),
        None if line.contains("Too many authentication failures") => {
            "fewer keys than were tried: set IdentitiesOnly".into()
        }
        None => return None,
    };
    Some(ConnectError::Denied { user: host.user.clone(), methods, locked_keys: Vec::new() })
}

fn changed_key(log: &str) -> ConnectError {
    let place = spoken(log).find_map(|line| line.strip_prefix("Offending ")?.split_once(" key in "));
    let removal = spoken(log).map(str::trim).find(|line| line.starts_with("ssh-keygen "));
    ConnectError::HostKeyChanged {
        place: place.map(|(_, place)| place.to_owned()),
        removal: removal.map(str::to_owned),
    }
}

/// The lines that are no debugging.
fn spoken(log: &str) -> impl DoubleEndedIterator<Item = &str> {
    log.lines().map(str::trim_end).filter(|line| !line.starts_with("debug") && !line.trim().is_empty())
}

fn last_words(log: &str) -> String {
    let told = spoken(log).rfind(|line| !line.starts_with("Transferred: ") && !line.starts_with("Bytes per second: "));
    told.map_or_else(|| "ssh ended without a word".into(), |line| line.trim_start_matches("ssh: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(log: &str, jump: &str, via: Option<&str>, expected: ConnectError) {
        let host = Resolved {
            hostname: "10.0.0.1".into(),
            user: "worker".into(),
            port: 22,
            proxy_jump: via.map(str::to_owned),
            ..Resolved::default()
        };
        assert_eq!(classify(log, jump, &host), expected, "{log}");
    }

    fn other(text: &str) -> ConnectError {
        ConnectError::Other { text: text.into() }
    }

    #[test]
    fn direct_connections() {
        let refused = ConnectError::Refused { port: 22 };
        let timed_out = ConnectError::TimedOut { port: 22 };
        check("ssh: connect to host 10.0.0.1 port 22: Connection refused\n", "", None, refused);
        check("ssh: connect to host 10.0.0.1 port 22: Connection timed out\r\n", "", None, timed_out.clone());
        check("ssh: connect to host 10.0.0.1 port 22: No route to host", "", None, ConnectError::NoRoute);
        check("ssh: connect to host ::1 port 22: Network is unreachable", "", None, ConnectError::NoRoute);
        let greeting = "Connection timed out during banner exchange\nConnection to 10.0.0.1 port 22 timed out\n";
        check(greeting, "", None, timed_out);
        let unresolved = ConnectError::Unresolved { name: "10.0.0.1".into() };
        check("ssh: Could not resolve hostname nosuch: Name or service not known", "", None, unresolved);
        let dropped = ConnectError::Dropped { tries: 1 };
        let reset =
            "kex_exchange_identification: read: Connection reset by peer\nConnection reset by 10.0.0.1 port 22\n";
        check(reset, "", None, dropped.clone());
        check("ssh_exchange_identification: Connection closed by remote host\n", "", None, dropped);
        check("debug1: x\n", "", None, other("ssh ended without a word"));
        check(
            "Unable to negotiate with 10.0.0.1 port 22: no matching cipher",
            "",
            None,
            other("Unable to negotiate with 10.0.0.1 port 22: no matching cipher"),
        );
        check(
            "debug1: a\nConnection closed by 10.0.0.1 port 22\n",
            "",
            None,
            other("Connection closed by 10.0.0.1 port 22"),
        );
    }

    #[test]
    fn keys_of_host_and_user() {
        let unknown = "No ED25519 host key is known for h1 and you have requested strict checking.\nHost key verification failed.\n";
        check(unknown, "", None, ConnectError::HostKeyUnknown);
        check("Host key verification failed.\n", "", None, ConnectError::HostKeyUnknown);
        let changed = "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n\
            Add correct host key in /h/kh to get rid of this message.\nOffending ED25519 key in /h/kh:1\n  remove with:\n  \
            ssh-keygen -f \"/h/kh\" -R \"h1\"\nHost key for h1 has changed and you have requested strict checking.\n\
            Host key verification failed.\n";
        let expected = ConnectError::HostKeyChanged {
            place: Some("/h/kh:1".into()),
            removal: Some("ssh-keygen -f \"/h/kh\" -R \"h1\"".into()),
        };
        check(changed, "", None, expected);
        let denied = |methods: &str| ConnectError::Denied {
            user: "worker".into(),
            methods: methods.into(),
            locked_keys: Vec::new(),
        };
        check("worker@10.0.0.1: Permission denied (publickey,password).\n", "", None, denied("publickey,password"));
    }

    #[test]
    fn jump_hosts_are_told_from_what_is_behind_them() {
        let closed =
            "kex_exchange_identification: Connection closed by remote host\nConnection closed by UNKNOWN port 65535\n";
        let via = Some("bastion,second");
        let jump = |error| ConnectError::Jump { name: "bastion".into(), error: Box::new(error) };
        check(
            closed,
            "ssh: connect to host b port 9: Connection refused",
            via,
            jump(ConnectError::Refused { port: 22 }),
        );
        check(closed, "Host key verification failed.\n", via, jump(ConnectError::HostKeyUnknown));
        check(
            closed,
            "kex_exchange_identification: read: Connection reset by peer",
            via,
            jump(ConnectError::Dropped { tries: 1 }),
        );
        let behind = "channel 0: open failed: connect failed: Connection refused\nstdio forwarding failed\n";
        check(closed, behind, via, ConnectError::Refused { port: 22 });
        let forbidden = "channel 0: open failed: administratively prohibited: open failed\nstdio forwarding failed\n";
        check(
            closed,
            forbidden,
            via,
            other("the jump host does not forward: administratively prohibited: open failed"),
        );
        check("Host key verification failed.\n", "", via, ConnectError::HostKeyUnknown);
        let host = Resolved { proxy_command: Some("gate %h".into()), ..Resolved::default() };
        let error = classify(closed, "sh: 1: exec: gate: not found\n", &host);
        assert_eq!(error.to_string(), "at its ProxyCommand: sh: 1: exec: gate: not found");
    }

    #[test]
    fn facts_are_found_in_the_log() {
        let log = "debug1: Remote protocol version 2.0, remote software version OpenSSH_9.2p1 Debian-2\n\
            debug1: Offering public key: /home/a b/key ED25519 SHA256:abc explicit\n\
            debug1: Server accepts key: /home/a b/key ED25519 SHA256:abc explicit\n";
        assert_eq!(server_version(log).as_deref(), Some("OpenSSH_9.2p1 Debian-2"));
        assert_eq!(offered_keys(log).collect::<Vec<_>>(), ["/home/a b/key"]);
        assert_eq!(accepted_keys(log).collect::<Vec<_>>(), ["/home/a b/key"]);
    }
}
