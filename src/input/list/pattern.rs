//! Patterns: `*`, `?`, `[a-z]` within a name, and `**` for any number of folders.
//!
//! Names are matched one component at a time, so no folder is read that cannot hold a match, and names that are no UTF-8
//! match as well (`glob::glob` drops them silently, and a folder that it may not read).

use std::path::{Component, Path, PathBuf};

use glob::Pattern;

use super::{children, is_absent, is_hidden, unreadable};
use crate::error::{Fault, Kind};

/// Whether a word that names nothing is to be read as a pattern.
pub(super) fn is_pattern(word: &str) -> bool {
    word.contains(['*', '?', '['])
}

/// The paths that match, absolute, each once, sorted component by component. A name that starts with `_` or `.` matches
/// only where the pattern begins with that character, too. What lies in a folder that matches does not match again.
pub(super) fn expand(word: &str) -> Result<Vec<PathBuf>, Fault> {
    let word_path = std::path::absolute(word).map_err(unreadable)?;
    let mut found = vec![PathBuf::new()];
    let mut components = word_path.components().peekable();
    while let Some(component) = components.next() {
        let Some(name) = pattern_of(component, &found) else {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        };
        found = if name == "**" {
            match components.peek() {
                Some(next) if next.as_os_str() != "**" => folders_beneath(found)?,
                // At the end it means all that is beneath, which is what a folder means.
                Some(_) | None => found,
            }
        } else {
            matches_in(&found, name, &compile(word, name)?)?
        };
    }
    let mut there = Vec::with_capacity(found.len());
    for path in found {
        if is_there(&path)? {
            there.push(path);
        }
    }
    there.sort_unstable();
    there.dedup_by(|path, kept| path.starts_with(kept));
    Ok(there)
}

/// Whether the path names anything, be it a link to nowhere. What cannot be told is an error, or input would be missed.
fn is_there(path: &Path) -> Result<bool, Fault> {
    match fs_err::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(unreadable(error)),
    }
}

/// The component as a pattern, unless it is a name that is there: so the folders above a pattern, among them that in
/// which it was typed, may have any name.
fn pattern_of<'a>(component: Component<'a>, folders: &[PathBuf]) -> Option<&'a str> {
    let Component::Normal(name) = component else { return None };
    let name = name.to_str().filter(|name| is_pattern(name))?;
    let is_name = folders.iter().all(|folder| is_there(&folder.join(name)).is_ok_and(|there| there));
    (!is_name).then_some(name)
}

fn compile(word: &str, name: &str) -> Result<Pattern, Fault> {
    Pattern::new(name).map_err(|error| {
        let text = format!("no such file or folder: `{word}`, and no pattern either: {} in `{name}`", error.msg);
        Fault::new(Kind::InputMissing, text)
    })
}

fn matches_in(folders: &[PathBuf], name: &str, pattern: &Pattern) -> Result<Vec<PathBuf>, Fault> {
    let mut matches = Vec::new();
    for folder in folders {
        matches.extend(children_if_any(folder)?.into_iter().filter(|path| {
            let child = path.file_name().unwrap_or_default();
            let asked_for = !is_hidden(path) || child.as_encoded_bytes().first() == name.as_bytes().first();
            asked_for && pattern.matches(&child.to_string_lossy())
        }));
    }
    Ok(matches)
}

/// The folders and all that are beneath them, links to folders not followed: they may lead back.
fn folders_beneath(mut folders: Vec<PathBuf>) -> Result<Vec<PathBuf>, Fault> {
    let mut next = 0;
    while next < folders.len() {
        let children = children_if_any(&folders[next])?;
        folders.extend(children.into_iter().filter(|path| !is_hidden(path) && is_folder(path)));
        next += 1;
    }
    Ok(folders)
}

fn is_folder(path: &Path) -> bool {
    fs_err::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// What lies in a folder; nothing if it is none.
fn children_if_any(folder: &Path) -> Result<Vec<PathBuf>, Fault> {
    match children(folder) {
        Err(error) if is_absent(&error) => Ok(Vec::new()),
        result => result.map_err(unreadable),
    }
}
