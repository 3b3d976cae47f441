//! The files that go with a job to its workers.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::error::{Fault, Kind};
use crate::input::Codec;
use crate::job::{FileForm, ShippedFile};

/// The files as they are shipped.
///
/// # Errors
/// A [`Fault`]: input missing where there is no such file; usage where a name is no UTF-8 or there twice.
pub fn shipped(files: &[PathBuf]) -> Result<Vec<ShippedFile>, Fault> {
    let shipped: Vec<ShippedFile> = files.iter().map(|file| shipped_file(file)).collect::<Result<_, _>>()?;
    let mut names = HashSet::new();
    for file in shipped.iter().filter(|file| file.form != FileForm::Archive) {
        if !names.insert(&file.name) {
            let text = format!("two files for the workers are called `{}`: one would hide the other", file.name);
            return Err(Fault::usage(text));
        }
    }
    Ok(shipped)
}

fn shipped_file(file: &Path) -> Result<ShippedFile, Fault> {
    let missing = |error: std::io::Error| Fault::new(Kind::InputMissing, format!("a file for the workers: {error}"));
    // Links are followed, and `.` and `..` become the folder that they are.
    let source = fs_err::canonicalize(file).map_err(missing)?;
    let metadata = fs_err::metadata(&source).map_err(missing)?;
    let typed_name = file.file_name().or(source.file_name());
    let Some(name) = typed_name.and_then(|name| name.to_str()).filter(|_| source.to_str().is_some()) else {
        return Err(Fault::usage(format!("{}: a file for the workers needs a name in UTF-8", file.display())));
    };
    if metadata.is_dir() {
        return Ok(ShippedFile { name: name.to_owned(), source, form: FileForm::Folder });
    }
    // Opened now, so that the job fails before it starts.
    fs_err::File::open(&source).map_err(missing)?;
    let form = if Codec::of_archive(name).is_some() { FileForm::Archive } else { FileForm::Plain };
    Ok(ShippedFile { name: name.to_owned(), source, form })
}
