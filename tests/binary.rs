//! The binary is one static file: any Linux of its architecture runs it, with nothing installed.

mod testbed;

use std::process::Command;

const RUNNER: &str = env!("CARGO_BIN_EXE_runner");

/// The program header that names an interpreter, hence a dynamic linker (elf(5)).
const PT_INTERP: u32 = 3;

/// The types of a 64-bit little-endian ELF file's program headers.
fn program_headers(elf: &[u8]) -> Vec<u32> {
    assert_eq!(&elf[..6], b"\x7fELF\x02\x01", "64-bit, little-endian");
    let number =
        |at: usize, len: usize| elf[at..at + len].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).map(|index| number(start + index * size, 4) as u32).collect()
}

#[test]
fn no_dynamic_linker_is_needed() {
    let headers = program_headers(&fs_err::read(RUNNER).expect("the binary"));
    assert!(headers.len() > 2, "{headers:?}");
    assert!(
        !headers.contains(&PT_INTERP),
        "the binary is linked dynamically: RUSTFLAGS in the environment replaces the flags in .cargo/config.toml"
    );
}

#[test]
fn a_worker_runs_where_there_is_nothing_else() {
    // An empty root folder but for the binary and /proc, in namespaces of its own.
    let root = tempfile::tempdir().expect("a folder");
    fs_err::copy(RUNNER, root.path().join("runner")).expect("copies");
    for folder in ["proc", "tmp"] {
        fs_err::create_dir(root.path().join(folder)).expect("a folder");
    }
    let script = "mount --rbind /proc \"$1/proc\" && exec chroot \"$1\" /runner \"$2\" \"$3\" --grace 0 /tmp/job";
    let enter = |args: [&str; 2]| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(root.path()).args(args);
        command.output().expect("unshare runs")
    };
    let probe = Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        return testbed::skip("user namespaces cannot be made here");
    }
    // With no grace it makes its folder and socket, meets nobody, cleans up, and ends.
    let served = enter(["worker", "serve"]);
    let said = String::from_utf8_lossy(&served.stderr);
    assert!(served.status.success(), "{said}");
    assert_eq!(said, "");
    assert!(!root.path().join("tmp/job").exists(), "it cleans up");
}
