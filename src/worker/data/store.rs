//! Taking parts in: each under a temporary name until it is whole and on the disk.

use std::io::{self, Read, Write};
use std::path::Path;

use fs_err::File;

use super::folder::{DataFolder, Mark};
use super::listing::names_in;
use crate::dataset::{Digest, Digester, Generation, Name, PutId, staged_file};
use crate::protocol::data::{DataError, PartId};

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
        let index = crate::dataset::parse_part_file(&file).map(|(index, _)| index).or_else(|| staged_index(&file));
        if let Some(index) = index {
            staged.push((index, digest(&path)?));
        }
    }
    Ok(staged)
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

/// Takes a file that was written into the generation's folder, such as the output of a task.
pub fn adopt(folder: &DataFolder, part: &PartId, file: &str) -> Result<Digest, DataError> {
    if file.contains('/') || !file.starts_with('_') {
        return Err(DataError::Failed(format!("`{file}` is no file that could become {part}")));
    }
    let path = folder.existing(&part.name, part.generation)?;
    let digest = digest(&path.join(file))?;
    fs_err::rename(path.join(file), path.join(place_of(folder, part)))?;
    Ok(digest)
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
    let mut file = File::open(path)?;
    let mut digester = Digester::default();
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(digester.finish()),
            Ok(count) => digester.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
