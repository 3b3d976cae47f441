//! The first login to an instance: the host key that it was given goes, and one that was made there takes its place.
//!
//! The key that it boots with stands in its user data, which every process on it can read, so it proves who the instance
//! is only as long as nothing else runs there. The exchange never leaves a moment in which we could not come back: the new
//! key is trusted before it is put in place, and the old one is forgotten once the new one was seen.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;

use super::launch::bare;
use super::record::{Cluster, HostKeys};
use crate::fleet::{HostSpec, Place};
use crate::transport::{ConnectError, Executed, Transport};
use crate::worker::in_use::LAST_USED;

/// Makes a key and shows its public half. Cloud images let their user do anything without a password.
const PREPARE: &str = r#"set -e
[ "$(id -u)" = 0 ] || as_root='sudo -n'
$as_root sh -c 'set -e
key=/etc/ssh/ssh_host_ed25519_key
rm -f $key.runner $key.runner.pub
ssh-keygen -q -t ed25519 -N "" -C "" -f $key.runner
cat $key.runner.pub'"#;

/// Puts it in place. Where systemd starts an sshd for each connection there is nothing to tell; elsewhere it reads its
/// keys again.
const REPLACE: &str = r#"set -e
[ "$(id -u)" = 0 ] || as_root='sudo -n'
$as_root sh -c 'set -e
key=/etc/ssh/ssh_host_ed25519_key
chmod 0644 $key.runner.pub
mv -f $key.runner.pub $key.pub
mv -f $key.runner $key
restorecon $key $key.pub 2>/dev/null || :
systemctl reload sshd 2>/dev/null || systemctl reload ssh 2>/dev/null || kill -HUP "$(cat /run/sshd.pid)" 2>/dev/null || :'"#;

/// How a first login ended that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Welcome {
    /// The instance has a key of its own.
    OwnKey,
    /// It keeps the one from its user data, for this reason.
    GivenKey(String),
}

/// A cluster whose record several logins at once write to.
pub(super) type Ledger<'a> = Mutex<&'a mut Cluster>;

/// Takes the cluster, for no longer than a line or two.
pub(super) fn hold<'a, 'b>(cluster: &'b Ledger<'a>) -> MutexGuard<'b, &'a mut Cluster> {
    cluster.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Logs in to an instance, by its id.
///
/// # Errors
/// It cannot be reached, or not yet. This machine's own trouble is a [`ConnectError::Here`].
pub(super) async fn welcome(transport: &Transport, cluster: &Ledger<'_>, id: &str) -> Result<Welcome, ConnectError> {
    let host = HostSpec::new(Place::Ssh, id);
    let known = hold(cluster).record.host_keys.get(id).cloned();
    let known = known.unwrap_or(HostKeys { keys: Vec::new(), is_own: false });
    if known.is_own {
        return touch(transport, &host).await.map(|()| Welcome::OwnKey);
    }
    let prepared = transport.exec_once(&host, PREPARE).await?;
    let own = match new_key(&prepared) {
        Ok(own) => own,
        Err(reason) => return Ok(Welcome::GivenKey(reason)),
    };
    let keys = |keys: Vec<String>, is_own| HostKeys { keys, is_own };
    trust(cluster, id, keys([known.keys.as_slice(), std::slice::from_ref(&own)].concat(), false))?;
    let replaced = transport.exec_once(&host, REPLACE).await?;
    if replaced.code != 0 {
        return Ok(Welcome::GivenKey(words(&replaced)));
    }
    trust(cluster, id, keys(vec![own.clone()], true))?;
    match touch(transport, &host).await {
        Err(ConnectError::HostKeyChanged { .. } | ConnectError::HostKeyUnknown) => {
            trust(cluster, id, keys([known.keys.as_slice(), &[own]].concat(), false))?;
            Ok(Welcome::GivenKey("its sshd does not show the new one".into()))
        }
        done => done.map(|()| Welcome::OwnKey),
    }
}

/// Welcomes machines that a launch did not wait for: those on record that have not got a key of their own yet. Gives those
/// that cannot be reached in `limit`, with what is in the way if that is known; they are left for the next time.
///
/// # Errors
/// When this machine's files fail us.
pub async fn welcome_rest(
    transport: &Transport,
    cluster: &mut Cluster,
    ids: &[String],
    limit: Duration,
) -> anyhow::Result<Vec<(String, Option<ConnectError>)>> {
    let is_own = |id: &&String| cluster.record.host_keys.get(*id).is_none_or(|known| known.is_own);
    let rest: Vec<String> = ids.iter().filter(|id| !is_own(id)).cloned().collect();
    transport.put_first(&cluster.folder.ssh_config())?;
    let cluster = Mutex::new(cluster);
    let welcomes = rest.into_iter().map(|id| {
        let cluster = &cluster;
        async move {
            let welcomed = timeout(limit, welcome(transport, cluster, &id)).await;
            welcomed.map_or(Some(None), |done| done.err().map(Some)).map(|error| (id, error))
        }
    });
    Ok(join_all(welcomes).await.into_iter().flatten().collect())
}

/// Says to the instance that it is used: it ends itself when nobody does for too long.
///
/// # Errors
/// It cannot be reached.
pub async fn touch(transport: &Transport, host: &HostSpec) -> Result<(), ConnectError> {
    let command = format!("[ ! -e {LAST_USED} ] || touch {LAST_USED}");
    transport.exec_once(host, &command).await.map(|_| ())
}

fn trust(cluster: &Ledger<'_>, id: &str, keys: HostKeys) -> Result<(), ConnectError> {
    hold(cluster).trust(id, keys).map_err(|error| ConnectError::Here { text: format!("{error:#}") })
}

fn new_key(prepared: &Executed) -> Result<String, String> {
    let text = String::from_utf8_lossy(&prepared.stdout);
    let key = text.lines().rev().map(bare).find(|line| line.starts_with("ssh-ed25519 AAAA"));
    match (prepared.code, key) {
        (0, Some(key)) => Ok(key),
        _ => Err(words(prepared)),
    }
}

fn words(executed: &Executed) -> String {
    let last = executed.stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no words");
    format!("{} (exit code {})", last.trim(), executed.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_key_is_found_among_other_words() {
        let done = |code, stdout: &str, stderr: &str| Executed { code, stdout: stdout.into(), stderr: stderr.into() };
        let check = |prepared: Executed, expected: Result<&str, &str>| {
            assert_eq!(new_key(&prepared).as_deref().map_err(String::as_str), expected);
        };
        check(done(0, "ssh-ed25519 AAAAC3 \n", ""), Ok("ssh-ed25519 AAAAC3"));
        check(done(0, "welcome\nssh-ed25519 AAAAC3\n", ""), Ok("ssh-ed25519 AAAAC3"));
        let refused = "sudo: a password is required\n";
        check(done(1, "", refused), Err("sudo: a password is required (exit code 1)"));
        check(done(0, "", ""), Err("no words (exit code 0)"));
    }

    #[test]
    fn shells_understand_the_scripts() {
        for script in [PREPARE, REPLACE] {
            let done = std::process::Command::new("sh").args(["-n", "-c", script]).output().expect("runs");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
    }
}
