//! The hosts that a command works on.

use super::context::Context;
use super::runtime::wait_for;
use crate::error::Fault;
use crate::fleet::{Fleet, Source, choose, ec2};

/// The fleet that flags, settings and files name; none of its hosts was tried yet.
///
/// # Errors
/// A [`crate::error::Fault`]: nothing is named where something must be, a file or list is malformed, or EC2 said no.
pub fn fleet(context: &Context) -> anyhow::Result<Fleet> {
    resolve(&source(context)?)
}

/// Where hosts come from, as flags, settings and files say.
///
/// # Errors
/// As [`choose`].
pub fn source(context: &Context) -> Result<Source, Fault> {
    let standing = context.settings.workers.as_deref();
    choose(context.workers.as_deref(), context.local, standing, context.environment.folder())
}

/// The fleet that a source names now.
///
/// # Errors
/// As [`fleet`].
pub fn resolve(source: &Source) -> anyhow::Result<Fleet> {
    match source {
        Source::Ec2(query) => Ok(wait_for(ec2::discover(query))??),
        Source::ThisMachine | Source::File(_) | Source::List(_) => Ok(Fleet::resolve(source)?),
    }
}
