//! What a job may take of a machine.

use std::path::Path;

use serde_json::Value;

use crate::common::{Desk, Outcome, lines, whole};

/// Memory for sorting, of each of two slots: a fortieth of what each gets to sort.
const SORT_MEMORY: &str = "1M";
const FILE_BYTES: usize = 40 << 20;
/// What a worker takes in all: its program, buffers of input and output, and blocks of a merge.
const WORKER_BYTES_MAX: u64 = 56 << 20;

/// Lines of some sixty bytes, of which some are the same.
fn records(seed: u64) -> Vec<u8> {
    let mut text = Vec::with_capacity(FILE_BYTES + 64);
    let mut state = seed;
    while text.len() < FILE_BYTES {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let key = state >> 44;
        text.extend_from_slice(format!("{key:07}\tthe same words again and again, as in a log\n").as_bytes());
    }
    text
}

/// The most memory that the worker of this desk had, as far as it can be seen now.
fn worker_peak(desk: &Desk) -> u64 {
    let workers = desk.process_folders().into_iter().filter(|folder| is_worker(folder));
    workers.filter_map(|folder| peak(&folder)).max().unwrap_or_default()
}

fn is_worker(folder: &Path) -> bool {
    let words = fs_err::read(folder.join("cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).contains("\0serve\0")
}

fn peak(folder: &Path) -> Option<u64> {
    let status = fs_err::read_to_string(folder.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

#[test]
fn a_worker_sorts_any_amount_within_its_memory() {
    let desk = Desk::new();
    let files = [records(1), records(2)];
    desk.write("in/a", &files[0]);
    desk.write("in/b", &files[1]);
    let args = ["--json", "mapreduce", "sort", "--sort-memory", SORT_MEMORY, "in", "out"];
    let mut child = desk.command(&args).stderr(std::process::Stdio::null()).spawn().expect("runner starts");
    let mut facts = child.stdout.take().expect("a pipe");
    // The facts are read elsewhere, so that the worker can be watched here.
    let reader = std::thread::spawn(move || std::io::read_to_string(&mut facts).expect("text"));
    let mut most = 0;
    while child.try_wait().expect("a child").is_none() {
        most = most.max(worker_peak(&desk));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(Outcome::wait(child).code, Some(0));
    let facts = reader.join().expect("no panic");

    let spills = |line: &str| serde_json::from_str::<Value>(line).ok()?.get("spills")?.as_u64();
    let spills: u64 = facts.lines().filter_map(spills).sum();
    assert!(spills > 40, "{spills} spills");
    assert!(most > 0 && most < WORKER_BYTES_MAX, "{most} bytes");
    let text = files.concat();
    let mut expected = lines(&text);
    expected.sort_unstable();
    assert!(lines(&whole(&desk.parts("out"))) == expected, "the output is not the sorted input");
}
