//! Hosts that run on EC2, found by a tag.
//!
//! `ec2:NAME` is a cluster of ours, `ec2:KEY=VALUE` whatever carries that tag: `ec2:aws:autoscaling:groupName=crunch`
//! is an autoscaling group. Instances are asked for with filters and not with ids, so that one which EC2 has just
//! forgotten is no error. [`fault`] puts EC2's errors into words.
//!
//! Nothing is launched, stopped or tagged here: [`crate::cloud`] does that. Credentials, region, profile, endpoint and the
//! number of tries are the usual ones of AWS's own tools (`AWS_*`, `~/.aws`, the instance's role). Endpoints are resolved by
//! glibc, whose static library holds what `/etc/hosts` and DNS need since 2.34: nothing is loaded from the machine.

pub mod fault;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Instance};

use super::{Fleet, HostSpec, Origin, Place};
use crate::error::{Fault, Kind};

/// The tag that names the cluster an instance belongs to.
pub const CLUSTER_TAG: &str = "runner:cluster";

/// The most instances that EC2 lists in one answer (API reference, DescribeInstances).
pub const PAGE_INSTANCES_MAX: i32 = 1000;

/// The longest wait for one answer: the SDK bounds the connecting alone.
const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(30);

/// A tag that selects instances. In the value `*` and `?` stand for any text and any one character, as in EC2's filters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The tag's name, not empty.
    pub key: String,
    /// What it must hold, not empty.
    pub value: String,
}

/// The fleet of all running instances with a tag, as the process's environment gives access to EC2; `query` is what was
/// written behind `ec2:`.
///
/// # Errors
/// Usage: no tag was written. Otherwise those of [`find`].
pub async fn discover(query: &str) -> Result<Fleet, Fault> {
    let tag = query.parse()?;
    find(&access(None).await?, &tag, PAGE_INSTANCES_MAX).await
}

/// Access to EC2 as the process's environment gives it, in this region if one is named.
///
/// # Errors
/// Cloud: this machine has no certificates of authorities, which the SDK would take for a bug of ours, and panic.
pub async fn access(region: Option<&str>) -> Result<SdkConfig, Fault> {
    if rustls_native_certs::load_native_certs().certs.is_empty() {
        return Err(fault::no_authorities());
    }
    // The behaviour is pinned, so that an update of the SDK changes nothing by itself. Its retries are the standard ones
    // (3 tries, with jitter) unless AWS_RETRY_MODE or AWS_MAX_ATTEMPTS say otherwise.
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIME_MAX).build();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).timeout_config(timeouts);
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    Ok(loader.load().await)
}

/// The fleet of all running instances with a tag, asked for in pages of so many; first the one that was launched first.
/// The driver reaches them by public name or address where there is one, else by the private address; among themselves
/// they use the private ones.
///
/// # Errors
/// No worker: none with this tag runs. Cloud: no region, no credentials, EC2 refused or cannot be reached.
pub async fn find(config: &SdkConfig, tag: &Tag, page_instances: i32) -> Result<Fleet, Fault> {
    let instances = running(config, tag, page_instances).await?;
    let region = config.region().ok_or_else(fault::no_region)?;
    Ok(Fleet { hosts: instances.iter().map(host).collect(), origin: Origin::Ec2(format!("tag {tag}, {region}")) })
}

/// The running instances with a tag, the first one that was launched first.
///
/// # Errors
/// As [`find`].
pub async fn running(config: &SdkConfig, tag: &Tag, page_instances: i32) -> Result<Vec<Instance>, Fault> {
    let region = config.region().ok_or_else(fault::no_region)?.as_ref();
    let search = Search { client: Client::new(config), tag, region, page_instances };
    let mut instances = search.instances(Some("running")).await?;
    if instances.is_empty() {
        return Err(search.none_runs().await?);
    }
    instances.sort_by(|a, b| (a.launch_time(), a.instance_id()).cmp(&(b.launch_time(), b.instance_id())));
    Ok(instances)
}

impl FromStr for Tag {
    type Err = Fault;

    fn from_str(query: &str) -> Result<Tag, Fault> {
        let (key, value) = query.split_once('=').unwrap_or((CLUSTER_TAG, query));
        let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
        if key.is_empty() || value.is_empty() {
            return Err(Fault::usage(format!("--workers ec2:{query}: ec2:CLUSTER or ec2:TAG=VALUE is expected")));
        }
        Ok(Tag { key, value })
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

struct Search<'a> {
    client: Client,
    tag: &'a Tag,
    region: &'a str,
    page_instances: i32,
}

impl Search<'_> {
    /// All instances with the tag, in this state or in any.
    async fn instances(&self, state: Option<&str>) -> Result<Vec<Instance>, Fault> {
        let mut filters = vec![filter(&format!("tag:{}", self.tag.key), &self.tag.value)];
        filters.extend(state.map(|state| filter("instance-state-name", state)));
        instances(&self.client, self.region, filters, self.page_instances).await
    }

