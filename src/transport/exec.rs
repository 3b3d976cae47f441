//! One command on one host, whole: what it said and how it ended.

use std::sync::Arc;

use memchr::memmem;
use tokio::io::AsyncReadExt;

use super::config::Resolved;
use super::error::ConnectError;
use super::shell::{Reader, Site};
use super::{LOGIN_TRIES_MAX, Transport};
use crate::fleet::{HostSpec, Place};
use crate::protocol::MARKER;
use crate::protocol::control::Role;

/// How much of a command's output is kept, from its beginning.
const OUTPUT_BYTES_MAX: usize = 64 << 20;

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Executed {
    /// Its exit code as the shell has it: 127 not found, 128 + n killed by signal n.
    pub code: i32,
    /// What it said; at most 64 MiB, with a note where it was cut.
    pub stdout: Vec<u8>,
    /// What it said on stderr; of more than 64 KiB the end.
    pub stderr: String,
}

impl Transport {
    /// Runs a command with the `sh` of a host. It is killed, with all that it started, when this is dropped or the
    /// connection goes.
    ///
    /// # Errors
    /// The host cannot be reached, or the connection was lost before the command ended.
    pub async fn exec(&self, host: &HostSpec, command: &str) -> Result<Executed, ConnectError> {
        self.exec_within(host, command, LOGIN_TRIES_MAX).await
    }

    /// The same with one login alone, for those who wait for a host and choose themselves when to try again.
    ///
    /// # Errors
    /// As [`Transport::exec`].
    pub async fn exec_once(&self, host: &HostSpec, command: &str) -> Result<Executed, ConnectError> {
        self.exec_within(host, command, 1).await
    }

    async fn exec_within(&self, host: &HostSpec, command: &str, tries_max: u32) -> Result<Executed, ConnectError> {
        match host.place {
            Place::ThisMachine => exec(&Site::Here, command).await,
            Place::Ssh => {
                let resolved = Resolved::ask(&self.ssh_config, host).await?;
                let master = self.login_within(host, &resolved, Role::Control, tries_max).await?;
                let executed = exec(&Site::Remote(Arc::clone(&master.session)), command).await;
                master.close().await;
                executed
            }
        }
    }
}

async fn exec(site: &Site, command: &str) -> Result<Executed, ConnectError> {
    let mut running = site.script(&[("command", command)], include_str!("exec.sh")).await?;
    // Its stdin stays open until it has ended: that is what it lives by.
    let (stdout, code) = collect(&mut running.stdout).await?;
    drop(running.stdin.take());
    Ok(Executed { code, stdout, stderr: running.stderr.end().await })
}

async fn collect(stream: &mut Reader) -> Result<(Vec<u8>, i32), ConnectError> {
    /// More than the marker and the code behind it.
    const END_BYTES: usize = 4 << 10;
    let mut bytes = Vec::new();
    let mut left_out = 0;
    // A process that it left in the background may hold the stream open for ever: the code is the end.
    while end_of(&bytes).is_none() {
        match stream.read_buf(&mut bytes).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return Err(ConnectError::Lost { text: error.to_string() }),
        }
        if bytes.len() > OUTPUT_BYTES_MAX + 2 * END_BYTES {
            left_out += bytes.len() - END_BYTES - OUTPUT_BYTES_MAX;
            bytes.drain(OUTPUT_BYTES_MAX..bytes.len() - END_BYTES);
        }
    }
    let lost = || ConnectError::Lost { text: "the command's end was not seen".into() };
    let (at, code) = end_of(&bytes).ok_or_else(lost)?;
    bytes.truncate(at);
    if left_out > 0 {
        let note = format!("\n[{left_out} bytes left out]\n");
        let place = OUTPUT_BYTES_MAX.min(bytes.len());
        bytes.splice(place..place, note.into_bytes());
    }
    Ok((bytes, code))
}

/// Where the marker stands behind which the code is, and the code.
fn end_of(bytes: &[u8]) -> Option<(usize, i32)> {
    /// Longer than marker, word and number.
    const END_BYTES_MAX: usize = 64;
    let from = bytes.len().saturating_sub(END_BYTES_MAX);
    let at = from + memmem::rfind(&bytes[from..], MARKER)?;
    let end = std::str::from_utf8(&bytes[at + MARKER.len()..]).ok()?;
    Some((at, end.strip_prefix("code=")?.strip_suffix('\n')?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn codes_and_streams_are_told_whole() {
        let check = async |command: &str, code: i32, stdout: &str, stderr: &str| {
            let done = exec(&Site::Here, command).await.expect(command);
            assert_eq!((done.code, String::from_utf8_lossy(&done.stdout).as_ref()), (code, stdout), "{command}");
            assert!(done.stderr.contains(stderr), "{command}: {}", done.stderr);
        };
        check("echo a; printf b; echo c >&2", 0, "a\nb", "c").await;
        check("exit 3", 3, "", "").await;
        check("sleep 30 & echo started", 0, "started\n", "").await;
        check("no-such-command", 127, "", "not found").await;
        check("kill -9 $$", 137, "", "").await;
        check("cat; echo 'it'\"'\"'s $HOME' | tr -d '\\n'", 0, "it's $HOME", "").await;
        check("head -c 3000000 /dev/zero | tr '\\0' x | wc -c | tr -d '\\n'", 0, "3000000", "").await;
    }

    #[tokio::test]
    async fn long_output_is_cut_with_a_note() {
        let mut stream: Reader = Box::new(std::io::Cursor::new(
            [vec![b'x'; OUTPUT_BYTES_MAX + 100_000], MARKER.to_vec(), b"code=0\n".to_vec()].concat(),
        ));
        let (bytes, code) = collect(&mut stream).await.expect("collects");
        let end = String::from_utf8_lossy(&bytes[OUTPUT_BYTES_MAX..OUTPUT_BYTES_MAX + 20]).into_owned();
        assert_eq!(code, 0);
        assert!(end.starts_with("\n[") && bytes.len() < OUTPUT_BYTES_MAX + 10_000, "{end}");
    }
}
