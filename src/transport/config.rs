//! ssh's configuration: our few overrides before the user's own, and what it all comes to for a host.
//!
//! ssh takes the first value that it finds, and `-F` replaces the user's and the system's file. So a file is generated
//! that sets what we must rely on and then includes theirs; jump hosts get the same file from ssh. `ssh -G` tells the
//! rest. Nothing here connects.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::error::ConnectError;
use crate::fleet::{HostSpec, Place};

/// What a connection must be like whatever the user's files say. Keep-alives end a dead connection in half a minute, the
/// time after which the scheduler takes a worker for lost; the log is read for what failed and for the server's version.
const OVERRIDES: &str = "BatchMode yes
ServerAliveInterval 5
ServerAliveCountMax 6
ConnectionAttempts 1
LogLevel DEBUG1
ClearAllForwardings yes
PermitLocalCommand no
RemoteCommand none
RequestTTY no
ForwardAgent no
ForwardX11 no
Tunnel no
";

/// The text of the file for `ssh -F`: ours, then the `extra` ones, then the user's file and the system's.
///
/// # Errors
/// [`ConnectError::Here`] if the name of an `extra` cannot be written in such a file.
pub(super) fn generate<'a>(
    extra: impl IntoIterator<Item = &'a Path>,
    connect_timeout: Duration,
) -> Result<String, ConnectError> {
    Ok(format!("{OVERRIDES}ConnectTimeout {}\n{}", connect_timeout.as_secs().max(1), includes(extra)?))
}

/// The lines that include these files, then the user's and the system's.
///
/// # Errors
/// As [`generate`].
pub fn includes<'a>(extra: impl IntoIterator<Item = &'a Path>) -> Result<String, ConnectError> {
    let mut text = String::new();
    for extra in extra {
        let path = std::path::absolute(extra).map_err(ConnectError::here)?;
        let name = path.to_str().filter(|name| !name.contains(['"', '*', '?', '[', '\\', '\n', '%', '$']));
        let Some(name) = name else {
            return Err(ConnectError::here(format!("ssh cannot include a file named `{}`", path.display())));
        };
        text.push_str(&format!("Include \"{name}\"\n"));
    }
    text.push_str("Include ~/.ssh/config\nInclude /etc/ssh/ssh_config\n");
    Ok(text)
}

/// The arguments that name a host to ssh, for the end of its command line.
pub(super) fn destination(host: &HostSpec) -> Vec<String> {
    let mut arguments = Vec::new();
    if let Some(user) = &host.user {
        arguments.extend(["-l".to_owned(), user.clone()]);
    }
    if let Some(port) = host.port {
        arguments.extend(["-p".to_owned(), port.to_string()]);
    }
    arguments.extend(["--".to_owned(), host.address.clone()]);
    arguments
}

/// What ssh would do for a host, as `ssh -G` tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resolved {
    pub hostname: String,
    pub user: String,
    pub port: u16,
    pub strict: String,
    pub proxy_jump: Option<String>,
    pub proxy_command: Option<String>,
    pub ciphers: String,
    pub identity_files: Vec<String>,
    pub known_hosts: Vec<String>,
    pub system_known_hosts: Vec<String>,
    pub host_key_alias: Option<String>,
}

impl Resolved {
    /// Asks ssh.
    ///
    /// # Errors
    /// [`ConnectError::Configuration`] with ssh's words, or that there is no ssh here.
    pub(super) async fn ask(config: &Path, host: &HostSpec) -> Result<Resolved, ConnectError> {
        parse(&ask_ssh(config, &destination(host)).await?)
            .ok_or_else(|| ConnectError::Configuration { text: "`ssh -G` gave no port".into() })
    }

    /// The machine whose sshd sees our connections first: the bound on simultaneous ones is kept for each.
    pub(super) fn first_hop(&self) -> String {
        if let Some(jumps) = &self.proxy_jump {
            return format!("jump {}", jumps.split(',').next().unwrap_or(jumps));
        }
        match &self.proxy_command {
            Some(command) => format!("command {command}"),
            None => format!("{} {}", self.hostname, self.port),
        }
    }