    /// The fault that says how many instances there are that do not run.
    async fn none_runs(&self) -> Result<Fault, Fault> {
        let mut states = BTreeMap::new();
        for instance in self.instances(None).await? {
            let state = instance.state().and_then(|state| state.name()).map_or("unknown", |name| name.as_str());
            *states.entry(state.to_owned()).or_insert(0) += 1;
        }
        let counts: Vec<_> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
        let (tag, region) = (self.tag, self.region);
        let text = if counts.is_empty() {
            format!("EC2: no instance with tag {tag} in {region}: check the tag, the region and the account")
        } else {
            format!("EC2: no running instance with tag {tag} in {region} ({})", counts.join(", "))
        };
        Ok(Fault::new(Kind::NoWorker, text))
    }
}

/// All instances that pass these filters, asked for in pages of so many.
///
/// # Errors
/// Cloud: EC2 refused or cannot be reached.
pub async fn instances(
    client: &Client,
    region: &str,
    filters: Vec<Filter>,
    page_instances: i32,
) -> Result<Vec<Instance>, Fault> {
    let request = client.describe_instances().set_filters(Some(filters));
    let pages = request.into_paginator().page_size(page_instances).items().send();
    let reservations: Vec<_> =
        pages.collect::<Result<_, _>>().await.map_err(|error| fault::fault(&error, region, "DescribeInstances"))?;
    Ok(reservations.into_iter().flat_map(|reservation| reservation.instances.unwrap_or_default()).collect())
}

/// The filter of EC2 with this name: one of the values must hold.
pub fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

/// An instance as a host, by its public name or address where it has one.
pub fn host(instance: &Instance) -> HostSpec {
    // EC2 writes an empty name where the network gives none.
    let filled = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let private = filled(instance.private_ip_address()).or_else(|| filled(instance.ipv6_address()));
    let address = filled(instance.public_dns_name())
        .or_else(|| filled(instance.public_ip_address()))
        .or_else(|| private.clone())
        // A name that an ssh configuration can give a meaning, as that of AWS's session manager does.
        .or_else(|| filled(instance.instance_id()))
        .unwrap_or_default();
    HostSpec { peer: private, ..HostSpec::new(Place::Ssh, address) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_a_cluster_or_a_tag() {
        let check = |query: &str, tag: &str| {
            assert_eq!(query.parse::<Tag>().map_or_else(|fault| fault.text, |tag| tag.to_string()), tag, "{query}");
        };
        check("demo", "runner:cluster=demo");
        check("role=worker", "role=worker");
        check("aws:autoscaling:groupName=crunch", "aws:autoscaling:groupName=crunch");
        check(" role = a=b ", "role=a=b");
        check("", "--workers ec2:: ec2:CLUSTER or ec2:TAG=VALUE is expected");
        check("=worker", "--workers ec2:=worker: ec2:CLUSTER or ec2:TAG=VALUE is expected");
        check("role=", "--workers ec2:role=: ec2:CLUSTER or ec2:TAG=VALUE is expected");
    }

    #[test]
    fn the_public_name_is_for_us_and_the_private_address_for_peers() {
        let check = |dns: &str, public: &str, private: &str, ipv6: &str, address: &str, peer: Option<&str>| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let instance = Instance::builder()
                .instance_id("i-1")
                .public_dns_name(dns)
                .set_public_ip_address(some(public))
                .set_private_ip_address(some(private))
                .set_ipv6_address(some(ipv6))
                .build();
            let expected = HostSpec { peer: peer.map(str::to_owned), ..HostSpec::new(Place::Ssh, address) };
            assert_eq!(host(&instance), expected);
        };
        check("n.example.org", "203.0.113.1", "10.0.0.1", "", "n.example.org", Some("10.0.0.1"));
        check("", "203.0.113.1", "10.0.0.1", "", "203.0.113.1", Some("10.0.0.1"));
        check("", "", "10.0.0.1", "2001:db8::1", "10.0.0.1", Some("10.0.0.1"));
        check("", "", "", "2001:db8::1", "2001:db8::1", Some("2001:db8::1"));
        check("", "", "", "", "i-1", None);
    }
}
