//! Looking for what is left of a job on a machine.

use serde::de::DeserializeOwned;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::Link;
use super::error::ConnectError;
use super::shell::Site;
use crate::ids::{JobId, WorkerId};
use crate::protocol::copy::{FoundWorker, JobCopy};
use crate::protocol::frames;
use crate::worker::kept;

/// How long a machine may take to tell; a copy has tens of megabytes at most.
const TIME_MAX: std::time::Duration = std::time::Duration::from_secs(120);

impl Link {
    /// The workers of a job that have a folder on the machine, alive or not.
    ///
    /// # Errors
    /// The connection was lost.
    pub async fn find_workers(&self, job: &JobId) -> Result<Vec<FoundWorker>, ConnectError> {
        match self {
            Link::Local(link) => Ok(kept::find(&link.machine().scratch, job)),
            Link::Ssh(_) => self.ask(job, None).await,
        }
    }

    /// The copy of a job that one of its workers there has.
    ///
    /// # Errors
    /// It has none, or the connection was lost.
    pub async fn copy_of_job(&self, job: &JobId, worker: WorkerId) -> Result<JobCopy, ConnectError> {
        match self {
            Link::Local(link) => kept::read(&link.machine().scratch, job, worker).map_err(ConnectError::here),
            Link::Ssh(_) => self.ask(job, Some(worker)).await,
        }
    }

    async fn ask<T: DeserializeOwned>(&self, job: &JobId, of: Option<WorkerId>) -> Result<T, ConnectError> {
        let Link::Ssh(link) = self else { return Err(ConnectError::here("this machine is not asked")) };
        let of = of.map_or_else(String::new, |worker| format!("--of {} ", worker.0));
        let (binary, scratch) = (link.binary.display(), link.machine.scratch.display());
        let command = format!("exec {binary} worker kept {of}{scratch} {job}");
        let lost = |text: String| ConnectError::Lost { text };
        let answer = async {
            let mut running = Site::Remote(link.control.session.clone()).run(&command, b"").await?;
            let mut bytes = Vec::new();
            running.stdout.read_to_end(&mut bytes).await.map_err(|error| lost(error.to_string()))?;
            frames::decode(&bytes).map_err(|error| lost(error.to_string()))
        };
        timeout(TIME_MAX, answer).await.unwrap_or_else(|_| Err(lost("it did not tell what it has".to_owned())))
    }
}
