//! Ends what jobs have left on a host whose driver is gone, and removes it: `clean.sh`, and what it did.
//!
//! The caller vouches that no driver needs it any more.

use std::sync::Arc;

use tokio::io::AsyncReadExt;

use super::Transport;
use super::config::Resolved;
use super::error::ConnectError;
use super::shell::{Site, words_or};
use crate::fleet::{HostSpec, Place};
use crate::ids::JobId;
use crate::protocol::control::Role;

/// How much is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What the named jobs have left.
    Jobs,
    /// Besides, folders of other jobs in which nothing runs, and the cached binaries unless something does.
    All,
}

/// What was done on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Processes that were ended.
    pub ended: u64,
    /// Folders that are gone.
    pub removed: Vec<String>,
    /// What could not be removed, or had to stay.
    pub left: Vec<String>,
}

impl Transport {
    /// Cleans a host up after these jobs.
    ///
    /// # Errors
    /// The host cannot be reached, or the connection was lost.
    pub async fn clean(&self, host: &HostSpec, jobs: &[JobId], extent: Extent) -> Result<Cleaned, ConnectError> {
        match host.place {
            Place::ThisMachine => clean(&Site::Here, host, jobs, extent).await,
            Place::Ssh => {
                let resolved = Resolved::ask(&self.ssh_config, host).await?;
                let master = self.login(host, &resolved, Role::Control).await?;
                let cleaned = clean(&Site::Remote(Arc::clone(&master.session)), host, jobs, extent).await;
                master.close().await;
                cleaned
            }
        }
    }
}

async fn clean(site: &Site, host: &HostSpec, jobs: &[JobId], extent: Extent) -> Result<Cleaned, ConnectError> {
    let jobs = jobs.iter().map(JobId::as_str).collect::<Vec<_>>().join(" ");
    let scratch = host.scratch.as_ref().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    let all = match extent {
        Extent::Jobs => "no",
        Extent::All => "yes",
    };
    let variables = [("jobs", jobs.as_str()), ("scratch", &scratch), ("all", all)];
    let mut running = site.script(&variables, include_str!("clean.sh")).await?;
    let mut text = String::new();
    let lost = |error: std::io::Error| ConnectError::Lost { text: error.to_string() };
    running.stdout.read_to_string(&mut text).await.map_err(lost)?;
    if !text.ends_with("end=1\n") {
        let words = words_or(&running.stderr.end().await, "it was not cleaned to the end");
        return Err(ConnectError::Lost { text: words });
    }
    Ok(parse(&text))
}

fn parse(text: &str) -> Cleaned {
    let mut cleaned = Cleaned::default();
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        match key {
            "ended" => cleaned.ended += 1,
            "removed" => cleaned.removed.push(value.to_owned()),
            "left" => cleaned.left.push(value.to_owned()),
            _ => {}
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folders::own_name;
    use std::process::{Child, Command};

    /// A scratch folder with what a job has left, and a process in it.
    fn leftovers(parent: &std::path::Path, job: &JobId, command: &str) -> Child {
        let folder = parent.join(own_name()).join("jobs").join(format!("{job}-w0"));
        let work = folder.join("attempts/map-0.0/work");
        fs_err::create_dir_all(&work).expect("is made");
        fs_err::write(work.join("file"), "x").expect("is written");
        Command::new("sh").args(["-c", command]).current_dir(work).env("TMPDIR", folder).spawn().expect("starts")
    }

    async fn clean_here(parent: &std::path::Path, jobs: &[JobId], extent: Extent) -> Cleaned {
        let mut host = HostSpec::new(Place::ThisMachine, "local");
        host.scratch = Some(parent.to_owned());
        clean(&Site::Here, &host, jobs, extent).await.expect("cleans")
    }

    #[tokio::test]
    async fn a_job_is_cleaned_away_and_its_neighbour_stays() {
        let parent = tempfile::tempdir().expect("a folder");
        let (job, other) = (JobId::new("gone", 1), JobId::new("here", 2));
        // One of them has left its folder, and is known by its environment alone.
        let mut left = leftovers(parent.path(), &job, "cd /; sleep 1000");
        let mut stays = leftovers(parent.path(), &other, "exec sleep 1000");
        let cleaned = clean_here(parent.path(), std::slice::from_ref(&job), Extent::Jobs).await;
        left.wait().expect("has ended");
        assert!(cleaned.ended >= 1 && cleaned.removed.len() == 1 && cleaned.left.is_empty(), "{cleaned:?}");
        assert!(stays.try_wait().expect("a child").is_none());
        let jobs = parent.path().join(own_name()).join("jobs");
        assert!(jobs.join(format!("{other}-w0")).is_dir() && !jobs.join(format!("{job}-w0")).exists());

        assert_eq!(clean_here(parent.path(), &[job], Extent::Jobs).await, Cleaned::default());
        clean_here(parent.path(), &[other], Extent::Jobs).await;
        stays.wait().expect("has ended");
        assert!(!parent.path().join(own_name()).exists());
    }
}
