//! The hosts that a command works on.

use std::path::Path;

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

/// The same for a job: who may still be booting and does not answer joins it later.
///
/// # Errors
/// As [`fleet`].
pub fn for_job(context: &Context, source: &Source) -> anyhow::Result<Fleet> {
    match source {
        Source::Ec2(query) => wait_for(cloud::for_job(context, query))?,
        Source::ThisMachine | Source::File(_) | Source::List(_) => resolve(context, source),
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
pub fn finder(context: &Context, ssh_config: Option<&Path>) -> anyhow::Result<Finder> {
    cloud::finder(context, ssh_config)
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
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::sleep;

    use crate::cli::build;
    use crate::cli::cloud::way;
    use crate::cli::context::{Context, say};
    use crate::cli::transport::{self, transport};
    use crate::cloud::admit::admit;
    use crate::cloud::discover::{self, Found, Way};
    use crate::cloud::welcome::welcome_rest;
    use crate::cloud::{Clusters, Phase};
    use crate::driver::Finder;
    use crate::error::{Fault, Kind};
    use crate::fleet::Fleet;

    pub use crate::cloud::discover::Noting;

    /// How long a command waits for machines that nobody has logged in to yet.
    const WELCOME_MAX: Duration = Duration::from_secs(30);

    /// How often a job that waits for its first machine tries them all. sshd counts logins that fail.
    const KNOCK_EVERY: Duration = Duration::from_secs(5);

    pub async fn discover(context: &Context, query: &str) -> anyhow::Result<Fleet> {
        let found = find(context, query).await?;
        found.notes.iter().for_each(|note| say(note));
        welcome(context, &found).await?;
        Ok(found.fleet)
    }

    /// Waits for the first of them where none answers yet.
    pub async fn for_job(context: &Context, query: &str) -> anyhow::Result<Fleet> {
        let config = transport::config(context, build::ID, context.settings.ssh.config.as_deref())?;
        let clusters = clusters(context)?;
        let mut tried = 0;
        loop {
            let found = find(context, query).await?;
            let admitted = admit(&found, &[], &clusters, &config).await?;
            if tried == 0 {
                found.notes.iter().for_each(|note| say(note));
            }
            if !admitted.fleet.hosts.is_empty() {
                if !admitted.late.is_empty() {
                    say(&format!("still booting, and to join when they let us in: {}", admitted.late.join(", ")));
                }
                return Ok(admitted.fleet);
            }
            if tried == 0 {
                say(&format!("waiting for the first of {} to let us in", admitted.late.join(", ")));
            }
            tried += 1;
            sleep(KNOCK_EVERY).await;
        }
    }

    async fn find(context: &Context, query: &str) -> anyhow::Result<Found> {
        let found = discover::discover(query, &clusters(context)?, &way(context)).await?;
        // A process looks for the hosts of one source only.
        let _same = context.hosts_ssh_config.set(found.ssh_config.clone());
        Ok(found)
    }

    pub fn finder(context: &Context, ssh_config: Option<&Path>) -> anyhow::Result<Finder> {
        let config = transport::config(context, build::ID, ssh_config)?;
        // Who is shut out was told at the start.
        let way = Way { address_service: None, ..way(context) };
        let shared = Arc::new((clusters(context)?, way, config));
        Ok(Arc::new(move |query, known| {
            let shared = Arc::clone(&shared);
            Box::pin(async move {
                let (clusters, way, config) = &*shared;
                let found = async {
                    let found = discover::discover(&query, clusters, way).await?;
                    Ok(admit(&found, &known, clusters, config).await?.fleet)
                };
                found.await.map_err(|error: anyhow::Error| match error.downcast() {
                    Ok(fault) => fault,
                    Err(error) => Fault::new(Kind::Cloud, format!("{error:#}")),
                })
            })
        }))
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
        // What is wrong with the others, the command itself will find.
        done.map(|_absent| ())
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
    use std::path::Path;
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

    pub use self::discover as for_job;

    pub fn finder(_context: &Context, _ssh_config: Option<&Path>) -> anyhow::Result<Finder> {
        Ok(Arc::new(|query, _| Box::pin(async move { ec2::discover(&query).await })))
    }

    pub fn note_use(_context: &Context, _query: &str, _fleet: &Fleet) -> Option<Noting> {
        None
    }

    pub fn hint(_context: &Context) -> Option<String> {
        None
    }
}
