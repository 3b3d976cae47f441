//! Words and numbers as people read them, and foreign text made harmless.

use std::borrow::Cow;
use std::time::Duration;

use indicatif::HumanCount;

use crate::units::Bytes;

/// Foreign text as it may stand on a terminal: what would move the cursor, change colours, hide or turn text around is
/// shown as an escape; a tab becomes four spaces.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        match char {
            '\t' => safe.push_str("    "),
            char if is_harmful(char) => safe.extend(char.escape_default()),
            char => safe.push(char),
        }
    }
    Cow::Owned(safe)
}

/// Control characters, and the marks that break lines or turn their direction.
fn is_harmful(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// `1 file`, `1,234 files`.
pub fn count_of(count: u64, thing: &str) -> String {
    format!("{} {thing}{}", HumanCount(count), if count == 1 { "" } else { "s" })
}

/// Bytes a second, such as `263.40 MiB/s`; a dash where no time passed.
pub fn rate(bytes: u64, time: Duration) -> String {
    if time.is_zero() {
        return "-".to_owned();
    }
    // The fraction of a byte does not matter, and no rate is near 2^53.
    format!("{}/s", Bytes((bytes as f64 / time.as_secs_f64()) as u64))
}

/// How many times `part` is `whole`, to two places: `1.31`; 1 where both are nothing.
pub fn times(part: u64, whole: f64) -> String {
    let ratio = if whole > 0.0 { part as f64 / whole } else { 1.0 };
    format!("{ratio:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        let check = |text: &str, expected: &str| assert_eq!(printable(text), expected);
        check("plain ünï 日本", "plain ünï 日本");
        check("\tat Main", "    at Main");
        check("\x1b[2Jgone", "\\u{1b}[2Jgone");
        check("50%\r51%", "50%\\r51%");
        check("a\u{9b}b\u{7f}c\0", "a\\u{9b}b\\u{7f}c\\u{0}");
        check("abc\u{202e}def", "abc\\u{202e}def");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(count_of(1, "file"), "1 file");
        assert_eq!(count_of(1234, "file"), "1,234 files");
        assert_eq!(count_of(0, "file"), "0 files");
        assert_eq!(rate(3 << 20, Duration::from_secs(2)), "1.50 MiB/s");
        assert_eq!(rate(3, Duration::ZERO), "-");
        assert_eq!(times(3, 2.0), "1.50");
        assert_eq!(times(0, 0.0), "1.00");
    }
}
