//! Several workers on this machine, each with a data folder of its own.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use crate::common::{Desk, Outcome, wait_until};

/// A desk with so many workers, whose data folders are `data1` and so on.
pub fn desk(workers: usize) -> Desk {
    let desk = Desk::new();
    desk.workers(&lines(&desk, 1..=workers));
    desk
}

fn lines(desk: &Desk, workers: impl IntoIterator<Item = usize>) -> String {
    let folder = |worker| desk.path(format!("data{worker}"));
    workers.into_iter().map(|worker| format!(": slots=2 data={}\n", folder(worker).display())).collect()
}

/// Some lines of different lengths, the same at every call; the last one ends without a newline.
fn text(lines: usize) -> String {
    let line = |at: usize| format!("{at} {}\n", "word ".repeat(at * 7919 % 13));
    let text: String = (0..lines).map(line).collect();
    text.trim_end_matches('\n').to_owned()
}

fn fs(desk: &Desk, args: &[&str]) -> Outcome {
    desk.run(&[&["fs"], args].concat())
}

pub fn ok(desk: &Desk, args: &[&str]) -> Outcome {
    let outcome = fs(desk, args);
    assert_eq!(outcome.code, Some(0), "{args:?}: {}", outcome.stderr);
    outcome
}

pub fn fails(desk: &Desk, args: &[&str], code: i32, text: &str) {
    let outcome = fs(desk, args);
    assert_eq!(outcome.code, Some(code), "{args:?}: {}", outcome.stderr);
    assert!(outcome.stderr.contains(text), "{args:?}: {}", outcome.stderr);
}

/// The files of a dataset's parts in a worker's data folder.
fn parts(desk: &Desk, worker: usize, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for generation in fs_err::read_dir(desk.path(format!("data{worker}")).join(name)).into_iter().flatten().flatten() {
        let files = fs_err::read_dir(generation.path()).into_iter().flatten().flatten().map(|file| file.path());
        found.extend(
            files.filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"part-"))),
        );
    }
    found.sort();
    found
}

