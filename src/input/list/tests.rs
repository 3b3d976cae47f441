//! What is listed, by cases: a tree, what was typed, the files in order.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;

use fs_err::os::unix::fs::symlink;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::*;

/// A folder with these empty files in it, and the folders that they need; `a -> b` is a link.
fn tree(names: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder for the test");
    for name in names {
        let (name, target) = name.split_once(" -> ").map_or((*name, None), |(name, target)| (name, Some(target)));
        let path = folder.path().join(name);
        fs_err::create_dir_all(path.parent().expect("within the folder")).expect("folders can be made");
        match target {
            Some(target) => symlink(target, &path).expect("links can be made"),
            None => fs_err::write(&path, b"").expect("files can be written"),
        }
    }
    folder
}

/// What is listed, relative to the folder in which it was typed; or the fault, with the folder's name left out.
fn listed(folder: &TempDir, typed: &[&str]) -> Result<Vec<PathBuf>, (Kind, String)> {
    let root = folder.path().to_str().expect("a plain name");
    let typed: Vec<_> = typed.iter().map(|word| format!("{root}/{word}")).collect();
    match list(&typed) {
        Ok(files) => Ok(files
            .into_iter()
            .map(|file| file.path.strip_prefix(root).expect("beneath the folder").to_owned())
            .collect()),
        Err(fault) => Err((fault.kind, fault.text.replace(&format!("{root}/"), ""))),
    }
}

#[track_caller]
fn check(names: &[&str], typed: &[&str], expected: &[&str]) {
    let files = listed(&tree(names), typed).expect("everything is there");
    assert_eq!(files, expected.iter().map(PathBuf::from).collect::<Vec<_>>());
}

#[track_caller]
fn check_fault(names: &[&str], typed: &str, kind: Kind, text: &str) {
    let fault = listed(&tree(names), &[typed]).expect_err("something is wrong");
    assert_eq!(fault.0, kind, "{}", fault.1);
    assert!(fault.1.contains(text), "{}", fault.1);
}

#[test]
fn what_is_typed_comes_in_that_order() {
    check(&["b", "a"], &["b", "a", "b"], &["b", "a", "b"]);
    check(&["in/x"], &["in/../in/x"], &["in/../in/x"]);
    check(&[], &[], &[]);
}

#[test]
fn folders_are_walked_in_bytewise_order() {
    check(&["in/b", "in/B", "in/a/z", "in/a.txt", "in/ä"], &["in"], &["in/B", "in/a/z", "in/a.txt", "in/b", "in/ä"]);
    check(&["in/a"], &["in/"], &["in/a"]);
    check(&["in/_SUCCESS"], &["in"], &[]);
}

#[test]
fn hidden_names_are_skipped_unless_named() {
    let names = ["in/_a", "in/.b", "in/c", "in/_d/e", "in/f/.g/h"];
    check(&names, &["in"], &["in/c"]);
    check(&names, &["in/*"], &["in/c"]);
    check(&names, &["in/**/*"], &["in/c"]);
    check(&names, &["in/_a", "in/_d", "in/f/.g"], &["in/_a", "in/_d/e", "in/f/.g/h"]);
    check(&names, &["in/_*"], &["in/_a", "in/_d/e"]);
    check(&names, &["in/.*"], &["in/.b"]);
    check(&names, &["in/_d/*"], &["in/_d/e"]);
}

#[test]
fn any_name_that_exists_is_taken_literally() {
    for name in ["a b", "*", "a*", "[x]", "a[1-3", "'\"", "a\nb", "-x", "$(id)", "?", "**", "\\", "~"] {
        check(&[name, "a1", "x"], &[name], &[name]);
    }
    let folder = tree(&["in/a"]);
    let odd = Path::new("in").join(OsStr::from_bytes(b"\xff\n*.gz"));
    fs_err::write(folder.path().join(&odd), b"").expect("any name can be written");
    assert_eq!(listed(&folder, &["in"]).expect("listed"), [Path::new("in/a"), &odd]);
    assert_eq!(listed(&folder, &["in/*.gz"]).expect("listed"), [odd]);
}

