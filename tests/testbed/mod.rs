//! The testbed for tests: real ssh hosts, made by `scripts/testbed`, one set for all tests that run at the same time.
//!
//! The last test that lets go of it takes it down, also when it panics. Where hosts cannot be made, tests are skipped,
//! and say so whether or not anybody captures their output.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How long a test waits for a state before it fails.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// A running testbed.
#[derive(Debug)]
pub struct Testbed {
    folder: PathBuf,
}

/// The testbed that all tests of this binary share, with this many hosts at least. None, with loud words, where hosts in
/// namespaces cannot be made.
pub fn shared(name: &str, hosts: usize) -> Option<Arc<Testbed>> {
    static SHARED: Mutex<Weak<Testbed>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(testbed) = shared.upgrade() {
        return Some(testbed);
    }
    let testbed = Arc::new(Testbed::up(name, hosts)?);
    *shared = Arc::downgrade(&testbed);
    Some(testbed)
}

/// Waits until a condition holds.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT_MAX;
    while !holds() {
        assert!(Instant::now() < deadline, "waited {WAIT_MAX:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Testbed {
    /// Makes one of its own for a test.
    pub fn up(name: &str, hosts: usize) -> Option<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("testbed-{name}"));
        let testbed = Testbed { folder };
        // What a killed run left behind.
        testbed.call(&["down"]);
        let up = testbed.call(&["up", &hosts.to_string()]);
        if up.status.success() && testbed.read("mode").trim() == "namespaces" {
            return Some(testbed);
        }
        skip(&String::from_utf8_lossy(&up.stderr));
        None
    }

    /// The configuration for ssh that knows the hosts.
    pub fn ssh_config(&self) -> PathBuf {
        self.folder.join("ssh_config")
    }

    /// A file of the testbed's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The text of such a file.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Runs a subcommand that must succeed; gives its stdout, trimmed.
    pub fn run(&self, command: &[&str]) -> String {
        let output = self.call(command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "testbed {command:?}: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs a subcommand that may be of no effect, as one on a host that is down; whether it was.
    pub fn try_run(&self, command: &[&str]) -> bool {
        self.call(command).status.success()
    }

    /// Runs a line of sh on a host, not over ssh, as its user.
    pub fn sh(&self, host: &str, line: &str) -> String {
        self.run(&["exec", host, "sh", "-c", line])
    }

    /// The same as root.
    pub fn sh_as_root(&self, host: &str, line: &str) -> String {
        self.run(&["exec", "--root", host, "sh", "-c", line])
    }

    /// Waits until no process of a user is left on a host.
    pub fn wait_until_idle(&self, host: &str) {
        wait_until(&format!("no process is left on {host}: {}", self.run(&["ps", host])), || {
            self.run(&["ps", host]).is_empty()
        });
    }

    fn call(&self, command: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/testbed");
        let mut arguments = command.iter();
        Command::new(script)
            .args(arguments.next())
            .arg("--dir")
            .arg(&self.folder)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("scripts/testbed can be started")
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        self.call(&["down"]);
    }
}

/// Past libtest's capture, which keeps what a test prints that passes.
pub fn skip(why: &str) {
    static SKIPPED: AtomicUsize = AtomicUsize::new(0);
    let number = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    let why = why.lines().last().unwrap_or("no hosts in namespaces can be made here");
    let _ = writeln!(std::io::stderr(), "\nSKIPPED ({number} so far): {name}: {why}");
}
