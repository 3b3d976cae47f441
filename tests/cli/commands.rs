//! Jobs of one's own commands: the contract with them, what is shipped to them, and how they fail.

use crate::common::{Desk, Parts, whole};

fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("in", "b 1\na 2\nb 3\n");
    desk
}

fn check(args: &[&str], expected: &str) {
    check_at(&desk(), args, expected);
}

fn check_at(desk: &Desk, args: &[&str], expected: &str) {
    let parts: Parts = desk.job(&[args, &["in"]].concat());
    assert_eq!(String::from_utf8_lossy(&whole(&parts)), expected, "{args:?}");
}

#[test]
fn maps_and_reduces_are_any_programs() {
    check(&["--map", "cat", "--reduces", "0"], "b 1\na 2\nb 3\n");
    check(&["--map", "cat"], "a 2\nb 1\nb 3\n");
    check(&["--map", "tr ' ' '\\t'"], "a\t2\nb\t1\nb\t3\n");
    check(&["--reduce", "wc -l"], "3\n");
    check(&["--reduce", "cat", "--separator", " "], "a 2\nb 1\nb 3\n");
    check(&["--map", "cut -d ' ' -f 1", "--reduce", "uniq -c | tr -s ' '"], " 1 a\n 2 b\n");
    check(&["--map", "printf 'a\\tb'", "--reduces", "0"], "a\tb\n");
    check(&["--map", "true"], "");
    check(&["--map", "cat", "--reduce", "true"], "");
}

#[test]
fn stdin_need_not_be_read() {
    let desk = Desk::new();
    desk.write("in", "line\n".repeat(1 << 20));
    check_at(&desk, &["--map", "head -n 1", "--split-size", "100M"], "line\n");
    check_at(&desk, &["--map", "exec < /dev/null; echo x", "--split-size", "100M"], "x\n");
    check_at(&desk, &["--map", "cat", "--reduce", "head -n 2", "--reduces", "1"], "line\nline\n");
}

#[test]
fn keys_are_as_said() {
    let desk = Desk::new();
    desk.write("in", "b,1,x\nb,0,y\na,9,z\n");
    let args = |args: &[&'static str]| [&["--map", "cat", "--reduces", "1"], args].concat();
    check_at(&desk, &args(&["--separator", ","]), "a,9,z\nb,1,x\nb,0,y\n");
    check_at(&desk, &args(&["--separator", ",", "--key-fields", "2"]), "a,9,z\nb,0,y\nb,1,x\n");
    check_at(&desk, &args(&["--whole-line"]), "a,9,z\nb,0,y\nb,1,x\n");
}

#[test]
fn commands_see_hadoops_variables() {
    let show = |name: &str| format!("cat > /dev/null; echo \"${name}\"");
    let desk = desk();
    let check = |name: &str, expected: &str| {
        check_at(&desk, &["--map", &show(name), "--reduces", "0", "--name", "mine"], &format!("{expected}\n"));
    };
    check("mapreduce_map_input_file", &desk.path("in").display().to_string());
    check("mapreduce_task_partition", "0");
    check("mapreduce_task_ismap", "true");
    check("mapreduce_task_attempt_id", "map-0.0");
    check("mapreduce_job_name", "mine");
    check("mapreduce_job_reduces", "0");
}

#[test]
fn files_setup_and_environment_reach_the_commands() {
    let desk = desk();
    desk.write("programs/m.sh", "#!/bin/sh\nsed \"s/$FROM/$TO/\"\n");
    desk.write("data/deep/words", "shipped\n");
    let mut archive = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).expect("an encoder"));
    archive.append_path_with_name(desk.path("data/deep/words"), "unpacked/words").expect("packs");
    desk.write("a.tar.zst", archive.into_inner().and_then(zstd::Encoder::finish).expect("packs"));
    let map = "sh m.sh; cat data/deep/words unpacked/words made";
    let args = [
        "--map",
        map,
        "--reduces",
        "0",
        "--file",
        "programs/m.sh",
        "--file",
        "data",
        "--file",
        "a.tar.zst",
        "--env",
        "FROM=b",
        "--env",
        "TO=x=y",
        "--setup",
        "cat data/deep/words | tr a-z A-Z > made",
    ];
    check_at(&desk, &args, "x=y 1\na 2\nx=y 3\nshipped\nshipped\nSHIPPED\n");
}

#[test]
fn an_example_in_python() {
    let desk = desk();
    let job = concat!(env!("CARGO_MANIFEST_DIR"), "/config/jobs/python-wordcount.toml");
    check_at(&desk, &[job], "1\t1\n2\t1\n3\t1\na\t1\nb\t2\n");
}

