//! Datasets as the input of jobs: each part is a file, whose home is known.

use std::path::PathBuf;

use super::select::{Selected, select};
use super::stations::Stations;
use super::view::View;
use crate::dataset::{Form, Pattern, part_file};
use crate::error::{Fault, Kind};
use crate::ids::WorkerId;
use crate::input::{Codec, Home, InputFile};
use crate::protocol::data::{DataRequest, PartId};
use crate::shuffle::record::KeyRule;

/// The parts that patterns choose, in order, as files of the input.
///
/// # Errors
/// A [`Fault`]: a pattern chooses nothing; a part is on no host that answered.
pub fn input_files(view: &View, patterns: &[Pattern]) -> Result<Vec<InputFile>, Fault> {
    let mut files = Vec::new();
    for selected in select(view, patterns)? {
        selected.check()?;
        files.extend(selected.parts.iter().map(|index| file(&selected, *index)));
    }
    Ok(files)
}

fn file(selected: &Selected, index: u32) -> InputFile {
    let (dataset, of) = (&selected.dataset, selected.dataset.parts.len() as u32);
    let part = &dataset.outline.parts[index as usize];
    let name = part.label.clone().unwrap_or_else(|| part_file(index, of));
    let path = PathBuf::from(format!("fs:{}/{name}", dataset.name));
    let codec = match dataset.outline.form {
        Form::Lines => Codec::Plain,
        Form::Whole => Codec::of(&path),
    };
    let holders = dataset.parts[index as usize].holders.iter().map(|at| WorkerId(*at as u32)).collect();
    let home =
        Home::Dataset { name: dataset.name.clone(), generation: dataset.outline.generation, part: index, holders };
    InputFile { path, bytes: part.bytes, codec, home }
}

/// Keys of records near some places of a part, from a host that has it.
///
/// # Errors
/// A [`Fault`] of kind `Data` when no host can tell.
pub async fn sample(
    stations: &Stations,
    file: &InputFile,
    places: &[u64],
    key: &KeyRule,
) -> Result<Vec<Vec<u8>>, Fault> {
    let Home::Dataset { name, generation, part, holders } = &file.home else { return Ok(Vec::new()) };
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let part = PartId { name: name.clone(), generation: *generation, index: *part };
    let mut why = "no host has it".to_owned();
    for holder in holders {
        let (part, codec, places, key) = (part.clone(), file.codec, places.to_vec(), key.clone());
        match stations.ask(holder.index(), DataRequest::Sample { part, codec, places, key }).await {
            Ok(keys) => return Ok(keys),
            Err(error) => why = format!("{}: {error}", stations.name(holder.index())),
        }
    }
    Err(Fault::new(Kind::Data, format!("{} cannot be read: {why}", file.path.display())))
}
