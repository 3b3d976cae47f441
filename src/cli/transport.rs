//! The transport that the settings describe.

use std::path::{Path, PathBuf};

use super::build;
use super::context::Context;
use crate::error::Fault;
use crate::transport::{Transport, TransportConfig};

/// How hosts are reached by this process; `ssh_config` goes before the user's configuration.
///
/// # Errors
/// A [`Fault`] of kind usage when the configuration for ssh cannot be read; others when there is no folder for the
/// sockets of ssh.
pub fn transport(context: &Context, build: &str, ssh_config: Option<&Path>) -> anyhow::Result<Transport> {
    let transport = Transport::new(config(context, build, ssh_config)?)?;
    if let Some(config) = context.hosts_ssh_config.get() {
        transport.put_first(config)?;
    }
    Ok(transport)
}

/// The same, to be made later.
///
/// # Errors
/// A [`Fault`] of kind usage when the configuration for ssh cannot be read.
pub fn config(context: &Context, build: &str, ssh_config: Option<&Path>) -> Result<TransportConfig, Fault> {
    let settings = &context.settings;
    Ok(TransportConfig {
        ssh_config: readable(ssh_config)?,
        connect_timeout: settings.ssh.connect_timeout.0,
        connects_per_hop_max: settings.ssh.connects_per_hop_max as usize,
        binary: build::OURSELVES.into(),
        binaries: settings.worker.binaries.clone(),
        build: build.to_owned(),
        runtime_folder: context.environment.variable("XDG_RUNTIME_DIR").map(Into::into),
        environment: context.environment.variables().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    })
}

/// ssh passes over a file that it cannot include, and would then go where that file was to keep it from.
///
/// # Errors
/// Usage: it cannot be read.
pub fn readable(config: Option<&Path>) -> Result<Option<PathBuf>, Fault> {
    let Some(config) = config else { return Ok(None) };
    let refused =
        |why: &str| Fault::usage(format!("the ssh configuration {why} (--ssh-config, or the setting ssh.config)"));
    match fs_err::File::open(config).and_then(|file| file.metadata()) {
        Ok(about) if about.is_dir() => Err(refused(&format!("{} is a folder", config.display()))),
        Ok(_) => Ok(Some(config.to_owned())),
        Err(error) => Err(refused(&format!("cannot be read: {error}"))),
    }
}
