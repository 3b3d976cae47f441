//! The transport that the settings describe.

use super::context::Context;
use crate::transport::{Transport, TransportConfig};

/// How hosts are reached by this process.
///
/// # Errors
/// When our own executable cannot be named, or there is no folder for the sockets of ssh.
pub fn transport(context: &Context, build: &str) -> anyhow::Result<Transport> {
    let settings = &context.settings;
    let transport = Transport::new(TransportConfig {
        ssh_config: settings.ssh.config.clone(),
        connect_timeout: settings.ssh.connect_timeout.0,
        connects_per_hop_max: settings.ssh.connects_per_hop_max as usize,
        binary: "/proc/self/exe".into(),
        binaries: settings.worker.binaries.clone(),
        build: build.to_owned(),
        runtime_folder: context.environment.variable("XDG_RUNTIME_DIR").map(Into::into),
        environment: context.environment.variables().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    })?;
    Ok(transport)
}
