//! Bytes and durations as people type and read them.
//!
//! Sizes are binary: `64M` is 64 × 2^20 bytes, as `sort -S` and `dd` have it. Nothing here does arithmetic for others.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use indicatif::HumanBytes;
use serde::{Deserialize, Deserializer, Serialize};

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// So many times 2^20 bytes.
    pub const fn mebi(count: u64) -> Self {
        Bytes(count << 20)
    }

    /// As an index or a length in memory.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Through a string, so that widths and alignment hold.
        f.pad(&HumanBytes(self.0).to_string())
    }
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_size::Config::new()
            .with_binary()
            .parse_size(text)
            .map(Bytes)
            .map_err(|_| format!("`{text}` is no size: a number with K, M, G or T is expected, as in `64M`"))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return u64::deserialize(deserializer).map(Bytes);
        }
        match NumberOrText::deserialize(deserializer)? {
            NumberOrText::Number(bytes) => Ok(Bytes(bytes)),
            NumberOrText::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// A length of time as typed: `90s`, `10m`, `1h 30m`; a bare number means seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Span(pub Duration);

impl Span {
    /// So many seconds.
    pub const fn seconds(count: u64) -> Self {
        Span(Duration::from_secs(count))
    }
}

impl fmt::Display for Span {
    /// At most two units: `1h 3m`, `12m 5s`, `3.1s`, `40ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let text = match seconds {
            0 if self.0.subsec_millis() < 100 => format!("{}ms", self.0.as_millis()),
            0..=59 => format!("{:.1}s", self.0.as_secs_f64()),
            60..=3599 => format!("{}m {}s", seconds / 60, seconds % 60),
            _ => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        };
        f.pad(&text)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(seconds) = text.parse() {
            return Ok(Span(Duration::from_secs(seconds)));
        }
        humantime::parse_duration(text)
            .map(Span)
            .map_err(|_| format!("`{text}` is no length of time: `90s`, `10m` or `2h` is expected"))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return Duration::deserialize(deserializer).map(Span);
        }
        match NumberOrText::deserialize(deserializer)? {
            NumberOrText::Number(seconds) => Ok(Span::seconds(seconds)),
            NumberOrText::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number, or text with a unit such as \"64M\" or \"10m\"")]
enum NumberOrText {
    Number(u64),
    Text(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary() {
        for (text, bytes) in [("0", 0), ("1", 1), ("1K", 1024), ("64M", 64 << 20), ("1.5GiB", 3 << 29)] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "M", "-1", "1 parsec"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
        assert_eq!(format!("{:>10}", Bytes(1536)), "  1.50 KiB");
    }

    #[test]
    fn spans_take_units_or_seconds() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("10m", 600), ("1h 30m", 5400)] {
            assert_eq!(text.parse(), Ok(Span::seconds(seconds)), "{text}");
        }
        assert!("soon".parse::<Span>().is_err());
        assert_eq!(Span::seconds(3725).to_string(), "1h 2m");
        assert_eq!(Span(Duration::from_millis(3140)).to_string(), "3.1s");
    }

    #[test]
    fn both_forms_are_read_from_files() {
        #[derive(Deserialize)]
        struct File {
            size: Bytes,
            time: Span,
        }
        for text in ["size = 1024\ntime = 60", "size = '1K'\ntime = '1m'"] {
            let file: File = toml::from_str(text).expect("parses");
            assert_eq!((file.size, file.time), (Bytes(1024), Span::seconds(60)));
        }
    }
}
