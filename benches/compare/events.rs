//! What an event costs the scheduler: the measure of the simulation tests, at full size.

#[path = "../../tests/simulation/speed.rs"]
mod speed;

use crate::contest::{Contest, Wanted};
use crate::data::Data;
use crate::measure::Sample;

const WORKERS: u32 = 5000;
const TASKS: u64 = 1_000_000;
/// The aim, in seconds an event.
const AIM: f64 = 5e-6;

/// Beside its aim.
///
/// # Errors
/// None.
pub fn cost(data: &Data) -> anyhow::Result<Option<Contest>> {
    let tasks = u32::try_from(data.scaled(TASKS))?;
    let sample = |seconds| Sample { seconds, cpu: 0.0, answer: 0 };
    let ours = move || Ok(sample(speed::measure(WORKERS, tasks).as_secs_f64()));
    let aim = move || Ok(sample(AIM));
    Ok(Some(Contest::new(Box::new(ours)).beside("the aim, an event", Wanted::Time(1.0), Box::new(aim))))
}
