//! Settings: what holds for all jobs of a person, a folder or a call, resolved once.
//!
//! Flags go over `RUNNER_*` variables, these over `./runner.toml`, that over `$XDG_CONFIG_HOME/runner/runner.toml`, that
//! over the defaults here ([`layers`]). [`environment`] is the one place where the process's environment is read.
//! `config/runner.toml` and `config/cloud.toml` show every setting at its default, and are where the names of the
//! variables are derived from.
//!
//! Names carry their unit, or their values do: `split_size = "64M"`, `lost_after = "30s"`.

pub mod cloud;
pub mod environment;
pub mod layers;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::{DeserializeOwned, Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::job::document::{Amount, niceness, positive};
use crate::shuffle::policy::CompressionPolicy;
use crate::units::{Bytes, Span};

pub use cloud::{Address, Cloud};
pub use environment::Environment;
pub use layers::{Flag, Resolved};

/// The commented default, as it stands in `config/runner.toml` and `config/cloud.toml`.
pub const COMMENTED: &str =
    concat!(include_str!("../../config/runner.toml"), "\n", include_str!("../../config/cloud.toml"));

/// The most reduces that a job gets when nobody says how many.
const REDUCES_MAX: u64 = 512;

/// Every setting. What is none is left open: the comment says what holds then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A file or a list of hosts, in the words of `--workers`; none: see [`crate::fleet::choose`].
    #[serde(deserialize_with = "open")]
    pub workers: Option<String>,
    /// Where jobs keep journal and logs on this machine; none: [`Environment::state_folder`].
    #[serde(deserialize_with = "open")]
    pub state_folder: Option<PathBuf>,
    /// So many jobs keep journal and logs; the oldest go when a new one begins.
    #[serde(deserialize_with = "positive")]
    pub jobs_kept: u32,
    /// Whether workers fetch segments from each other.
    pub shuffle: Shuffle,
    /// When segments are compressed.
    pub compression: CompressionPolicy,
    /// How hosts are reached.
    pub ssh: Ssh,
    /// What a job gets that does not say otherwise.
    pub job: JobDefaults,
    /// What an attempt may take that does not say otherwise.
    pub limits: Limits,
    /// How workers are run and watched.
    pub worker: Worker,
    /// When hosts and tasks are given up.
    pub retry: Retry,
    /// When slow attempts are copied.
    pub straggler: Straggler,
    /// What is shown while a job runs.
    pub display: Display,
    /// What clusters are like.
    pub cloud: Cloud,
}

/// How hosts are reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ssh {
    /// A configuration that goes before the user's and the system's.
    #[serde(deserialize_with = "open")]
    pub config: Option<PathBuf>,
    /// How long a host may take to let us in.
    #[serde(deserialize_with = "positive")]
    pub connect_timeout: Span,
    /// Connections in the making at once for each first hop.
    #[serde(deserialize_with = "positive")]
    pub connects_per_hop_max: u32,
}

/// What a job gets that does not say otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobDefaults {
    /// Attempts of a task that may fail before the job fails.
    #[serde(deserialize_with = "positive")]
    pub attempts_max: u32,
    /// About how many bytes of input a map task gets; none: the input and the slots tell.
    #[serde(deserialize_with = "open_positive")]
    pub split_size: Option<Bytes>,
    /// About how many bytes of input each reduce stands for.
    #[serde(deserialize_with = "positive")]
    pub reduce_size: Bytes,
    /// How much of each attempt's stderr is kept.
    pub stderr_max: Bytes,
    /// An attempt that neither reads, writes nor reports for so long is ended; none: never.
    #[serde(deserialize_with = "open_positive")]
    pub silence_max: Option<Span>,
}

/// What the commands of an attempt may take together, with all that they start; see [`crate::job::ProcessLimits`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory.
    #[serde(deserialize_with = "open_positive")]
    pub memory: Option<Bytes>,
    /// Processor time.
    #[serde(deserialize_with = "open_positive")]
    pub cpu_time: Option<Span>,
    /// Time from when the attempt took its slot.
    #[serde(deserialize_with = "open_positive")]
    pub wall_time: Option<Span>,
    /// Processes at once.
    #[serde(deserialize_with = "open_positive")]
    pub processes: Option<u32>,
    /// The niceness at which they run at least.
    #[serde(deserialize_with = "niceness")]
    pub nice: u8,
}

