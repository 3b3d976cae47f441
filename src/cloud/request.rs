//! What a cluster is asked to be, as valid values: names, address ranges, what is paid for, sizes.
//!
//! A request is written to the cluster's record before anything is made, so that a launch that broke off goes on as it
//! was meant. Nothing here asks EC2.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::ids::JobId;

/// The name of a cluster: letters, digits, dashes and underscores, at most 40 bytes, so that it can stand in any path,
/// tag and shell line as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterName(String);

impl ClusterName {
    /// A name that nobody chose.
    pub fn by_chance(random: u64) -> Self {
        ClusterName(JobId::new("cluster", random).as_str().to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ClusterName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        // One that begins with i- would be taken for an instance's id.
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric()) && !text.starts_with("i-");
        if !starts_well || text.len() > 40 || !text.chars().all(plain) {
            return Err(format!(
                "`{text}` cannot name a cluster: up to 40 letters, digits, dashes and underscores are expected, a letter \
                 or digit first, and not `i-`"
            ));
        }
        Ok(ClusterName(text.to_owned()))
    }
}

impl TryFrom<String> for ClusterName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ClusterName> for String {
    fn from(name: ClusterName) -> String {
        name.0
    }
}

/// A range of addresses: `203.0.113.7/32`. A bare address is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    /// The first address, or any of them.
    pub address: IpAddr,
    /// How many leading bits hold.
    pub bits: u8,
}

impl Cidr {
    /// This address alone.
    pub fn one(address: IpAddr) -> Self {
        Cidr { address, bits: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Whether it holds an address.
    pub fn holds(&self, address: IpAddr) -> bool {
        let leading = |bits: u128, width: u8| bits.checked_shr(u32::from(width - self.bits)).unwrap_or(0);
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(other)) => {
                leading(u32::from(ours).into(), 32) == leading(u32::from(other).into(), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(other)) => leading(ours.into(), 128) == leading(other.into(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Whether it lets everybody in.
    pub fn is_everybody(&self) -> bool {
        self.bits == 0
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no range of addresses: 203.0.113.7 or 203.0.113.0/24 is expected");
        let (address, bits) = match text.trim().split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().map_err(|_| wrong())?)),
            None => (text.trim(), None),
        };
        let whole = Cidr::one(address.parse().map_err(|_| wrong())?);
        let bits = bits.unwrap_or(whole.bits);
        if bits > whole.bits { Err(wrong()) } else { Ok(Cidr { bits, ..whole }) }
    }
}

impl TryFrom<String> for Cidr {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(range: Cidr) -> String {
        range.to_string()
    }
}

/// How machines are paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Market {
    /// At the listed price; they stay.
    OnDemand,
    /// For less; EC2 may take them back.
    Spot,
    /// As spot as far as there are any, the rest on demand.
    SpotThenOnDemand,
}

/// One way of paying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purchase {
    /// At the listed price.
    OnDemand,
    /// As spot.
    Spot,
}

impl Market {
    /// What is tried, in this order.
    pub fn purchases(self) -> &'static [Purchase] {
        match self {
            Market::OnDemand => &[Purchase::OnDemand],
            Market::Spot => &[Purchase::Spot],
            Market::SpotThenOnDemand => &[Purchase::Spot, Purchase::OnDemand],
        }
    }
}

impl fmt::Display for Purchase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Purchase::OnDemand => "on demand",
            Purchase::Spot => "as spot",
        })
    }
}

/// By which of its addresses this machine reaches an instance. Workers always use the private ones among themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// The public one, and the private one where there is none.
    #[default]
    Public,
    /// The private one: from within the network, over a VPN, or through a bastion.
    Private,
}

