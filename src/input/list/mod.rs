//! From what was typed to the files that are read, in an order that never changes.
//!
//! A word that names something is that thing, whatever characters it has; only otherwise is it a pattern. A folder
//! stands for all files beneath it, in bytewise order of their paths, component by component; but names that start with
//! `_` or `.` are skipped there, as Hadoop does, for they are markers and drafts of other programs. Files are looked at,
//! not opened.

mod pattern;

use std::fs::FileType;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::split::{Codec, Home};
use crate::error::{Fault, Kind};

/// A file of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFile {
    /// Where it is, absolute.
    pub path: PathBuf,
    /// Its length as it lies, compressed or not.
    pub bytes: u64,
    /// How it is compressed.
    pub codec: Codec,
    /// On whose disk it is.
    pub home: Home,
}

/// The files of one source: those of each word in turn. What is typed twice is there twice.
///
/// # Errors
/// [`Kind::InputMissing`] when a word names or matches nothing, or something that cannot be read; [`Kind::Usage`] when it
/// names what is neither file nor folder, such as a pipe.
pub fn list(typed: &[String]) -> Result<Vec<InputFile>, Fault> {
    let mut listing = Listing::default();
    for word in typed {
        listing.add_word(word)?;
    }
    Ok(listing.files)
}

#[derive(Default)]
struct Listing {
    files: Vec<InputFile>,
    /// Device and inode of the folders that are being walked, from the outermost: a link may lead back to one.
    above: Vec<(u64, u64)>,
}

/// How a path came into the input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Typed,
    Found,
}

impl Listing {
    fn add_word(&mut self, word: &str) -> Result<(), Fault> {
        let absent = match fs_err::metadata(word) {
            Ok(_) => return self.add(std::path::absolute(word).map_err(unreadable)?, Origin::Typed),
            Err(error) => error,
        };
        if word == "-" {
            return Err(Fault::usage("`-`: input is not read from stdin, since tasks may read it again; name a file"));
        }
        if !is_absent(&absent) {
            return Err(unreadable(absent));
        }
        if !pattern::is_pattern(word) {
            return Err(Fault::new(Kind::InputMissing, format!("no such file or folder: `{word}`")));
        }
        let matches = pattern::expand(word)?;
        if matches.is_empty() {
            return Err(Fault::new(Kind::InputMissing, format!("the pattern `{word}` matches nothing")));
        }
        matches.into_iter().try_for_each(|path| self.add(path, Origin::Found))
    }

    fn add(&mut self, path: PathBuf, origin: Origin) -> Result<(), Fault> {
        let metadata = fs_err::metadata(&path).map_err(unreadable)?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            self.add_folder(&path, (metadata.dev(), metadata.ino()))
        } else if kind.is_file() {
            self.add_file(path, metadata.len())
        } else if origin == Origin::Typed {
            Err(no_file(&path, kind))
        } else {
            Ok(())
        }
    }

    fn add_file(&mut self, path: PathBuf, bytes: u64) -> Result<(), Fault> {
        // Asked now, so that the job fails before it starts and not in each task.
        rustix::fs::access(&path, Access::READ_OK).map_err(|error| {
            let text = format!("cannot read `{}`: {}", path.display(), io::Error::from(error));
            Fault::new(Kind::InputMissing, text)
        })?;
        let codec = Codec::of(&path);
        self.files.push(InputFile { path, bytes, codec, home: Home::Driver });
        Ok(())
    }

    fn add_folder(&mut self, folder: &Path, identity: (u64, u64)) -> Result<(), Fault> {
        if self.above.contains(&identity) {
            return Ok(());
        }
        self.above.push(identity);
        for path in children(folder).map_err(unreadable)? {
            if !is_hidden(&path) {
                self.add(path, Origin::Found)?;
            }
        }
        self.above.pop();
        Ok(())
    }
}

/// What lies in a folder, sorted bytewise by name.
fn children(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names =
        fs_err::read_dir(folder)?.map(|entry| entry.map(|e| e.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| matches!(name.as_encoded_bytes().first(), Some(b'_' | b'.')))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn no_file(path: &Path, kind: FileType) -> Fault {
    let what = if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Fault::usage(format!("`{}` is {what}: input must be files, since tasks may read it again", path.display()))
}

/// The error names the path.
fn unreadable(error: io::Error) -> Fault {
    Fault::new(Kind::InputMissing, error.to_string())
}

#[cfg(test)]
mod tests;
