//! Names of datasets and of the files of their parts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// The longest name of a file in Linux's file systems (NAME_MAX): a dataset's folder is one.
const FOLDER_BYTES_MAX: usize = 255;

/// The name of a dataset: words of any script, with `/` between them if it has several. It cannot lead out of the data
/// folder, since only this type's rules make one, also of what comes over the network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Name(String);

impl Name {
    /// The name as it is typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its folder in the data folder, which is one component: `/` and `%` are written as `%2F` and `%25`.
    pub fn folder(&self) -> String {
        self.0.replace('%', "%25").replace('/', "%2F")
    }

    /// The name whose folder this is; none if it is no such folder's name.
    pub fn of_folder(folder: &str) -> Option<Name> {
        let name: Name = folder.replace("%2F", "/").replace("%25", "%").parse().ok()?;
        (name.folder() == folder).then_some(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("`{}` is no name of a dataset: {why}", text.escape_debug()));
        if text.is_empty() {
            return Err("a dataset's name is empty".to_owned());
        }
        if text.starts_with('/') {
            return wrong("it is no path, so it does not begin with `/`");
        }
        if text.chars().any(char::is_control) {
            return wrong("control characters are not allowed");
        }
        if text.contains(['*', '?', '[', ']']) {
            return wrong("`*`, `?`, `[` and `]` are for patterns");
        }
        for word in text.split('/') {
            match word {
                "" => return wrong("a word of it is empty"),
                _ if word.starts_with('.') => return wrong("no word of it begins with a dot"),
                _ if parse_part_file(word).is_some() => return wrong("that is what parts are called"),
                _ => {}
            }
        }
        let name = Name(text.to_owned());
        if name.folder().len() > FOLDER_BYTES_MAX {
            return wrong("it is too long");
        }
        Ok(name)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The file of a part whose generation is whole: `part-00003-of-00016`.
pub fn part_file(index: u32, of: u32) -> String {
    format!("part-{index:05}-of-{of:05}")
}

/// The file of a part as long as nobody knows how many there will be: `part-00003`.
pub fn staged_file(index: u32) -> String {
    format!("part-{index:05}")
}

/// Which part of how many a file holds, by its name.
pub fn parse_part_file(name: &str) -> Option<(u32, u32)> {
    let (index, of) = name.strip_prefix("part-")?.split_once("-of-")?;
    let (index, of) = (index.parse().ok()?, of.parse().ok()?);
    (index < of && part_file(index, of) == name).then_some((index, of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_people_write() {
        for name in ["data", "Wörter aus Büchern", "日志/2024-05", "a%2Fb", "a%b", "-x", "a..b", "a b/c d", "fs:x"]
        {
            let parsed: Name = name.parse().expect(name);
            assert_eq!(parsed.as_str(), name);
            assert!(!parsed.folder().contains('/'), "{}", parsed.folder());
            assert_eq!(Name::of_folder(&parsed.folder()), Some(parsed), "{name}");
        }
    }

    #[test]
    fn nothing_leads_out_of_the_folder() {
        let long = "x".repeat(256);
        let refused = [
            "",
            "/",
            "/etc",
            "..",
            ".",
            "a/..",
            "../a",
            "a/../../b",
            "a//b",
            "a/",
            ".hidden",
            "a/.b",
            "a\0b",
            "a\nb",
            "a*",
            "[x]",
            "part-00000-of-00001",
            "a/part-00000-of-00001",
            &long,
        ];
        for name in refused {
            assert!(name.parse::<Name>().is_err(), "{name:?}");
            let sent = postcard::to_stdvec(name).expect("text");
            assert!(postcard::from_bytes::<Name>(&sent).is_err(), "{name:?} came over the network");
        }
        for folder in ["a/b", "..", "a%2f", "a%", ".put"] {
            assert_eq!(Name::of_folder(folder), None, "{folder}");
        }
    }

    #[test]
    fn part_files_tell_index_and_count() {
        assert_eq!(parse_part_file("part-00003-of-00016"), Some((3, 16)));
        assert_eq!(parse_part_file(&part_file(123_456, 200_000)), Some((123_456, 200_000)));
        for other in
            ["part-3-of-16", "part-00003", "part-00016-of-00016", "part-+0003-of-00016", "part-00003-of-00016.x"]
        {
            assert_eq!(parse_part_file(other), None, "{other}");
        }
    }
}