/// How workers are run and watched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Worker {
    /// Attempts at once; none: the worker's cores.
    #[serde(deserialize_with = "open_positive")]
    pub slots: Option<u32>,
    /// An attempt's memory for sorting and merging; none: the worker divides what it has by its slots.
    #[serde(deserialize_with = "open_positive")]
    pub sort_memory: Option<Bytes>,
    /// Silence after which nothing new is started there.
    #[serde(deserialize_with = "positive")]
    pub suspect_after: Span,
    /// Silence after which it is lost; more than `suspect_after`.
    #[serde(deserialize_with = "positive")]
    pub lost_after: Span,
    /// How long a worker stays without a driver.
    pub orphan_grace: Span,
    /// The load by others, for each core of a host, above which nothing is started there; none: whatever others do.
    #[serde(deserialize_with = "open_load")]
    pub load_max: Option<f64>,
    /// The memory that must be free on a host before something is started there.
    pub memory_free_min: Bytes,
    /// The same of its disk.
    pub disk_free_min: Bytes,
    /// How often the list of workers is looked at again while a job runs.
    #[serde(deserialize_with = "positive")]
    pub list_every: Span,
    /// Our binary for another architecture, by the name that `uname -m` gives.
    pub binaries: BTreeMap<String, PathBuf>,
}

/// When hosts and tasks are given up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Blamed failures after which a host is barred.
    #[serde(deserialize_with = "positive")]
    pub host_failures_max: u32,
    /// How long it is barred, in this job and the next ones.
    #[serde(deserialize_with = "positive")]
    pub bar_lasts: Span,
    /// The share of the hosts that may be barred, from 0 to 1.
    #[serde(deserialize_with = "share")]
    pub barred_share_max: f64,
    /// Workers that a task may lose in a row before it is itself the suspect.
    #[serde(deserialize_with = "positive")]
    pub losses_per_task_max: u32,
}

/// When slow attempts are copied; see [`crate::scheduler::StragglerRules`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Straggler {
    /// Whether any are.
    pub enabled: bool,
    /// How long an attempt has run before it is judged.
    pub floor: Span,
    /// How often stragglers are looked for.
    #[serde(deserialize_with = "positive")]
    pub look_every: Span,
    /// What a copy needs before its first byte.
    pub start_up: Span,
    /// How many times as fast its peers must be.
    #[serde(deserialize_with = "positive")]
    pub slowness_min: u32,
    /// Copies at once, as a share of the running attempts, from 0 to 1,
    #[serde(deserialize_with = "share")]
    pub copies_share_max: f64,
    /// and so many in any case.
    pub copies_min: u32,
    /// The share of the tasks that must be done before running ones are measured by how long those took.
    #[serde(deserialize_with = "share")]
    pub finished_share_min: f64,
    /// Copies that win from a host before it gets no more tasks.
    #[serde(deserialize_with = "positive")]
    pub marks_max: u32,
    /// How long a host counts as slow.
    #[serde(deserialize_with = "positive")]
    pub mark_lasts: Span,
}

/// What is shown while a job runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Display {
    /// In which form.
    pub progress: Progress,
}

/// The form in which progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Progress {
    /// Bars on a terminal, plain lines elsewhere.
    #[default]
    Auto,
    /// Bars on stderr.
    Bars,
    /// A line on stderr every few seconds.
    Plain,
    /// Facts as JSON lines on stdout.
    Json,
    /// Nothing but what went wrong.
    None,
}

/// The way of segments from worker to worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shuffle {
    /// Over ssh where they reach each other, else through the driver.
    #[default]
    Auto,
    /// Through the driver.
    Relay,
}