fn listed(desk: &Desk, pattern: &str) -> Vec<serde_json::Value> {
    let outcome = desk.run(&["--json", "fs", "ls", pattern]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    outcome.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn what_was_put_comes_back() {
    let desk = desk(3);
    let text = text(20_000);
    desk.write("in/a", &text[..1000]);
    desk.write("in/b", &text[1000..]);
    // The first file's last line gets the newline that it lacks.
    let whole = format!("{}\n{}\n", &text[..1000], &text[1000..]);
    let outcome = ok(&desk, &["put", "in", "data", "--parts", "7"]);
    assert!(
        outcome.stderr.contains("data: 7 parts") && outcome.stderr.contains("2 copies on 3 workers"),
        "{outcome:?}"
    );
    assert!(ok(&desk, &["cat", "data"]).text() == whole);
    ok(&desk, &["get", "data", "folder"]);
    assert_eq!(desk.parts("folder").len(), 7);
    assert!(crate::common::whole(&desk.parts("folder")) == whole.as_bytes());
    ok(&desk, &["get", "--merge", "data", "file"]);
    assert!(fs_err::read_to_string(desk.path("file")).expect("is there") == whole);
    assert!(ok(&desk, &["get", "data", "-"]).text() == whole);
    let some = ok(&desk, &["cat", "data/part-0000[12]*"]);
    assert!(whole.contains(some.text()) && some.text().ends_with('\n'));
    assert_eq!(ok(&desk, &["head", "-n", "3", "data"]).text(), whole.split_inclusive('\n').take(3).collect::<String>());
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    assert_eq!(ok(&desk, &["tail", "-n", "9000", "data"]).text(), lines[lines.len() - 9000..].concat());
    fails(&desk, &["get", "data", "folder"], 4, "exists");
    fails(&desk, &["put", "in", "data"], 4, "--overwrite");
    desk.wait_until_clean();
}

#[test]
fn listings_show_sizes_copies_and_skew() {
    let desk = desk(4);
    desk.write("in", "12345678\n".repeat(8000));
    ok(&desk, &["put", "in", "data", "--parts", "8"]);
    let lines = listed(&desk, "data");
    assert_eq!((&lines[0]["name"], &lines[0]["parts"], &lines[0]["copies"]), (&"data".into(), &8.into(), &2.into()));
    assert_eq!(lines[0]["bytes"], 72_000);
    assert_eq!(lines[0]["hosts"].as_array().expect("hosts").len(), 4);
    let skew = lines.last().expect("a summary");
    assert_eq!((&skew["total"], &skew["average"], &skew["ratio"]), (&144_000.into(), &36_000.into(), &1.0.into()));
    assert_eq!(listed(&desk, "data/*").len(), 8 + 1);
    let shown = ok(&desk, &["ls"]);
    assert!(shown.text().contains("largest / average 1.00"), "{shown:?}");
    let blocks = ok(&desk, &["ls", "--blocks"]);
    assert!(blocks.text().contains("blocks"), "{blocks:?}");
    assert!(ok(&desk, &["stat", "data"]).text().contains("8 parts"));
    assert!(ok(&desk, &["du", "data"]).text().contains("KiB"));
    fails(&desk, &["ls", "dat"], 3, "did you mean `data`");
}

#[test]
fn names_are_words_of_any_script_and_lead_nowhere() {
    let desk = desk(2);
    desk.write("in", "a line\n");
    for name in ["日志/2024-05", "Wörter aus Büchern", "a%2Fb", "-x"] {
        ok(&desk, &["put", "--", "in", name]);
        assert_eq!(ok(&desk, &["cat", "--", name]).text(), "a line\n", "{name}");
    }
    for name in ["..", "../x", "/etc/x", "a//b", "a/../b", ".hidden", "a*", "part-00000-of-00001", ""] {
        fails(&desk, &["put", "in", name], 2, "");
    }
    assert_eq!(listed(&desk, "日志/*").len(), 1 + 1);
    for worker in 1..=2 {
        let mode = fs_err::metadata(desk.path(format!("data{worker}"))).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
    assert!(!desk.names().contains(&"x".to_owned()));
}

#[test]
fn streams_and_compressed_files_become_lines() {
    let desk = desk(2);
    let text = text(30_000) + "\n";
    let mut child = desk
        .command(&["fs", "put", "-", "stream", "--part-size", "100K"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("starts");
    child.stdin.take().expect("is piped").write_all(text.trim_end_matches('\n').as_bytes()).expect("is read");
    let outcome = Outcome::wait(child);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(ok(&desk, &["cat", "stream"]).text() == text);
    assert!(listed(&desk, "stream")[0]["parts"].as_u64().expect("a number") > 5);
    desk.write("plain", &text);
    let gzip = std::process::Command::new("gzip").arg(desk.path("plain")).status().expect("gzip runs");
    assert!(gzip.success());
    desk.write("more", "one more line");
    ok(&desk, &["put", "plain.gz", "more", "unpacked"]);
    assert!(ok(&desk, &["cat", "unpacked"]).text() == format!("{text}one more line\n"));
    fails(&desk, &["put", "-", "x", "--parts", "3"], 2, "--part-size");
    desk.write("empty", "");
    ok(&desk, &["put", "empty", "empty"]);
    assert_eq!(ok(&desk, &["cat", "empty"]).text(), "");
}

#[test]
fn whole_files_stay_as_they_are() {
    let desk = desk(2);
    let bytes: Vec<u8> = (0..100_000_u32).map(|i| (i * 31 % 256) as u8).collect();
    desk.write("pictures/a.jpg", &bytes);
    desk.write("pictures/more/b c.png", b"\0\xff no newline");
    ok(&desk, &["put", "--whole", "pictures", "pictures"]);
    ok(&desk, &["get", "pictures", "out"]);
    assert_eq!(fs_err::read(desk.path("out/a.jpg")).expect("is there"), bytes);
    assert_eq!(fs_err::read(desk.path("out/more/b c.png")).expect("is there"), b"\0\xff no newline");
    assert!(ok(&desk, &["ls", "pictures/*"]).text().contains("(more/b c.png)"));
    desk.write("other/a.jpg", "x");
    fails(&desk, &["put", "--whole", "pictures", "other", "both"], 2, "a.jpg");
}

#[test]
fn a_part_deleted_by_hand_is_seen_and_made_again() {
    let desk = desk(3);
    desk.write("in", text(20_000));
    ok(&desk, &["put", "in", "data", "--parts", "6"]);
    let before = ok(&desk, &["cat", "data"]).stdout;
    let mine = parts(&desk, 1, "data");
    fs_err::remove_file(&mine[0]).expect("is there");
    let mut corrupt = fs_err::read(&mine[1]).expect("is there");
    corrupt[100] ^= 1;
    fs_err::write(&mine[1], corrupt).expect("writes");
    fs_err::write(&mine[2], "short").expect("writes");
    let shown = ok(&desk, &["ls"]);
    assert!(shown.stderr.contains("fewer than 2 copies") && shown.stderr.contains("5 bytes instead of"), "{shown:?}");
    // Whoever reads gets the other copy, and is told.
    let read = ok(&desk, &["cat", "data"]);
    assert!(read.stdout == before);
    let checked = fs(&desk, &["check", "data"]);
    assert_eq!(checked.code, Some(7), "{checked:?}");
    assert!(
        checked.text().contains("not those that were put") && checked.text().contains("5 bytes instead"),
        "{checked:?}"
    );
    let repaired = ok(&desk, &["repair"]);
    assert!(repaired.stderr.contains("data: 3 copies made again"), "{repaired:?}");
    ok(&desk, &["check"]);
    assert!(ok(&desk, &["cat", "data"]).stdout == before);
    let quiet = ok(&desk, &["ls"]);
    assert_eq!(quiet.stderr, "", "{quiet:?}");
}

#[test]
fn a_host_that_was_away_brings_nothing_back() {
    let desk = desk(3);
    desk.write("old", "old\n".repeat(5000));
    desk.write("new", "new\n".repeat(5000));
    let put = |name: &str| ok(&desk, &["put", "old", name, "--parts", "3"]);
    put("removed");
    put("replaced");
    put("renamed");
    // The third worker is away.
    desk.workers(&lines(&desk, 1..=2));
    ok(&desk, &["rm", "removed"]);
    ok(&desk, &["put", "new", "replaced", "--parts", "3", "--overwrite"]);
    ok(&desk, &["mv", "renamed", "moved"]);
    desk.workers(&lines(&desk, 1..=3));
    fails(&desk, &["cat", "removed"], 3, "no dataset");
    fails(&desk, &["cat", "renamed"], 3, "no dataset");
    assert_eq!(ok(&desk, &["cat", "replaced"]).text(), "new\n".repeat(5000));
    assert_eq!(ok(&desk, &["cat", "moved"]).text(), "old\n".repeat(5000));
    ok(&desk, &["repair"]);
    ok(&desk, &["check"]);
    assert!(
        parts(&desk, 3, "replaced").iter().all(|path| fs_err::read(path).is_ok_and(|bytes| bytes.starts_with(b"new")))
    );
    put("removed");
    assert_eq!(ok(&desk, &["cat", "removed"]).text(), "old\n".repeat(5000));
}

#[test]
fn the_only_copy_on_a_host_that_is_away_is_named() {
    let desk = desk(2);
    desk.write("in", text(5000));
    ok(&desk, &["put", "in", "data", "--parts", "4", "--copies", "1"]);
    desk.workers(&lines(&desk, [2]));
    fails(&desk, &["cat", "data"], 7, "no copy of parts");
    // Listed all the same, but no script takes it for whole.
    let shown = fs(&desk, &["ls"]);
    assert!(shown.code == Some(7) && shown.text().contains("data "), "{shown:?}");
    assert!(shown.stderr.contains("they were on local"), "{shown:?}");
    fails(&desk, &["mv", "data", "other"], 7, "no copy of parts");
}

#[test]
fn a_stopped_put_goes_on_where_it_was() {
    let desk = desk(2);
    desk.write("in/a", "a line of the first file\n".repeat(400_000));
    desk.write("in/b", "a line of the second file\n".repeat(400_000));
    let put = ["fs", "put", "in", "data", "--parts", "20", "--copies", "1"];
    let mut child = desk.command(&put).spawn().expect("starts");
    let staged = || (1..=2).map(|worker| parts(&desk, worker, "data").len()).sum::<usize>();
    wait_until("some parts are there", || staged() >= 3 || child.try_wait().expect("a child").is_some());
    child.kill().expect("is killed");
    let killed = Outcome::wait(child);
    if killed.code == Some(0) {
        // It was faster than we could look: nothing is left to go on with.
        return;
    }
    let shown = ok(&desk, &["ls"]);
    assert!(shown.stderr.contains("a put of") && shown.stderr.contains("is not complete"), "{shown:?}");
    fails(&desk, &["cat", "data"], 3, "no dataset");
    wait_until("the streams of the killed put have ended", || desk.processes().is_empty());
    let outcome = desk.run(&put);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("parts of an earlier put lie there already"), "{}", outcome.stderr);
    let read = ok(&desk, &["cat", "data"]);
    let whole = "a line of the first file\n".repeat(400_000) + &"a line of the second file\n".repeat(400_000);
    assert!(read.text() == whole);
}

#[test]
fn what_a_stopped_put_has_left_can_be_removed() {
    let desk = desk(2);
    let mut put =
        desk.command(&["fs", "put", "-", "data", "--part-size", "256K"]).stdin(Stdio::piped()).spawn().expect("starts");
    let mut stdin = put.stdin.take().expect("is piped");
    stdin.write_all(text(200_000).as_bytes()).expect("is read");
    wait_until("some parts are there", || parts(&desk, 1, "data").len() >= 3);
    fails(&desk, &["rm", "data"], 6, "is being changed");
    put.kill().expect("is killed");
    put.wait().expect("ends");
    drop(stdin);
    wait_until("its streams have ended", || desk.processes().is_empty());
    ok(&desk, &["rm", "data"]);
    assert_eq!((parts(&desk, 1, "data"), parts(&desk, 2, "data")), (Vec::new(), Vec::new()));
    let quiet = ok(&desk, &["ls"]);
    assert_eq!(quiet.stderr, "", "{quiet:?}");
}

#[test]
fn of_two_puts_of_one_name_one_wins_and_the_other_is_told() {
    let desk = desk(2);
    let mut first = desk.command(&["fs", "put", "-", "data"]).stdin(Stdio::piped()).spawn().expect("starts");
    let mut stdin = first.stdin.take().expect("is piped");
    stdin.write_all(b"the first\n").expect("is read");
    let locked = || desk.path("data1/data/.lock").exists() && desk.path("data2/data/.lock").exists();
    wait_until("the first has the name", locked);
    desk.write("in", "the second\n");
    // The lock's file is there a moment before the lock is.
    wait_until("the second is refused", || {
        let second = fs(&desk, &["put", "in", "data"]);
        if second.code == Some(6) {
            assert!(second.stderr.contains("data is being changed by process"), "{}", second.stderr);
        }
        second.code == Some(6)
    });
    drop(stdin);
    assert_eq!(Outcome::wait(first).code, Some(0));
    assert_eq!(ok(&desk, &["cat", "data"]).text(), "the first\n");
}

/// The words of the text, counted, as any job would.
fn counted(text: &str) -> Vec<String> {
    let mut counts = std::collections::BTreeMap::new();
    text.split_ascii_whitespace().for_each(|word| *counts.entry(word).or_insert(0) += 1);
    counts.into_iter().map(|(word, count)| format!("{word}\t{count}")).collect()
}

fn job(desk: &Desk, args: &[&str]) -> Outcome {
    let outcome = desk.run(&[&["mapreduce"], args].concat());
    assert_eq!(outcome.code, Some(0), "{args:?}: {}", outcome.stderr);
    outcome
}

pub fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn jobs_read_where_data_lies_and_leave_their_output_there() {
    let desk = desk(4);
    let text = text(40_000) + "\n";
    desk.write("in", &text);
    ok(&desk, &["put", "in", "data", "--parts", "8"]);
    let outcome = job(&desk, &["wordcount", "fs:data", "fs:counts", "--reduces", "3"]);
    // All of it where all workers come at once; one that is late takes over what another has waiting.
    let (share, _) = outcome.stderr.split_once(" % of").expect("the share of local reads");
    let percent: u32 = share.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number");
    assert!(percent >= 50, "{}", outcome.stderr);
    assert_eq!(sorted(ok(&desk, &["cat", "counts"]).text()), sorted(&counted(&text).join("\n")));
    assert_eq!((&listed(&desk, "counts")[0]["parts"], &listed(&desk, "counts")[0]["copies"]), (&3.into(), &2.into()));
    ok(&desk, &["check", "counts"]);
    // The same bytes as from files of this machine, and into files.
    let local = desk.job(&["wordcount", "in", "--reduces", "3"]);
    let stayed: Vec<Vec<u8>> =
        (0..3).map(|part| ok(&desk, &["cat", &format!("counts/part-0000{part}*")]).stdout).collect();
    assert_eq!(local.values().cloned().collect::<Vec<_>>(), stayed);
    let back = desk.job(&["wordcount", "fs:data", "--reduces", "3"]);
    assert_eq!(back, local);
    // From here to there, and both together.
    job(&desk, &["distinct", "in", "fs:data", "fs:lines"]);
    assert_eq!(sorted(ok(&desk, &["cat", "lines"]).text()).len(), text.lines().count());
    job(&desk, &["sort", "fs:data", "fs:sorted", "--reduces", "4"]);
    assert_eq!(ok(&desk, &["cat", "sorted"]).text().lines().collect::<Vec<_>>(), sorted(&text));
    job(&desk, &["--map", "cat", "--reduces", "0", "fs:data", "fs:mapped"]);
    assert!(ok(&desk, &["cat", "mapped"]).text() == text);
    let shared = format!("shared:{}", desk.path("in").display());
    assert_eq!(desk.job(&["wordcount", &shared, "--reduces", "3"]), local);
    desk.wait_until_clean();
}

#[test]
fn an_output_is_there_whole_or_not_at_all() {
    let desk = desk(2);
    desk.write("in", text(2000));
    job(&desk, &["wordcount", "in", "fs:counts"]);
    let before = ok(&desk, &["cat", "counts"]).stdout;
    let again = desk.run(&["mapreduce", "wordcount", "in", "fs:counts"]);
    assert_eq!(again.code, Some(4), "{}", again.stderr);
    let failed = desk.run(&["mapreduce", "--map", "exit 3", "--overwrite", "in", "fs:counts"]);
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    assert!(ok(&desk, &["cat", "counts"]).stdout == before);
    assert_eq!(ok(&desk, &["ls"]).stderr, "");
    job(&desk, &["distinct", "in", "fs:counts", "--overwrite"]);
    assert_eq!(sorted(ok(&desk, &["cat", "counts"]).text()), sorted(&(text(2000) + "\n")));
    // A dataset can be made from itself.
    job(&desk, &["grep", "--pattern", "^1", "fs:counts", "fs:counts", "--overwrite"]);
    assert!(ok(&desk, &["cat", "counts"]).text().lines().all(|line| line.starts_with('1')));
}

#[test]
fn a_job_falls_to_another_copy_and_ends_where_there_is_none() {
    let desk = desk(3);
    let text = text(20_000) + "\n";
    desk.write("in", &text);
    ok(&desk, &["put", "in", "data", "--parts", "6"]);
    let local = desk.job(&["wordcount", "in", "--reduces", "2"]);
    // One copy is corrupt, one short, one gone; the listing sees two of them, the reader the third.
    let mine = parts(&desk, 1, "data");
    let mut corrupt = fs_err::read(&mine[0]).expect("is there");
    let last = corrupt.len() - 2;
    corrupt[last] ^= 1;
    fs_err::write(&mine[0], corrupt).expect("writes");
    fs_err::write(&mine[1], "short").expect("writes");
    fs_err::remove_file(&mine[2]).expect("is there");
    assert_eq!(desk.job(&["wordcount", "fs:data", "--reduces", "2"]), local);
    // No copy at all: it is told before anything runs.
    ok(&desk, &["put", "in", "single", "--copies", "1", "--parts", "3"]);
    desk.workers(&lines(&desk, 2..=3));
    let outcome = desk.run(&["mapreduce", "wordcount", "fs:single", "out"]);
    assert_eq!(outcome.code, Some(7), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("no copy of part") && outcome.stderr.contains("on local"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("runner: job "), "{}", outcome.stderr);
}