#[test]
fn job_files_say_what_the_command_line_does_not() {
    let desk = desk();
    desk.write("other", "c\n");
    let check = |file: &str, words: &[&str], expected: &str| {
        desk.write("job.toml", format!("map = 'cat'\nreduces = 1\n{file}"));
        let outcome = desk.run(&[&["-q", "mapreduce", "job.toml", "--overwrite"], words].concat());
        assert_eq!(outcome.code, Some(0), "{file} {words:?}: {}", outcome.stderr);
        assert_eq!(String::from_utf8_lossy(&whole(&desk.parts("out"))), expected, "{file} {words:?}");
        fs_err::remove_dir_all(desk.path("out")).expect("is removed");
    };
    check("input = 'in'\noutput = 'out'", &[], "a 2\nb 1\nb 3\n");
    check("input = 'in'", &["out"], "a 2\nb 1\nb 3\n");
    check("input = 'in'\noutput = 'elsewhere'", &["out"], "a 2\nb 1\nb 3\n");
    check("output = 'out'", &["other"], "c\n");
    check("input = 'in'\noutput = 'elsewhere'", &["other", "out"], "c\n");
    check("input = 'other'\noutput = 'out'", &["--reduce", "wc -l"], "1\n");
}

/// A job that fails: its error, and that nothing of it is left.
fn check_failure(args: &[&str], words: &str) {
    let desk = desk();
    let outcome = desk.run(&[&["mapreduce", "--attempts", "2"], args, &["in", "out"]].concat());
    assert_eq!(outcome.code, Some(1), "{args:?}: {}", outcome.stderr);
    let last = outcome.stderr.lines().rfind(|line| line.starts_with("runner: ")).unwrap_or_default();
    assert!(last.contains(words), "{args:?}: {}", outcome.stderr);
    assert_eq!(desk.names(), ["in", "workers.txt"], "{args:?}");
    desk.wait_until_clean();
}

#[test]
fn failures_are_said_in_words() {
    check_failure(&["--map", "exit 3"], "map-0 failed 2 times");
    check_failure(&["--map", "exit 3"], "the map command exited with code 3");
    check_failure(&["--map", "kill -9 $$"], "killed by signal 9 (SIGKILL");
    check_failure(&["--map", "cat", "--reduce", "no-such-program"], "the shell did not find the program");
    check_failure(&["--map", "cat", "--reduce", "cat; exit 1"], "reduce-0 failed 2 times");
    check_failure(&["--map", "cat", "--combine", "exit 4"], "combine command exited with code 4");
    check_failure(&["--map", "sleep 1000", "--timeout", "200ms"], "--timeout");
}

#[test]
fn a_failed_setup_leaves_no_worker() {
    let desk = desk();
    let outcome = desk.run(&["mapreduce", "--map", "cat", "--setup", "echo because >&2; exit 9", "in", "out"]);
    assert_eq!(outcome.code, Some(5), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("because"), "{}", outcome.stderr);
    desk.wait_until_clean();
}

#[test]
fn a_failed_attempt_is_shown_at_once_and_tried_again() {
    let desk = desk();
    let map = "cat; case $mapreduce_task_attempt_id in *.0) echo oh no >&2; exit 7;; esac";
    let outcome = desk.run(&["mapreduce", "--map", map, "in", "out"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    for words in ["map-0.0 failed on", "exited with code 7", "oh no", "tried again"] {
        assert!(outcome.stderr.contains(words), "no `{words}` in {}", outcome.stderr);
    }
    assert_eq!(whole(&desk.parts("out")), b"a 2\nb 1\nb 3\n");
}

#[test]
fn stderr_is_kept_up_to_a_cap() {
    let desk = desk();
    let map = "cat; seq 1 400000 >&2; echo the end >&2";
    let outcome = desk.run(&["-q", "--set", "job.stderr_max=64K", "mapreduce", "--map", map, "in", "out"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let id = desk.only_job()["id"].as_str().expect("an id").to_owned();
    let logs = desk.run(&["logs", &id, "map-0"]);
    let text = logs.text();
    assert!(text.starts_with("1\n2\n") && text.ends_with("the end\n"), "{}", logs.stderr);
    assert!(text.len() < 70 << 10, "{} bytes", text.len());
    assert!(text.contains("cut"), "no note where it was cut");
}

#[test]
fn no_child_survives() {
    let desk = desk();
    let map = "cat; sleep 1001 & (setsid sleep 1002 &); setsid sh -c 'sleep 1003; echo' > /dev/null 2>&1 &";
    assert_eq!(whole(&desk.job(&["--map", map, "in"])), b"a 2\nb 1\nb 3\n");
    desk.wait_until_clean();
}

/// Unbuffered, a mapper in Python takes several times as long; and what is set at the driver is set on no other host.
#[test]
fn the_environment_of_the_driver_does_not_come_along() {
    let desk = desk();
    let print = "cat > /dev/null; echo ${PYTHONUNBUFFERED-unset} ${OMP_NUM_THREADS-unset} ${HOME:+home} $GIVEN";
    let args = ["--quiet", "mapreduce", "--map", print, "--reduces", "0", "--env", "GIVEN=given", "in", "out"];
    let mut command = desk.command(&args);
    let output = command.env("PYTHONUNBUFFERED", "1").env("OMP_NUM_THREADS", "1").output().expect("runner starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&whole(&desk.parts("out"))), "unset unset home given\n");
}
