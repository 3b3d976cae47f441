//! A sample of the keys, for those who cut the output by range: the built-in `sort`.
//!
//! The same files give the same sample, whatever the split size, the workers or the day, for else the cuts and with them
//! the output files would change. So nothing is random: records are taken at even distances over all bytes.

use std::io::{self, Read};

use fs_err::File;
use memchr::memchr;

use super::decode::decode;
use super::list::InputFile;
use super::read::read_at_once;
use super::split::{Codec, Home};
use crate::shuffle::record::{KeyRule, Record};

/// No more of a key is taken: a prefix of a key is as good a cut.
const KEY_MAX: usize = 1 << 10;

/// How far the next record may be; who finds none takes the file's first.
const SEARCH_MAX: u64 = 1 << 20;

/// How much is read at once in that search.
const CHUNK: usize = 16 << 10;

/// How much of a compressed file is looked at for each key that it shall give, and in all.
const DECODED_PER_KEY: u64 = 64 << 10;
const DECODED_MAX: u64 = 1 << 20;

/// Gives the keys at some places, counted in bytes from the file's beginning, of a file that this machine does not have.
pub type Elsewhere<'a> = &'a dyn Fn(&InputFile, &[u64]) -> io::Result<Vec<Vec<u8>>>;

/// About `wanted` keys in the order of the input, each cut to a prefix of at most 1 KiB; fewer if files are empty.
///
/// Each file gives as many as its share of the bytes as they lie. Plain files are read at a few places, of compressed ones
/// the beginning counts for the whole. Files that give no key are not opened, so the time is bounded by `wanted`.
///
/// `elsewhere` gives the keys of files that are parts of datasets.
///
/// # Errors
/// When a file cannot be read or decompressed; the error names it.
pub fn sample_keys(
    sources: &[Vec<InputFile>],
    key: &KeyRule,
    wanted: usize,
    elsewhere: Elsewhere<'_>,
) -> io::Result<Vec<Vec<u8>>> {
    let total = sources.iter().flatten().map(|file| file.bytes).sum();
    let mut places = (0..wanted).map(|index| place(index, wanted, total)).peekable();
    let (mut keys, mut begin) = (Vec::new(), 0);
    for file in sources.iter().flatten() {
        let end = begin + file.bytes;
        let mut within = Vec::new();
        while let Some(at) = places.next_if(|at| *at < end) {
            within.push(at - begin);
        }
        match file.home {
            Home::Driver | Home::Shared if within.is_empty() => {}
            Home::Driver | Home::Shared => sample_file(file, &within, key, &mut keys)?,
            Home::Dataset { .. } => keys.extend(elsewhere(file, &within)?),
        }
        begin = end;
    }
    Ok(keys)
}

/// The middle of the `index`-th of `parts` equal parts of so many bytes.
fn place(index: usize, parts: usize, bytes: u64) -> u64 {
    let place = (2 * index as u128 + 1) * u128::from(bytes) / (2 * parts as u128);
    u64::try_from(place).unwrap_or(u64::MAX)
}

/// Adds a key for each of these places in the file.
///
/// # Errors
/// As for [`sample_keys`].
pub fn sample_file(file: &InputFile, places: &[u64], key: &KeyRule, keys: &mut Vec<Vec<u8>>) -> io::Result<()> {
    let opened = File::open(&file.path)?;
    match file.codec {
        Codec::Plain => {
            sample_places(|buffer, at| read_at_once(&opened, buffer, at), places.iter().copied(), key, keys)
        }
        Codec::Gzip | Codec::Zstd | Codec::Bzip2 | Codec::Xz => {
            let named = |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", file.path.display()));
            let text_max = (DECODED_PER_KEY * places.len() as u64).min(DECODED_MAX);
            let mut text = Vec::new();
            let decoded = decode(file.codec, opened).map_err(named)?;
            decoded.take(text_max).read_to_end(&mut text).map_err(named)?;
            let places = (0..places.len()).map(|index| place(index, places.len(), text.len() as u64));
            sample_places(|buffer, at| Ok(read_from(&text, buffer, at)), places, key, keys)
        }
    }
}

fn read_from(text: &[u8], buffer: &mut [u8], at: u64) -> usize {
    let rest = usize::try_from(at).ok().and_then(|at| text.get(at..)).unwrap_or_default();
    let bytes = rest.len().min(buffer.len());
    buffer[..bytes].copy_from_slice(&rest[..bytes]);
    bytes
}

fn sample_places(
    read_at: impl Fn(&mut [u8], u64) -> io::Result<usize>,
    places: impl Iterator<Item = u64>,
    key: &KeyRule,
    keys: &mut Vec<Vec<u8>>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    for place in places {
        let begin = record_behind(&read_at, place, &mut buffer)?.unwrap_or(0);
        let bytes = read_at(&mut buffer[..KEY_MAX], begin)?;
        if bytes > 0 {
            let line = &buffer[..memchr(b'\n', &buffer[..bytes]).unwrap_or(bytes)];
            keys.push(Record::new(line, key).key().to_vec());
        }
    }
    Ok(())
}

