//! What is put becomes parts: balanced ranges of lines, or whole files.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err::File;

use crate::error::Fault;
use crate::input::decode::decode;
use crate::input::{Codec, Home, InputFile, Piece, Split, SplitReader};

/// Without a word from the user, no part is smaller: a hundred lines are no work to share.
const PART_BYTES_MIN: u64 = 64 << 10;

/// Where the bytes of a part come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Lines of files, decompressed.
    Lines(Split),
    /// A file as it is.
    Whole(PathBuf),
    /// What was read from a stream, which cannot be read again.
    Spool(Arc<tempfile::NamedTempFile>),
}

impl Source {
    /// Begins to read.
    pub(super) fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        match self {
            Source::Lines(split) => decode(split.codec, SplitReader::open(split)?),
            Source::Whole(path) => Ok(Box::new(File::open(path)?)),
            Source::Spool(file) => Ok(Box::new(File::open(file.path())?)),
        }
    }
}

/// A part that is to be put.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its bytes.
    pub source: Source,
    /// About how many; exact but for record borders and compression.
    pub bytes: u64,
    /// The file that it is, for whole files.
    pub label: Option<String>,
}

/// How lines are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cutting {
    /// Into so many parts.
    Parts(u32),
    /// Into parts of about so many bytes.
    Size(u64),
    /// Into as many as there are slots, or fewer if they would be tiny.
    Slots(u32),
}

/// Cuts files of lines. Plain ones are one row of bytes, whatever files they are in; a compressed one is a part by itself,
/// since nobody knows where its lines are.
pub fn cut(files: &[InputFile], cutting: Cutting) -> Vec<Planned> {
    let total: u64 = files.iter().map(|file| file.bytes).sum();
    let size = match cutting {
        Cutting::Parts(parts) => total.div_ceil(u64::from(parts.max(1))),
        Cutting::Size(size) => size,
        Cutting::Slots(slots) => total.div_ceil(u64::from(slots.max(1))).max(PART_BYTES_MIN),
    };
    let mut planned = Vec::new();
    let mut row = Vec::new();
    for file in files {
        if file.codec == Codec::Plain {
            row.push(file);
            continue;
        }
        cut_row(&std::mem::take(&mut row), size, &mut planned);
        let piece = Piece { path: file.path.clone(), start: 0, end: file.bytes };
        planned.push(lines(file.codec, vec![piece]));
    }
    cut_row(&row, size, &mut planned);
    if planned.is_empty() {
        planned.push(lines(Codec::Plain, Vec::new()));
    }
    planned
}

/// Cuts plain files that follow each other into equal parts of at most about `size`.
fn cut_row(files: &[&InputFile], size: u64, planned: &mut Vec<Planned>) {
    let total: u64 = files.iter().map(|file| file.bytes).sum();
    let parts = total.div_ceil(size.max(1));
    let border = |part: u64| (u128::from(total) * u128::from(part) / u128::from(parts.max(1))) as u64;
    let mut pieces = Vec::new();
    let (mut part, mut at) = (1, 0);
    for file in files {
        let mut start = 0;
        while start < file.bytes {
            let end = file.bytes.min(start + (border(part) - at));
            at += end - start;
            pieces.push(Piece { path: file.path.clone(), start, end });
            start = end;
            if at == border(part) {
                planned.push(lines(Codec::Plain, std::mem::take(&mut pieces)));
                part += 1;
            }
        }
    }
}

fn lines(codec: Codec, pieces: Vec<Piece>) -> Planned {
    let split = Split { source: 0, codec, pieces, home: Home::Driver };
    Planned { bytes: split.bytes(), source: Source::Lines(split), label: None }
}

/// Every file as a part. Each is called as it lies below the word that named it.
///
/// # Errors
/// A [`Fault`] of kind usage where two would be called the same, or one like no text.
pub fn whole(words: &[(String, Vec<InputFile>)]) -> Result<Vec<Planned>, Fault> {
    let mut labels = BTreeSet::new();
    let mut planned = Vec::new();
    for (word, files) in words {
        for file in files {
            let label = label(word, &file.path)?;
            if !labels.insert(label.clone()) {
                return Err(Fault::usage(format!("two of the files would be called `{label}`: put them one by one")));
            }
            let source = Source::Whole(file.path.clone());
            planned.push(Planned { source, bytes: file.bytes, label: Some(label) });
        }
    }
    Ok(planned)
}

fn label(word: &str, path: &Path) -> Result<String, Fault> {
    let root = std::path::absolute(word).ok().filter(|root| root.is_dir());
    let name = root.and_then(|root| path.strip_prefix(root).map(Path::to_owned).ok());
    let name = name.or_else(|| path.file_name().map(PathBuf::from)).unwrap_or_default();
    let text = name.to_str().filter(|name| !name.chars().any(char::is_control));
    text.map(str::to_owned).ok_or_else(|| Fault::usage(format!("`{}`: its name is no text", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(sizes: &[u64]) -> Vec<InputFile> {
        let name = |index: usize| PathBuf::from(format!("/in/{index}"));
        sizes
            .iter()
            .enumerate()
            .map(|(at, bytes)| InputFile { path: name(at), bytes: *bytes, codec: Codec::Plain, home: Home::Driver })
            .collect()
    }

    fn sizes(planned: &[Planned]) -> Vec<u64> {
        planned.iter().map(|part| part.bytes).collect()
    }

    #[test]
    fn parts_are_equal_whatever_the_files() {
        let check = |files_: &[u64], cutting: Cutting, expected: &[u64]| {
            assert_eq!(sizes(&cut(&files(files_), cutting)), expected, "{files_:?} {cutting:?}");
        };
        check(&[100], Cutting::Parts(4), &[25, 25, 25, 25]);
        check(&[10, 70, 20], Cutting::Parts(4), &[25, 25, 25, 25]);
        check(&[10, 0, 1], Cutting::Parts(3), &[3, 4, 4]);
        check(&[100], Cutting::Size(30), &[25, 25, 25, 25]);
        check(&[100], Cutting::Slots(4), &[100]);
        check(&[1 << 20], Cutting::Slots(4), &[1 << 18; 4]);
        check(&[0], Cutting::Parts(4), &[0]);
        check(&[2], Cutting::Parts(4), &[1, 1]);
    }

    #[test]
    fn every_byte_is_in_one_part() {
        let files = files(&[1000, 1, 777, 0, 4096]);
        for parts in 1..50 {
            let planned = cut(&files, Cutting::Parts(parts));
            assert!(planned.len() <= parts as usize, "{parts}");
            let mut at: Vec<u64> = vec![0; files.len()];
            for piece in planned.iter().flat_map(|part| match &part.source {
                Source::Lines(split) => split.pieces.clone(),
                Source::Whole(_) | Source::Spool(_) => Vec::new(),
            }) {
                let file = files.iter().position(|file| file.path == piece.path).expect("is one of them");
                assert_eq!(piece.start, at[file]);
                at[file] = piece.end;
            }
            assert_eq!(at, files.iter().map(|file| file.bytes).collect::<Vec<_>>(), "{parts}");
        }
    }

    #[test]
    fn compressed_files_are_parts_in_their_place() {
        let mut files = files(&[100, 50, 100]);
        files[1].codec = Codec::Gzip;
        assert_eq!(sizes(&cut(&files, Cutting::Size(50))), [50, 50, 50, 50, 50]);
    }
}
