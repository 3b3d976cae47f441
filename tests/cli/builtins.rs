//! The built-in jobs against naive models, and the same bytes from any split size and number of slots.

use std::collections::{BTreeMap, BTreeSet};

use runner::shuffle::partition::Partitioner;

use crate::common::{Desk, Parts, lines, sorted_lines, whole};

/// Words of a small vocabulary, the same for each call.
fn words(count: usize) -> Vec<String> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    (0..count).map(|_| format!("w{}", next() % 500 * (next() % 3))).collect()
}

fn text() -> String {
    words(20_000).chunks(7).map(|line| line.join(" ") + "\n").collect()
}

/// Lines `key<TAB>number`.
fn pairs() -> String {
    words(5_000).iter().enumerate().map(|(index, word)| format!("{word}\t{}\n", index * 7919 % 1000)).collect()
}

fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("in/a.txt", text());
    desk.write("in/b.txt", "no newline at the end w3");
    desk.write("pairs/p.tsv", pairs());
    desk.write("few.tsv", "w1\tx\nw2\ty\nw1\tz\nnobody\t0\n");
    desk
}

fn input() -> String {
    text() + "no newline at the end w3"
}

fn check_lines(parts: &Parts, mut expected: Vec<String>) {
    expected.sort();
    let given: Vec<String> =
        sorted_lines(parts).into_iter().map(|line| String::from_utf8(line).expect("text")).collect();
    assert_eq!(given, expected);
}

/// Each line is in the part of its key's hash, in order.
fn check_partition(parts: &Parts, key: impl Fn(&[u8]) -> Vec<u8>) {
    let partitioner = Partitioner::Hash(parts.len() as u32);
    for (index, part) in parts.values().enumerate() {
        let keys: Vec<_> = lines(part).into_iter().map(&key).collect();
        assert!(keys.is_sorted(), "part {index} is not sorted");
        assert!(keys.iter().all(|key| partitioner.partition(key) as usize == index), "part {index}");
    }
}

fn before_tab(line: &[u8]) -> Vec<u8> {
    line.split(|byte| *byte == b'\t').next().unwrap_or_default().to_vec()
}

fn fields(line: &str) -> (&str, i64) {
    let (key, number) = line.split_once('\t').expect("a tab");
    (key, number.parse().expect("a number"))
}

#[test]
fn wordcount() {
    let parts = desk().job(&["wordcount", "--reduces", "3", "in"]);
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let input = input();
    input.split_ascii_whitespace().for_each(|word| *counts.entry(word).or_default() += 1);
    check_lines(&parts, counts.iter().map(|(word, count)| format!("{word}\t{count}")).collect());
    check_partition(&parts, before_tab);
    assert_eq!(parts.keys().collect::<Vec<_>>(), ["part-00000", "part-00001", "part-00002"]);
}

#[test]
fn grep() {
    let parts = desk().job(&["grep", "--pattern", "w1[0-9]+ w2|end", "--split-size", "10K", "in"]);
    let regex = regex::Regex::new("w1[0-9]+ w2|end").expect("a pattern");
    let expected: String =
        input().lines().filter(|line| regex.is_match(line)).map(|line| format!("{line}\n")).collect();
    assert_eq!(String::from_utf8_lossy(&whole(&parts)), expected);
    assert!(parts.len() > 5 && expected.len() > 100);
}

#[test]
fn sort() {
    let parts = desk().job(&["sort", "--reduces", "4", "--split-size", "10K", "in"]);
    let input = input();
    let mut expected: Vec<&str> = input.lines().collect();
    expected.sort_unstable();
    assert_eq!(String::from_utf8_lossy(&whole(&parts)), expected.join("\n") + "\n");
    assert_eq!(parts.len(), 4);
    assert!(parts.values().all(|part| part.len() > input.len() / 10), "the parts are uneven");
}

#[test]
fn distinct() {
    let desk = desk();
    desk.write("words", words(20_000).join("\n"));
    let parts = desk.job(&["distinct", "--reduces", "2", "words"]);
    check_lines(&parts, words(20_000).into_iter().collect::<BTreeSet<_>>().into_iter().collect());
    check_partition(&parts, <[u8]>::to_vec);
}

#[test]
fn sum() {
    let parts = desk().job(&["sum", "--reduces", "2", "--split-size", "4K", "pairs"]);
    let (pairs, mut sums) = (pairs(), BTreeMap::<&str, i64>::new());
    pairs.lines().map(fields).for_each(|(key, number)| *sums.entry(key).or_default() += number);
    check_lines(&parts, sums.iter().map(|(key, sum)| format!("{key}\t{sum}")).collect());
}

#[test]
fn top() {
    let parts = desk().job(&["top", "--count", "25", "--split-size", "4K", "pairs"]);
    let pairs = pairs();
    let mut all: Vec<&str> = pairs.lines().collect();
    all.sort_by_key(|line| (-fields(line).1, *line));
    assert_eq!(String::from_utf8_lossy(&whole(&parts)), all[..25].join("\n") + "\n");
}

#[test]
fn join() {
    let parts = desk().job(&["join", "--with", "few.tsv", "--reduces", "2", "pairs"]);
    let pairs = pairs();
    let others = [("w1", "x"), ("w2", "y"), ("w1", "z")];
    let joined = pairs.lines().map(fields).flat_map(|(key, number)| {
        others.iter().filter(move |other| other.0 == key).map(move |other| format!("{key}\t{number}\t{}", other.1))
    });
    let joined: Vec<String> = joined.collect();
    assert!(!joined.is_empty());
    check_lines(&parts, joined);
}