    /// The value of `-o StrictHostKeyChecking=`: since nobody can be asked, `ask` means no.
    pub(super) fn strictness(&self) -> &'static str {
        match self.strict.as_str() {
            "accept-new" => "accept-new",
            "no" | "off" | "false" => "no",
            _ => "yes",
        }
    }

    /// The ciphers for a connection of many bytes: the fastest one first, if the list is the default one. Whoever set a
    /// list (or a system with a policy of its own) had a reason.
    pub(super) fn bulk_ciphers(&self, default: &str) -> Option<String> {
        /// Twice the speed of ChaCha20 where there is AES in hardware.
        const FAST: &str = "aes128-gcm@openssh.com";
        if self.ciphers != default || !self.ciphers.split(',').any(|cipher| cipher == FAST) {
            return None;
        }
        let rest = self.ciphers.split(',').filter(|cipher| *cipher != FAST);
        Some([FAST].into_iter().chain(rest).collect::<Vec<_>>().join(","))
    }

    /// The jump host of this name, for the words of an error of its own.
    pub(super) fn as_jump(&self, name: &str) -> Resolved {
        let jump = jump_host(name);
        Resolved {
            hostname: jump.address,
            user: jump.user.unwrap_or_else(|| self.user.clone()),
            port: jump.port.unwrap_or(22),
            ..Resolved::default()
        }
    }
}

/// `[user@]host[:port]`, as ProxyJump has it.
pub(super) fn jump_host(text: &str) -> HostSpec {
    let text = text.strip_prefix("ssh://").unwrap_or(text);
    let (user, rest) = text.rsplit_once('@').map_or((None, text), |(user, rest)| (Some(user.to_owned()), rest));
    let port = rest.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
    let (address, port) = match port.and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) => (host, Some(port)),
        None => (rest, None),
    };
    HostSpec { user, port, ..HostSpec::new(Place::Ssh, address.trim_matches(['[', ']'])) }
}

/// The ciphers that ssh uses where nobody set any.
pub(super) async fn default_ciphers() -> Result<String, ConnectError> {
    let host = HostSpec::new(Place::Ssh, "localhost");
    Ok(parse(&ask_ssh(Path::new("none"), &destination(&host)).await?).unwrap_or_default().ciphers)
}

/// Paths of one line of `ssh -G`, which puts spaces between them and has no quotes.
fn split_paths(line: &str) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    for word in line.split(' ') {
        match paths.last_mut() {
            Some(last) if !word.starts_with(['/', '~', '%', '$']) => *last = format!("{last} {word}"),
            Some(_) | None => paths.push(word.to_owned()),
        }
    }
    paths
}

