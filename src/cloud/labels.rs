//! The tags on everything that we make: whose it is, of which cluster, until when.
//!
//! They are given in the calls that make things, so that nothing can exist without them. Whoever lost the local record
//! finds everything by these alone.

use crate::fleet::ec2::CLUSTER_TAG;

/// One launch of one cluster, among all that ever had its name.
const ID_TAG: &str = "runner:id";
/// Who launched it, and on which machine.
const BY_TAG: &str = "runner:by";
/// After so many seconds without use an instance ends itself.
const TTL_TAG: &str = "runner:ttl";
/// When a job was last seen to use it: milliseconds since 1970. Jobs write it now and then.
pub(super) const USED_TAG: &str = "runner:used";
/// When somebody told it to go: milliseconds since 1970. Jobs use it no longer.
pub(super) const LEAVING_TAG: &str = "runner:leaving";

/// What the tags say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// The cluster's name.
    pub cluster: String,
    /// Its id.
    pub id: String,
    /// Who launched it: `user@machine`.
    pub by: String,
    /// Seconds without use after which an instance ends itself.
    pub ttl_seconds: Option<u64>,
    /// When a job was last seen to use it.
    pub used_ms: Option<u64>,
    /// When it was told to go.
    pub leaving_ms: Option<u64>,
}

impl Labels {
    /// The tags to give, by name.
    pub fn tags(&self) -> Vec<(&'static str, String)> {
        let mut tags = vec![
            ("Name", format!("runner {}", self.cluster)),
            (CLUSTER_TAG, self.cluster.clone()),
            (ID_TAG, self.id.clone()),
            (BY_TAG, self.by.clone()),
        ];
        tags.extend(self.ttl_seconds.map(|seconds| (TTL_TAG, seconds.to_string())));
        tags
    }

    /// Whether it was told to go.
    pub fn is_leaving(&self) -> bool {
        self.leaving_ms.is_some()
    }

    /// What tags say; those of others are passed over.
    pub fn read<'a>(tags: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut labels = Labels::default();
        for (key, value) in tags {
            match key {
                CLUSTER_TAG => labels.cluster = value.to_owned(),
                ID_TAG => labels.id = value.to_owned(),
                BY_TAG => labels.by = value.to_owned(),
                TTL_TAG => labels.ttl_seconds = value.parse().ok(),
                USED_TAG => labels.used_ms = value.parse().ok(),
                LEAVING_TAG => labels.leaving_ms = value.parse().ok(),
                _ => {}
            }
        }
        labels
    }
}

/// The filter that finds a cluster's things by its id.
pub fn of_id(id: &str) -> Selection {
    Selection { tag: ID_TAG, value: id.to_owned() }
}

/// The filter that finds the things of all clusters of this name.
pub fn of_name(name: &str) -> Selection {
    Selection { tag: CLUSTER_TAG, value: name.to_owned() }
}

/// The filter that finds everything that was ever launched by `runner`.
pub fn of_all() -> Selection {
    Selection { tag: CLUSTER_TAG, value: "*".to_owned() }
}

/// What selects things by one tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The tag's name.
    pub(super) tag: &'static str,
    /// Its value; `*` is any.
    pub(super) value: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let labels = Labels {
            cluster: "demo".into(),
            id: "4f".into(),
            by: "ann@desk".into(),
            ttl_seconds: Some(14_400),
            ..Labels::default()
        };
        let tags = labels.tags();
        assert_eq!(Labels::read(tags.iter().map(|(key, value)| (*key, value.as_str()))), labels);
        assert!(tags.iter().all(|(key, value)| key.len() <= 128 && value.len() <= 256), "EC2's bounds");
        assert_eq!(Labels::read([("Name", "x"), (TTL_TAG, "soon"), (USED_TAG, "5")]).used_ms, Some(5));
    }
}
