//! Shipped files on the driver's side: read once for each worker, packed as the worker unpacks them.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;

use fs_err::File;
use tar::Builder;

use crate::job::{FileForm, ShippedFile};

/// The bytes to send: an archive as it is, anything else as a tar stream with its modes.
///
/// # Errors
/// When the file cannot be read. A file that fails half-way ends the stream too early, which the worker finds.
pub fn open(file: &ShippedFile) -> io::Result<Box<dyn Read + Send>> {
    if file.form == FileForm::Archive {
        return Ok(Box::new(File::open(&file.source)?));
    }
    let (packed, pipe) = UnixStream::pair()?;
    let file = file.clone();
    std::thread::spawn(move || {
        let mut archive = Builder::new(pipe);
        let packed = match file.form {
            FileForm::Folder => archive.append_dir_all(&file.name, &file.source),
            FileForm::Plain | FileForm::Archive => archive.append_path_with_name(&file.source, &file.name),
        };
        // Without its end marker the archive is incomplete for the reader.
        packed.and_then(|()| archive.finish())
    });
    Ok(Box::new(packed))
}
