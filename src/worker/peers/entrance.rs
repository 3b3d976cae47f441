//! `runner worker peer`: what sshd runs when another worker of the job logs in with the job's key.
//!
//! It lets in to one place only, the socket for other workers in a folder of that job, hands its own streams over to the
//! worker there, and waits until that has done with them.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, ensure};

use super::handover;
use crate::ids::JobId;
use crate::protocol::control::Welcome;
use crate::protocol::peer::{Hello, SOCKET};
use crate::protocol::{MARKER, frames};

/// Longer than any hello.
const HELLO_BYTES_MAX: usize = 4 << 10;

/// Joins the standard streams to the worker that the caller names, if it is one of `job`.
///
/// # Errors
/// When the caller is no worker of ours; it hears why as well.
pub fn run(job: &JobId, build: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(MARKER)?;
    stdout.flush()?;
    let hello = read_hello()?;
    match find(&hello, job, build) {
        Ok(socket) => hand_over(&socket, &hello),
        Err(error) => {
            let welcome = frames::encode(&Welcome::Refused(format!("{error:#}")))?;
            stdout.write_all(&(welcome.len() as u32).to_be_bytes())?;
            stdout.write_all(&welcome)?;
            stdout.flush()?;
            Err(error)
        }
    }
}

/// Reads the first frame and not a byte more: what follows is for the worker.
fn read_hello() -> anyhow::Result<Hello> {
    let mut stdin = Unbuffered;
    let mut length = [0; 4];
    stdin.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    ensure!(length <= HELLO_BYTES_MAX, "the first frame is too long");
    let mut frame = vec![0; length];
    stdin.read_exact(&mut frame)?;
    Ok(frames::decode(&frame)?)
}

/// Stdin without the buffer that Rust puts behind it.
struct Unbuffered;

impl Read for Unbuffered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(io::stdin().as_fd(), buffer)?)
    }
}

/// The socket that the caller wants, if this key may lead there.
fn find(hello: &Hello, job: &JobId, build: &str) -> anyhow::Result<UnixStream> {
    ensure!(hello.build == build, "this is build {build}, the caller is of {}", hello.build);
    ensure!(hello.job == *job, "this key is for {job}, not for {}", hello.job);
    let name = format!("{job}-{}", hello.worker);
    ensure!(
        hello.folder.is_absolute() && hello.folder.ends_with(Path::new("jobs").join(&name)),
        "no folder of the job"
    );
    std::env::set_current_dir(&hello.folder).with_context(|| format!("no {name} is here"))?;
    let about = fs_err::symlink_metadata(SOCKET)?;
    ensure!(about.uid() == rustix::process::getuid().as_raw(), "it is somebody else's");
    UnixStream::connect(SOCKET).with_context(|| format!("no {name} listens here"))
}

fn hand_over(mut socket: &UnixStream, hello: &Hello) -> anyhow::Result<()> {
    handover::give(socket, io::stdin().as_fd(), io::stdout().as_fd())?;
    let frame = frames::encode(hello)?;
    socket.write_all(&(frame.len() as u32).to_be_bytes())?;
    socket.write_all(&frame)?;
    // The worker keeps its end as long as it uses ours.
    let _over = socket.read(&mut [0]);
    Ok(())
}
