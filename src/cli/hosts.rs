//! The hosts that a command works on.

use super::context::Context;
use super::runtime::wait_for;
use crate::driver::Finder;
use crate::error::Fault;
use crate::fleet::{Fleet, Origin, Source, choose};

pub use cloud::Noting;

/// The fleet that flags, settings and files name; none of its hosts was tried yet.
///
/// # Errors
/// A [`Fault`]: nothing is named where something must be, a file or list is malformed, or EC2 said no.
pub fn fleet(context: &Context) -> anyhow::Result<Fleet> {
    resolve(context, &source(context)?)
}

/// Where hosts come from, as flags, settings and files say.
///
/// # Errors
/// As [`choose`].
pub fn source(context: &Context) -> Result<Source, Fault> {
    let standing = context.settings.workers.as_deref();
    choose(context.workers.as_deref(), context.local, standing, context.environment.folder())
}

/// The fleet that a source names now. A configuration for ssh that goes with it is noted in the context, for the transport.
///
/// # Errors
/// As [`fleet`].
pub fn resolve(context: &Context, source: &Source) -> anyhow::Result<Fleet> {
    match source {
        Source::Ec2(query) => wait_for(cloud::discover(context, query))?,
        Source::ThisMachine | Source::File(_) | Source::List(_) => Ok(Fleet::resolve(source)?),
    }
}

/// Notes for the transport what leads to the hosts of a source, where the hosts themselves are known already.
///
/// # Errors
/// As [`fleet`].
pub fn lead(context: &Context, source: &Source) -> anyhow::Result<()> {
    match source {
        Source::Ec2(_) => resolve(context, source).map(|_| ()),
        Source::ThisMachine | Source::File(_) | Source::List(_) => Ok(()),
    }
}

/// What looks again for hosts on EC2 while a job runs.
///
/// # Errors
/// Where there is no place for what is known of clusters.
pub fn finder(context: &Context) -> anyhow::Result<Finder> {
    cloud::finder(context)
}

/// Notes that a job uses the hosts of a source, while what it gives is held; must be called within a runtime.
pub fn note_use(context: &Context, source: &Source, fleet: &Fleet) -> Option<Noting> {
    match source {
        Source::Ec2(query) => cloud::note_use(context, query, fleet),
        Source::ThisMachine | Source::File(_) | Source::List(_) => None,
    }
}

/// What a user should know who works on this machine alone: a cluster of theirs is up, and costs.
pub fn hint(context: &Context, fleet: &Fleet) -> Option<String> {
    match fleet.origin {
        Origin::ThisMachine => cloud::hint(context),
        Origin::File(_) | Origin::List(_) | Origin::Ec2(_) => None,
    }
}

#[cfg(feature = "ec2")]
mod cloud {
    use std::sync::Arc;
    use std::time::Duration;

    use crate::cli::build;
    use crate::cli::cloud::reach;
    use crate::cli::context::{Context, say};
    use crate::cli::transport::transport;
    use crate::cloud::discover::{self, Found, Way};
    use crate::cloud::welcome::welcome_rest;
    use crate::cloud::{Clusters, Phase};
    use crate::driver::Finder;
    use crate::error::{Fault, Kind};
    use crate::fleet::Fleet;

    pub use crate::cloud::discover::Noting;

    /// How long a job waits for machines that nobody has logged in to yet.
    const WELCOME_MAX: Duration = Duration::from_secs(30);

    pub async fn discover(context: &Context, query: &str) -> anyhow::Result<Fleet> {
        let found = discover::discover(query, &clusters(context)?, &way(context)).await?;
        found.notes.iter().for_each(|note| say(note));
        // A process looks for the hosts of one source only.
        let _same = context.hosts_ssh_config.set(found.ssh_config.clone());
        welcome(context, &found).await?;
        Ok(found.fleet)
    }

    pub fn finder(context: &Context) -> anyhow::Result<Finder> {
        let (clusters, way) = (clusters(context)?, way(context));
        Ok(Arc::new(move |query| {
            let (clusters, way) = (clusters.clone(), way.clone());
            Box::pin(async move {
                let found = discover::discover(&query, &clusters, &way).await;
                found.map(|found| found.fleet).map_err(|error| match error.downcast() {
                    Ok(fault) => fault,
                    Err(error) => Fault::new(Kind::Cloud, format!("{error:#}")),
                })
            })
        }))
    }

    fn way(context: &Context) -> Way {
        let settings = &context.settings.cloud;
        Way { reach: reach(settings), bastion: settings.bastion.clone() }
    }

    /// Lets machines that no launch waited for have host keys of their own before a job runs there.
    async fn welcome(context: &Context, found: &Found) -> anyhow::Result<()> {
        let Some(name) = &found.unwelcomed else { return Ok(()) };
        // Where another command holds the cluster it may be about that very thing.
        let Ok(Some(mut cluster)) = clusters(context)?.open(name) else { return Ok(()) };
        let transport = transport(context, build::ID, context.settings.ssh.config.as_deref())?;
        let ids: Vec<String> = found.fleet.hosts.iter().map(|host| host.address.clone()).collect();
        let done = welcome_rest(&transport, &mut cluster, &ids, WELCOME_MAX).await;
        transport.close().await;
        done
    }

    pub fn note_use(context: &Context, query: &str, fleet: &Fleet) -> Option<Noting> {
        discover::note_use(query, &clusters(context).ok()?, fleet)
    }

    pub fn hint(context: &Context) -> Option<String> {
        let records = clusters(context).ok()?.all().ok()?;
        let record = records.iter().find(|record| record.phase == Phase::Up)?;
        let name = &record.request.name;
        Some(format!("the cluster {name} is not ended, and this does not use it: --workers ec2:{name} runs it there"))
    }

    fn clusters(context: &Context) -> anyhow::Result<Clusters> {
        Clusters::new(&context.state_folder()?)
    }
}

#[cfg(not(feature = "ec2"))]
mod cloud {
    use std::sync::Arc;

    use crate::cli::context::Context;
    use crate::driver::Finder;
    use crate::fleet::{Fleet, ec2};

    /// There is never one.
    #[derive(Debug)]
    pub enum Noting {}

    pub async fn discover(_context: &Context, query: &str) -> anyhow::Result<Fleet> {
        Ok(ec2::discover(query).await?)
    }

    pub fn finder(_context: &Context) -> anyhow::Result<Finder> {
        Ok(Arc::new(|query| Box::pin(async move { ec2::discover(&query).await })))
    }

    pub fn note_use(_context: &Context, _query: &str, _fleet: &Fleet) -> Option<Noting> {
        None
    }

    pub fn hint(_context: &Context) -> Option<String> {
        None
    }
}
