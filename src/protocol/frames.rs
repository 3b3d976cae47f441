//! Frames: a length, then a message in postcard.

use std::io;
use std::marker::PhantomData;

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::codec::{Decoder, Encoder, FramedRead, FramedWrite, LengthDelimitedCodec};

/// The largest frame. Only an assignment with thousands of range cuts comes near; a length beyond it means that the
/// other end is not ours.
const FRAME_MAX: usize = 64 << 20;
/// The largest hello or welcome.
const FIRST_FRAME_MAX: usize = 4 << 10;

/// The codec below every connection.
pub fn lengths() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(FRAME_MAX).new_codec()
}

/// A message as the bytes of one frame.
///
/// # Errors
/// When a value cannot be serialized, which none of ours is.
pub fn encode<M: Serialize>(message: &M) -> io::Result<Bytes> {
    postcard::to_stdvec(message).map(Bytes::from).map_err(io::Error::other)
}

/// The message that a frame holds.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] when the bytes are no such message.
pub fn decode<M: DeserializeOwned>(frame: &[u8]) -> io::Result<M> {
    postcard::from_bytes(frame).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Frames that each hold an `M`.
pub struct Messages<M> {
    lengths: LengthDelimitedCodec,
    message: PhantomData<fn() -> M>,
}

impl<M> Default for Messages<M> {
    fn default() -> Self {
        Messages { lengths: lengths(), message: PhantomData }
    }
}

impl<M: DeserializeOwned> Decoder for Messages<M> {
    type Item = M;
    type Error = io::Error;

    fn decode(&mut self, source: &mut BytesMut) -> io::Result<Option<M>> {
        self.lengths.decode(source)?.map(|frame| decode(&frame)).transpose()
    }
}

impl<M: Serialize> Encoder<&M> for Messages<M> {
    type Error = io::Error;

    fn encode(&mut self, message: &M, target: &mut BytesMut) -> io::Result<()> {
        self.lengths.encode(encode(message)?, target)
    }
}

/// Messages that arrive.
pub type Receiver<M> = FramedRead<Box<dyn AsyncRead + Send + Unpin>, Messages<M>>;

/// Messages that are sent.
pub type Sender<M> = FramedWrite<Box<dyn AsyncWrite + Send + Unpin>, Messages<M>>;

/// The receiving end of a connection.
pub fn receiver<M: DeserializeOwned>(input: Box<dyn AsyncRead + Send + Unpin>) -> Receiver<M> {
    FramedRead::new(input, Messages::default())
}

/// The sending end of a connection.
pub fn sender<M: Serialize>(output: Box<dyn AsyncWrite + Send + Unpin>) -> Sender<M> {
    FramedWrite::new(output, Messages::default())
}

/// Sends one message on a connection that is nobody's yet.
///
/// # Errors
/// Those of the connection.
pub async fn write_one<M: Serialize>(output: &mut (impl AsyncWrite + Unpin), message: &M) -> io::Result<()> {
    let frame = encode(message)?;
    output.write_u32(frame.len() as u32).await?;
    output.write_all(&frame).await?;
    output.flush().await
}

/// Takes one message off a connection, and not a byte more, so that whoever takes it over finds the rest.
///
/// # Errors
/// Those of the connection; [`io::ErrorKind::InvalidData`] when the other end is not ours.
pub async fn read_one<M: DeserializeOwned>(input: &mut (impl AsyncRead + Unpin)) -> io::Result<M> {
    let length = input.read_u32().await? as usize;
    if length > FIRST_FRAME_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the first frame is too long"));
    }
    let mut frame = vec![0; length];
    input.read_exact(&mut frame).await?;
    decode(&frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_being_cut_anywhere() {
        let message = vec!["a".to_owned(), String::new(), "long".repeat(100)];
        let mut codec = Messages::<Vec<String>>::default();
        let mut whole = BytesMut::new();
        codec.encode(&message, &mut whole).expect("encodes");
        for cut in 0..whole.len() {
            let mut part = BytesMut::from(&whole[..cut]);
            let mut codec = Messages::<Vec<String>>::default();
            assert_eq!(codec.decode(&mut part).expect("waits"), None, "cut at {cut}");
            part.extend_from_slice(&whole[cut..]);
            assert_eq!(codec.decode(&mut part).expect("decodes"), Some(message.clone()), "cut at {cut}");
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused() {
        let mut codec = Messages::<String>::default();
        assert!(codec.decode(&mut BytesMut::from(&b"\xff\xff\xff\xff...."[..])).is_err());
    }
}
