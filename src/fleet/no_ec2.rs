//! Stands in for `ec2.rs` where the feature `ec2` is off.

use super::Fleet;
use crate::error::Fault;

/// No fleet: this build cannot ask EC2.
///
/// # Errors
/// Always one of kind usage that says how to get a build that can.
pub async fn discover(query: &str) -> Result<Fleet, Fault> {
    Err(Fault::usage(format!(
        "--workers ec2:{query}: this build has no EC2 support: build it with `make build` (or cargo without \
         --no-default-features), or name a file or a list of hosts"
    )))
}
