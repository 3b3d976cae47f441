//! Generations: each put, removal or job output of a name is a new one, and the newest complete one counts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One generation of a dataset. They sort by the time at which they began; chance tells two of one moment apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Generation {
    wall_ms: u64,
    random: u32,
}

impl Generation {
    /// One that is newer than all that are known, whatever this machine's clock says.
    pub fn after(newest: Option<Generation>, wall_ms: u64, random: u32) -> Self {
        let earliest = newest.map_or(0, |newest| newest.wall_ms.saturating_add(1));
        Generation { wall_ms: wall_ms.max(earliest), random }
    }

    /// When it began: milliseconds since 1970, by the clock of who began it.
    pub fn wall_ms(self) -> u64 {
        self.wall_ms
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}-{:08x}", self.wall_ms, self.random)
    }
}

impl FromStr for Generation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no generation");
        let (wall_ms, random) = text.split_once('-').ok_or_else(wrong)?;
        let wall_ms = u64::from_str_radix(wall_ms, 16).map_err(|_| wrong())?;
        let random = u32::from_str_radix(random, 16).map_err(|_| wrong())?;
        let generation = Generation { wall_ms, random };
        if generation.to_string() == text { Ok(generation) } else { Err(wrong()) }
    }
}

/// What a put is of: equal for the same sources, cut the same way, so that one that was stopped is found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PutId(pub u64);

impl fmt::Display for PutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for PutId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        u64::from_str_radix(text, 16).map(PutId).map_err(|_| format!("`{text}` is no put"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_generations_do() {
        let first = Generation::after(None, 0x18f_0000_0000, 7);
        let later = Generation::after(Some(first), 0x18f_0000_0001, 0);
        // A clock that was set back makes no difference.
        let last = Generation::after(Some(later), 5, 0xffff_ffff);
        assert!(first < later && later < last);
        assert!(first.to_string() < later.to_string() && later.to_string() < last.to_string());
        assert_eq!(last.to_string().parse(), Ok(last));
        for text in ["", "1-2", "018f00000000-0000000G", "018f00000000_00000000", "../../x-00000000"] {
            assert!(text.parse::<Generation>().is_err(), "{text}");
        }
    }
}
