//! Getting: parts from many hosts at once, in order, another copy where one cannot be read.

use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use fs_err::File;
use futures::stream::{self, TryStreamExt};

use super::Watch;
use super::reading::{More, Place, Reading, unwritten};
use super::select::Selected;
use super::stations::Stations;
use crate::dataset::Form;
use crate::error::{Fault, Kind};

/// Parts that are fetched at once, for each host, and in all.
const PARTS_PER_HOST_MAX: usize = 2;
const PARTS_MAX: usize = 32;

/// Streams that are open ahead of the one that is printed.
const AHEAD_MAX: usize = 4;

/// How much is fetched at first from the end of a part, to find lines there.
const TAIL_BYTES: u64 = 64 << 10;

/// Fetches parts into a new folder: `part-00000` and so on, or the files as they were called.
///
/// # Errors
/// A [`Fault`]: the folder is there already, a part cannot be read, the disk is full.
pub async fn get(stations: &Stations, selected: &Selected, folder: &Path, watch: &Watch) -> Result<(), Fault> {
    selected.check()?;
    let draft = Draft::folder(folder)?;
    let reading = Reading::new(stations, &selected.dataset, watch);
    let files = selected.parts.iter().map(|index| Ok((*index, target(selected, *index)?)));
    let files: Vec<(u32, PathBuf)> = files.collect::<Result<_, Fault>>()?;
    stream::iter(files.iter().map(Ok::<_, Fault>))
        .try_for_each_concurrent(at_once(stations), async |(index, name)| {
            let path = draft.path.join(name);
            let created =
                fs_err::create_dir_all(path.parent().unwrap_or(&draft.path)).and_then(|()| File::create(&path));
            let file = Arc::new(created.map_err(here)?);
            reading.fetch(*index, Place { file, offset: 0 }).await
        })
        .await?;
    if selected.dataset.outline.form == Form::Lines {
        File::create(draft.path.join("_SUCCESS")).map_err(here)?;
    }
    draft.keep()
}

/// Fetches parts into one new file, one behind the other.
///
/// # Errors
/// As [`get`].
pub async fn merge(stations: &Stations, selected: &Selected, path: &Path, watch: &Watch) -> Result<(), Fault> {
    selected.check()?;
    let draft = Draft::file(path)?;
    let file = Arc::new(File::create(&draft.path).map_err(here)?);
    let reading = Reading::new(stations, &selected.dataset, watch);
    let mut offset = 0;
    let mut places = Vec::new();
    for index in &selected.parts {
        places.push((*index, offset));
        offset += reading.bytes(*index);
    }
    stream::iter(places.iter().map(Ok::<_, Fault>))
        .try_for_each_concurrent(at_once(stations), async |(index, offset)| {
            reading.fetch(*index, Place { file: Arc::clone(&file), offset: *offset }).await
        })
        .await?;
    draft.keep()
}

fn at_once(stations: &Stations) -> usize {
    (stations.reached().count() * PARTS_PER_HOST_MAX).clamp(4, PARTS_MAX)
}

/// The file of a part on this machine. Names from elsewhere lead nowhere but down.
fn target(selected: &Selected, index: u32) -> Result<PathBuf, Fault> {
    let Some(label) = &selected.dataset.outline.parts[index as usize].label else {
        return Ok(format!("part-{index:05}").into());
    };
    let path = PathBuf::from(label);
    let is_below = path.components().all(|component| matches!(component, Component::Normal(_)));
    match is_below && !label.is_empty() {
        true => Ok(path),
        false => Err(Fault::new(
            Kind::Data,
            format!("part {index} of {} has a name that leads elsewhere", selected.dataset.name),
        )),
    }
}

fn here(error: std::io::Error) -> Fault {
    Fault::new(Kind::Data, error.to_string())
}

/// What is fetched, under another name until it is whole.
struct Draft {
    path: PathBuf,
    target: PathBuf,
    kept: bool,
}

impl Draft {
    fn folder(target: &Path) -> Result<Draft, Fault> {
        let draft = Draft::file(target)?;
        fs_err::create_dir(&draft.path).map_err(here)?;
        Ok(draft)
    }

    fn file(target: &Path) -> Result<Draft, Fault> {
        if fs_err::symlink_metadata(target).is_ok() {
            return Err(Fault::new(Kind::OutputExists, format!("{} exists", target.display())));
        }
        let absolute = std::path::absolute(target).map_err(here)?;
        let target: PathBuf = absolute.components().collect();
        let name = target.file_name().ok_or_else(|| Fault::usage(format!("{} is no name", target.display())))?;
        let draft = format!(".{}.runner-{}", name.to_string_lossy(), std::process::id());
        Ok(Draft { path: target.with_file_name(draft), target, kept: false })
    }

    fn keep(mut self) -> Result<(), Fault> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, &self.path, CWD, &self.target, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(rustix::io::Errno::EXIST) => {
                let text = format!("{} was made by somebody else meanwhile", self.target.display());
                return Err(Fault::new(Kind::OutputExists, text));
            }
            // A file system without the flag.
            Err(_) => fs_err::rename(&self.path, &self.target).map_err(here)?,
        }
        self.kept = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            let _file = fs_err::remove_file(&self.path);
            let _folder = fs_err::remove_dir_all(&self.path);
        }
    }
}

