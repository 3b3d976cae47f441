//! Scripts for the `sh` of a machine, over ssh or here.
//!
//! The login shell, whatever it is, is only asked for `sh`; the script goes through its stdin. sh may read ahead as far as
//! there is something, so the script is one group of commands, and nothing else is sent before it has said
//! [`crate::protocol::MARKER`]. What login shells and rc files print before that is skipped. Exit codes are never asked of
//! ssh.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openssh::Session;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::data::Direct;
use super::error::ConnectError;
use crate::pipes;
use crate::protocol::skip_to_marker;

/// A stream from a machine.
pub type Reader = Box<dyn AsyncRead + Send + Unpin>;
/// A stream to a machine.
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// How much of stderr is kept: its end tells why.
const STDERR_BYTES_MAX: usize = 64 << 10;

/// How long a login shell may take until it runs what it was asked for; homes over a network can be slow.
const SHELL_TIME_MAX: Duration = Duration::from_secs(30);

/// Where a command runs.
#[derive(Clone, Debug)]
pub(super) enum Site {
    /// Over this connection.
    Remote(Arc<Session>),
    /// On this machine.
    Here,
    /// Over a process of its own.
    Direct(Direct),
}

/// A command that has come so far that it has said the marker. Dropping it closes its streams, at which our commands
/// end.
pub(super) struct Running {
    /// Its stdin; none once it was closed.
    pub stdin: Option<Writer>,
    /// Its stdout, from behind the marker.
    pub stdout: Reader,
    /// What it says on stderr.
    pub stderr: Tail,
}

/// A word in quotes for sh.
pub(super) fn quote(word: &str) -> String {
    // Only a NUL cannot be quoted, and no path or command line has one.
    shlex::try_quote(word).map(std::borrow::Cow::into_owned).unwrap_or_else(|_| "''".to_owned())
}

impl Site {
    /// Runs a script, to which `begin` says the marker, and which must end with `exit`. The variables are set before.
    pub(super) async fn script(&self, variables: &[(&str, &str)], script: &str) -> Result<Running, ConnectError> {
        let mut text = String::from("{\nbegin() { printf '\\n\\001runner\\001\\n'; }\n");
        for (name, value) in variables {
            text.push_str(&format!("{name}={}\n", quote(value)));
        }
        text.push_str(script);
        text.push_str("}\n");
        self.run("exec sh", text.as_bytes()).await
    }

    /// Runs a command that every login shell understands alike, writes `input` to it and waits for the marker.
    pub(super) async fn run(&self, command: &str, input: &[u8]) -> Result<Running, ConnectError> {
        let started = async {
            let (mut stdin, stdout, stderr) = self.spawn(command).await?;
            let stderr = Tail::of(stderr);
            // A command that ends at once leaves nobody to write to; what it said on stderr tells more than that.
            let _ = async {
                stdin.write_all(input).await?;
                stdin.flush().await
            }
            .await;
            match skip_to_marker(stdout).await {
                Ok(stdout) => Ok(Running { stdin: Some(stdin), stdout: Box::new(stdout), stderr }),
                Err(error) => Err(ConnectError::Lost { text: words_or(&stderr.end().await, &error.to_string()) }),
            }
        };
        timeout(SHELL_TIME_MAX, started).await.unwrap_or_else(|_| {
            Err(ConnectError::Lost {
                text: format!("its login shell did not answer in {} s", SHELL_TIME_MAX.as_secs()),
            })
        })
    }

    async fn spawn(&self, command: &str) -> Result<(Writer, Reader, Reader), ConnectError> {
        match self {
            Site::Remote(session) => spawn_there(session, command).await,
            Site::Here => spawn_here(command),
            Site::Direct(direct) => direct.spawn(command),
        }
    }
}

/// The end of a stream, collected in the background.
#[derive(Debug)]
pub(super) struct Tail {
    text: Arc<Mutex<Vec<u8>>>,
    reading: JoinHandle<()>,
}

