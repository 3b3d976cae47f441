//! A desk from which the hosts of a testbed are reached: whole jobs over real ssh, their facts as they come, and a look
//! whether anything is left.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part of this")]

use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use crate::common::{Desk, Outcome, Parts};
use crate::testbed::{self, Testbed};

pub use crate::common::running::{Running, is, starts_on};

/// Hosts, and who uses them.
pub struct Fleet {
    pub bed: Arc<Testbed>,
    pub desk: Desk,
}

/// One test at a time: they break hosts, and look whether anything is left on them.
static TURN: Mutex<()> = Mutex::new(());

/// Runs a test with a fleet, and checks that it leaves nothing here.
pub fn with_fleet(name: &str, hosts: usize, test: impl FnOnce(&Fleet)) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(bed) = testbed::shared(name, hosts) else { return };
    let fleet = Fleet { bed, desk: Desk::new() };
    fs_err::create_dir(fleet.desk.path("../run")).expect("a folder");
    test(&fleet);
    fleet.wait_until_bare_here();
}

impl Fleet {
    /// `runner` with these workers, ready to be started.
    pub fn command(&self, workers: &str, args: &[&str]) -> Command {
        let config = self.bed.ssh_config().display().to_string();
        let mut command = self.desk.command(&[&["--workers", workers, "--ssh-config", &config][..], args].concat());
        command.env("XDG_RUNTIME_DIR", self.desk.path("../run"));
        command
    }

    /// Runs `runner` to its end without a word of workers.
    pub fn run_here(&self, args: &[&str]) -> Outcome {
        let mut command = self.desk.command(args);
        Outcome::of(command.env("XDG_RUNTIME_DIR", self.desk.path("../run")).output().expect("runner starts"))
    }

    /// Runs `runner` to its end.
    pub fn run(&self, workers: &str, args: &[&str]) -> Outcome {
        Outcome::of(self.command(workers, args).output().expect("runner starts"))
    }

    /// Starts a job that tells its facts on stdout.
    pub fn start(&self, workers: &str, args: &[&str]) -> Running {
        let child = self.command(workers, &[&["--json", "mapreduce"], args].concat()).spawn();
        Running::new(child.expect("runner starts"))
    }

    /// Runs a job that must end well, and takes its output away.
    pub fn job(&self, workers: &str, args: &[&str]) -> Parts {
        let outcome = self.run(workers, &[&["--quiet", "mapreduce"], args, &["out"]].concat());
        assert_eq!(outcome.code, Some(0), "{args:?}: {}", outcome.stderr);
        self.take_output()
    }

    /// Brings the binary to these hosts, so that they join a job at the same time.
    pub fn install(&self, hosts: &[&str]) {
        self.desk.write("install", "a line\n");
        for host in hosts {
            self.job(host, &["distinct", "install"]);
        }
    }

    pub fn take_output(&self) -> Parts {
        let parts = self.desk.parts("out");
        fs_err::remove_dir_all(self.desk.path("out")).expect("is removed");
        parts
    }

    /// No process of a job is left on a host, no file but the binary, and no way in that was not there before.
    pub fn wait_until_bare(&self, host: &str) {
        self.bed.wait_until_idle(host);
        let files = || self.bed.sh(host, "find /tmp /var/tmp -mindepth 1 -user worker 2>/dev/null; true");
        testbed::wait_until(&format!("no file is left on {host}: {}", files()), || files().is_empty());
        let keys =
            || self.bed.sh(host, "cat .ssh/authorized_keys .ssh/authorized_keys2 2>/dev/null | grep runner-job; true");
        testbed::wait_until(&format!("no key is left on {host}: {}", keys()), || keys().is_empty());
    }

    /// No process is left here, no scratch, and no folder of ssh connections.
    pub fn wait_until_bare_here(&self) {
        self.desk.wait_until_clean();
        let run = self.desk.path("../run");
        let left = || fs_err::read_dir(&run).expect("a folder").flatten().map(|it| it.path()).collect::<Vec<_>>();
        assert_eq!(left(), Vec::<std::path::PathBuf>::new(), "folders of ssh connections are left");
    }
}

/// Some 2 MB of words, the same at every run.
pub fn words() -> String {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 16
    };
    (0..200_000)
        .map(|place| format!("w{}{}", next() % (1 + next() % 5000), if place % 9 == 0 { '\n' } else { ' ' }))
        .collect()
}
