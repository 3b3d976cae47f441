//! How fast attempts are, counted so that a median costs nothing to keep.
//!
//! Values are counted in sixteen buckets for each doubling, as histograms of latencies are: exact to 6 %, the same for ten
//! tasks and a million.

use std::collections::BTreeMap;
use std::time::Duration;

/// Bytes in a thousand seconds: small inputs have whole numbers too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rate(u64);

impl Rate {
    /// So many bytes in this time.
    pub fn of(bytes: u64, time: Duration) -> Self {
        let scaled = u128::from(bytes) * 1_000_000_000 / time.as_micros().max(1);
        Rate(u64::try_from(scaled).unwrap_or(u64::MAX))
    }

    /// How long so many bytes take.
    pub fn time_for(self, bytes: u64) -> Duration {
        let micros = u128::from(bytes) * 1_000_000_000 / u128::from(self.0.max(1));
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// Whether `other` is more than so many times as fast.
    pub fn is_slower(self, times: u32, other: Rate) -> bool {
        self.0.saturating_mul(u64::from(times)) < other.0
    }
}

/// What the finished attempts of a stage took.
#[derive(Clone, Debug, Default)]
pub(super) struct Finished {
    /// Rates of those that had input.
    pub rates: Histogram,
    /// Microseconds of all.
    pub times: Histogram,
}

impl Finished {
    /// Counts an attempt.
    pub fn add(&mut self, bytes: u64, time: Duration) {
        if bytes > 0 {
            self.rates.add(Rate::of(bytes, time).0);
        }
        self.times.add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// How long an attempt with so much input should take; none before there is one to compare with.
    pub fn time_for(&self, bytes: u64) -> Option<Duration> {
        match self.rates.median().filter(|_| bytes > 0) {
            Some(rate) => Some(Rate(rate).time_for(bytes)),
            None => self.times.median().map(Duration::from_micros),
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.times.count
    }
}

/// Values counted by their size.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    buckets: BTreeMap<u32, u64>,
    count: u64,
}

/// Buckets for each doubling, as a power of two.
const FINENESS: u32 = 4;

impl Histogram {
    /// Counts a value.
    pub fn add(&mut self, value: u64) {
        *self.buckets.entry(bucket(value)).or_default() += 1;
        self.count += 1;
    }

    /// Counts a rate.
    pub fn add_rate(&mut self, rate: Rate) {
        self.add(rate.0);
    }

    /// The value in the middle, the upper one of two; the lower end of its bucket. For whoever stands below it, that is
    /// the median of the others, the lower one of two.
    pub fn median(&self) -> Option<u64> {
        let mut before = 0;
        let middle = self.buckets.iter().find(|(_, count)| {
            before += **count;
            before > self.count / 2
        });
        middle.map(|(bucket, _)| value(*bucket))
    }

    /// The median of rates.
    pub fn median_rate(&self) -> Option<Rate> {
        self.median().map(Rate)
    }
}

fn bucket(value: u64) -> u32 {
    let value = value.max(1 << FINENESS);
    let doublings = value.ilog2();
    let rest = (value >> (doublings - FINENESS)) as u32 & ((1 << FINENESS) - 1);
    (doublings << FINENESS) + rest
}

fn value(bucket: u32) -> u64 {
    let (doublings, rest) = (bucket >> FINENESS, bucket & ((1 << FINENESS) - 1));
    (u64::from(rest) + (1 << FINENESS)) << (doublings - FINENESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_exact_to_six_percent() {
        for exact in [16, 17, 31, 32, 33, 1000, 12_345, 1 << 40, u64::MAX] {
            let kept = value(bucket(exact));
            assert!(kept <= exact && exact - kept <= exact / 16, "{exact} is kept as {kept}");
        }
        assert_eq!(value(bucket(0)), 16);
    }

    #[test]
    fn the_median_is_that_of_the_others_for_whoever_is_below() {
        let check = |values: &[u64], median: Option<u64>| {
            let mut histogram = Histogram::default();
            values.iter().for_each(|value| histogram.add(*value));
            assert_eq!(histogram.median(), median, "{values:?}");
        };
        check(&[], None);
        check(&[64], Some(64));
        check(&[64, 256], Some(256));
        check(&[64, 256, 512], Some(256));
        check(&[64, 256, 512, 1024], Some(512));
        check(&[64, 64, 64, 1024], Some(64));
    }

    #[test]
    fn rates_and_times_fit_together() {
        let second = Duration::from_secs(1);
        let rate = Rate::of(1000, second);
        assert_eq!(rate.time_for(3000), 3 * second);
        assert!(Rate::of(499, second).is_slower(2, rate) && !Rate::of(500, second).is_slower(2, rate));
        assert_eq!(Rate::of(0, second).time_for(u64::MAX), Duration::from_micros(u64::MAX));
        let mut finished = Finished::default();
        assert_eq!(finished.time_for(10), None);
        finished.add(0, 4 * second);
        assert!(finished.time_for(0).expect("there is one") >= 3 * second);
        finished.add(1 << 20, 16 * second);
        let time = finished.time_for(1 << 21).expect("there is one");
        assert!(time >= 32 * second && time < 35 * second, "{time:?}");
    }
}
