//! Whether a worker outlives the login that started it.
//!
//! Where logind has `KillUserProcesses=yes` (logind.conf(5)), everything of a login's session is killed when that ends, a
//! session of one's own (setsid) or not; root is spared. A scope of the user's service manager is no part of the login, so
//! the worker is started in one where there is such a manager. Nothing is assumed of machines without logind.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// How a worker is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launch {
    /// By itself: it outlives the login.
    Plain,
    /// In a scope of the user's service manager.
    Scope,
    /// By itself, and it ends with the login.
    Doomed,
}

/// What decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Login {
    user: User,
    session: Session,
    manager: Manager,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum User {
    Root,
    Ordinary,
}

/// What becomes of processes at the end of the login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    /// They stay, or there is no logind that knows of it.
    Spared,
    /// They are killed.
    Killed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manager {
    There,
    Missing,
}

impl Launch {
    /// What fits this login.
    pub fn here() -> Launch {
        let root = rustix::process::getuid().is_root();
        let manager = runtime_folder().join("systemd/private").exists();
        decide(Login {
            user: if root { User::Root } else { User::Ordinary },
            session: session(),
            manager: if manager { Manager::There } else { Manager::Missing },
        })
    }
}

fn decide(login: Login) -> Launch {
    match login {
        Login { user: User::Root, .. } | Login { session: Session::Spared, .. } => Launch::Plain,
        Login { manager: Manager::There, .. } => Launch::Scope,
        Login { manager: Manager::Missing, .. } => Launch::Doomed,
    }
}

/// Asks logind, if this process is in a session of it.
fn session() -> Session {
    let groups = fs_err::read_to_string("/proc/self/cgroup").unwrap_or_default();
    if !is_in_session(&groups) {
        return Session::Spared;
    }
    // Without the name of a session, the properties of logind itself (loginctl(1)).
    let mut asked = Command::new("loginctl");
    asked.args(["show-session", "--property=KillUserProcesses"]).stdin(Stdio::null()).stderr(Stdio::null());
    let said = asked.output().map(|output| output.stdout).unwrap_or_default();
    match said.trim_ascii() {
        b"KillUserProcesses=yes" => Session::Killed,
        _ => Session::Spared,
    }
}

/// Whether a control group is that of a login, such as `/user.slice/user-1000.slice/session-4.scope`.
fn is_in_session(groups: &str) -> bool {
    let last = |line: &str| line.rsplit('/').next().unwrap_or_default().to_owned();
    groups.lines().map(last).any(|group| group.starts_with("session-") && group.ends_with(".scope"))
}

/// Where the user's service manager has its socket; PAM does not always tell.
pub fn runtime_folder() -> PathBuf {
    PathBuf::from(format!("/run/user/{}", rustix::process::getuid().as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_would_be_killed_is_started_in_a_scope() {
        let check = |user, session, manager, launch| {
            assert_eq!(decide(Login { user, session, manager }), launch, "{user:?} {session:?} {manager:?}");
        };
        check(User::Ordinary, Session::Killed, Manager::There, Launch::Scope);
        check(User::Ordinary, Session::Killed, Manager::Missing, Launch::Doomed);
        check(User::Ordinary, Session::Spared, Manager::There, Launch::Plain);
        check(User::Root, Session::Killed, Manager::There, Launch::Plain);
    }

    #[test]
    fn logins_are_told_by_their_control_group() {
        let check = |groups: &str, expected: bool| assert_eq!(is_in_session(groups), expected, "{groups}");
        check("0::/user.slice/user-1000.slice/session-4.scope\n", true);
        check("1:name=systemd:/user.slice/user-1000.slice/session-c2.scope\n0::/\n", true);
        check("0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-u5.scope\n", false);
        check("0::/system.slice/ssh.service\n", false);
        check("", false);
    }
}