impl JobDefaults {
    /// How many reduces a job with so much input gets when nobody says: it depends on the input alone, so that results
    /// are the same bytes on any fleet.
    pub fn reduces(&self, input: Bytes) -> u32 {
        let reduces = input.0.div_ceil(self.reduce_size.0.max(1)).clamp(1, REDUCES_MAX);
        u32::try_from(reduces).unwrap_or(u32::MAX)
    }
}

impl Settings {
    /// What no single value shows to be wrong.
    fn check(&self) -> Result<(), Fault> {
        let Worker { suspect_after, lost_after, .. } = &self.worker;
        if lost_after <= suspect_after {
            return Err(Fault::usage(format!(
                "worker.lost_after is {lost_after} and worker.suspect_after is {suspect_after}: the first must be longer"
            )));
        }
        Ok(())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            workers: None,
            state_folder: None,
            // `runner jobs` reads all of them, which it does in a moment.
            jobs_kept: 200,
            shuffle: Shuffle::default(),
            compression: CompressionPolicy::default(),
            ssh: Ssh::default(),
            job: JobDefaults::default(),
            limits: Limits::default(),
            worker: Worker::default(),
            retry: Retry::default(),
            straggler: Straggler::default(),
            display: Display::default(),
            cloud: Cloud::default(),
        }
    }
}

impl Default for Ssh {
    fn default() -> Self {
        Ssh { config: None, connect_timeout: Span::seconds(10), connects_per_hop_max: 8 }
    }
}

impl Default for JobDefaults {
    fn default() -> Self {
        JobDefaults {
            attempts_max: 4,
            split_size: None,
            reduce_size: Bytes::mebi(64),
            stderr_max: Bytes::mebi(1),
            silence_max: None,
        }
    }
}

impl Default for Worker {
    fn default() -> Self {
        Worker {
            slots: None,
            sort_memory: None,
            suspect_after: Span::seconds(5),
            lost_after: Span::seconds(30),
            orphan_grace: Span::seconds(2 * 60 * 60),
            load_max: Some(4.0),
            memory_free_min: Bytes::mebi(64),
            disk_free_min: Bytes::mebi(64),
            list_every: Span::seconds(10),
            binaries: BTreeMap::new(),
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Retry { host_failures_max: 3, bar_lasts: Span::seconds(3600), barred_share_max: 0.33, losses_per_task_max: 3 }
    }
}

impl Default for Straggler {
    fn default() -> Self {
        Straggler {
            enabled: true,
            floor: Span::seconds(10),
            look_every: Span::seconds(1),
            start_up: Span::seconds(1),
            slowness_min: 2,
            copies_share_max: 0.1,
            copies_min: 2,
            finished_share_min: 0.05,
            marks_max: 3,
            mark_lasts: Span::seconds(600),
        }
    }
}

/// A value, or `"none" or an empty text for one that is left open, so that a stronger layer can take a weaker one back.
fn open<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    match toml::Value::deserialize(deserializer)? {
        toml::Value::String(text) if layers::is_open(&text) => Ok(None),
        value => value.try_into().map(Some).map_err(|error: toml::de::Error| D::Error::custom(error.message())),
    }
}

fn open_positive<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Amount,
{
    match open::<D, T>(deserializer)? {
        Some(amount) if amount.is_zero() => {
            Err(D::Error::custom("0 makes no sense here: more is expected, or \"none\""))
        }
        amount => Ok(amount),
    }
}

fn open_load<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    match open::<D, f64>(deserializer)? {
        Some(load) if !(load > 0.0 && load.is_finite()) => {
            Err(D::Error::custom("a load of more than 0 is expected, or \"none\""))
        }
        load => Ok(load),
    }
}

fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let share = f64::deserialize(deserializer)?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(D::Error::custom("a share from 0 to 1 is expected")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reduces_follow_from_the_input_alone() {
        let check =
            |bytes: u64, reduces: u32| assert_eq!(JobDefaults::default().reduces(Bytes(bytes)), reduces, "{bytes}");
        check(0, 1);
        check(1, 1);
        check(64 << 20, 1);
        check((64 << 20) + 1, 2);
        check(1 << 30, 16);
        check(1 << 40, 512);
        check(u64::MAX, 512);
    }
}
