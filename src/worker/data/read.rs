//! Giving parts out: every block is compared with the manifest before a byte of it leaves.

use std::io::{Read, Seek, SeekFrom};

use fs_err::File;

use super::folder::DataFolder;
use crate::input::sample::sample_file;
use crate::input::{Codec, Home, InputFile, Piece, Split, SplitReader, VerifiedFile};
use crate::protocol::data::{DataError, PartId};
use crate::shuffle::record::KeyRule;

/// The records of a split of a part, for a map attempt.
///
/// # Errors
/// [`DataError::Lost`] when the part is not here, or not as long as it was.
pub fn open_split(
    folder: &DataFolder,
    part: &PartId,
    codec: Codec,
    start: u64,
    end: u64,
) -> Result<SplitReader, DataError> {
    let file = open_part(folder, part)?;
    let piece = Piece { path: file.path().to_owned(), start, end };
    let split = Split { source: 0, codec, pieces: vec![piece], home: Home::Shared };
    Ok(SplitReader::of_part(&split, file)?)
}

/// Keys of records near some places of a part.
pub fn sample(
    folder: &DataFolder,
    part: &PartId,
    codec: Codec,
    places: &[u64],
    key: &KeyRule,
) -> Result<Vec<Vec<u8>>, DataError> {
    let path = folder.part(part)?;
    let bytes = fs_err::metadata(&path)?.len();
    let mut keys = Vec::new();
    sample_file(&InputFile { path, bytes, codec, home: Home::Shared }, places, key, &mut keys)?;
    Ok(keys)
}

/// A part of a complete generation, for reading from anywhere in it.
fn open_part(folder: &DataFolder, part: &PartId) -> Result<VerifiedFile, DataError> {
    let manifest = folder.manifest(&part.name, part.generation)?;
    let digest = manifest.digest(part.index).ok_or_else(|| DataError::Lost(format!("there is no {part}")))?;
    Ok(VerifiedFile::open(&folder.part(part)?, digest)?)
}

/// Some bytes of a part. Of a generation that is not complete they come unchecked: there is nothing yet to compare with.
pub fn open_range(folder: &DataFolder, part: &PartId, start: u64, end: u64) -> Result<Box<dyn Read + Send>, DataError> {
    let length = end.saturating_sub(start);
    if folder.outline(&part.name, part.generation).is_ok() {
        return Ok(Box::new(open_part(folder, part)?.range(start, length)));
    }
    let mut file = File::open(folder.part(part)?)?;
    file.seek(SeekFrom::Start(start))?;
    Ok(Box::new(file.take(length)))
}
