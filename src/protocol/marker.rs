//! The word before our first byte, and how it is found.

use std::io::{self, Cursor};

use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt, Chain};

/// What stands before the first byte that is ours on a connection: login shells and rc files may print first, and all
/// up to and including this is skipped.
pub const MARKER: &[u8] = b"\n\x01runner\x01\n";

/// The most that is skipped before the marker: a message of the day, not a stream.
const NOISE_BYTES_MAX: usize = 1 << 20;

/// Reads all up to and including the marker; what came behind it stays in the stream.
///
/// # Errors
/// When the stream ends before, or is something else; those of the stream.
pub async fn skip_to_marker<R: AsyncRead + Unpin>(mut stream: R) -> io::Result<Chain<Cursor<Vec<u8>>, R>> {
    let mut seen = Vec::with_capacity(4096);
    loop {
        if let Some(at) = memmem::find(&seen, MARKER) {
            seen.drain(..at + MARKER.len());
            return Ok(AsyncReadExt::chain(Cursor::new(seen), stream));
        }
        if seen.len() > NOISE_BYTES_MAX {
            return Err(io::Error::other("its login shell prints without end"));
        }
        if stream.read_buf(&mut seen).await? == 0 {
            return Err(io::Error::other("it ended without a word"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_comes_before_the_marker_is_skipped_and_what_is_behind_stays() {
        let check = async |pieces: &[&[u8]], expected: &str| {
            let mut stream: Box<dyn AsyncRead + Unpin> = Box::new(tokio::io::empty());
            for piece in pieces.iter().rev() {
                stream = Box::new(AsyncReadExt::chain(Cursor::new(piece.to_vec()), stream));
            }
            let mut behind = String::new();
            match skip_to_marker(stream).await {
                Ok(mut rest) => rest.read_to_string(&mut behind).await.map(|_| ()).expect("reads"),
                Err(error) => behind = format!("error: {error}"),
            }
            assert_eq!(behind, expected, "{pieces:?}");
        };
        check(&[MARKER], "").await;
        check(&[b"Welcome!\n\n\x01run", b"ner\x01\nabc", b"def"], "abcdef").await;
        check(&[MARKER, MARKER], "\n\u{1}runner\u{1}\n").await;
        check(&[b"no such thing"], "error: it ended without a word").await;
        check(&[&vec![b'x'; NOISE_BYTES_MAX + 1]], "error: its login shell prints without end").await;
    }
}
