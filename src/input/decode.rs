//! Decompression, and the newline that the last line may lack.
//!
//! What the tools make by appending one file to another (members, frames, streams) is read to its end. Bytes that do not
//! belong to the format, or are missing, are an error: half an input is worse than none.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use super::BLOCK;
use super::split::Codec;

/// What the bytes of a split say: decompressed, and with a newline at the end unless they are empty.
///
/// Waits for the first bytes of a compressed input. One of no bytes at all is empty, too.
///
/// # Errors
/// Those of the input, as they are. Reading also fails on bytes that are no such format
/// ([`io::ErrorKind::InvalidData`]) or end too early ([`io::ErrorKind::UnexpectedEof`]).
pub fn decode(codec: Codec, input: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    if codec == Codec::Plain {
        return Ok(Box::new(Ended::new(input)));
    }
    let mut input = BufReader::with_capacity(BLOCK, Source(input));
    if input.fill_buf().map_err(|error| blame(codec, error))?.is_empty() {
        return Ok(Box::new(io::empty()));
    }
    Ok(match codec {
        Codec::Plain => Box::new(Ended::new(input)),
        Codec::Gzip => checked(codec, flate2::bufread::MultiGzDecoder::new(input)),
        Codec::Zstd => checked(codec, zstd::stream::read::Decoder::with_buffer(input)?),
        Codec::Bzip2 => checked(codec, bzip2::bufread::MultiBzDecoder::new(input)),
        Codec::Xz => checked(codec, liblzma::bufread::XzDecoder::new_multi_decoder(input)),
    })
}

fn checked(codec: Codec, decoder: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(Ended::new(Checked { codec, decoder }))
}

/// Adds a newline behind the last byte if that is none.
struct Ended<R> {
    input: R,
    last: Option<u8>,
}

impl<R> Ended<R> {
    fn new(input: R) -> Self {
        Ended { input, last: None }
    }
}

impl<R: Read> Read for Ended<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut bytes = self.input.read(buffer)?;
        if bytes == 0 && self.last.is_some_and(|last| last != b'\n') {
            buffer[0] = b'\n';
            bytes = 1;
        }
        if bytes > 0 {
            self.last = Some(buffer[bytes - 1]);
        }
        Ok(bytes)
    }
}

/// Turns the many errors of the decoders into one that people understand.
struct Checked<D> {
    codec: Codec,
    decoder: D,
}

impl<D: Read> Read for Checked<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer).map_err(|error| blame(self.codec, error))
    }
}

/// An error of the input itself comes out as it went in; any other is the decoder's opinion of the bytes.
fn blame(codec: Codec, error: io::Error) -> io::Error {
    match error.downcast::<SourceError>() {
        Ok(SourceError(error)) => error,
        Err(error) => {
            let kind = match error.kind() {
                io::ErrorKind::UnexpectedEof => io::ErrorKind::UnexpectedEof,
                _ => io::ErrorKind::InvalidData,
            };
            io::Error::new(kind, format!("corrupt or truncated {}: {error}", codec.name()))
        }
    }
}

/// The input under a decoder. Its errors are marked, or nobody could tell them from those of the decoder.
struct Source<R>(R);

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map_err(|error| io::Error::new(error.kind(), SourceError(error))),
            }
        }
    }
}

