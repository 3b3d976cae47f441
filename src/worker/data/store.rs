//! Taking parts in: each under a temporary name until it is whole and on the disk.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;

use fs_err::File;
use xxhash_rust::xxh3::Xxh3;

use super::folder::{DataFolder, Mark};
use super::listing::names_in;
use crate::dataset::{Digest, Digester, Generation, Name, PutId, staged_file};
use crate::protocol::data::{DataError, Made, PartId};

/// Bytes read, hashed and written at once.
const PIECE_BYTES: usize = 256 << 10;

/// Before the temporary name of a part that arrives.
const ARRIVING: &str = ".arriving-";

/// Makes a generation, or finds it as it was left. Gives the parts that are there.
pub fn begin(
    folder: &DataFolder,
    name: &Name,
    generation: Generation,
    put: Option<PutId>,
) -> Result<Vec<(u32, Digest)>, DataError> {
    let path = folder.make(name, generation)?;
    if let Some(put) = put {
        File::create(path.join(Mark::Put(put).file()))?;
    }
    let mut staged = Vec::new();
    for (file, path) in names_in(&path)? {
        if file.starts_with(ARRIVING) {
            // Whoever wrote it is gone: the name is locked.
            fs_err::remove_file(path)?;
            continue;
        }
        if let Some(index) = index_of(&file) {
            staged.push((index, digest(&path)?));
        }
    }
    Ok(staged)
}

/// The part that a file is, under either of its names.
fn index_of(file: &str) -> Option<u32> {
    crate::dataset::parse_part_file(file).map(|(index, _)| index).or_else(|| staged_index(file))
}

fn staged_index(file: &str) -> Option<u32> {
    let index = file.strip_prefix("part-")?.parse().ok()?;
    (staged_file(index) == file).then_some(index)
}

/// Writes a part from a stream.
pub fn store(folder: &DataFolder, part: &PartId, source: impl Read) -> Result<Digest, DataError> {
    take_in(folder, part, source, |_| Ok(()))
}

/// Writes a copy of a part from a stream. It is not kept unless it has the digest that the part has elsewhere.
pub fn store_copy(folder: &DataFolder, part: &PartId, source: impl Read, expected: &Digest) -> Result<(), DataError> {
    let compare = |digest: &Digest| match digest == expected {
        true => Ok(()),
        false => Err(DataError::Source("the copy is not the same".to_owned())),
    };
    take_in(folder, part, source, compare).map(drop)
}

fn take_in(
    folder: &DataFolder,
    part: &PartId,
    mut source: impl Read,
    check: impl Fn(&Digest) -> Result<(), DataError>,
) -> Result<Digest, DataError> {
    let path = folder.existing(&part.name, part.generation)?;
    let mut arriving = tempfile::Builder::new().prefix(ARRIVING).tempfile_in(&path)?;
    let mut digester = Digester::default();
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(DataError::Source(error.to_string())),
        };
        digester.update(&buffer[..count]);
        arriving.write_all(&buffer[..count])?;
    }
    let digest = digester.finish();
    check(&digest)?;
    arriving.as_file().sync_data()?;
    arriving.persist(path.join(place_of(folder, part))).map_err(|error| error.error)?;
    Ok(digest)
}

/// Takes a file that was written into the generation's folder, such as the output of a task. Where the answer to that was
/// lost, the part is known again.
pub fn adopt(folder: &DataFolder, part: &PartId, file: &str, made: Made) -> Result<Digest, DataError> {
    if file.contains('/') || !file.starts_with('_') {
        return Err(DataError::Failed(format!("`{file}` is no file that could become {part}")));
    }
    let path = folder.existing(&part.name, part.generation)?;
    let (file, adopted) = (path.join(file), folder.part(part));
    let is_new = file.exists();
    let there = if is_new { file.clone() } else { adopted? };
    let Some(digest) = recognise(&there, made)? else {
        return Err(DataError::Lost(format!("{part} is not what was made: {}", there.display())));
    };
    if is_new {
        fs_err::rename(file, path.join(place_of(folder, part)))?;
    }
    Ok(digest)
}

/// Removes what an earlier driver of a job has left of its output and nobody vouches for; gives the parts that are kept.
pub fn sift(
    folder: &DataFolder,
    name: &Name,
    generation: Generation,
    expected: &BTreeMap<u32, Made>,
) -> Result<Vec<(u32, Digest)>, DataError> {
    let path = folder.generation(name, generation);
    if !path.exists() {
        return Ok(Vec::new());
    }
    if path.join(Mark::Manifest.file()).exists() {
        return Err(DataError::Failed(format!("{name} is complete: nothing of it was removed")));
    }
    let mut kept = Vec::new();
    for (file, path) in names_in(&path)? {
        if file.starts_with(ARRIVING) {
            fs_err::remove_file(path)?;
            continue;
        }
        let Some(index) = index_of(&file) else { continue };
        let known = expected.get(&index).map(|made| recognise(&path, *made)).transpose()?.flatten();
        match known {
            Some(digest) => kept.push((index, digest)),
            None => fs_err::remove_file(path)?,
        }
    }
    Ok(kept)
}

/// The digest of a file, if it is what an attempt made.
fn recognise(path: &Path, made: Made) -> io::Result<Option<Digest>> {
    if fs_err::metadata(path)?.len() != made.bytes {
        return Ok(None);
    }
    let mut whole = Xxh3::new();
    let digest = read_through(path, |bytes| whole.update(bytes))?;
    let is_it = digest.bytes == made.bytes && whole.digest() == made.hash;
    Ok(is_it.then_some(digest))
}

/// The file of a part: its final name where the generation is complete, which is when a copy is made again.
fn place_of(folder: &DataFolder, part: &PartId) -> String {
    match folder.outline(&part.name, part.generation) {
        Ok(outline) => crate::dataset::part_file(part.index, outline.parts.len() as u32),
        Err(_) => staged_file(part.index),
    }
}

/// The digest of a file as it lies.
pub fn digest(path: &Path) -> io::Result<Digest> {
    read_through(path, |_| {})
}

fn read_through(path: &Path, mut look: impl FnMut(&[u8])) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut digester = Digester::default();
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(digester.finish()),
            Ok(count) => {
                digester.update(&buffer[..count]);
                look(&buffer[..count]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