#[test]
fn join_takes_several_other_inputs() {
    let desk = desk();
    desk.write("one", "k\t1\n");
    let parts = desk.job(&["join", "--with", "one", "--with", "few.tsv", "one"]);
    check_lines(&parts, vec!["k\t1\t1".into()]);
}

/// The same bytes in the same files, however the work is cut and spread.
fn check_same(args: &[&str]) {
    let desk = desk();
    let mut all = Vec::new();
    for (workers, split_size) in [("1/:", "10M"), ("3/:", "10K"), ("1/:\n2/:", "3K"), ("2/:", "37K")] {
        desk.workers(workers);
        all.push(desk.job(&[args, &["--split-size", split_size]].concat()));
    }
    assert!(whole(&all[0]).len() > 50, "{args:?}");
    assert!(all.iter().all(|parts| *parts == all[0]), "{args:?}");
}

#[test]
fn wordcount_is_the_same_anywhere() {
    check_same(&["wordcount", "--reduces", "3", "in"]);
}

#[test]
fn sort_is_the_same_anywhere() {
    check_same(&["sort", "--reduces", "3", "in"]);
}

#[test]
fn top_and_sum_are_the_same_anywhere() {
    check_same(&["top", "pairs"]);
    check_same(&["sum", "--reduces", "2", "pairs"]);
}

#[test]
fn joins_are_the_same_anywhere() {
    check_same(&["join", "--with", "few.tsv", "--reduces", "2", "pairs"]);
}

#[test]
fn commands_are_the_same_anywhere() {
    let map = "tr -s ' ' '\\n'";
    check_same(&["--map", map, "--reduce", "uniq -c", "--reduces", "3", "in"]);
    // Lines of one key keep the order of the input.
    check_same(&["--map", "cat", "--reduces", "2", "pairs"]);
}

#[test]
fn a_combiner_changes_nothing() {
    let desk = desk();
    let awk = r#"awk -F '\t' 'NR > 1 && $1 != key { print key "\t" sum; sum = 0 } { key = $1; sum += $2 }
        END { if (NR) print key "\t" sum }'"#;
    let job = ["--map", "cat", "--reduce", awk, "--reduces", "2", "--split-size", "5K", "pairs"];
    let without = desk.job(&job);
    assert_eq!(desk.job(&[&["--combine", awk], &job[..]].concat()), without);
    assert_eq!(desk.job(&["sum", "--reduces", "2", "pairs"]), without);
}

#[test]
fn other_separators_and_longer_keys_count() {
    let desk = Desk::new();
    desk.write("left", "a,b,1\na,c,2\na,b,3\nx,y,4\n");
    desk.write("right", "a,b,p\na,b,q\nx,z,r\n");
    let check = |args: &[&str], expected: &str| {
        let parts = desk.job(&[args, &["--separator", ",", "--reduces", "1", "left"]].concat());
        assert_eq!(String::from_utf8_lossy(&whole(&parts)), expected, "{args:?}");
    };
    let join = ["join", "--with", "right"];
    check(&[&join[..], &["--key-fields", "2"]].concat(), "a,b,1,p\na,b,3,p\na,b,1,q\na,b,3,q\n");
    check(&["sum", "--key-fields", "2"], "a,b,4\na,c,2\nx,y,4\n");
    check(&["top", "--count", "2"], "x,y,4\na,b,3\n");
    desk.write("left", "a,1\n");
    desk.write("right", "a,2,b\n");
    check(&join, "a,1,2,b\n");
    check(&["sum"], "a,1\n");
    let grep = desk.job(&["grep", "--pattern", "a", "--separator", ",", "left"]);
    assert_eq!(whole(&grep), b"a,1\n");
    for (args, word) in [
        (["wordcount", "--separator", ","], "keys of its own"),
        (["sort", "--separator", ","], "keys of its own"),
        (["distinct", "--separator", ","], "keys of its own"),
        (["sum", "--whole-line", "-q"], "looks behind the key"),
        (["top", "--whole-line", "-q"], "looks behind the key"),
    ] {
        let refused = desk.run(&[&["mapreduce"], &args[..], &["left", "out"]].concat());
        assert_eq!(refused.code, Some(2), "{args:?}");
        assert!(refused.stderr.contains(word), "{}", refused.stderr);
    }
}

#[test]
fn what_a_command_combined_in_several_runs_is_not_compared() {
    let desk = Desk::new();
    desk.write("in", pairs().repeat(60));
    let check = |memory: &str, not_comparable: usize| {
        let job = ["--json", "mapreduce", "--map", "cat", "--combine", "cat", "--reduce", "cat", "--reduces", "1"];
        let args = ["--sort-memory", memory, "--split-size", "1G", "--overwrite", "in", "out"];
        let outcome = desk.run(&[&job[..], &args[..]].concat());
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(outcome.text().contains("\"hash\":\""), "{}", outcome.text());
        assert_eq!(outcome.text().matches("\"hash\":\"0000000000000000\"").count(), not_comparable, "{memory}");
    };
    check("1M", 1);
    check("100M", 0);
}
