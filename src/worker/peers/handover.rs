//! A connection handed from one process to another: its two descriptors go over a unix socket (unix(7), `SCM_RIGHTS`).
//!
//! So nothing has to copy bytes between sshd and the worker. Whoever hands over keeps the socket, which ends when the
//! connection does.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::FileType;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

/// Descriptors of a connection: to read from, and to write to.
const COUNT: usize = 2;

/// A stream to read from, whatever kind of descriptor it is.
pub type Reader = Box<dyn AsyncRead + Send + Unpin>;
/// A stream to write to.
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Gives both ends of a connection away.
///
/// # Errors
/// Those of the socket.
pub fn give(socket: impl AsFd, input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(COUNT))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let descriptors = [input, output];
    rights.push(SendAncillaryMessage::ScmRights(&descriptors));
    // Rights travel only with a byte.
    sendmsg(socket, &[IoSlice::new(&[0])], &mut rights, SendFlags::empty())?;
    Ok(())
}

/// Takes both ends of a connection that is given over `socket`.
///
/// # Errors
/// Those of the socket; and when something else comes.
pub async fn take(socket: &UnixStream) -> io::Result<(Reader, Writer)> {
    let [input, output] = loop {
        socket.readable().await?;
        match socket.try_io(Interest::READABLE, || receive(socket.as_fd())) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            received => break received?,
        }
    };
    Ok((reader(input)?, writer(output)?))
}

fn receive(socket: BorrowedFd<'_>) -> io::Result<[OwnedFd; COUNT]> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(COUNT))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    recvmsg(socket, &mut [IoSliceMut::new(&mut [0])], &mut rights, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)?;
    let mut descriptors = Vec::new();
    for message in rights.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    descriptors.try_into().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "no connection was handed over"))
}

/// sshd gives a command a pair of sockets, or pipes where it was built so.
fn reader(descriptor: OwnedFd) -> io::Result<Reader> {
    match kind(&descriptor)? {
        FileType::Fifo => Ok(Box::new(pipe::Receiver::from_owned_fd(descriptor)?)),
        _ => Ok(Box::new(stream(descriptor)?)),
    }
}

fn writer(descriptor: OwnedFd) -> io::Result<Writer> {
    match kind(&descriptor)? {
        FileType::Fifo => Ok(Box::new(pipe::Sender::from_owned_fd(descriptor)?)),
        _ => Ok(Box::new(stream(descriptor)?)),
    }
}

fn kind(descriptor: &OwnedFd) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(descriptor)?.st_mode))
}

fn stream(descriptor: OwnedFd) -> io::Result<UnixStream> {
    let stream = std::os::unix::net::UnixStream::from(descriptor);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn sockets_and_pipes_are_handed_over_alike() {
        let (near, far) = UnixStream::pair().expect("a pair");
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        give(&near, theirs.as_fd(), theirs.as_fd()).expect("gives");
        drop(theirs);
        let (mut reader, mut writer) = take(&far).await.expect("takes");
        ours.write_all(b"there").await.expect("writes");
        ours.shutdown().await.expect("ends");
        let mut text = String::new();
        reader.read_to_string(&mut text).await.expect("reads");
        writer.write_all(b"and back").await.expect("writes");
        drop((reader, writer));
        ours.read_to_string(&mut text).await.expect("reads");
        assert_eq!(text, "thereand back");

        let (input, into) = rustix::pipe::pipe().expect("a pipe");
        let (from, output) = rustix::pipe::pipe().expect("a pipe");
        give(&near, input.as_fd(), output.as_fd()).expect("gives");
        let (mut reader, mut writer) = take(&far).await.expect("takes");
        rustix::io::write(&into, b"x").expect("writes");
        assert_eq!(reader.read_u8().await.expect("reads"), b'x');
        writer.write_u8(b'y').await.expect("writes");
        let mut byte = [0];
        rustix::io::read(&from, &mut byte).expect("reads");
        assert_eq!(byte, *b"y");
    }

    #[tokio::test]
    async fn a_caller_without_a_connection_is_refused() {
        let (mut near, far) = UnixStream::pair().expect("a pair");
        near.write_all(b"hello").await.expect("writes");
        let error = take(&far).await.err().expect("is refused");
        assert_eq!(error.to_string(), "no connection was handed over");
    }
}
