//! The manifest: what a generation consists of. A generation is complete once one lies beside its parts.
//!
//! Stored as two sections behind a line with the version: the outline, which listings read, and the hashes of blocks.
//! Each section is a length (u32, little-endian), XXH3-64 of its bytes, and the bytes, in postcard.

use std::io::{self, Read};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::digest::{Digest, hash_of};
use super::generation::Generation;

/// The version of the stored form.
const HEADER: &[u8] = b"runner dataset 1\n";

/// The longest section: what a length beyond it was read from is no manifest.
const SECTION_BYTES_MAX: usize = 1 << 30;

/// All that is known of a complete generation. Equal on all hosts, except that a repair writes a later revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What listings show.
    pub outline: Outline,
    /// The hashes of each part's blocks.
    pub blocks: Vec<Vec<u64>>,
}

/// A generation without the hashes of its blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    /// Which.
    pub generation: Generation,
    /// What the parts hold.
    pub form: Form,
    /// How many copies of each part there should be.
    pub copies: u32,
    /// Raised whenever the places change; the highest counts.
    pub revision: u32,
    /// Names of hosts, as the one who wrote this knew them.
    pub hosts: Vec<String>,
    /// All parts, in order.
    pub parts: Vec<Part>,
}

/// One part, as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its size.
    pub bytes: u64,
    /// [`hash_of`] its blocks.
    pub hash: u64,
    /// The file that it was, for [`Form::Whole`].
    pub label: Option<String>,
    /// Where its copies were put, as indexes into [`Outline::hosts`]. What lies where now, only the hosts can tell.
    pub places: Vec<u32>,
}

/// What parts hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Lines: all parts in order are the data.
    Lines,
    /// A file each, as it was.
    Whole,
}

impl Outline {
    /// Bytes of one copy of everything.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

impl Manifest {
    /// The digest of a part.
    pub fn digest(&self, part: u32) -> Option<Digest> {
        let blocks = self.blocks.get(part as usize)?.clone();
        Some(Digest { bytes: self.outline.parts.get(part as usize)?.bytes, blocks })
    }

    /// The stored form.
    ///
    /// # Errors
    /// When it is too large.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = HEADER.to_vec();
        put_section(&mut bytes, &self.outline)?;
        put_section(&mut bytes, &self.blocks)?;
        Ok(bytes)
    }

    /// Reads all of a stored manifest.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] when it is torn, corrupt or of another version.
    pub fn read(mut input: impl Read) -> io::Result<Self> {
        let outline = Self::read_outline(&mut input)?;
        let blocks: Vec<Vec<u64>> = take_section(&mut input)?;
        let fits = blocks.len() == outline.parts.len()
            && outline.parts.iter().zip(&blocks).all(|(part, blocks)| part.hash == hash_of(blocks));
        if fits { Ok(Manifest { outline, blocks }) } else { Err(corrupt()) }
    }

    /// Reads the outline alone.
    ///
    /// # Errors
    /// As [`Manifest::read`].
    pub fn read_outline(mut input: impl Read) -> io::Result<Outline> {
        let mut header = [0; HEADER.len()];
        input.read_exact(&mut header).map_err(|_short| corrupt())?;
        if header != HEADER {
            return Err(corrupt());
        }
        take_section(&mut input)
    }
}

fn put_section(bytes: &mut Vec<u8>, section: &impl Serialize) -> io::Result<()> {
    let section = postcard::to_stdvec(section).map_err(io::Error::other)?;
    if section.len() > SECTION_BYTES_MAX {
        return Err(io::Error::other("the manifest would be too large"));
    }
    bytes.extend_from_slice(&(section.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&xxh3_64(&section).to_le_bytes());
    bytes.extend_from_slice(&section);
    Ok(())
}

fn take_section<T: DeserializeOwned>(input: &mut impl Read) -> io::Result<T> {
    let (mut length, mut hash) = ([0; 4], [0; 8]);
    input.read_exact(&mut length).and_then(|()| input.read_exact(&mut hash)).map_err(|_short| corrupt())?;
    let length = u32::from_le_bytes(length) as usize;
    if length > SECTION_BYTES_MAX {
        return Err(corrupt());
    }
    let mut section = Vec::new();
    input.take(length as u64).read_to_end(&mut section)?;
    if section.len() != length || xxh3_64(&section) != u64::from_le_bytes(hash) {
        return Err(corrupt());
    }
    postcard::from_bytes(&section).map_err(|_| corrupt())
}

fn corrupt() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the manifest is torn, corrupt or of another version")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let part = |blocks: &[u64], label: Option<&str>| Part {
            bytes: 5,
            hash: hash_of(blocks),
            label: label.map(str::to_owned),
            places: vec![0, 1],
        };
        let outline = Outline {
            generation: Generation::after(None, 1 << 40, 5),
            form: Form::Whole,
            copies: 2,
            revision: 0,
            hosts: vec!["h1".to_owned(), "h2".to_owned()],
            parts: vec![part(&[1, 2], Some("ä b.jpg")), part(&[], None)],
        };
        Manifest { outline, blocks: vec![vec![1, 2], vec![]] }
    }

    #[test]
    fn what_is_stored_comes_back() {
        let bytes = manifest().to_bytes().expect("is small");
        assert_eq!(Manifest::read(&bytes[..]).expect("reads"), manifest());
        assert_eq!(Manifest::read_outline(&bytes[..]).expect("reads"), manifest().outline);
    }

    #[test]
    fn a_torn_or_changed_manifest_is_none() {
        let bytes = manifest().to_bytes().expect("is small");
        for length in 0..bytes.len() {
            assert!(Manifest::read(&bytes[..length]).is_err(), "cut at {length}");
            let mut changed = bytes.clone();
            changed[length] ^= 1;
            assert!(Manifest::read(&changed[..]).is_err(), "changed at {length}");
        }
    }
}
