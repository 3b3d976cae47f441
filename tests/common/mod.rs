//! A desk for tests: a home, a folder to type in and scratch space of its own, and `runner` as a person would call it.
#![allow(dead_code, reason = "each test binary uses a part of this")]

pub mod running;

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take that is waited for: nothing fails because a machine is slow.
const WAIT_MAX: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(10);

/// A person's machine. Nothing of it is shared with another test.
pub struct Desk {
    root: tempfile::TempDir,
}

/// How a call of `runner` ended.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

/// The parts of an output, by name.
pub type Parts = BTreeMap<String, Vec<u8>>;

impl Desk {
    /// A desk where this machine has two slots.
    pub fn new() -> Self {
        let desk = Desk { root: tempfile::tempdir().expect("a folder") };
        for folder in ["home", "work", "scratch"] {
            fs_err::create_dir(desk.root.path().join(folder)).expect("a folder");
        }
        desk.workers("2/:");
        desk
    }

    /// Writes a `workers.txt` with these workers on this machine.
    pub fn workers(&self, lines: &str) {
        let scratch = self.root.path().join("scratch");
        let lines: String = lines.lines().map(|line| format!("{line} scratch={}\n", scratch.display())).collect();
        self.write("workers.txt", lines);
    }

    /// A path in the folder where `runner` is typed.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.path().join("work").join(name)
    }

    /// Writes a file there, and the folders above it.
    pub fn write(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs_err::write(path, bytes).expect("writes");
    }

    /// Writes a file in the home, and the folders above it.
    pub fn write_home(&self, name: &str, bytes: impl AsRef<[u8]>) {
        self.write(self.root.path().join("home").join(name), bytes);
    }

    /// A file of the home.
    pub fn read_home(&self, name: &str) -> Vec<u8> {
        fs_err::read(self.root.path().join("home").join(name)).expect("a file of the home")
    }

    /// `runner` with these arguments, ready to be started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
        command
            .args(args)
            .current_dir(self.path(""))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.root.path().join("home"))
            // Whatever else this machine does at the moment.
            .env("RUNNER_WORKER_LOAD_MAX", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `runner` to its end.
    pub fn run(&self, args: &[&str]) -> Outcome {
        Outcome::of(self.command(args).output().expect("runner starts"))
    }

    /// Runs `runner mapreduce ARGS out`, which must end well, and takes the output away.
    pub fn job(&self, args: &[&str]) -> Parts {
        let outcome = self.run(&[&["--quiet", "mapreduce"], args, &["out"]].concat());
        assert_eq!(outcome.code, Some(0), "{args:?}: {}", outcome.stderr);
        let parts = self.parts("out");
        fs_err::remove_dir_all(self.path("out")).expect("is removed");
        parts
    }

    /// The parts of a complete output.
    pub fn parts(&self, output: &str) -> Parts {
        let mut parts = Parts::new();
        for entry in fs_err::read_dir(self.path(output)).expect("an output") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("text");
            parts.insert(name, fs_err::read(entry.path()).expect("a part"));
        }
        assert_eq!(parts.remove("_SUCCESS"), Some(Vec::new()), "{:?}", parts.keys());
        parts
    }

    /// What lies in the folder where `runner` is typed, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = fs_err::read_dir(self.path("")).expect("a folder").flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Waits until no process of this desk is left, nor a file in its scratch space.
    pub fn wait_until_clean(&self) {
        wait_until("no process is left", || self.processes().is_empty());
        wait_until("no scratch is left", || files_below(&self.root.path().join("scratch")).is_empty());
    }

    /// The processes that were started from here.
    pub fn processes(&self) -> Vec<String> {
        let words = |folder: &PathBuf| fs_err::read(folder.join("cmdline")).unwrap_or_default();
        let folders = self.process_folders();
        folders.iter().map(words).map(|words| String::from_utf8_lossy(&words).replace('\0', " ")).collect()
    }

    /// Their ids.
    pub fn process_ids(&self) -> Vec<rustix::process::Pid> {
        let number = |folder: &PathBuf| folder.file_name()?.to_str()?.parse().ok();
        self.process_folders().iter().filter_map(number).filter_map(rustix::process::Pid::from_raw).collect()
    }

    /// Their folders in /proc.
    pub fn process_folders(&self) -> Vec<PathBuf> {
        let root = self.root.path().as_os_str().as_bytes();
        let processes = fs_err::read_dir("/proc").expect("/proc").flatten().map(|process| process.path());
        let ours = processes.filter(|process| {
            // Not readable where it is somebody else's, or gone.
            let environment = fs_err::read(process.join("environ")).unwrap_or_default();
            environment.windows(root.len()).any(|window| window == root)
        });
        ours.collect()
    }

    /// The home of the person.
    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// The one job that was run here.
    pub fn only_job(&self) -> serde_json::Value {
        let outcome = self.run(&["--json", "jobs"]);
        serde_json::from_slice(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:?}"))
    }
}

impl Outcome {
    /// That of a process that has ended.
    pub fn of(output: std::process::Output) -> Self {
        let stderr = String::from_utf8(output.stderr).expect("stderr is text");
        Outcome { code: output.status.code(), stdout: output.stdout, stderr }
    }

    /// Waits for a running `runner`.
    pub fn wait(mut child: Child) -> Self {
        wait_until("runner ends", || child.try_wait().expect("a child").is_some());
        Outcome::of(child.wait_with_output().expect("its output"))
    }

    /// Stdout as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("stdout is text")
    }
}

/// Looks again and again, but not forever.
pub fn wait_until(what: &str, is_so: impl FnMut() -> bool) {
    let mut is_so = is_so;
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < WAIT_MAX, "waited too long until {what}");
        std::thread::sleep(POLL);
    }
}

/// All parts, one after the other.
pub fn whole(parts: &Parts) -> Vec<u8> {
    parts.values().flatten().copied().collect()
}

/// Lines of all parts, sorted.
pub fn sorted_lines(parts: &Parts) -> Vec<Vec<u8>> {
    let mut lines: Vec<_> = lines(&whole(parts)).into_iter().map(<[u8]>::to_vec).collect();
    lines.sort();
    lines
}

/// The lines of a text; a newline at its end begins none.
pub fn lines(text: &[u8]) -> Vec<&[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    if text.is_empty() { Vec::new() } else { text.split(|byte| *byte == b'\n').collect() }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    // A folder may vanish while it is looked at.
    for entry in fs_err::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => files.extend(files_below(&entry.path())),
            false => files.push(entry.path()),
        }
    }
    files
}
