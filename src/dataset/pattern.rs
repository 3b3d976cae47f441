//! Patterns over datasets and parts: `logs-*`, `data/part-0000[0-3]*`. They are answered on the workers.

use glob::{MatchOptions, Pattern as Glob};
use serde::{Deserialize, Serialize};

use super::name::{Name, part_file};

/// `*` stays within a word of a name, and capitals count.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

/// What was typed to choose datasets or parts of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern of a word, which may be a plain name.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn new(word: &str) -> Result<Self, String> {
        let word = word.strip_prefix("fs:").unwrap_or(word);
        let leads_out = word.split('/').any(|part| part == ".." || part == "." || part.is_empty());
        if leads_out || word.chars().any(char::is_control) {
            return Err(format!("`{}` is no name or pattern of a dataset", word.escape_debug()));
        }
        Glob::new(word).map_err(|error| format!("`{word}` is no pattern: {}", error.msg))?;
        Ok(Pattern(word.to_owned()))
    }

    /// As it was typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it means a dataset as a whole.
    pub fn is_of(&self, name: &Name) -> bool {
        fits(&self.0, name.as_str())
    }

    /// Whether it means the dataset or some of its parts.
    pub fn touches(&self, name: &Name) -> bool {
        self.is_of(name) || self.of_parts().is_some_and(|(dataset, _)| fits(dataset, name.as_str()))
    }

    /// Whether it means one part of a dataset.
    pub fn is_of_part(&self, name: &Name, index: u32, of: u32) -> bool {
        self.of_parts().is_some_and(|(dataset, part)| fits(dataset, name.as_str()) && fits(part, &part_file(index, of)))
    }

    fn of_parts(&self) -> Option<(&str, &str)> {
        self.0.rsplit_once('/')
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    pattern == name || Glob::new(pattern).is_ok_and(|glob| glob.matches_with(name, OPTIONS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_datasets_and_parts() {
        let check = |pattern: &str, name: &str, whole: bool, part: bool| {
            let pattern = Pattern::new(pattern).expect("a pattern");
            let name: Name = name.parse().expect("a name");
            let is = (pattern.is_of(&name), pattern.is_of_part(&name, 3, 16));
            assert_eq!(is, (whole, part), "{pattern:?} {name}");
        };
        check("data", "data", true, false);
        check("fs:data", "data", true, false);
        check("da*", "data", true, false);
        check("*", "a/b", false, false);
        check("a/*", "a/b", true, false);
        check("data/*", "data", false, true);
        check("data/part-00003-of-00016", "data", false, true);
        check("data/part-0000[0-3]*", "data", false, true);
        check("data/part-0000[4-9]*", "data", false, false);
        check("日*", "日志", true, false);
        let touches = |pattern: &str, name: &str| {
            Pattern::new(pattern).expect("a pattern").touches(&name.parse().expect("a name"))
        };
        assert!(touches("data/part-0000[4-9]*", "data") && touches("data", "data") && touches("*/*", "data"));
        assert!(!touches("data/*", "other") && !touches("dat", "data"));
        for wrong in ["", "../x", "/etc", "a//b", "[", "a/.."] {
            assert!(Pattern::new(wrong).is_err(), "{wrong}");
        }
    }
}
