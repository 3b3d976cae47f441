//! An instance as far as we care, and the time that it has left.

use std::fmt;
use std::time::Duration;

use aws_sdk_ec2::types::{Instance, InstanceLifecycleType, InstanceStateName};

use super::labels::Labels;
use super::request::{Purchase, Reach};

/// An instance that we launched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// `i-0abc`.
    pub id: String,
    /// What its tags say.
    pub labels: Labels,
    /// Where it stands.
    pub state: State,
    /// Why it is not running any more, in EC2's words.
    pub reason: Option<String>,
    /// Its public address, if it has one.
    pub public: Option<String>,
    /// Its private address.
    pub private: Option<String>,
    /// The zone.
    pub zone: String,
    /// The type.
    pub instance_type: String,
    /// How it is paid for.
    pub purchase: Purchase,
    /// When it was launched: milliseconds since 1970.
    pub launched_ms: u64,
}

/// Where an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It is on its way.
    Pending,
    /// It runs, and costs.
    Running,
    /// It is being stopped.
    Stopping,
    /// It is stopped; its disk costs.
    Stopped,
    /// It is on its way out.
    ShuttingDown,
    /// It is gone; EC2 remembers it for an hour.
    Terminated,
}

impl State {
    /// Whether it costs, or may again.
    pub fn is_live(self) -> bool {
        match self {
            State::Pending | State::Running | State::Stopping | State::Stopped => true,
            State::ShuttingDown | State::Terminated => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Pending => "pending",
            State::Running => "running",
            State::Stopping => "stopping",
            State::Stopped => "stopped",
            State::ShuttingDown => "shutting down",
            State::Terminated => "terminated",
        })
    }
}

impl Machine {
    /// What EC2 tells of an instance.
    pub(super) fn read(instance: &Instance) -> Self {
        let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        let tags = instance.tags().iter().filter_map(|tag| Some((tag.key()?, tag.value()?)));
        let placement = instance.placement().and_then(|placement| placement.availability_zone());
        let spot = matches!(instance.instance_lifecycle(), Some(InstanceLifecycleType::Spot));
        Machine {
            id: instance.instance_id().unwrap_or_default().to_owned(),
            labels: Labels::read(tags),
            state: instance.state().and_then(|state| state.name()).map_or(State::Pending, state),
            reason: text(instance.state_reason().and_then(|reason| reason.message())),
            public: text(instance.public_dns_name()).or_else(|| text(instance.public_ip_address())),
            private: text(instance.private_ip_address()).or_else(|| text(instance.ipv6_address())),
            zone: placement.unwrap_or_default().to_owned(),
            instance_type: instance.instance_type().map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
            purchase: if spot { Purchase::Spot } else { Purchase::OnDemand },
            launched_ms: instance.launch_time().and_then(|at| at.to_millis().ok()?.try_into().ok()).unwrap_or(0),
        }
    }

    /// The address by which this machine reaches it; none where it has none yet.
    pub fn address(&self, reach: Reach) -> Option<&str> {
        let (first, second) = match reach {
            Reach::Public => (&self.public, &self.private),
            Reach::Private => (&self.private, &None),
        };
        first.as_deref().or(second.as_deref())
    }

    /// For how long it has been there.
    pub fn age(&self, now_ms: u64) -> Duration {
        Duration::from_millis(now_ms.saturating_sub(self.launched_ms))
    }

    /// The time it has left at least, as far as tags tell: a job that runs may have pushed the end on since they were
    /// written. None where it stays until somebody ends it.
    pub fn left(&self, now_ms: u64) -> Option<Duration> {
        let used_ms = self.labels.used_ms.unwrap_or(0).max(self.launched_ms);
        let end_ms = used_ms.saturating_add(self.labels.ttl_seconds?.saturating_mul(1000));
        Some(Duration::from_millis(end_ms.saturating_sub(now_ms)))
    }
}

fn state(name: &InstanceStateName) -> State {
    match name {
        InstanceStateName::Running => State::Running,
        InstanceStateName::ShuttingDown => State::ShuttingDown,
        InstanceStateName::Stopped => State::Stopped,
        InstanceStateName::Stopping => State::Stopping,
        InstanceStateName::Terminated => State::Terminated,
        // The SDK's enum may grow. What is not known is not over.
        _ => State::Pending,
    }
}

#[cfg(test)]
pub(super) fn example(id: &str, state: State) -> Machine {
    Machine {
        id: id.to_owned(),
        labels: Labels { cluster: "demo".into(), id: "4f".into(), by: "ann@desk".into(), ..Labels::default() },
        state,
        reason: None,
        public: Some("203.0.113.1".into()),
        private: Some("10.0.0.1".into()),
        zone: "eu-west-1a".into(),
        instance_type: "m7i.large".into(),
        purchase: Purchase::OnDemand,
        launched_ms: 1_000_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_counts_from_the_last_use() {
        let check = |ttl_seconds, used_ms, now_ms, left: Option<u64>| {
            let mut machine = example("i-1", State::Running);
            machine.labels.ttl_seconds = ttl_seconds;
            machine.labels.used_ms = used_ms;
            assert_eq!(machine.left(now_ms), left.map(Duration::from_secs), "{ttl_seconds:?} {used_ms:?} {now_ms}");
        };
        check(None, None, 2_000_000, None);
        check(Some(3600), None, 1_000_000, Some(3600));
        check(Some(3600), None, 2_000_000, Some(2600));
        check(Some(3600), Some(2_000_000), 2_000_000, Some(3600));
        check(Some(3600), Some(5), 2_000_000, Some(2600));
        check(Some(600), None, 2_000_000, Some(0));
    }

    #[test]
    fn addresses_are_chosen() {
        let check = |public: Option<&str>, private: Option<&str>, reach, address: Option<&str>| {
            let machine = Machine {
                public: public.map(str::to_owned),
                private: private.map(str::to_owned),
                ..example("i-1", State::Running)
            };
            assert_eq!(machine.address(reach), address);
        };
        check(Some("p"), Some("q"), Reach::Public, Some("p"));
        check(None, Some("q"), Reach::Public, Some("q"));
        check(Some("p"), Some("q"), Reach::Private, Some("q"));
        check(Some("p"), None, Reach::Private, None);
    }
}
