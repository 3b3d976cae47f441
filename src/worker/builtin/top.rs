//! The lines with the largest numbers.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::io;

use bigdecimal::BigDecimal;

use super::Emit;
use super::sum::{Total, not_a_number, number};

/// Keeps so many lines.
pub struct Top {
    count: usize,
    separator: u8,
    /// The least of those kept is on top.
    kept: BinaryHeap<Line>,
}

#[derive(PartialEq, Eq)]
struct Line {
    number: Number,
    line: Vec<u8>,
}

#[derive(PartialEq, Eq)]
enum Number {
    Whole(i128),
    Decimal(Box<BigDecimal>),
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Number::Whole(a), Number::Whole(b)) => a.cmp(b),
            (a, b) => a.decimal().cmp(&b.decimal()),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Number {
    fn decimal(&self) -> BigDecimal {
        match self {
            Number::Whole(whole) => BigDecimal::from(*whole),
            Number::Decimal(decimal) => (**decimal).clone(),
        }
    }
}

impl Ord for Line {
    /// The better line is the lesser: a larger number, then the line that comes first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.number.cmp(&self.number).then_with(|| self.line.cmp(&other.line))
    }
}

impl PartialOrd for Line {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Top {
    /// Keeps the `count` best by the number behind the last `separator`.
    pub fn new(count: u64, separator: u8) -> Self {
        Top { count: usize::try_from(count).unwrap_or(usize::MAX), separator, kept: BinaryHeap::new() }
    }

    /// Looks at a line: key, separator, number.
    ///
    /// # Errors
    /// When there is no number behind the last separator.
    pub fn push(&mut self, line: &[u8]) -> io::Result<()> {
        let end = memchr::memrchr(self.separator, line).ok_or_else(|| not_a_number(line))?;
        let number = match number(&line[end + 1..]).ok_or_else(|| not_a_number(line))? {
            Total::Whole(whole) => Number::Whole(whole),
            Total::Decimal(decimal) => Number::Decimal(decimal),
        };
        let worst = self.kept.peek().filter(|_| self.kept.len() >= self.count);
        // Most lines are no candidates: they are not copied.
        if worst.is_some_and(|worst| worst.number > number) {
            return Ok(());
        }
        self.kept.push(Line { number, line: line.to_vec() });
        if self.kept.len() > self.count {
            self.kept.pop();
        }
        Ok(())
    }

    /// Emits what was kept, the best first.
    ///
    /// # Errors
    /// Those of `emit`.
    pub fn finish(self, emit: &mut Emit) -> io::Result<()> {
        self.kept.into_sorted_vec().iter().try_for_each(|kept| emit(&kept.line))
    }
}
