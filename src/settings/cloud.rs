//! The settings of `runner cloud`. `config/cloud.toml` shows them at their defaults.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{open, open_positive};
use crate::job::document::positive;
use crate::units::{Bytes, Span};

/// What a cluster is like where the command does not say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cloud {
    /// The instances' type.
    #[serde(rename = "type")]
    pub instance_type: String,
    /// How many.
    #[serde(deserialize_with = "positive")]
    pub count: u32,
    /// Whether as spot.
    pub spot: bool,
    /// Whether on demand where spot lacks.
    pub spot_fallback: bool,
    /// An instance that nobody used for so long ends itself; none: never.
    #[serde(deserialize_with = "open_positive")]
    pub ttl: Option<Span>,
    /// The image; none: the latest Amazon Linux.
    #[serde(deserialize_with = "open")]
    pub image: Option<String>,
    /// Whom to log in as.
    pub user: String,
    /// The root disk.
    #[serde(deserialize_with = "positive")]
    pub disk: Bytes,
    /// Subnets to try; none: those of the default network.
    pub subnets: Vec<String>,
    /// Who may ssh in; none: this machine.
    pub from: Vec<String>,
    /// What tells this machine's address.
    pub address_service: String,
    /// A private key of the user's; none: one is made.
    #[serde(deserialize_with = "open")]
    pub key: Option<PathBuf>,
    /// By which address this machine reaches instances.
    pub address: Address,
    /// A jump host on the way to them.
    #[serde(deserialize_with = "open")]
    pub bastion: Option<String>,
    /// How long a launch waits.
    #[serde(deserialize_with = "positive")]
    pub wait_max: Span,
    /// How long the removal of a machine waits for jobs.
    #[serde(deserialize_with = "positive")]
    pub leave_max: Span,
}

/// One of an instance's addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Address {
    /// The one that everybody reaches.
    #[default]
    Public,
    /// The one within its network.
    Private,
}

impl Default for Cloud {
    fn default() -> Self {
        Cloud {
            instance_type: "m7i.large".to_owned(),
            count: 4,
            spot: false,
            spot_fallback: false,
            ttl: Some(Span::seconds(4 * 3600)),
            image: None,
            user: "ec2-user".to_owned(),
            disk: Bytes::mebi(50 << 10),
            subnets: Vec::new(),
            from: Vec::new(),
            address_service: "http://checkip.amazonaws.com".to_owned(),
            key: None,
            address: Address::Public,
            bastion: None,
            wait_max: Span::seconds(300),
            leave_max: Span::seconds(600),
        }
    }
}