async fn ask_ssh(config: &Path, destination: &[String]) -> Result<String, ConnectError> {
    let output = Command::new("ssh")
        .args(["-F".as_ref(), config.as_os_str(), "-G".as_ref()])
        .args(destination)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| ConnectError::here(format!("ssh cannot be started: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    // The last line only counts the errors; the first one tells where and what.
    Err(ConnectError::Configuration { text: words.lines().next().unwrap_or("ssh -G failed").trim().to_owned() })
}

fn parse(text: &str) -> Option<Resolved> {
    let mut resolved = Resolved::default();
    let set = |value: &str| (value != "none").then(|| value.to_owned());
    for (key, value) in text.lines().filter_map(|line| line.trim_end().split_once(' ')) {
        match key {
            "hostname" => resolved.hostname = value.to_owned(),
            "user" => resolved.user = value.to_owned(),
            "port" => resolved.port = value.parse().ok()?,
            "stricthostkeychecking" => resolved.strict = value.to_owned(),
            "proxyjump" => resolved.proxy_jump = set(value),
            "proxycommand" => resolved.proxy_command = set(value),
            "ciphers" => resolved.ciphers = value.to_owned(),
            "identityfile" => resolved.identity_files.push(value.to_owned()),
            "hostkeyalias" => resolved.host_key_alias = set(value),
            "globalknownhostsfile" => resolved.system_known_hosts = split_paths(value),
            "userknownhostsfile" => resolved.known_hosts = split_paths(value),
            _ => {}
        }
    }
    (resolved.port > 0).then_some(resolved)
}

/// A path as ssh writes it, `~` standing for the home.
pub(super) fn expand_home(path: &str, home: &Path) -> PathBuf {
    path.strip_prefix("~/").map_or_else(|| PathBuf::from(path), |rest| home.join(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jump_hosts_are_read_as_ssh_has_them() {
        let check = |text: &str, user: Option<&str>, address: &str, port: Option<u16>| {
            let host = jump_host(text);
            assert_eq!((host.user.as_deref(), host.address.as_str(), host.port), (user, address, port), "{text}");
        };
        check("bastion", None, "bastion", None);
        check("ann@bastion:2222", Some("ann"), "bastion", Some(2222));
        check("ssh://ann@bastion", Some("ann"), "bastion", None);
        check("[::1]:22", None, "::1", Some(22));
        check("::1", None, "::1", None);
    }

    const TOLD: &str = "host h2\nuser worker\nhostname 10.0.0.2\nport 2222\nstricthostkeychecking ask\n\
        ciphers a,aes128-gcm@openssh.com,b\nidentityfile ~/.ssh/id_rsa\nidentityfile /k\nproxyjump none\n\
        userknownhostsfile /root/.ssh/known hosts /root/.ssh/known_hosts2\n";

    #[test]
    fn what_ssh_tells_is_read() {
        let host = parse(TOLD).expect("parses");
        assert_eq!((host.hostname.as_str(), host.user.as_str(), host.port), ("10.0.0.2", "worker", 2222));
        assert_eq!(host.identity_files, ["~/.ssh/id_rsa", "/k"]);
        assert_eq!(host.known_hosts, ["/root/.ssh/known hosts", "/root/.ssh/known_hosts2"]);
        assert_eq!(host.first_hop(), "10.0.0.2 2222");
        assert_eq!(parse("user x\n"), None);
    }

    #[test]
    fn the_first_hop_is_what_we_connect_to() {
        let check = |line: &str, hop: &str| {
            assert_eq!(
                parse(&format!("{}{line}\n", TOLD.replace("proxyjump none\n", ""))).expect(line).first_hop(),
                hop
            );
        };
        check("proxyjump ann@bastion:22,inner", "jump ann@bastion:22");
        check("proxycommand nc %h %p", "command nc %h %p");
    }

    #[test]
    fn strictness_is_never_lowered() {
        let check = |said: &str, used: &str| {
            assert_eq!(Resolved { strict: said.into(), ..Resolved::default() }.strictness(), used, "{said}");
        };
        check("ask", "yes");
        check("true", "yes");
        check("yes", "yes");
        check("", "yes");
        check("accept-new", "accept-new");
        check("no", "no");
        check("off", "no");
        check("false", "no");
    }

    #[test]
    fn ciphers_that_somebody_chose_stay() {
        let host = parse(TOLD).expect("parses");
        assert_eq!(host.bulk_ciphers(&host.ciphers).as_deref(), Some("aes128-gcm@openssh.com,a,b"));
        assert_eq!(host.bulk_ciphers("a,b"), None);
        let host = Resolved { ciphers: "a,b".into(), ..host };
        assert_eq!(host.bulk_ciphers("a,b"), None);
    }

    #[test]
    fn ours_stand_before_all_files() {
        let text = generate([Path::new("/my files/config")], Duration::from_secs(7)).expect("generates");
        assert!(text.starts_with("BatchMode yes\n"), "{text}");
        let files =
            "ConnectTimeout 7\nInclude \"/my files/config\"\nInclude ~/.ssh/config\nInclude /etc/ssh/ssh_config\n";
        assert!(text.ends_with(files), "{text}");
        assert!(generate([Path::new("/a\"b")], Duration::ZERO).is_err());
    }
}
