//! A connection to another worker over ssh: nothing of the user's configuration holds here, since the key, the address
//! and the host's keys are the job's own. Host keys are those that the driver has verified, and no others are taken.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::OnceCell;

use crate::pipes;
use crate::protocol::control::Welcome;
use crate::protocol::peer::{Access, Door, Hello};
use crate::protocol::{frames, skip_to_marker};

/// The fastest first, by far where there is AES in hardware; all of them have been OpenSSH's own defaults since 6.5.
const CIPHERS: [&str; 6] = [
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
];

/// How much of ssh's complaint is looked at.
const WORDS_BYTES_MAX: u64 = 4 << 10;

/// How this worker goes to others.
#[derive(Debug)]
pub struct Ssh {
    /// Ours alone, for the key and for host keys.
    folder: PathBuf,
    key: PathBuf,
    ciphers: OnceCell<Option<String>>,
}

/// A connection whose other end has welcomed us.
pub struct Connected {
    /// Ends with the connection.
    pub process: Child,
    /// From the other worker.
    pub input: ChildStdout,
    /// To it.
    pub output: ChildStdin,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// sshd hung up before it said a word, as it does when many come at once.
    Dropped(String),
    /// It would be so again.
    Lasting(String),
}

impl Ssh {
    /// Writes the key into a folder that nobody else can look into.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn new(folder: &Path, access: &Access) -> io::Result<Self> {
        let key = folder.join("peer-key");
        write_private(&key, &access.private_key.0)?;
        Ok(Ssh { folder: folder.to_owned(), key, ciphers: OnceCell::new() })
    }

    /// Logs in where `door` leads and says who we are.
    ///
    /// # Errors
    /// See [`Trouble`]. Dropping this ends what was begun.
    pub async fn connect(&self, door: &Door, hello: &Hello) -> Result<Connected, Trouble> {
        let known_hosts = self.folder.join(format!("known-hosts-{}", hello.worker));
        write_private(&known_hosts, &door.known_hosts).map_err(lasting)?;
        let mut process = self.command(door, &known_hosts).await.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Trouble::Lasting("there is no ssh client here".to_owned()),
            _ => Trouble::Lasting(format!("ssh cannot be started: {error}")),
        })?;
        let (Some(mut output), Some(input), Some(words)) =
            (process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            return Err(Trouble::Lasting("a pipe to ssh is missing".to_owned()));
        };
        pipes::enlarge(&input);
        match introduce(input, &mut output, hello).await {
            Ok(input) => Ok(Connected { process, input, output }),
            Err(error) => Err(explain(words, &error).await),
        }
    }

    async fn command(&self, door: &Door, known_hosts: &Path) -> Command {
        let mut command = Command::new("ssh");
        // A path with a space would be two: the folder's name has none, or the probe would not have taken it.
        let file = |name: &str, path: &Path| {
            let mut option = OsString::from(name);
            option.push(path);
            option
        };
        command.args(["-F", "/dev/null", "-T", "-a", "-x", "-e", "none"]);
        command.arg("-i").arg(&self.key).arg("-o").arg(file("UserKnownHostsFile=", known_hosts));
        for option in [
            "GlobalKnownHostsFile=/dev/null",
            "StrictHostKeyChecking=yes",
            "CheckHostIP=no",
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "PreferredAuthentications=publickey",
            "ControlMaster=no",
            "ControlPath=none",
            "ClearAllForwardings=yes",
            "Compression=no",
            "LogLevel=ERROR",
            // The other end is given up after 15 s of silence: the driver still knows a way then.
            "ServerAliveInterval=5",
            "ServerAliveCountMax=3",
        ] {
            command.args(["-o", option]);
        }
        command.args(["-o", &format!("HostKeyAlias={}", door.known_as)]);
        if let Some(ciphers) = self.ciphers.get_or_init(ciphers).await {
            command.args(["-o", &format!("Ciphers={ciphers}")]);
        }
        command
            .args(["-p", &door.port.to_string(), "-l", &door.user, "--", &door.address, "runner"])
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

/// Says who we are, and hears whether that is welcome.
async fn introduce(mut input: ChildStdout, output: &mut ChildStdin, hello: &Hello) -> io::Result<ChildStdout> {
    frames::write_one(output, hello).await?;
    let mut stream = skip_to_marker(&mut input).await?;
    let welcome: Welcome = frames::read_one(&mut stream).await?;
    // Nothing is sent to us before we ask, so that nothing is lost here.
    drop(stream);
    match welcome {
        Welcome::Accepted => Ok(input),
        Welcome::Refused(text) => Err(io::Error::other(text)),
        // That is for drivers.
        Welcome::Fenced(_) => Err(io::Error::other("it takes us for a driver")),
    }
}

/// ssh's own words where it has any.
async fn explain(words: ChildStderr, error: &io::Error) -> Trouble {
    let mut text = Vec::new();
    let _cut = words.take(WORDS_BYTES_MAX).read_to_end(&mut text).await;
    let text = String::from_utf8_lossy(&text);
    let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    let dropped = ["kex_exchange_identification", "ssh_exchange_identification", "Connection reset"];
    match last {
        Some(last) if dropped.iter().any(|sign| text.contains(sign)) => Trouble::Dropped(last.to_owned()),
        Some(last) => Trouble::Lasting(last.to_owned()),
        None => Trouble::Lasting(error.to_string()),
    }
}

/// Of [`CIPHERS`] those that the client has; none where it cannot be asked, which leaves it to ssh.
async fn ciphers() -> Option<String> {
    let output = Command::new("ssh").args(["-Q", "cipher"]).stdin(Stdio::null()).output().await.ok()?;
    let known = String::from_utf8_lossy(&output.stdout).into_owned();
    let ours = CIPHERS.iter().filter(|cipher| known.lines().any(|line| line == **cipher));
    let ours: Vec<&str> = ours.copied().collect();
    (output.status.success() && !ours.is_empty()).then(|| ours.join(","))
}

fn lasting(error: io::Error) -> Trouble {
    Trouble::Lasting(error.to_string())
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs_err::OpenOptions::new();
    options.options_mut().mode(0o600);
    options.write(true).create(true).truncate(true).open(path)?.write_all(text.as_bytes())
}
