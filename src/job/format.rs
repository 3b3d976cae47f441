//! What was said about the form of intermediate lines, and the rule for their keys that it means.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::document::some_positive;
use crate::shuffle::record::KeyRule;

/// What was said about the form of intermediate lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Format {
    /// The byte between fields: one ASCII character.
    #[serde(deserialize_with = "one_byte")]
    pub separator: Option<u8>,
    /// How many fields make the key.
    #[serde(deserialize_with = "some_positive")]
    pub key_fields: Option<u32>,
    /// Whether the key is the whole line.
    pub whole_line: Option<bool>,
}

impl Format {
    /// The rule that this is, with what stands before the first tab where nothing was said.
    pub fn key_rule(&self) -> KeyRule {
        match self.whole_line {
            Some(true) => KeyRule::Line,
            Some(false) | None => {
                KeyRule::Fields { separator: self.separator.unwrap_or(b'\t'), fields: self.key_fields.unwrap_or(1) }
            }
        }
    }

    /// What this one says, and what `under` says where this one is silent.
    #[must_use]
    pub fn over(self, under: Format) -> Format {
        Format {
            separator: self.separator.or(under.separator),
            key_fields: self.key_fields.or(under.key_fields),
            whole_line: self.whole_line.or(under.whole_line),
        }
    }

    /// Whether what was said holds together.
    ///
    /// # Errors
    /// When fields are described and the whole line is asked for, in words.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.whole_line == Some(true) && (self.separator.is_some() || self.key_fields.is_some()) {
            return Err("`whole_line` beside `separator` or `key_fields`: one of the two is expected");
        }
        Ok(())
    }
}

/// The separator that a text is.
///
/// # Errors
/// When it is not one ASCII character, or a newline, in words.
pub fn separator(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [b'\n'] => Err("a newline ends a record: another separator is expected".to_owned()),
        [byte] => Ok(*byte),
        _ => Err(format!("`{text}` is no separator: one ASCII character is expected")),
    }
}

fn one_byte<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
    separator(&String::deserialize(deserializer)?).map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Format {
        toml::from_str(text).expect(text)
    }

    #[test]
    fn formats_become_key_rules() {
        let check = |text: &str, rule: KeyRule| assert_eq!(parse(text).key_rule(), rule, "{text}");
        check("", KeyRule::default());
        check("whole_line = false", KeyRule::default());
        check("whole_line = true", KeyRule::Line);
        check("separator = ','", KeyRule::Fields { separator: b',', fields: 1 });
        check("key_fields = 3", KeyRule::Fields { separator: b'\t', fields: 3 });
    }

    #[test]
    fn formats_lie_over_each_other() {
        let check = |over: &str, under: &str, both: &str| assert_eq!(parse(over).over(parse(under)), parse(both));
        check("", "separator = ','", "separator = ','");
        check("separator = ';'", "separator = ','\nkey_fields = 2", "separator = ';'\nkey_fields = 2");
        check("whole_line = false", "whole_line = true", "whole_line = false");
    }
}
