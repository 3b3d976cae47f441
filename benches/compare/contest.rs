//! One comparison: who runs, in turns, and what is said about it.

use anyhow::{Context, ensure};

use crate::measure::Sample;

/// Runs once, and says how long it took and what came out.
pub type Run = Box<dyn FnMut() -> anyhow::Result<Sample>>;

/// What the ratio should be.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    /// Our speed is at least so much of theirs.
    Speed(f64),
    /// Our time is at most so much of theirs.
    Time(f64),
}

/// Ours, and those beside it.
pub struct Contest {
    ours: Run,
    others: Vec<Other>,
    _kept: Vec<Box<dyn std::any::Any>>,
}

struct Other {
    name: &'static str,
    wanted: Wanted,
    run: Run,
}

/// Above the lines of [`Contest::hold`]. Processor time is that of all processes, where they can be asked.
pub const HEADING: &str =
    "name           beside                    ours (cpu)          theirs (cpu)        ratio  wanted";

impl Contest {
    /// Ours, without anybody beside it.
    pub fn new(ours: Run) -> Self {
        Contest { ours, others: Vec::new(), _kept: Vec::new() }
    }

    /// Somebody beside it.
    pub fn beside(mut self, name: &'static str, wanted: Wanted, run: Run) -> Self {
        self.others.push(Other { name, wanted, run });
        self
    }

    /// Something that must live as long as the contest.
    pub fn keep(mut self, kept: impl std::any::Any) -> Self {
        self._kept.push(Box::new(kept));
        self
    }

    /// Runs all in turns and prints a line for each pair: medians of both, and the median of the ratios of each turn.
    ///
    /// # Errors
    /// When one fails, or answers differ.
    pub fn hold(mut self, name: &str, runs: usize) -> anyhow::Result<()> {
        let mut ours = Vec::new();
        let mut theirs: Vec<Vec<Sample>> = self.others.iter().map(|_| Vec::new()).collect();
        for _ in 0..runs {
            ours.push((self.ours)().context("ours")?);
            for (other, samples) in self.others.iter_mut().zip(&mut theirs) {
                samples.push((other.run)().context(other.name)?);
            }
        }
        for (other, samples) in self.others.iter().zip(&theirs) {
            for (ours, theirs) in ours.iter().zip(samples) {
                ensure!(ours.answer == theirs.answer, "the answer differs from that of {}", other.name);
            }
            println!("{}", line(name, other, &ours, samples));
        }
        Ok(())
    }
}

fn line(name: &str, other: &Other, ours: &[Sample], theirs: &[Sample]) -> String {
    // Of neighbours in time: a machine is faster in one minute than in another.
    let ratio = median(ours.iter().zip(theirs).map(|(ours, theirs)| theirs.seconds / ours.seconds));
    let (ratio, wanted, holds) = match other.wanted {
        Wanted::Speed(least) => (ratio, format!(">= {least}"), ratio >= least),
        Wanted::Time(most) => (1.0 / ratio, format!("<= {most}"), 1.0 / ratio <= most),
    };
    let verdict = if holds { "ok" } else { "MISSED" };
    let told = |samples: &[Sample]| {
        let cpu = median(samples.iter().map(|sample| sample.cpu));
        let cpu = if cpu > 0.0 { format!(" ({})", time(cpu)) } else { String::new() };
        time(median(samples.iter().map(|sample| sample.seconds))) + &cpu
    };
    format!("{name:<14} {:<25} {:<19} {:<19} {ratio:<6.2} {wanted:<7} {verdict}", other.name, told(ours), told(theirs))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn time(seconds: f64) -> String {
    match seconds {
        ..1e-3 => format!("{:.2} µs", seconds * 1e6),
        ..1.0 => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{seconds:.2} s"),
    }
}
