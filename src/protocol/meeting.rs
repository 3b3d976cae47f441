//! How owners of data folders come to copy parts from each other.
//!
//! The driver lets them meet: each makes a way in for the others and says how it is found, and then is told of all others. A
//! copy is fetched by its target, over [`super::peer`] where the two reach each other, else from the driver.

use std::path::PathBuf;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use tokio_util::codec::{Decoder, Encoder};

use super::bulk::Incoming;
use super::data::DataError;
use super::frames::Messages;
use super::peer::{Doorway, Secret, Whereabouts};
use crate::ids::{JobId, WorkerId};

/// What the owner of a data folder needs for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meeting {
    /// What all of them are part of: it has the form of a job, and lasts as long as the streams of one command.
    pub session: JobId,
    /// Which of them it is.
    pub me: WorkerId,
    /// The build that all are of.
    pub build: String,
    /// The private half of the key by which they come to each other, as ssh keeps it in a file.
    pub private_key: Secret,
    /// The public half: type and key, without a comment.
    pub public_key: String,
    /// The version of the sshd that others would come through, as it greets.
    pub sshd: Option<String>,
}

/// How it is found by others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Met {
    /// The running system that it is on.
    pub machine: String,
    /// The folder with the socket for others.
    pub folder: PathBuf,
    /// Where the machine is.
    pub whereabouts: Whereabouts,
    /// Whether the key opens it.
    pub doorway: Doorway,
}

/// Which way a copy came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// Straight from the other host.
    Direct,
    /// Through the driver.
    Relayed,
}

/// What is said while a copy is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Copying {
    /// So many more bytes have come.
    Bytes(u64),
    /// It is there, or why it is not.
    Done(Result<Way, DataError>),
}

impl Copying {
    /// As it is sent.
    ///
    /// # Errors
    /// When a value cannot be serialized, which none of ours is.
    pub fn frame(&self) -> std::io::Result<BytesMut> {
        let mut frame = BytesMut::new();
        Messages::default().encode(self, &mut frame)?;
        Ok(frame)
    }
}

/// Follows a copy to its end; `arrived` hears of bytes as they come.
///
/// # Errors
/// What its target says; [`DataError::Gone`] when the connection is.
pub async fn follow(mut stream: Incoming, arrived: impl Fn(u64)) -> Result<Way, DataError> {
    let gone = |error: std::io::Error| DataError::Gone(error.to_string());
    let (mut frames, mut bytes) = (Messages::<Copying>::default(), BytesMut::new());
    loop {
        match frames.decode(&mut bytes).map_err(gone)? {
            Some(Copying::Bytes(count)) => arrived(count),
            Some(Copying::Done(done)) => return done,
            None => match stream.next().await.map_err(gone)? {
                Some(more) => bytes.extend_from_slice(&more),
                None => return Err(DataError::Gone("the stream ended too early".to_owned())),
            },
        }
    }
}