/// A cluster as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its name.
    pub name: ClusterName,
    /// How many machines.
    pub count: u32,
    /// With so many the launch returns; none waits for all, and is content with one.
    pub min: Option<u32>,
    /// `m7i.large`.
    pub instance_type: String,
    /// How they are paid for.
    pub market: Market,
    /// A machine that nobody used for so many seconds ends itself; none: it stays until somebody ends it.
    pub ttl_seconds: Option<u64>,
    /// An image's id; none: the latest Amazon Linux.
    pub image: Option<String>,
    /// The root disk, in GiB.
    pub disk_gib: u32,
    /// Subnets to try, in this order; none: those of the default network, one a zone.
    pub subnets: Vec<String>,
    /// Who may ssh in, beside the workers themselves.
    pub from: Vec<Cidr>,
    /// Whom to log in as.
    pub user: String,
    /// A private key of the user's; none: one is made for the cluster.
    pub key: Option<PathBuf>,
    /// By which address.
    pub reach: Reach,
    /// A jump host on the way.
    pub bastion: Option<String>,
}

impl Request {
    /// With how many machines that answer a launch counts as done.
    pub fn least(&self) -> u32 {
        self.min.unwrap_or(1)
    }

    /// Refuses what no single value shows to be wrong.
    ///
    /// # Errors
    /// A [`Fault`] of kind usage.
    pub fn check(&self) -> Result<(), Fault> {
        if self.count == 0 {
            return Err(Fault::usage("--count 0: at least one machine is expected"));
        }
        match self.min {
            Some(min) if min == 0 || min > self.count => {
                Err(Fault::usage(format!("--min {min}: a number from 1 to --count ({}) is expected", self.count)))
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
pub(super) fn example() -> Request {
    Request {
        name: "demo".parse().expect("a name"),
        count: 4,
        min: None,
        instance_type: "m7i.large".into(),
        market: Market::OnDemand,
        ttl_seconds: Some(4 * 3600),
        image: None,
        disk_gib: 50,
        subnets: Vec::new(),
        from: vec!["203.0.113.7".parse().expect("an address")],
        user: "ec2-user".into(),
        key: None,
        reach: Reach::Public,
        bastion: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_stand_anywhere() {
        for name in ["demo", "a", "my_crunch-2", "7up"] {
            assert_eq!(name.parse().as_ref().map(ClusterName::as_str), Ok(name));
        }
        for name in ["", "-x", "_x", ".", "a/b", "a b", "i-0abc", "ö", &"x".repeat(41)] {
            assert!(name.parse::<ClusterName>().is_err(), "{name}");
        }
        let chance = ClusterName::by_chance(7);
        assert_eq!(chance.as_str().parse(), Ok(chance));
    }

    #[test]
    fn ranges_are_checked() {
        let check = |text: &str, shown: Option<&str>| {
            assert_eq!(text.parse::<Cidr>().ok().map(|range| range.to_string()).as_deref(), shown, "{text}");
        };
        check("203.0.113.7", Some("203.0.113.7/32"));
        check("10.0.0.0/8", Some("10.0.0.0/8"));
        check(" 2001:db8::1 ", Some("2001:db8::1/128"));
        check("::/0", Some("::/0"));
        check("10.0.0.0/33", None);
        check("10.0.0/8", None);
        check("home", None);
        check("", None);
    }

    #[test]
    fn a_range_holds_what_begins_as_it_does() {
        let check = |range: &str, address: &str, holds: bool| {
            let range: Cidr = range.parse().expect("a range");
            assert_eq!(range.holds(address.parse().expect("an address")), holds, "{range} {address}");
        };
        check("203.0.113.7", "203.0.113.7", true);
        check("203.0.113.7", "203.0.113.8", false);
        check("203.0.113.7/24", "203.0.113.255", true);
        check("203.0.113.0/24", "203.0.114.1", false);
        check("0.0.0.0/0", "198.51.100.1", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("2001:db8::/32", "2001:db8:1::1", true);
        check("::/0", "2001:db8::1", true);
    }

    #[test]
    fn the_least_number_is_one_of_those_asked_for() {
        let check = |count, min, is_well| {
            assert_eq!(Request { count, min, ..example() }.check().is_ok(), is_well, "{count} {min:?}");
        };
        check(4, None, true);
        check(4, Some(4), true);
        check(4, Some(5), false);
        check(4, Some(0), false);
        check(0, None, false);
    }
}
