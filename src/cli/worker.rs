//! The hidden commands by which a driver runs a worker: `runner worker serve`, `attach`, `peer`, `kept`, `data`,
//! `supervise` and `hash`.
//!
//! They look at no settings: a worker's machine is not the user's desk. But its owner may have said what is lent.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use super::{build, output};
use crate::ids::{JobId, WorkerId};
use crate::protocol::control::Stay;
use crate::settings::Environment;
use crate::units::Span;
use crate::worker::owner::Owner;
use crate::worker::peers::{self, entrance};
use crate::worker::{attach, data, kept, serve, supervise};

/// What a driver asks of our binary on a worker.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Serve a job in this folder until it ends
    Serve {
        /// How long to stay without a driver
        #[arg(long, value_name = "SECONDS")]
        grace: u64,
        /// The machine ends it with the login
        #[arg(long)]
        mortal: bool,
        /// The folder of the job
        folder: PathBuf,
    },
    /// Join the standard streams to the worker of this folder
    Attach {
        /// Start the worker if there is none, to stay so long without a driver
        #[arg(long, value_name = "SECONDS")]
        start: Option<u64>,
        /// The folder of the job
        folder: PathBuf,
    },
    /// Tell what is left of a job here
    Kept {
        /// Print the copy of the job that this worker has
        #[arg(long, value_name = "NUMBER")]
        of: Option<u32>,
        /// Where jobs have their folders
        scratch: PathBuf,
        /// The job
        job: JobId,
    },
    /// Let another worker of this job in; sshd runs this
    Peer {
        /// The job
        job: JobId,
    },
    /// Take out the lines in authorized_keys whose workers are gone
    Sweep,
    /// Serve a data folder on the standard streams
    Data {
        /// The folder; the usual one in the home if none is given
        #[arg(long, value_name = "FOLDER")]
        folder: Option<PathBuf>,
        /// How this process is called, so that it is found among others
        #[arg(long)]
        name: Option<String>,
    },
    /// Run a command so that nothing of it survives
    Supervise {
        /// The niceness at which it runs at least
        #[arg(long, default_value_t = 0)]
        nice: u8,
        /// For `sh -c`
        #[arg(last = true)]
        command: String,
    },
    /// Print the hash of this binary
    Hash,
}

/// Does it.
///
/// # Errors
/// Those of the command; the driver shows them.
pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve { grace, mortal, folder } => {
            let stay = if mortal { Stay::EndsWithLogin } else { Stay::Outlives };
            let owner = Owner::read(Environment::from_process().config_folder().as_deref())?;
            serve::run(&folder, build::ID, Duration::from_secs(grace), stay, owner)
        }
        Command::Attach { start: Some(grace), folder } => {
            attach::run(&folder, attach::Start::IfNone(Span::seconds(grace)))
        }
        Command::Attach { start: None, folder } => attach::run(&folder, attach::Start::No),
        Command::Sweep => Ok(peers::sweep(&std::env::home_dir().context("this user has no home")?)?),
        Command::Kept { of, scratch, job } => Ok(kept::print(&scratch, &job, of.map(WorkerId))?),
        Command::Peer { job } => entrance::run(&job, build::ID),
        Command::Supervise { nice, command } => {
            let lifeline = supervise::inherited_lifeline().context("this command is for the worker to call")?;
            supervise::run(&command, nice, lifeline)
        }
        Command::Data { folder, name } => {
            let connection =
                Environment::from_process().variable("SSH_CONNECTION").map(|said| said.to_string_lossy().into_owned());
            data::session::run(folder.as_deref(), data::session::Own { name, connection })
        }
        Command::Hash => {
            let hash = build::hash()?;
            output::print(|out| writeln!(out, "{hash}"))
        }
    }
}
