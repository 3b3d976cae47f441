//! Input of every kind: odd bytes, odd names, very many files, very long lines.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::common::{Desk, whole};

/// What must come out of input that a job only passes on: a newline at the end of each file.
fn passed_on(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.last().is_some_and(|last| *last != b'\n') {
        bytes.push(b'\n');
    }
    bytes
}

fn sorted(bytes: &[u8]) -> Vec<u8> {
    let bytes = passed_on(bytes);
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    lines.sort_by_key(|line| &line[..line.len() - 1]);
    lines.concat()
}

fn check_unaltered(bytes: &[u8]) {
    let desk = Desk::new();
    desk.write("in", bytes);
    assert_eq!(whole(&desk.job(&["--map", "cat", "--reduces", "0", "in"])), passed_on(bytes));
    assert_eq!(whole(&desk.job(&["--map", "cat", "--whole-line", "--reduce", "cat", "in"])), sorted(bytes));
    assert_eq!(whole(&desk.job(&["sort", "in"])), sorted(bytes));
    assert_eq!(whole(&desk.job(&["grep", "--pattern", "", "in"])), passed_on(bytes));
}

#[test]
fn any_bytes_pass_unaltered() {
    check_unaltered(b"");
    check_unaltered(b"\n");
    check_unaltered(b"no newline at the end");
    check_unaltered(b"\r\n carriage\r\n\r returns\r\n\n");
    check_unaltered(b"nul\0\0\n\0\n\ttab first\n\t\t\na\t\tb\t\n");
    check_unaltered(b"\xff\xfe no \x80 text\n\xc3\n\xf0\x9f\n");
    check_unaltered(b"$(touch pwned) `touch pwned` ; 'quotes' \"double\" \\back\n-n\n--\n");
}

#[test]
fn empty_input_gives_empty_parts() {
    let desk = Desk::new();
    desk.write("empty/file", "");
    fs_err::create_dir(desk.path("nothing")).expect("a folder");
    for input in ["empty", "empty/file", "nothing"] {
        let parts = desk.job(&["wordcount", "--reduces", "2", input]);
        assert_eq!((parts.len(), whole(&parts).len()), (2, 0), "{input}");
        assert_eq!(desk.job(&["grep", "--pattern", "x", input]).len(), 0, "{input}");
        // A program is not run for a part without records.
        assert_eq!(whole(&desk.job(&["--map", "cat", "--reduce", "wc -l", input])), b"", "{input}");
    }
}

#[test]
fn any_file_name_will_do() {
    let desk = Desk::new();
    let names: [&[u8]; 9] = [
        b"with space",
        b"'single'",
        b"\"double\"",
        b"new\nline",
        b"-leading",
        b"$(touch pwned)",
        b"`touch pwned`",
        b"*?[x]",
        b"\xff\xfe",
    ];
    names.iter().for_each(|name| desk.write(std::path::Path::new("in").join(OsStr::from_bytes(name)), "word\n"));
    assert_eq!(whole(&desk.job(&["wordcount", "in"])), b"word\t9\n");
    let map = "cat > /dev/null; test -f \"$mapreduce_map_input_file\" && echo found";
    assert_eq!(whole(&desk.job(&["--map", map, "--reduces", "0", "in"])), b"found\n".repeat(9));
    assert_eq!(whole(&desk.job(&["wordcount", "in/*?[[]x]"])), b"word\t1\n");
    assert_eq!(whole(&desk.job(&["wordcount", "in/$(touch pwned)", "in/with space"])), b"word\t2\n");
    assert_eq!(desk.names(), ["in", "workers.txt"]);
}

#[test]
fn hidden_files_are_no_input() {
    let desk = Desk::new();
    ["in/a", "in/_b", "in/.c", "in/_d/e"].iter().for_each(|name| desk.write(name, "word\n"));
    assert_eq!(whole(&desk.job(&["wordcount", "in"])), b"word\t1\n");
}

#[test]
fn compressed_input_is_read() {
    use std::io::Write;
    let desk = Desk::new();
    let text = "a b\nb c\n".repeat(5000);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).expect("writes");
    desk.write("in/a.gz", gzip.finish().expect("ends"));
    desk.write("in/b.zst", zstd::encode_all(text.as_bytes(), 1).expect("compresses"));
    assert_eq!(whole(&desk.job(&["wordcount", "--split-size", "1K", "in"])), b"a\t10000\nb\t20000\nc\t10000\n");
}

#[test]
fn a_line_may_be_longer_than_the_memory_for_sorting() {
    let desk = Desk::new();
    let long = vec![b'x'; 40 << 20];
    desk.write("in", [b"z\n", &long[..], b"\na\n"].concat());
    let expected = [b"a\n", &long[..], b"\nz\n"].concat();
    let args = ["--sort-memory", "1M", "--split-size", "8M", "--reduces", "1", "in"];
    assert!(whole(&desk.job(&[&["sort"], &args[..]].concat())) == expected);
    assert!(whole(&desk.job(&[&["--map", "cat"], &args[..]].concat())) == expected);
}

#[test]
fn twenty_thousand_tiny_files() {
    let desk = Desk::new();
    (0..20_000).for_each(|index| desk.write(format!("in/{}/{index}", index % 20), format!("w{}\n", index % 2)));
    assert_eq!(whole(&desk.job(&["wordcount", "in"])), b"w0\t10000\nw1\t10000\n");
    let together = ["--map", "cat", "--reduce", "uniq -c", "--combine-files", "in"];
    assert_eq!(whole(&desk.job(&together)), b"  10000 w0\n  10000 w1\n");
}

#[test]
fn many_small_files_bring_a_hint() {
    let desk = Desk::new();
    (0..1100).for_each(|index| desk.write(format!("in/{index}"), ""));
    let outcome = desk.run(&["mapreduce", "--map", "cat", "in", "out"]);
    assert!(outcome.stderr.contains("--combine-files gives several to a task"), "{}", outcome.stderr);
}
