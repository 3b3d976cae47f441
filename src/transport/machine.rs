//! What a machine is like, as far as a job cares.

use std::path::PathBuf;
use std::time::Duration;

use xxhash_rust::xxh3::Xxh3;

use crate::protocol::peer::Whereabouts;
use crate::units::Bytes;

/// The facts about a worker's machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The processor, as `uname -m` has it: `x86_64`, `aarch64`.
    pub arch: String,
    /// Its own name for itself.
    pub hostname: String,
    /// The number of the user that we are there.
    pub uid: u32,
    /// Processors that we may use.
    pub cores: u32,
    /// The load average of the last minute when it was asked, in percent of a processor.
    pub load_percent: u32,
    /// Main memory.
    pub memory: Bytes,
    /// Free on the disk of [`Machine::scratch`].
    pub disk_free: Bytes,
    /// The same for two workers if, and only if, they are processes of one running system that see the same files.
    pub machine_id: String,
    /// The version of the ssh client there, if there is one: without, it cannot fetch from other workers.
    pub ssh_client: Option<String>,
    /// The version of the sshd that let us in; none for this machine.
    pub sshd: Option<String>,
    /// Whether it can unpack gzip.
    pub has_gzip: bool,
    /// The home of the user that we are there.
    pub home: Option<PathBuf>,
    /// Where it is, by its own account.
    pub whereabouts: Whereabouts,
    /// From a question to its answer: the way there and back, and for a job also the start of a shell.
    pub latency: Duration,
    /// The folder for files of jobs, ours alone (0700).
    pub scratch: PathBuf,
    /// Whether [`Machine::scratch`] is what one wants: a local disk on which programs can run.
    pub scratch_quality: ScratchQuality,
}

/// What kind of place the scratch folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScratchQuality {
    /// A local disk, and programs can run from it.
    Good,
    /// A local disk mounted noexec: shipped programs run only through their interpreters.
    NoExecution,
    /// In memory or over a network, since there was nothing else.
    NotLocalDisk,
}

/// A name for a running system and its files: of the kernel's boot, the file tree (each container has its own) and the
/// host's name (which two testbed hosts or containers differ in even if all else is shared).
pub(super) fn machine_id(boot_id: &str, mounts: &str, machine: &str, hostname: &str) -> String {
    let mut hash = Xxh3::new();
    for part in [boot_id, mounts, machine, hostname] {
        hash.update(part.trim().as_bytes());
        hash.update(b"\0");
    }
    format!("{:016x}", hash.digest())
}
