//! What lies in a data folder.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::folder::{DataFolder, Mark};
use crate::dataset::{Generation, Held, HeldPart, HeldState, Listing, Name, Pattern, parse_part_file};

/// Looks at all datasets that the patterns touch. What cannot be read is said, and no reason to stop.
pub fn list(folder: &DataFolder, patterns: &[Pattern]) -> io::Result<Listing> {
    let disk = rustix::fs::statvfs(folder.root())?;
    let mut listing = Listing {
        store: folder.store(),
        free: disk.f_bavail.saturating_mul(disk.f_frsize),
        cores: std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
        held: Vec::new(),
        troubles: Vec::new(),
    };
    for (file, _) in names_in(folder.root())? {
        // What has no such name is none of ours.
        let Some(name) = Name::of_folder(&file) else { continue };
        if patterns.is_empty() || patterns.iter().any(|pattern| pattern.touches(&name)) {
            list_dataset(folder, &name, &mut listing);
        }
    }
    listing.held.sort_by(|a, b| (&a.name, a.generation).cmp(&(&b.name, b.generation)));
    Ok(listing)
}

fn list_dataset(folder: &DataFolder, name: &Name, listing: &mut Listing) {
    let generations = match names_in(&folder.dataset(name)) {
        Ok(files) => files.into_iter().filter_map(|(file, _)| file.parse::<Generation>().ok()),
        Err(error) => return listing.troubles.push(error.to_string()),
    };
    for generation in generations {
        match look(folder, name, generation) {
            Ok(held) => listing.held.push(held),
            // Removed in this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => listing.troubles.push(format!("{name}: {error}")),
        }
    }
}

fn look(folder: &DataFolder, name: &Name, generation: Generation) -> io::Result<Held> {
    let mut state = HeldState::Incomplete { put: None };
    let mut parts = Vec::new();
    for (file, path) in names_in(&folder.generation(name, generation))? {
        match Mark::of(&file) {
            Some(Mark::Manifest) => state = HeldState::Complete(folder.outline(name, generation)?),
            Some(Mark::Tombstone) => state = HeldState::Tombstone,
            Some(Mark::Put(put)) if matches!(state, HeldState::Incomplete { .. }) => {
                state = HeldState::Incomplete { put: Some(put) };
            }
            Some(Mark::Put(_)) => {}
            None => {
                if let Some((index, _)) = parse_part_file(&file) {
                    let about = fs_err::metadata(path)?;
                    parts.push(HeldPart { index, bytes: about.len(), blocks: about.blocks() });
                }
            }
        }
    }
    parts.sort_by_key(|part| part.index);
    Ok(Held { name: name.clone(), generation, state, parts })
}

/// The names in a folder that are text, with their paths, sorted.
pub fn names_in(folder: &Path) -> io::Result<Vec<(String, std::path::PathBuf)>> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            names.push((name, entry.path()));
        }
    }
    names.sort();
    Ok(names)
}
