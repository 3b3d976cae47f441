//! A split as it travels: paths, ranges and codec.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::dataset::{Generation, Name};
use crate::ids::WorkerId;

/// The input of one map task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Which of the job's inputs it is of, from 0: a join must tell its two sides apart.
    pub source: u32,
    /// How the bytes are compressed; anything but plain is a single piece, from end to end.
    pub codec: Codec,
    /// Where the bytes are, in order; at least one.
    pub pieces: Vec<Piece>,
    /// On whose disk they are.
    pub home: Home,
}

/// On whose disk a split lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Home {
    /// On the driver's machine.
    Driver,
    /// Where every worker finds it under the same path.
    Shared,
    /// In data folders of workers. The split is a single piece, whose path is for people.
    Dataset {
        /// Of which dataset.
        name: Name,
        /// Of which generation.
        generation: Generation,
        /// Which part.
        part: u32,
        /// The workers that have a copy, by their places in the list of hosts.
        holders: Vec<WorkerId>,
    },
}

impl Home {
    /// The workers that have the bytes on a disk of theirs; none where all or nobody has.
    pub fn holders(&self) -> &[WorkerId] {
        match self {
            Home::Driver | Home::Shared => &[],
            Home::Dataset { holders, .. } => holders,
        }
    }
}

impl Split {
    /// Bytes as they lie, by the nominal ranges: what is planned and shown.
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.end - piece.start).sum()
    }
}

/// A byte range of a file, nominal: a record belongs to the piece in which its first byte lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The file, absolute; any bytes.
    #[serde(with = "path_bytes")]
    pub path: PathBuf,
    /// First byte.
    pub start: u64,
    /// Behind the last byte; the file's length for its last piece.
    pub end: u64,
}

/// How a file is compressed, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Codec {
    /// Not at all.
    Plain,
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
    /// `.bz2`
    Bzip2,
    /// `.xz`
    Xz,
}

impl Codec {
    /// The codec that a file's name tells; its case counts.
    pub fn of(path: &Path) -> Self {
        match path.extension().map(|extension| extension.as_encoded_bytes()) {
            Some(b"gz") => Codec::Gzip,
            Some(b"zst") => Codec::Zstd,
            Some(b"bz2") => Codec::Bzip2,
            Some(b"xz") => Codec::Xz,
            Some(_) | None => Codec::Plain,
        }
    }

    /// How the tar archive is compressed that a file's name tells; none where it tells of no archive.
    pub fn of_archive(name: &str) -> Option<Self> {
        const ENDINGS: [(&str, Codec); 9] = [
            (".tar", Codec::Plain),
            (".tar.gz", Codec::Gzip),
            (".tgz", Codec::Gzip),
            (".tar.zst", Codec::Zstd),
            (".tzst", Codec::Zstd),
            (".tar.bz2", Codec::Bzip2),
            (".tbz2", Codec::Bzip2),
            (".tar.xz", Codec::Xz),
            (".txz", Codec::Xz),
        ];
        ENDINGS.into_iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, codec)| codec)
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Plain => "plain",
            Codec::Gzip => "gzip",
            Codec::Zstd => "zstd",
            Codec::Bzip2 => "bzip2",
            Codec::Xz => "xz",
        }
    }
}

/// Paths as their bytes: serde's own form refuses names that are no UTF-8.
mod path_bytes {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// As people read it, where it is text.
    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Readable {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) if serializer.is_human_readable() => text.serialize(serializer),
            Some(_) | None => path.as_os_str().as_bytes().serialize(serializer),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        let bytes = if deserializer.is_human_readable() {
            match Readable::deserialize(deserializer)? {
                Readable::Text(text) => text.into_bytes(),
                Readable::Bytes(bytes) => bytes,
            }
        } else {
            Vec::<u8>::deserialize(deserializer)?
        };
        Ok(OsString::from_vec(bytes).into())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn the_codec_is_told_by_the_suffix() {
        let check = |name: &str, codec| assert_eq!(Codec::of(Path::new(name)), codec, "{name}");
        check("/in/a.gz", Codec::Gzip);
        check("/in/a.txt.zst", Codec::Zstd);
        check("/in/a.bz2", Codec::Bzip2);
        check("/in/a b.xz", Codec::Xz);
        check("/in/a.GZ", Codec::Plain);
        check("/in/gz", Codec::Plain);
        check("/in.gz/a", Codec::Plain);
    }

    #[test]
    fn archives_are_told_by_their_suffix() {
        let check = |name: &str, codec| assert_eq!(Codec::of_archive(name), codec, "{name}");
        check("a.tar", Some(Codec::Plain));
        check("a.tar.gz", Some(Codec::Gzip));
        check("a.b.tgz", Some(Codec::Gzip));
        check("a.tzst", Some(Codec::Zstd));
        check("a.tar.bz2", Some(Codec::Bzip2));
        check("a.txz", Some(Codec::Xz));
        check("a.gz", None);
        check("a.TGZ", None);
        check("tgz", None);
    }

    #[test]
    fn any_name_travels() {
        let path = PathBuf::from(OsStr::from_bytes(b"/in/\xff\n'$()"));
        let piece = Piece { path, start: 3, end: 9 };
        let split = Split { source: 1, codec: Codec::Plain, pieces: vec![piece], home: Home::Driver };
        let sent = postcard::to_stdvec(&split).expect("any split can be sent");
        assert_eq!(postcard::from_bytes::<Split>(&sent), Ok(split));
    }
}