#[test]
fn patterns_match_component_by_component() {
    let names = ["in/a1", "in/a2", "in/b1", "in/d/a1", "in/d/e/a1", "[in]/a1"];
    check(&names, &["in/a*"], &["in/a1", "in/a2"]);
    check(&names, &["in/?1"], &["in/a1", "in/b1"]);
    check(&names, &["in/[!a]*"], &["in/b1", "in/d/a1", "in/d/e/a1"]);
    check(&names, &["*/a1"], &["[in]/a1", "in/a1"]);
    check(&names, &["in/*/a1"], &["in/d/a1"]);
    check(&names, &["in/**/a1"], &["in/a1", "in/d/a1", "in/d/e/a1"]);
    check(&names, &["in/d/**"], &["in/d/a1", "in/d/e/a1"]);
    check(&names, &["**/**/e/*"], &["in/d/e/a1"]);
    check(&names, &["in/**/*"], &["in/a1", "in/a2", "in/b1", "in/d/a1", "in/d/e/a1"]);
    check(&names, &["[[]in]/*"], &["[in]/a1"]);
    check(&names, &["[in]/*"], &["[in]/a1"]);
    check(&["in[1/a", "in[1/b"], &["in[1/a*"], &["in[1/a"]);
    check(&names, &["in/d/../a*"], &["in/d/../a1", "in/d/../a2"]);
}

#[test]
fn links_are_followed_but_not_in_circles() {
    check(&["a", "in/link -> ../a"], &["in"], &["in/link"]);
    check(&["d/x", "in/link -> ../d"], &["in"], &["in/link/x"]);
    check(&["in/d/x", "in/d/up -> ..", "in/self -> ."], &["in"], &["in/d/x"]);
    check(&["in/d/x", "in/d/up -> .."], &["in/**/x"], &["in/d/x"]);
    check_fault(&["in/link -> gone"], "in", Kind::InputMissing, "in/link");
    check_fault(&["link -> link"], "link", Kind::InputMissing, "Too many levels of symbolic links");
}

#[test]
fn what_is_not_there_is_named() {
    check_fault(&[], "in/none", Kind::InputMissing, "no such file or folder: `in/none`");
    check_fault(&["a"], "a/b", Kind::InputMissing, "no such file or folder: `a/b`");
    check_fault(&["in/a"], "in/b*", Kind::InputMissing, "the pattern `in/b*` matches nothing");
    check_fault(&["in/a"], "in/*/a", Kind::InputMissing, "the pattern `in/*/a` matches nothing");
    check_fault(&["in/a"], "no/**", Kind::InputMissing, "the pattern `no/**` matches nothing");
    check_fault(&["in/a"], "in/[x", Kind::InputMissing, "no such file or folder: `in/[x`");
    assert_eq!(list(&[String::new()]).expect_err("nothing is named so").kind, Kind::InputMissing);
}

#[test]
fn only_files_and_folders_can_be_read() {
    let folder = tree(&["in/a"]);
    let _socket = UnixListener::bind(folder.path().join("in/socket")).expect("a socket can be made");
    mknodat(CWD, folder.path().join("in/pipe"), FileType::Fifo, Mode::RUSR, 0).expect("a pipe can be made");
    assert_eq!(listed(&folder, &["in", "in/*"]).expect("listed"), [Path::new("in/a"), Path::new("in/a")]);
    for (typed, what) in [("in/socket", "is a socket"), ("in/pipe", "is a pipe")] {
        let (kind, text) = listed(&folder, &[typed]).expect_err("no file");
        assert!(kind == Kind::Usage && text.contains(what) && text.contains(typed), "{text}");
    }
    let fault = |word: &str| list(&[word.to_owned()]).expect_err("no file");
    assert!(fault("/dev/null").text.starts_with("`/dev/null` is a device"));
    assert!(fault("-").text.contains("stdin"));
}

#[test]
fn sizes_and_codecs_are_told() {
    let folder = tree(&["a.gz"]);
    fs_err::write(folder.path().join("b"), b"12345").expect("a file can be written");
    let files = list(&[folder.path().to_str().expect("a plain name").to_owned()]).expect("listed");
    let told: Vec<_> = files.iter().map(|file| (file.bytes, file.codec)).collect();
    assert_eq!(told, [(0, Codec::Gzip), (5, Codec::Plain)]);
}
