//! What workers of a job say to each other, and what the driver tells them so that they can.
//!
//! A worker goes to another one over ssh, with a key that the driver made for the job, and is let in by a forced command
//! that joins it to the other's second socket, [`SOCKET`]. What follows on that connection is [`super::bulk`]; the role
//! in the [`Hello`] says what may be asked for. Those who serve data folders ([`super::meeting`]) do the same.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ids::{JobId, WorkerId};

/// The name of a worker's socket for other workers, in its scratch folder.
pub const SOCKET: &str = "peers";

/// The first frame of a connection to another worker, from the one who connects; answered by a
/// [`super::control::Welcome`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The caller's build; another one is refused.
    pub build: String,
    /// The job that both are of.
    pub job: JobId,
    /// Who is wanted.
    pub worker: WorkerId,
    /// Its scratch folder, since more than one may be on that host.
    pub folder: PathBuf,
    /// What the connection is for.
    pub role: Role,
}

/// What another worker may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Segments of finished maps.
    Segments,
    /// Bytes of parts of datasets.
    Copies,
}

/// What a worker needs to go to others, and to be come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// The build that all workers of the job are of.
    pub build: String,
    /// The private half of the job's key, as ssh keeps it in a file.
    pub private_key: Secret,
    /// The public half: type and key, without a comment.
    pub public_key: String,
    /// The version of the sshd that others would come through, as it greets; none where there is none.
    pub sshd: Option<String>,
    /// The home of this worker's user, where that sshd looks for keys.
    pub home: Option<PathBuf>,
    /// A name for the running system that this worker is on, the same for another worker there.
    pub machine: String,
}

/// A worker as others see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Who it is.
    pub worker: WorkerId,
    /// The running system that it is on.
    pub machine: String,
    /// Its scratch folder.
    pub folder: PathBuf,
    /// How it is reached over ssh, if it lets others in.
    pub door: Option<Door>,
}

/// How a machine is reached by others over ssh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    /// An address, or a name that others resolve.
    pub address: String,
    /// The port of its sshd.
    pub port: u16,
    /// The user to log in as.
    pub user: String,
    /// The name under which [`Door::known_hosts`] has it.
    pub known_as: String,
    /// Its verified host keys, as lines of a file of known hosts.
    pub known_hosts: String,
}

/// Where a machine says that it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whereabouts {
    /// The address and port at which its sshd met us, as it saw them.
    pub seen_at: Option<(String, u16)>,
    /// Its host keys by its own account, each type and key.
    pub host_keys: Vec<String>,
}

/// The server's half of `SSH_CONNECTION`: client's address and port, then ours (ssh(1)).
pub fn server_end(connection: &str) -> Option<(String, u16)> {
    let mut words = connection.split(' ').skip(2);
    let address = words.next()?;
    // An address with a scope means nothing on another machine.
    let port = words.next()?.parse().ok().filter(|_| !address.contains('%'))?;
    Some((address.to_owned(), port))
}

/// Whether others can come in, as a worker tells the driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Doorway {
    /// The job's key opens it.
    Open,
    /// It does not; says why.
    Closed(String),
}

/// Text that must not show in any log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show() {
        assert_eq!(format!("{:?}", Secret("key".to_owned())), "Secret");
    }
}
