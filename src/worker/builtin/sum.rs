//! Exact sums: whole numbers, and decimals where needed. Floating point would make a sum depend on its order, hence on
//! how the input was cut.

use std::fmt;
use std::io;
use std::str::FromStr;

use bigdecimal::BigDecimal;

use crate::facts::Cause;
use crate::worker::blame::carry;

/// A sum so far.
#[derive(Clone, Debug, PartialEq)]
pub enum Total {
    /// Of whole numbers.
    Whole(i128),
    /// Of decimals, some of them.
    Decimal(Box<BigDecimal>),
}

/// The largest exponent that is taken as it is written: exact sums of 1e9 and 1e-9 need all the digits between.
const EXPONENT_MAX: i64 = 10_000;

impl Total {
    /// Adds the number that `line` has as its value.
    ///
    /// # Errors
    /// When that is no decimal number.
    pub fn add(&mut self, value: &[u8], line: &[u8]) -> io::Result<()> {
        let number = number(value).ok_or_else(|| not_a_number(line))?;
        let sum = match (&*self, number) {
            (Total::Whole(a), Total::Whole(b)) => match a.checked_add(b) {
                Some(sum) => Total::Whole(sum),
                None => Total::Decimal(Box::new(BigDecimal::from(*a) + BigDecimal::from(b))),
            },
            (a, b) => Total::Decimal(Box::new(a.decimal() + b.decimal())),
        };
        *self = sum;
        Ok(())
    }

    /// The sum as a decimal.
    pub fn decimal(&self) -> BigDecimal {
        match self {
            Total::Whole(whole) => BigDecimal::from(*whole),
            Total::Decimal(decimal) => (**decimal).clone(),
        }
    }
}

impl Default for Total {
    fn default() -> Self {
        Total::Whole(0)
    }
}

impl fmt::Display for Total {
    /// Without exponent and without zeros at the end, so that equal sums are equal text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Total::Whole(whole) => write!(f, "{whole}"),
            Total::Decimal(decimal) => f.write_str(&decimal.normalized().to_plain_string()),
        }
    }
}

/// The number that `text` is; none if it is none.
pub fn number(text: &[u8]) -> Option<Total> {
    let text = std::str::from_utf8(text).ok()?.trim_matches([' ', '\r']);
    if let Ok(whole) = text.parse() {
        return Some(Total::Whole(whole));
    }
    let decimal = BigDecimal::from_str(text).ok()?;
    let (_, scale) = decimal.as_bigint_and_exponent();
    (scale.abs() <= EXPONENT_MAX).then(|| Total::Decimal(Box::new(decimal)))
}

/// The failure that quotes a line without a number.
pub fn not_a_number(line: &[u8]) -> io::Error {
    let line = shown(line);
    carry(Cause::Record { text: format!("`{line}` has no number behind its key (key, separator, number is expected)") })
}

/// The beginning of a line, as it is quoted.
pub fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(80)]).escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_and_written_one_way() {
        let check = |values: &[&str], sum: &str| {
            let mut total = Total::default();
            for value in values {
                total.add(value.as_bytes(), b"line").expect("a number");
            }
            assert_eq!(total.to_string(), sum, "{values:?}");
        };
        check(&[], "0");
        check(&["1", "-3", "+5"], "3");
        check(&["0.1", "0.2"], "0.3");
        check(&["0.5", "0.5"], "1");
        check(&["1e3", "1\r"], "1001");
        check(&["170141183460469231731687303715884105727", "1"], "170141183460469231731687303715884105728");
    }

    #[test]
    fn what_is_no_number_is_named() {
        for value in ["", "x", "1 2", "NaN", "inf", "1e999999999"] {
            let error = Total::default().add(value.as_bytes(), b"the line").expect_err(value);
            assert!(error.to_string().contains("`the line`"), "{error}");
        }
    }
}
