//! Comparing the parts of a generation with its manifest, byte by byte.

use super::folder::DataFolder;
use super::listing::names_in;
use super::store::digest;
use crate::dataset::{Manifest, Name, parse_part_file};
use crate::protocol::data::{DataError, Verdict};

/// Reads every part that is here.
pub fn check(folder: &DataFolder, name: &Name, manifest: &Manifest) -> Result<Vec<Verdict>, DataError> {
    let path = folder.generation(name, manifest.outline.generation);
    let files = match names_in(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        files => files?,
    };
    let mut verdicts = Vec::new();
    for (file, path) in files {
        let Some((index, _)) = parse_part_file(&file) else { continue };
        let Some(part) = manifest.outline.parts.get(index as usize) else { continue };
        let wrong = match digest(&path) {
            Ok(found) if found.bytes != part.bytes => {
                Some(format!("it has {} bytes instead of {}", found.bytes, part.bytes))
            }
            Ok(found) if found.hash() != part.hash => Some("its bytes are not those that were put".to_owned()),
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        verdicts.push(Verdict { index, wrong });
    }
    Ok(verdicts)
}
