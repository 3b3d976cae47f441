//! Shipped files on the driver's side: read once for each worker, packed as the worker unpacks them.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use fs_err::File;
use tar::Builder;

use crate::job::{FileForm, ShippedFile};

/// The bytes to send: an archive as it is, anything else as a tar stream with its modes.
///
/// # Errors
/// When the file cannot be opened. What cannot be read later, in a folder, is an error at the end of the stream.
pub fn open(file: &ShippedFile) -> io::Result<Box<dyn Read + Send>> {
    if file.form == FileForm::Archive {
        return Ok(Box::new(File::open(&file.source)?));
    }
    let (packed, pipe) = UnixStream::pair()?;
    let file = file.clone();
    let packer = std::thread::spawn(move || {
        let mut archive = Builder::new(pipe);
        match file.form {
            FileForm::Folder => archive.append_dir_all(&file.name, &file.source)?,
            FileForm::Plain | FileForm::Archive => archive.append_path_with_name(&file.source, &file.name)?,
        }
        archive.finish()
    });
    Ok(Box::new(Packed { packed, packer: Some(packer) }))
}

/// A tar stream whose end tells whether all of it is there: the archive itself ends well in any case.
struct Packed {
    packed: UnixStream,
    packer: Option<JoinHandle<io::Result<()>>>,
}

impl Read for Packed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.packed.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            let packer = self.packer.take().map(JoinHandle::join);
            packer.map_or(Ok(Ok(())), |ended| ended).unwrap_or_else(|_| Err(io::Error::other("packing panicked")))?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(folder: &std::path::Path) -> io::Result<Vec<u8>> {
        let file = ShippedFile { source: folder.to_owned(), name: "tool".to_owned(), form: FileForm::Folder };
        let mut bytes = Vec::new();
        open(&file)?.read_to_end(&mut bytes).map(|_| bytes)
    }

    #[test]
    fn a_folder_is_shipped_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        fs_err::write(folder.path().join("a"), "one").expect("writes");
        let bytes = pack(folder.path()).expect("packs");
        let mut archive = tar::Archive::new(&bytes[..]);
        assert_eq!(archive.entries().expect("entries").count(), 2);
        std::os::unix::fs::symlink("nowhere", folder.path().join("b")).expect("a link");
        pack(folder.path()).expect_err("a link that leads nowhere");
    }
}
