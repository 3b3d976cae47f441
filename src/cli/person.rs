//! Who works here, for others who read it: in the tags of machines, and of the driver that has taken a job over.

use super::context::Context;

/// The name of the user, or its number where the environment has none.
pub fn user(context: &Context) -> String {
    let name = context.environment.variable("USER").or_else(|| context.environment.variable("LOGNAME"));
    name.map_or_else(|| rustix::process::getuid().as_raw().to_string(), |name| name.to_string_lossy().into_owned())
}

/// The name of this machine.
pub fn machine() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