/// Writes parts in order.
///
/// # Errors
/// A [`Fault`]: a part cannot be read, or the output not be written.
pub async fn cat(stations: &Stations, selected: &Selected, out: &mut dyn Write, watch: &Watch) -> Result<(), Fault> {
    selected.check()?;
    let reading = Reading::new(stations, &selected.dataset, watch);
    let mut ahead = std::collections::VecDeque::new();
    let mut next = selected.parts.iter();
    loop {
        while ahead.len() < AHEAD_MAX
            && let Some(index) = next.next()
        {
            let at = reading.choose(*index, &[])?;
            ahead.push_back((*index, at, reading.open(at, *index, 0, reading.bytes(*index))?));
        }
        let Some((index, at, stream)) = ahead.pop_front() else { return Ok(()) };
        let take = |bytes: &[u8]| out.write_all(bytes).map(|()| More::Wanted);
        reading.pass(index, (0, reading.bytes(index)), Some((at, stream)), take).await?;
    }
}

/// How much of an end is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// So many lines.
    Lines(u64),
    /// So many bytes.
    Bytes(u64),
}

/// Writes the beginning.
///
/// # Errors
/// As [`cat`].
pub async fn head(
    stations: &Stations,
    selected: &Selected,
    end: End,
    out: &mut dyn Write,
    watch: &Watch,
) -> Result<(), Fault> {
    let reading = Reading::new(stations, &selected.dataset, watch);
    let mut left = end;
    for index in &selected.parts {
        if matches!(left, End::Lines(0) | End::Bytes(0)) {
            break;
        }
        let take = |bytes: &[u8]| {
            let wanted = beginning(bytes, &mut left);
            out.write_all(&bytes[..wanted])?;
            Ok(if matches!(left, End::Lines(0) | End::Bytes(0)) { More::No } else { More::Wanted })
        };
        reading.pass(*index, (0, reading.bytes(*index)), None, take).await?;
    }
    Ok(())
}

/// How many of the bytes belong to what is left, which becomes less.
fn beginning(bytes: &[u8], left: &mut End) -> usize {
    match left {
        End::Bytes(count) => {
            let wanted = usize::try_from(*count).unwrap_or(usize::MAX).min(bytes.len());
            *count -= wanted as u64;
            wanted
        }
        End::Lines(count) => {
            for newline in memchr::memchr_iter(b'\n', bytes) {
                *count -= 1;
                if *count == 0 {
                    return newline + 1;
                }
            }
            bytes.len()
        }
    }
}

/// Writes the end.
///
/// # Errors
/// As [`cat`].
pub async fn tail(
    stations: &Stations,
    selected: &Selected,
    end: End,
    out: &mut dyn Write,
    watch: &Watch,
) -> Result<(), Fault> {
    let reading = Reading::new(stations, &selected.dataset, watch);
    let mut text: Vec<u8> = Vec::new();
    'parts: for index in selected.parts.iter().rev() {
        let (mut to, mut step) = (reading.bytes(*index), TAIL_BYTES);
        while to > 0 {
            if start_of_end(&text, end).is_some() {
                break 'parts;
            }
            let from = to.saturating_sub(step);
            let mut piece = Vec::new();
            let take = |bytes: &[u8]| {
                piece.extend_from_slice(bytes);
                Ok(More::Wanted)
            };
            reading.pass(*index, (from, to), None, take).await?;
            piece.extend_from_slice(&text);
            (text, to, step) = (piece, from, step * 4);
        }
    }
    let start = start_of_end(&text, end).unwrap_or(0);
    out.write_all(&text[start..]).map_err(|error| unwritten(&error))
}

/// Where the end begins, if so much is there.
fn start_of_end(text: &[u8], end: End) -> Option<usize> {
    match end {
        End::Bytes(count) => text.len().checked_sub(usize::try_from(count).unwrap_or(usize::MAX)),
        End::Lines(0) => Some(text.len()),
        End::Lines(count) => {
            // The last newline ends the last line, and begins none.
            let body = text.strip_suffix(b"\n").unwrap_or(text);
            memchr::memrchr_iter(b'\n', body).nth(usize::try_from(count - 1).unwrap_or(usize::MAX)).map(|at| at + 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_counted_like_head_and_tail_do() {
        let head = |text: &str, end: End| {
            let mut left = end;
            text[..beginning(text.as_bytes(), &mut left)].to_owned()
        };
        assert_eq!(head("a\nb\nc", End::Lines(2)), "a\nb\n");
        assert_eq!(head("a\nb", End::Lines(5)), "a\nb");
        assert_eq!(head("abc", End::Bytes(2)), "ab");
        let tail = |text: &str, end: End| start_of_end(text.as_bytes(), end).map(|at| text[at..].to_owned());
        assert_eq!(tail("a\nb\nc\n", End::Lines(2)).as_deref(), Some("b\nc\n"));
        assert_eq!(tail("a\nb\nc", End::Lines(1)).as_deref(), Some("c"));
        assert_eq!(tail("a\nb\n", End::Lines(2)), None);
        assert_eq!(tail("abc", End::Bytes(2)).as_deref(), Some("bc"));
        assert_eq!(tail("abc", End::Lines(0)).as_deref(), Some(""));
    }
}
