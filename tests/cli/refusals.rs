//! What is refused before anything is made: the exit code, and words that name the thing and the way out.

use crate::common::Desk;

fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("in/file", "word\n");
    fs_err::create_dir(desk.path("there")).expect("a folder");
    desk
}

fn check(args: &[&str], code: i32, words: &str) {
    check_at(&desk(), args, code, words);
}

fn check_at(desk: &Desk, args: &[&str], code: i32, words: &str) {
    let before = desk.names();
    let outcome = desk.run(args);
    assert_eq!(outcome.code, Some(code), "{args:?}: {}", outcome.stderr);
    assert!(outcome.stderr.starts_with("runner: ") && outcome.stderr.contains(words), "{args:?}: {}", outcome.stderr);
    assert!(outcome.stdout.is_empty(), "{args:?}");
    assert_eq!(desk.names(), before, "{args:?}");
    assert!(desk.run(&["--json", "jobs"]).stdout.is_empty(), "{args:?}: a job was made");
}

/// `runner mapreduce` with these words.
fn check_job(args: &[&str], code: i32, words: &str) {
    check(&[&["mapreduce"], args].concat(), code, words);
}

#[test]
fn usage() {
    check(&[], 2, "Usage");
    check(&["--colour"], 2, "unexpected argument '--colour'");
    check(&["mapreduec"], 2, "mapreduce");
    check(&["--set", "worker", "jobs"], 2, "KEY=VALUE is expected");
    check(&["--set", "worker.slot=1", "jobs"], 2, "--set worker.slot: unknown key `slot` (did you mean `slots`?)");
    check(&["logs", "../x"], 2, "no job id");
    check(&["logs", "sort-000000"], 2, "no job sort-000000 on this machine");
    check(&["logs", "sort-000000", "mpa-1"], 2, "`mpa-1` is no task");
}

#[test]
fn jobs_that_are_none() {
    check_job(&[], 2, "a job is expected");
    check_job(&["wordcuont", "in", "out"], 2, "(did you mean `wordcount`?)");
    check_job(&["in", "out"], 2, "`in` is a folder, no job");
    check_job(&["in/file", "in", "out"], 2, "its name has no .toml");
    check_job(&["no.toml", "in", "out"], 2, "no job file");
    check_job(&["wordcount"], 2, "an input is expected");
    check_job(&["wordcount", "in"], 2, "an input is expected");
    check_job(&["--combine", "cat", "in", "out"], 2, "`in` is a folder, no job");
}

#[test]
fn options_that_do_not_fit() {
    check_job(&["grep", "in", "out"], 2, "needs --pattern");
    check_job(&["grep", "--pattern", "(", "in", "out"], 2, "unclosed group");
    check_job(&["wordcount", "--pattern", "x", "in", "out"], 2, "takes no --pattern");
    check_job(&["wordcount", "--combine", "cat", "in", "out"], 2, "`combine` beside `builtin`");
    check_job(&["join", "in", "out"], 2, "needs --with");
    check_job(&["--map", "cat", "--count", "3", "in", "out"], 2, "`count` is for built-in jobs");
    check_job(&["top", "--count", "0", "in", "out"], 2, "--count");
    check_job(&["top", "--reduces", "2", "in", "out"], 2, "it has exactly one");
    check_job(&["grep", "--pattern", "x", "--reduces", "2", "in", "out"], 2, "it has none");
    check_job(&["wordcount", "--reduces", "0", "in", "out"], 2, "it has at least one");
    check_job(&["sort", "--key-fields", "2", "in", "out"], 2, "has keys of its own");
    check_job(&["--map", "cat", "--reduce", "cat", "--reduces", "0", "in", "out"], 2, "`reduce` in a job without");
    check_job(&["--map", "cat", "--split-size", "0", "in", "out"], 2, "0 makes no sense");
    check_job(&["--map", "cat", "--split-size", "big", "in", "out"], 2, "`big` is no size");
    check_job(&["--map", "cat", "--timeout", "soon", "in", "out"], 2, "`soon` is no length of time");
    check_job(&["--map", "cat", "--env", "A", "in", "out"], 2, "NAME=VALUE is expected");
    check_job(&["--map", "cat", "--env", "1A=b", "in", "out"], 2, "`1A` is no variable");
    check_job(&["--map", "cat", "--separator", "ab", "in", "out"], 2, "`ab` is no separator");
}

