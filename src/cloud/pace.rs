//! How long to wait for what, and how often to ask: EC2's answers become true a little after they were given.

use std::time::Duration;

use tokio::time::sleep;

use crate::transport::random;

/// The lengths of time that a conversation with EC2 is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two looks at the same thing: states of instances, a login to one host. sshd counts logins that fail
    /// against the address they come from (`PerSourcePenalties`), so it must not be less for real hosts.
    pub poll: Duration,
    /// Before a request is repeated for the first time; doubled each time.
    pub retry: Duration,
    /// How often a request is made that EC2 puts off or does not answer.
    pub tries: u32,
    /// How long EC2 may not know of what it has just made.
    pub settle: Duration,
    /// How long instances may take to end.
    pub end_max: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            poll: Duration::from_secs(5),
            retry: Duration::from_secs(1),
            tries: 5,
            settle: Duration::from_secs(30),
            end_max: Duration::from_secs(300),
        }
    }
}

impl Pace {
    /// The wait before the try after this one, which counts from 1.
    pub(super) fn before_retry(&self, tried: u32) -> Duration {
        self.retry * (1 << tried.saturating_sub(1).min(4))
    }
}

/// Waits for a time, and up to half of it more by chance, so that what began together does not go on in step.
pub(super) async fn pause(time: Duration) {
    let share = f64::from(u32::try_from(random() >> 32).unwrap_or(0)) / f64::from(u32::MAX);
    sleep(time + time.mul_f64(share / 2.0)).await;
}
