//! TOML as people write it: text to value, or a fault that names file and line and what was expected.
//!
//! Job files and settings go through here, so that both complain in the same words. Nothing here reads files.

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use toml::de::{DeTable, DeValue};

use crate::error::{Fault, did_you_mean};
use crate::units::{Bytes, Span};

/// The value that a text holds; `shown` is the file's name for errors.
///
/// # Errors
/// A [`Fault`] of kind usage: `FILE:LINE: what is wrong, what was expected`, with the nearest known word for a key or a
/// choice that is unknown.
pub fn parse<T: DeserializeOwned>(text: &str, shown: &str) -> Result<T, Fault> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        Fault::usage(format!("{shown}:{}: {}", line(text, start), in_words(&error)))
    })
}

/// An error of the parser or of a value's type, in words for people.
pub fn in_words(error: &toml::de::Error) -> String {
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    // serde's words are `unknown field`, then the key, then the known ones, each between back quotes.
    let mut quoted = message.split('`').skip(1).step_by(2);
    for (unknown, noun) in [("unknown field", "key"), ("unknown variant", "choice")] {
        if message.starts_with(unknown) {
            let typed = quoted.next().unwrap_or_default();
            let known: Vec<&str> = quoted.collect();
            let hint = did_you_mean(typed, known.iter().copied());
            return format!("unknown {noun} `{typed}`{hint}: one of {} is expected", known.join(", "));
        }
    }
    match message.rsplit_once("expected ") {
        Some((start, "u8" | "u16" | "u32" | "u64")) => format!("{start}expected a whole number, 0 or more"),
        Some((start, "f64")) => format!("{start}expected a number"),
        Some((start, table)) if table.starts_with("struct ") => format!("{start}expected a table"),
        Some(_) | None => message,
    }
}

/// The line, from 1, of the key that `path` leads to; 1 if it is not there.
pub fn line_of<S: AsRef<str>>(text: &str, path: &[S]) -> usize {
    let start = DeTable::parse(text).ok().and_then(|table| start_of(table.get_ref(), path));
    line(text, start.unwrap_or(0))
}

/// A list, or its only item by itself.
///
/// # Errors
/// Those of the deserializer.
pub fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a text or a list of texts")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(item) => vec![item],
        OneOrMany::Many(items) => items,
    })
}

/// An amount that makes no sense as 0.
pub trait Amount {
    /// Whether it is 0.
    fn is_zero(&self) -> bool;
}

impl Amount for u32 {
    fn is_zero(&self) -> bool {
        *self == 0
    }
}

impl Amount for u64 {
    fn is_zero(&self) -> bool {
        *self == 0
    }
}

impl Amount for Bytes {
    fn is_zero(&self) -> bool {
        *self == Bytes(0)
    }
}

impl Amount for Span {
    fn is_zero(&self) -> bool {
        self.0.is_zero()
    }
}

/// An amount that is more than 0.
///
/// # Errors
/// For 0, and those of the deserializer.
pub fn positive<'de, D: Deserializer<'de>, T: Deserialize<'de> + Amount>(deserializer: D) -> Result<T, D::Error> {
    let amount = T::deserialize(deserializer)?;
    if amount.is_zero() { Err(D::Error::custom("0 makes no sense here: more is expected")) } else { Ok(amount) }
}

/// [`positive`], for what may be left out.
///
/// # Errors
/// As [`positive`].
pub fn some_positive<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Amount,
{
    positive(deserializer).map(Some)
}

/// The largest niceness: setpriority(2).
pub const NICE_MAX: u8 = 19;

/// A niceness: 0 to 19, since less than 0 is for the superuser.
///
/// # Errors
/// For another number, and those of the deserializer.
pub fn niceness<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    match u8::deserialize(deserializer)? {
        nice @ 0..=NICE_MAX => Ok(nice),
        _ => Err(D::Error::custom(format!("a niceness from 0 to {NICE_MAX} is expected"))),
    }
}

/// [`niceness`], for what may be left out.
///
/// # Errors
/// As [`niceness`].
pub fn some_niceness<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
    niceness(deserializer).map(Some)
}

fn start_of<S: AsRef<str>>(table: &DeTable<'_>, path: &[S]) -> Option<usize> {
    let (first, rest) = path.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == first.as_ref())?;
    match value.get_ref() {
        DeValue::Table(inner) if !rest.is_empty() => start_of(inner, rest),
        _ => Some(key.span().start),
    }
}

fn line(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Outer {
        #[serde(deserialize_with = "one_or_many")]
        input: Vec<String>,
        #[serde(deserialize_with = "some_positive")]
        size: Option<Bytes>,
        share: f64,
        choice: Option<Choice>,
        inner: Inner,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Inner {
        #[serde(deserialize_with = "some_positive")]
        timeout: Option<Span>,
        count: u32,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Choice {
        Bars,
        Plain,
    }

    #[test]
    fn errors_name_the_line_and_what_was_expected() {
        let check = |line: &str, text: &str| {
            let fault = parse::<Outer>(&format!("# first\n\n{line}\n"), "a/job.toml").expect_err(line);
            assert_eq!(fault.text, format!("a/job.toml:3: {text}"));
        };
        check(
            "inputs = 'x'",
            "unknown key `inputs` (did you mean `input`?): one of input, size, share, choice, inner is expected",
        );
        check("inner.counts = 1", "unknown key `counts` (did you mean `count`?): one of timeout, count is expected");
        check("choice = 'bar'", "unknown choice `bar` (did you mean `bars`?): one of bars, plain is expected");
        check("input = 1", "expected a text or a list of texts");
        check("size = 'x'", "`x` is no size: a number with K, M, G or T is expected, as in `64M`");
        check("size = 0", "0 makes no sense here: more is expected");
        check("size = -1", "expected a number, or text with a unit such as \"64M\" or \"10m\"");
        check("inner.timeout = '0s'", "0 makes no sense here: more is expected");
        check("inner.timeout = 'soon'", "`soon` is no length of time: `90s`, `10m` or `2h` is expected");
        check("inner.count = 'x'", "invalid type: string \"x\", expected a whole number, 0 or more");
        check("inner.count = -1", "invalid value: integer `-1`, expected a whole number, 0 or more");
        check("share = 'x'", "invalid type: string \"x\", expected a number");
        check("inner = 3", "invalid type: integer `3`, expected a table");
        check("share = 1, 2", "unexpected key or value, expected newline, `#`");
        check("share 1", "key with no value, expected `=`");
    }

    #[test]
    fn keys_are_found() {
        let text = "# map\na = 1\n\n[table]\nb = 2\n\n[table.more]\nc = 3\n";
        let check = |path: &[&str], line: usize| assert_eq!(line_of(text, path), line, "{path:?}");
        check(&["a"], 2);
        check(&["table"], 4);
        check(&["table", "b"], 5);
        check(&["table", "more", "c"], 8);
        check(&["zebra"], 1);
    }
}