/// Where the first record begins behind `place`, if there is one and it is near.
fn record_behind(
    read_at: impl Fn(&mut [u8], u64) -> io::Result<usize>,
    place: u64,
    buffer: &mut [u8],
) -> io::Result<Option<u64>> {
    let mut at = place;
    while at - place < SEARCH_MAX {
        let bytes = read_at(buffer, at)?;
        if let Some(newline) = memchr(b'\n', &buffer[..bytes]) {
            let begin = at + newline as u64 + 1;
            // Behind the last newline there may be nothing.
            return Ok((read_at(&mut buffer[..1], begin)? > 0).then_some(begin));
        }
        if bytes == 0 {
            return Ok(None);
        }
        at += bytes as u64;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::decode::tests::encode;
    use super::*;

    fn nowhere(file: &InputFile, _: &[u64]) -> io::Result<Vec<Vec<u8>>> {
        panic!("{file:?} is here")
    }

    /// Files of these names and contents, in a folder that goes with the result.
    fn files(contents: &[(&str, Vec<u8>)]) -> (TempDir, Vec<Vec<InputFile>>) {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let write = |(name, content): &(&str, Vec<u8>)| {
            let path = folder.path().join(name);
            fs_err::write(&path, content).expect("a file can be written");
            InputFile { codec: Codec::of(&path), path, bytes: content.len() as u64, home: Home::Driver }
        };
        let files = contents.iter().map(write).collect();
        (folder, vec![files])
    }

    fn sample(contents: &[(&str, Vec<u8>)], wanted: usize) -> Vec<String> {
        let (_folder, sources) = files(contents);
        let keys = sample_keys(&sources, &KeyRule::default(), wanted, &nowhere).expect("the files are there");
        keys.into_iter().map(|key| String::from_utf8(key).expect("text")).collect()
    }

    #[test]
    fn keys_are_taken_at_even_distances() {
        let check = |contents: &[(&str, &str)], wanted, expected: &[&str]| {
            let contents: Vec<_> = contents.iter().map(|(name, text)| (*name, text.as_bytes().to_vec())).collect();
            assert_eq!(sample(&contents, wanted), expected, "{contents:?}");
        };
        check(&[], 3, &[]);
        check(&[("a", "")], 3, &[]);
        check(&[("a", "a\t1\nb\t2\nc\t3\nd\t4\n")], 0, &[]);
        check(&[("a", "a\t1\nb\t2\nc\t3\nd\t4\n")], 2, &["c", "a"]);
        check(&[("a", "a\t1\nb\t2\nc\t3\nd\t4\n")], 4, &["b", "c", "d", "a"]);
        check(&[("a", "only")], 2, &["only", "only"]);
        check(&[("a", "\n\n")], 1, &[""]);
        check(&[("a", "first\n"), ("b", ""), ("c", "second\n")], 2, &["first", "second"]);
    }

    #[test]
    fn long_keys_are_cut_and_long_lines_cost_little() {
        let line = vec![b'x'; 8 << 20];
        assert_eq!(sample(&[("a", line)], 3), vec!["x".repeat(KEY_MAX); 3]);
    }

    #[test]
    fn compressed_files_count_by_their_size() {
        let text: Vec<u8> = (0..100_000).flat_map(|i| format!("{i:05}\n").into_bytes()).collect();
        let packed = encode(Codec::Gzip, &text);
        let plain = vec![b'\n'; packed.len()];
        let keys = sample(&[("a.gz", packed), ("b", plain)], 8);
        assert_eq!(keys[4..], [""; 4]);
        // The first 256 KiB are 43,690 records and two thirds of one; these follow the middles of their quarters.
        assert_eq!(keys[..4], ["05462", "16385", "27307", "38230"]);
    }

    #[test]
    fn a_corrupt_file_is_named() {
        let (_folder, sources) = files(&[("a.gz", b"no gzip".to_vec())]);
        let error = sample_keys(&sources, &KeyRule::Line, 1, &nowhere).expect_err("no gzip");
        assert!(error.to_string().contains("a.gz"), "{error}");
    }

    #[test]
    fn only_files_that_give_keys_are_opened() {
        let (_folder, mut sources) = files(&[("a", b"a\nb\n".repeat(9))]);
        let gone = InputFile { path: "/no/such/file".into(), bytes: 1, codec: Codec::Plain, home: Home::Driver };
        sources[0].resize(10, gone);
        let keys = sample_keys(&sources, &KeyRule::Line, 1, &nowhere).expect("the others are not opened");
        assert_eq!(keys.len(), 1);
    }
}
