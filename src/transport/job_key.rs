//! The key of one job, by which its workers come to each other. It lives no longer than the job, and nobody else's sshd
//! knows it.

use std::process::Stdio;

use tokio::process::Command;

use super::Transport;
use super::error::ConnectError;
use crate::ids::JobId;
use crate::protocol::peer::Secret;

/// A pair of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobKey {
    /// The private half, as ssh keeps it in a file.
    pub private: Secret,
    /// The public half: type and key, without a comment.
    pub public: String,
}

impl Transport {
    /// Makes a key. It is on this machine's disk only for a moment, in a folder that is ours alone.
    ///
    /// # Errors
    /// [`ConnectError::Here`]: there is no `ssh-keygen`, or it makes none.
    pub async fn make_key(&self, job: &JobId) -> Result<JobKey, ConnectError> {
        let folder = self.folder.make_one()?;
        let file = folder.path().join("key");
        let output = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", job.as_str(), "-f"])
            .arg(&file)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| ConnectError::here(format!("ssh-keygen cannot be started: {error}")))?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            return Err(ConnectError::here(format!("ssh-keygen makes no key: {}", words.trim())));
        }
        let private = Secret(fs_err::read_to_string(&file).map_err(ConnectError::here)?);
        let public = fs_err::read_to_string(file.with_extension("pub")).map_err(ConnectError::here)?;
        let public = public.split(' ').take(2).collect::<Vec<_>>().join(" ");
        Ok(JobKey { private, public: public.trim().to_owned() })
    }
}
