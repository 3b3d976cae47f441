//! Making generations complete, and removing them. Each step can be repeated.

use std::io::{self, Write};
use std::path::Path;

use fs_err::File;

use super::folder::{DataFolder, Mark, sync_folder};
use super::listing::names_in;
use crate::dataset::{Generation, Manifest, Name, parse_part_file, part_file};
use crate::protocol::data::DataError;

/// Gives every part its final name, which tells how many there are.
pub fn seal(folder: &DataFolder, name: &Name, generation: Generation, parts: u32) -> Result<(), DataError> {
    let path = folder.existing(name, generation)?;
    for (file, from) in names_in(&path)? {
        let sealed = parse_part_file(&file);
        let staged = file.strip_prefix("part-").and_then(|index| index.parse().ok());
        match sealed.map(|(index, _)| index).or(staged) {
            Some(index) if index < parts => fs_err::rename(from, path.join(part_file(index, parts)))?,
            // Of an earlier try, or of nobody.
            Some(_) => fs_err::remove_file(from)?,
            None => {}
        }
    }
    Ok(sync_folder(&path)?)
}

/// Writes the manifest. From now on the generation is complete, here.
pub fn publish(folder: &DataFolder, name: &Name, manifest: &Manifest) -> Result<(), DataError> {
    let path = folder.make(name, manifest.outline.generation)?;
    let mut new = tempfile::Builder::new().prefix(".manifest-").tempfile_in(&path)?;
    new.write_all(&manifest.to_bytes()?)?;
    new.as_file().sync_all()?;
    new.persist(path.join(Mark::Manifest.file())).map_err(|error| error.error)?;
    for (file, path) in names_in(&path)? {
        if matches!(Mark::of(&file), Some(Mark::Put(_))) || file.starts_with('_') {
            fs_err::remove_file(path)?;
        }
    }
    sync_folder(&path)?;
    Ok(sync_folder(&folder.dataset(name))?)
}

/// Writes that there is nothing of this name any more.
pub fn bury(folder: &DataFolder, name: &Name, generation: Generation) -> Result<(), DataError> {
    let path = folder.make(name, generation)?;
    File::create(path.join(Mark::Tombstone.file()))?.sync_all()?;
    sync_folder(&path)?;
    Ok(sync_folder(&folder.dataset(name))?)
}

/// Removes what is older; gives the bytes that were freed.
pub fn purge(folder: &DataFolder, name: &Name, before: Generation) -> Result<u64, DataError> {
    let mut freed = 0;
    for (file, path) in names_in(&folder.dataset(name))? {
        if file.parse::<Generation>().is_ok_and(|generation| generation < before) {
            freed += remove(&path)?;
        }
    }
    Ok(freed)
}

/// Removes a generation that is not complete; one that is stays.
pub fn discard(folder: &DataFolder, name: &Name, generation: Generation) -> Result<(), DataError> {
    let path = folder.generation(name, generation);
    if path.join(Mark::Manifest.file()).exists() {
        return Err(DataError::Failed(format!("{name} is complete: nothing of it was discarded")));
    }
    if path.exists() {
        remove(&path)?;
    }
    // A name of which nothing was ever complete leaves nothing.
    let dataset = folder.dataset(name);
    let is_bare = |files: Vec<(String, _)>| files.iter().all(|(file, _)| file == ".lock");
    if names_in(&dataset).is_ok_and(is_bare) {
        fs_err::remove_dir_all(dataset)?;
    }
    Ok(())
}

/// Removes the output of a job that nobody goes on with. Where parts have their final names it may be complete, as manifests
/// on other hosts would say.
///
/// # Errors
/// Those of the file system.
pub fn abandon(folder: &DataFolder, name: &Name, generation: Generation) -> Result<(), DataError> {
    let path = folder.generation(name, generation);
    let is_final = |(file, _): &(String, _)| parse_part_file(file).is_some() || Mark::of(file).is_some();
    if path.exists() && !names_in(&path)?.iter().any(is_final) {
        discard(folder, name, generation)?;
    }
    Ok(())
}

/// Gives the parts of one generation to another name as well, by links: nothing is copied, and nothing lost in between.
pub fn link(folder: &DataFolder, from: (&Name, Generation), to: (&Name, Generation)) -> Result<(), DataError> {
    let (from, to) = (folder.existing(from.0, from.1)?, folder.make(to.0, to.1)?);
    for (file, path) in names_in(&from)? {
        if parse_part_file(&file).is_some() && !to.join(&file).exists() {
            fs_err::hard_link(path, to.join(&file))?;
        }
    }
    Ok(sync_folder(&to)?)
}

/// Removes the folder of a generation. What says that it is complete goes first, so that half of it is never taken for
/// the whole.
fn remove(path: &Path) -> io::Result<u64> {
    let gone = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    gone(fs_err::remove_file(path.join(Mark::Manifest.file())))?;
    let mut freed = 0;
    for (_, file) in names_in(path)? {
        freed += fs_err::metadata(&file).map_or(0, |about| about.len());
    }
    gone(fs_err::remove_dir_all(path))?;
    Ok(freed)
}
