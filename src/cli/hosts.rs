//! The hosts that a command works on.

use super::context::Context;
use crate::error::Fault;
use crate::fleet::{Fleet, Source, choose};

/// The fleet that flags, settings and files name; none of its hosts was tried yet.
///
/// # Errors
/// A [`Fault`] of kind usage: nothing is named where something must be, or a file or list is malformed.
pub fn fleet(context: &Context) -> Result<Fleet, Fault> {
    let standing = context.settings.workers.as_deref();
    let source = choose(context.workers.as_deref(), context.local, standing, context.environment.folder())?;
    match &source {
        Source::Ec2(selection) => from_ec2(selection),
        Source::ThisMachine => {
            let mut fleet = Fleet::resolve(&source)?;
            let slots = context.settings.worker.slots;
            fleet.hosts.iter_mut().for_each(|host| host.slots = slots.or(host.slots));
            Ok(fleet)
        }
        Source::File(_) | Source::List(_) => Fleet::resolve(&source),
    }
}

/// The place of the feature `ec2`.
fn from_ec2(selection: &str) -> Result<Fleet, Fault> {
    Err(Fault::usage(format!("--workers ec2:{selection}: EC2 workers are not in this build; name a file or a list")))
}