#[derive(Debug)]
struct SourceError(io::Error);

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SourceError {}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use super::*;

    const COMPRESSED: [Codec; 4] = [Codec::Gzip, Codec::Zstd, Codec::Bzip2, Codec::Xz];

    /// The text as one member, frame or stream.
    pub fn encode(codec: Codec, text: &[u8]) -> Vec<u8> {
        fn through<W: Write>(mut encoder: W, text: &[u8], finish: impl FnOnce(W) -> io::Result<Vec<u8>>) -> Vec<u8> {
            encoder.write_all(text).and_then(|()| finish(encoder)).expect("memory can be written")
        }
        let out = Vec::new();
        match codec {
            Codec::Plain => text.to_vec(),
            Codec::Gzip => {
                through(flate2::write::GzEncoder::new(out, flate2::Compression::fast()), text, |e| e.finish())
            }
            Codec::Zstd => through(zstd::Encoder::new(out, 1).expect("an encoder"), text, |e| e.finish()),
            Codec::Bzip2 => {
                through(bzip2::write::BzEncoder::new(out, bzip2::Compression::fast()), text, |e| e.finish())
            }
            Codec::Xz => through(liblzma::write::XzEncoder::new(out, 1), text, |e| e.finish()),
        }
    }

    fn decoded(codec: Codec, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        decode(codec, io::Cursor::new(bytes.to_vec()))?.read_to_end(&mut text)?;
        Ok(text)
    }

    /// Longer than any buffer, and it does not compress to nothing.
    fn long_text() -> Vec<u8> {
        (0..60_000_u64).flat_map(|i| format!("{}\n", i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into_bytes()).collect()
    }

    #[test]
    fn appended_streams_are_read_to_the_end() {
        let long = long_text();
        for codec in COMPRESSED {
            let check = |parts: &[&[u8]], expected: &[u8]| {
                let bytes: Vec<u8> = parts.iter().flat_map(|part| encode(codec, part)).collect();
                assert!(decoded(codec, &bytes).expect("valid") == expected, "{codec:?} of {} parts", parts.len());
            };
            check(&[], b"");
            check(&[b""], b"");
            check(&[b"a\n"], b"a\n");
            check(&[b"a\r\n\0"], b"a\r\n\0\n");
            check(&[b"a\nb", b"c\n", b"", b"d"], b"a\nbc\nd\n");
            check(&[&long, &long], &[&long[..], &long].concat());
        }
    }

    #[test]
    fn plain_bytes_get_their_last_newline() {
        for (bytes, text) in [("", ""), ("a", "a\n"), ("a\n", "a\n"), ("\0", "\0\n")] {
            assert_eq!(decoded(Codec::Plain, bytes.as_bytes()).expect("plain"), text.as_bytes());
        }
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        for codec in COMPRESSED {
            let whole = [encode(codec, b"first\n"), encode(codec, b"second\n")].concat();
            let first = whole.len() - encode(codec, b"second\n").len();
            for length in (1..whole.len()).filter(|length| *length != first) {
                let error = decoded(codec, &whole[..length]).expect_err("something is missing");
                let text = error.to_string();
                assert!(text.starts_with(&format!("corrupt or truncated {}", codec.name())), "{length}: {text}");
                let kinds = [io::ErrorKind::UnexpectedEof, io::ErrorKind::InvalidData];
                assert!(kinds.contains(&error.kind()), "{codec:?} {length}: {error:?}");
            }
        }
    }

    #[test]
    fn what_does_not_belong_there_is_an_error() {
        for codec in COMPRESSED {
            let valid = encode(codec, b"text\n");
            let garbage = b"garbage behind or instead of it";
            for bytes in [[&valid[..], garbage].concat(), garbage.to_vec()] {
                let error = decoded(codec, &bytes).expect_err("garbage");
                assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{codec:?} {error}");
            }
        }
    }

    #[test]
    fn errors_of_the_input_are_not_blamed_on_its_format() {
        struct Cut;
        impl Read for Cut {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::new(io::ErrorKind::ConnectionReset, "the link is gone"))
            }
        }
        for codec in COMPRESSED {
            let start = encode(codec, &long_text());
            let input = io::Cursor::new(start[..start.len() / 2].to_vec()).chain(Cut);
            let mut decoder = decode(codec, input).expect("it starts well");
            let error = io::copy(&mut decoder, &mut io::sink()).expect_err("the input fails");
            assert_eq!((error.kind(), &*error.to_string()), (io::ErrorKind::ConnectionReset, "the link is gone"));
        }
    }
}
