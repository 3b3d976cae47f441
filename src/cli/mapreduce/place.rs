//! Where the result goes: a folder that is not there yet, in one that is.

use std::path::{Component, Path, PathBuf};

use super::data::{Data, dataset};
use super::input;
use crate::error::{Fault, Kind};
use crate::input::InputFile;
use crate::job::Output;

/// The output that was typed.
///
/// # Errors
/// A [`Fault`] of kind usage: the name of no folder on this machine, or in a folder that is missing.
pub fn output(typed: &str, overwrite: bool, data: Option<&Data>) -> Result<Output, Fault> {
    if let Some(name) = dataset(typed) {
        return data.ok_or_else(input::unasked)?.output(name, overwrite);
    }
    if typed.starts_with("shared:") {
        return Err(Fault::usage(format!(
            "`{typed}` cannot be the output: a path on this machine or fs:NAME is expected"
        )));
    }
    input::refuse_scheme(typed)?;
    let absolute =
        std::path::absolute(typed).map_err(|error| Fault::usage(format!("`{typed}` cannot be the output: {error}")))?;
    // Without a slash at its end, which a rename would trip over.
    let folder: PathBuf = absolute.components().collect();
    if !matches!(folder.components().next_back(), Some(Component::Normal(_))) {
        return Err(Fault::usage(format!("`{typed}` cannot be the output: the name of a folder is expected")));
    }
    if folder.to_str().is_none() {
        return Err(Fault::usage(format!("`{}` cannot be the output: its path is no UTF-8", folder.display())));
    }
    let parent = folder.parent().unwrap_or(Path::new("/"));
    if !parent.is_dir() {
        let text = format!("no folder {} for the output {typed}: make it first", parent.display());
        return Err(Fault::usage(text));
    }
    Ok(Output { folder, overwrite, dataset: None })
}

/// How many copies there are of each part, where that was said.
///
/// # Errors
/// A [`Fault`] of kind usage: a folder on this machine has none.
pub fn set_copies(output: &mut Output, copies: Option<u32>) -> Result<(), Fault> {
    match (copies, &mut output.dataset) {
        (None, _) => {}
        (Some(copies), Some(dataset)) => dataset.copies = copies,
        (Some(_), None) => {
            let text = format!("copies are of datasets: the output {} is a folder here", output.folder.display());
            return Err(Fault::usage(text));
        }
    }
    Ok(())
}

/// Refuses input that would be deleted when the output is replaced.
///
/// # Errors
/// A [`Fault`] of kind usage.
pub fn refuse_input_within(output: &Output, sources: &[Vec<InputFile>]) -> Result<(), Fault> {
    // Nothing lies in a folder that is not there.
    let Ok(folder) = fs_err::canonicalize(&output.folder) else { return Ok(()) };
    let within = sources
        .iter()
        .flatten()
        .find(|file| fs_err::canonicalize(&file.path).is_ok_and(|path| path.starts_with(&folder)));
    match within {
        Some(file) => {
            let text = format!(
                "the input {} lies in the output {}, which --overwrite would delete",
                file.path.display(),
                output.folder.display()
            );
            Err(Fault::new(Kind::Usage, text))
        }
        None => Ok(()),
    }
}