impl Tail {
    fn of(mut stream: Reader) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&text);
        let reading = tokio::spawn(async move {
            let mut piece = Vec::with_capacity(4 << 10);
            while stream.read_buf(&mut piece).await.is_ok_and(|length| length > 0) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.append(&mut piece);
                let surplus = kept.len().saturating_sub(STDERR_BYTES_MAX);
                kept.drain(..surplus);
            }
        });
        Tail { text, reading }
    }

    /// What was said last: all of it if the stream ends soon, else what there is.
    pub(super) async fn end(mut self) -> String {
        const TIME_MAX: Duration = Duration::from_secs(1);
        let _whether = timeout(TIME_MAX, &mut self.reading).await;
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&text).trim().to_owned()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// The last line of a text, else `otherwise`.
pub(super) fn words_or(text: &str, otherwise: &str) -> String {
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or(otherwise).to_owned()
}

async fn spawn_there(session: &Arc<Session>, command: &str) -> Result<(Writer, Reader, Reader), ConnectError> {
    /// A session that has just ended may hold its place for a moment more.
    const WAITS_MS: [u64; 6] = [20, 50, 100, 200, 400, 800];
    for wait_ms in WAITS_MS {
        match try_spawn(session, command).await {
            Err(ConnectError::SessionRefused) => sleep(Duration::from_millis(wait_ms)).await,
            done => return done,
        }
    }
    try_spawn(session, command).await
}

async fn try_spawn(session: &Arc<Session>, command: &str) -> Result<(Writer, Reader, Reader), ConnectError> {
    // Never inherited: the master would hold our own stdout open after we are gone.
    let mut child = Arc::clone(session)
        .arc_raw_command(command)
        .stdin(openssh::Stdio::piped())
        .stdout(openssh::Stdio::piped())
        .stderr(openssh::Stdio::piped())
        .spawn()
        .await
        .map_err(|error| of_crate(&error))?;
    let missing = || ConnectError::here("a pipe to ssh is missing");
    let stdin = child.stdin().take().ok_or_else(missing)?;
    let stdout = child.stdout().take().ok_or_else(missing)?;
    let stderr = child.stderr().take().ok_or_else(missing)?;
    // The command lasts as long as its stdout is read, not as long as some handle lives.
    Ok((Box::new(stdin), Box::new(Held { stream: stdout, _child: child }), Box::new(stderr)))
}

fn spawn_here(command: &str) -> Result<(Writer, Reader, Reader), ConnectError> {
    let mut sh = tokio::process::Command::new("sh");
    sh.args(["-c", command]);
    Held::spawn(sh, "sh")
}

/// What an error of the crate means once the connection is there.
fn of_crate(error: &openssh::Error) -> ConnectError {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    if text.contains("refused by peer") {
        return ConnectError::SessionRefused;
    }
    ConnectError::Lost { text }
}

/// A stream that keeps its process.
pub(super) struct Held<R, C> {
    stream: R,
    _child: C,
}

impl Held<tokio::process::ChildStdout, tokio::process::Child> {
    /// Starts a process, which ends with its stdout.
    pub(super) fn spawn(
        mut command: tokio::process::Command,
        name: &str,
    ) -> Result<(Writer, Reader, Reader), ConnectError> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| ConnectError::here(format!("{name} cannot be started: {error}")))?;
        let missing = || ConnectError::here(format!("a pipe to {name} is missing"));
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        pipes::enlarge(&stdin);
        pipes::enlarge(&stdout);
        Ok((Box::new(stdin), Box::new(Held { stream: stdout, _child: child }), Box::new(stderr)))
    }
}

impl<R: AsyncRead + Unpin, C: Unpin> AsyncRead for Held<R, C> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_script_gets_its_variables_and_then_the_stream() {
        let script = "begin\nread -r line\nprintf '%s|%s' \"$a\" \"$line\"\nexit 0\n";
        let mut running = Site::Here.script(&[("a", "it's $HOME")], script).await.expect("runs");
        running.stdin.as_mut().expect("is open").write_all(b"sent\n").await.expect("is read");
        drop(running.stdin.take());
        let mut said = String::new();
        running.stdout.read_to_string(&mut said).await.expect("reads");
        assert_eq!(said, "it's $HOME|sent");
    }

    #[tokio::test]
    async fn a_command_that_cannot_run_tells_why() {
        let error = Site::Here.run("no-such-command-here", b"").await.err().expect("fails").to_string();
        assert!(error.contains("not found"), "{error}");
    }
}
