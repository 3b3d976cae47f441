//! The configuration by which ssh reaches a cluster: each instance under its id, strict from the first byte.
//!
//! The alias of the host key is the instance's id, and not its address, which another instance may have tomorrow.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::machine::Machine;
use super::record::{Folder, Record, replace};
use crate::transport::ssh_includes;

/// The text for `ssh -F`, or to be included; the instances that have an address.
///
/// # Errors
/// A path cannot be written in such a file.
pub(super) fn text(record: &Record, folder: &Folder, machines: &[Machine]) -> anyhow::Result<String> {
    let request = &record.request;
    let mut text =
        format!("# The machines of the cluster {}, as runner last saw them; written anew each time.\n", request.name);
    let mut names = Vec::new();
    for machine in machines.iter().filter(|machine| machine.state.is_live()) {
        let Some(address) = machine.address(request.reach) else { continue };
        let mut its = vec![machine.id.as_str()];
        its.extend([machine.public.as_deref(), machine.private.as_deref()].into_iter().flatten());
        push_host(&mut text, &its, address, &machine.id);
        names.extend(its);
    }
    if names.is_empty() {
        return Ok(text);
    }
    let key = request.key.clone().unwrap_or_else(|| folder.key());
    let _infallible = write!(
        text,
        "Host {}\n    User {}\n    IdentityFile {}\n    IdentitiesOnly yes\n    UserKnownHostsFile {}\n    \
         GlobalKnownHostsFile /dev/null\n    StrictHostKeyChecking yes\n    UpdateHostKeys no\n",
        names.join(" "),
        request.user,
        quoted(&key)?,
        quoted(&folder.known_hosts())?,
    );
    if let Some(bastion) = &request.bastion {
        // The way to the jump host itself is the user's own business.
        let _infallible = writeln!(text, "    ProxyJump {bastion}\nHost *\n    Include ~/.ssh/config");
    }
    Ok(text)
}

/// Writes the configuration by which a person logs in: the cluster's, then an `extra` one, then the user's and the
/// system's, as jobs have them. Gives its path.
///
/// # Errors
/// A path cannot be written in such a file, or the file not be written.
pub fn write_login_config(folder: &Folder, extra: Option<&Path>) -> anyhow::Result<PathBuf> {
    let cluster = folder.ssh_config();
    let text = ssh_includes([Some(cluster.as_path()), extra].into_iter().flatten())?;
    let path = folder.path().join("login_config");
    replace(&path, text.as_bytes())?;
    Ok(path)
}

/// A block that leads these names to an address, with the host key known under an id.
pub(super) fn push_host(text: &mut String, names: &[&str], address: &str, id: &str) {
    let _infallible = write!(text, "Host {}\n    HostName {address}\n    HostKeyAlias {id}\n", names.join(" "));
}

/// A path as it stands in ssh's configuration, where `%` begins a name and quotes cannot be escaped.
pub(super) fn quoted(path: &Path) -> anyhow::Result<String> {
    let name = path.to_str().filter(|name| !name.contains(['"', '\n', '$', '\\']));
    let name = name.ok_or_else(|| anyhow::anyhow!("ssh cannot be told a path such as `{}`", path.display()))?;
    Ok(format!("\"{}\"", name.replace('%', "%%")))
}

#[cfg(test)]
mod tests {
    use super::super::machine::{State, example as machine};
    use super::super::record::Clusters;
    use super::super::request::{Reach, example};
    use super::*;

    fn shown(reach: Reach, bastion: Option<&str>, machines: &[Machine]) -> String {
        let request = super::super::request::Request { reach, bastion: bastion.map(str::to_owned), ..example() };
        let folder = Clusters::new(Path::new("/s p/100%")).expect("a path").folder(&request.name);
        let record = Record::new(request, "4f".into(), "eu-west-1".into(), "ann@desk".into());
        text(&record, &folder, machines).expect("text")
    }

    #[test]
    fn each_instance_is_known_by_its_id() {
        let mut second = machine("i-2", State::Pending);
        (second.public, second.private) = (None, None);
        let machines = [machine("i-1", State::Running), second, machine("i-3", State::Terminated)];
        let expected = "Host i-1 203.0.113.1 10.0.0.1\n    HostName 203.0.113.1\n    HostKeyAlias i-1\n\
            Host i-1 203.0.113.1 10.0.0.1\n    User ec2-user\n    IdentityFile \"/s p/100%%/clusters/demo/key\"\n    \
            IdentitiesOnly yes\n    UserKnownHostsFile \"/s p/100%%/clusters/demo/known_hosts\"\n    \
            GlobalKnownHostsFile /dev/null\n    StrictHostKeyChecking yes\n    UpdateHostKeys no\n";
        let text = shown(Reach::Public, None, &machines);
        assert_eq!(text.split_once('\n').expect("lines").1, expected);
    }

    #[test]
    fn a_bastion_stands_on_the_way_to_private_addresses() {
        let text = shown(Reach::Private, Some("ann@gate:2222"), &[machine("i-1", State::Running)]);
        assert!(
            text.contains("    HostName 10.0.0.1\n") && text.contains("    ProxyJump ann@gate:2222\nHost *\n"),
            "{text}"
        );
    }

    #[test]
    fn without_an_address_there_is_no_host() {
        assert!(!shown(Reach::Public, None, &[machine("i-1", State::Terminated)]).contains("Host "));
    }
}
