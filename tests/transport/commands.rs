//! `runner workers`, as it is typed.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::rig::{RUNNER, on_hosts, wrong_known_hosts};
use crate::testbed::Testbed;

#[test]
fn unknown_keys_are_added_when_asked_for_and_changed_ones_never() {
    on_hosts(async |bed| {
        bed.run(&["jump", "h8", "h7"]);
        let folder = tempfile::TempDir::new().expect("a folder");
        let known = folder.path().join("ssh").join("known_hosts");
        let config = folder.path().join("config");
        let own = format!("HashKnownHosts no\nUserKnownHostsFile {}\n{}", known.display(), bed.read("ssh_config"));
        std::fs::write(&config, own).expect("writes");
        let workers = |arguments: &[&str]| {
            let mut command = Command::new(RUNNER);
            command.arg("workers").args(arguments).arg("--ssh-config").arg(&config).stdin(Stdio::null());
            Said::of(command.output().expect("runs"))
        };
        let said = workers(&["check", "--workers", "h8-via-h7,h7"]);
        assert_eq!(said.code, 5, "{said:?}");
        assert!(said.stderr.contains("runner workers trust 'h7'"), "{said:?}");
        let said = workers(&["trust", "h8-via-h7"]);
        assert_eq!((said.code, known.exists()), (2, false), "{said:?}");
        let said = workers(&["trust", "--yes", "h8-via-h7", "h7"]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.stdout.contains("SHA256:"), "{said:?}");
        assert_eq!(lines_without_comments(&known), known_lines(bed, &["h7", "h8"]));
        let said = workers(&["trust", "--yes", "h7", "h8"]);
        assert!(said.code == 0 && said.stdout.contains("already known: h[7-8]"), "{said:?}");
        assert_eq!(workers(&["check", "--workers", "h8-via-h7,h7"]).code, 0);
        std::fs::write(&known, std::fs::read(wrong_known_hosts(bed, "h7").path()).expect("reads")).expect("writes");
        let said = workers(&["trust", "--yes", "h7"]);
        assert!(said.code == 5 && said.stderr.contains("CHANGED HOST KEYS"), "{said:?}");
    });
}

#[derive(Debug)]
struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Said { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

fn lines_without_comments(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).expect("reads");
    text.lines().map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect()
}

fn known_lines(bed: &Testbed, names: &[&str]) -> Vec<String> {
    let lines = lines_without_comments(&bed.path("known_hosts"));
    lines.into_iter().filter(|line| names.iter().any(|name| line.starts_with(&format!("{name} ")))).collect()
}

#[test]
fn workers_exec_folds_equal_outputs() {
    on_hosts(async |bed| {
        let output = Command::new(RUNNER)
            .args(["workers", "exec", "--workers", "h1,h7,h8", "--ssh-config"])
            .arg(bed.ssh_config())
            .args(["--", "id -un; [ $(uname -n) != h7 ] || exit 3"])
            .stdin(Stdio::null())
            .output();
        let said = Said::of(output.expect("runs"));
        assert_eq!((said.code, said.stdout.as_str()), (1, "h[1,7-8]:\nworker\n"), "{said:?}");
        assert!(
            said.stderr.contains("h7: exit code 3\n") && said.stderr.contains("failed on 1 of 3 workers: h7"),
            "{said:?}"
        );
    });
}