#[test]
fn more_than_there_can_be() {
    check_job(&["wordcount", "--reduces", "4000000000", "in", "out"], 2, "at most 10000 are possible; choose fewer");
    check_job(&["--map", "cat", "--reduces", "10001", "in", "out"], 2, "10001 reduces: at most 10000");
    let desk = desk();
    let large = fs_err::File::create(desk.path("large")).expect("is made");
    // A hole: it takes no room.
    large.set_len(1 << 40).expect("has a length");
    let job = ["mapreduce", "wordcount", "large", "out"];
    let check = |args: &[&str], words: &str| check_at(&desk, &[&job[..], args].concat(), 2, words);
    check(
        &["--split-size", "1"],
        "1099511627776 splits of 1 B: at most 1000000 are possible; choose a larger --split-size",
    );
    check(&["--split-size", "1M", "--reduces", "1000"], "at most 1000000 are possible");
    check(
        &["--split-size", "4M", "--reduces", "10000"],
        "262144 splits of 4.00 MiB: at most 100000 are possible with 10000 reduces; choose a larger --split-size or fewer",
    );
}

#[test]
fn ssh_configuration_that_cannot_be_read() {
    let job = |config| ["--ssh-config", config, "mapreduce", "wordcount", "in", "out"];
    check(&job("none.conf"), 2, "none.conf");
    check(&job("there"), 2, "is a folder (--ssh-config, or the setting ssh.config)");
    check(&["--ssh-config", "none.conf", "workers", "check"], 2, "the ssh configuration cannot be read");
}

#[test]
fn missing_input() {
    check_job(&["wordcount", "no such", "out"], 3, "no such file or folder: `no such`");
    check_job(&["wordcount", "in", "none", "out"], 3, "`none`");
    check_job(&["wordcount", "*.nothing", "out"], 3, "the pattern `*.nothing` matches nothing");
    check_job(&["join", "--with", "none", "in", "out"], 3, "`none`");
    check_job(&["--map", "cat", "--file", "none", "in", "out"], 3, "none");
    check_job(&["wordcount", "/dev/null", "out"], 2, "is a device");
    check_job(&["wordcount", "fs:data", "out"], 3, "no dataset `data`");
    check_job(&["wordcount", "fs:../data", "out"], 2, "no name or pattern of a dataset");
    check_job(&["wordcount", "shared:none", "out"], 3, "no such file or folder: `none`");
    check_job(&["wordcount", "hdfs:data", "out"], 2, "no scheme `hdfs:` is known");
}

#[test]
fn outputs_that_cannot_be() {
    check_job(&["wordcount", "in", "there"], 4, "exists (--overwrite replaces it)");
    check_job(&["wordcount", "none", "there"], 4, "exists");
    check_job(&["wordcount", "in", "there/"], 4, "exists");
    check_job(&["wordcount", "in", "no/such/out"], 2, "make it first");
    check_job(&["wordcount", "in", "/"], 2, "the name of a folder is expected");
    check_job(&["wordcount", "in", "fs:../out"], 2, "no name");
    check_job(&["wordcount", "in", "shared:out"], 2, "cannot be the output");
    let desk = desk();
    desk.write("old/part-00000", "precious\n");
    check_at(&desk, &["mapreduce", "wordcount", "--overwrite", "old", "old"], 2, "which --overwrite would delete");
    check_job(&["wordcount", "--overwrite", "in/file", "in"], 4, "is no output of a job");
}

#[test]
fn malformed_files() {
    let check = |name: &str, text: &str, args: &[&str], words: &str| {
        let desk = desk();
        desk.write(name, text);
        check_at(&desk, args, 2, words);
    };
    let job = ["mapreduce", "job.toml", "in", "out"];
    check("job.toml", "map = 'cat'\nredcues = 1", &job, "job.toml:2: unknown key `redcues` (did you mean `reduces`?)");
    check("job.toml", "reduces = 1", &job, "one of them is expected");
    let job = ["mapreduce", "wordcount", "in", "out"];
    check("workers.txt", "node1\nnode2 slosts=3", &job, "workers.txt:2: ");
    check("workers.txt", "# nobody\n", &job, "no host in it");
    check("runner.toml", "[job]\nsplit_sise = 3", &job, "runner.toml:2: unknown key `split_sise` (did you mean");
}

#[test]
fn workers_that_are_none() {
    let job = |workers| ["--workers", workers, "mapreduce", "wordcount", "in", "out"];
    check(&job("none.txt"), 2, "no such file of workers: none.txt");
    check(&["--workers", "a", "--local", "jobs"], 2, "cannot be used with");
}
