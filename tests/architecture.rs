//! The rules of the house that a compiler does not check: who may know whom, that files say what they are for, and that
//! none grows beyond reading.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The ranks, from the bottom. Imports point downwards; within a row only to the left; rows that share a rank do not
/// know each other, except that all may stand on rows of lower ranks.
const RANKS: &[(u32, &[&str])] = &[
    (0, &["ids", "units", "clock", "error", "folders", "pipes"]),
    (1, &["shuffle", "dataset", "input", "job", "facts", "protocol"]),
    (2, &["scheduler"]),
    (2, &["journal", "report", "progress", "reliability"]),
    (2, &["worker"]),
    (2, &["fleet"]),
    (3, &["transport"]),
    (4, &["datasets", "cloud", "batch", "driver"]),
    (5, &["settings", "cli"]),
];

/// What a module must not know although it stands lower.
const STRANGERS: &[(&str, &[&str])] = &[
    ("scheduler", &["protocol", "transport", "journal"]),
    ("transport", &["scheduler"]),
    ("worker", &["scheduler", "driver", "fleet"]),
];

/// Lines of one source file, tests included.
const LINES_MAX: usize = 450;

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("src"), PathBuf::from("tests"), PathBuf::from("benches")];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs_err::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs_err::read_to_string(&path).expect("sources are text");
                found.push((path, text));
            }
        }
    }
    found.sort();
    assert!(found.len() > 50, "run from the package's folder");
    found
}

/// The top-level module that a file of `src` belongs to; none for lib and main.
fn module(path: &Path) -> Option<String> {
    let inside = path.strip_prefix("src").ok()?;
    let first = inside.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (!["lib", "main"].contains(&name)).then(|| name.to_owned())
}

/// The top-level modules that a text names, as `crate::name` or in a `crate::{…}` list.
fn imports(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let list = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(list, _)| list.split(','));
        let word = |text: &str| text.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned);
        match list {
            Some(items) => names.extend(items.filter_map(word)),
            None => names.extend(word(rest)),
        }
    }
    names
}

fn places() -> BTreeMap<&'static str, (u32, usize, usize)> {
    let mut places = BTreeMap::new();
    for (row, (rank, names)) in RANKS.iter().enumerate() {
        for (column, name) in names.iter().enumerate() {
            places.insert(*name, (*rank, row, column));
        }
    }
    places
}

#[test]
fn imports_point_downwards() {
    let places = places();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let Some(name) = module(&path) else { continue };
        let Some(&(rank, row, column)) = places.get(name.as_str()) else {
            wrong.push(format!("{}: module {name} has no rank", path.display()));
            continue;
        };
        let strangers = STRANGERS.iter().find(|(module, _)| *module == name).map_or(&[][..], |(_, names)| names);
        for import in imports(&text).into_iter().filter(|import| *import != name) {
            let allowed = match places.get(import.as_str()) {
                Some(&(other, _, _)) if other < rank => !strangers.contains(&import.as_str()),
                Some(&(other, other_row, other_column)) => other == rank && other_row == row && other_column < column,
                None => false,
            };
            if !allowed {
                wrong.push(format!("{}: {name} must not know {import}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_is_complete() {
    let lib = fs_err::read_to_string("src/lib.rs").expect("is there");
    let declared: Vec<_> = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let places = places();
    assert!(declared.len() > 10, "{declared:?}");
    for name in declared {
        assert!(places.contains_key(name), "{name} has no rank");
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> =
        sources().into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path).collect();
    assert!(silent.is_empty(), "without `//!` at the top: {silent:?}");
}

#[test]
fn no_file_outgrows_a_reader() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .collect();
    assert!(long.is_empty(), "split by state, by event or by output: {long:?}");
}

#[test]
fn the_world_has_one_home_each() {
    // What is asked for, and the only files that may.
    let homes: &[(&str, &[&str])] = &[
        ("Instant::now(", &["src/clock.rs"]),
        ("SystemTime::now(", &["src/clock.rs"]),
        ("Timestamp::now(", &["src/clock.rs"]),
        ("env::var", &["src/settings/environment.rs"]),
        ("todo!(", &[]),
        ("unimplemented!(", &[]),
        ("dbg!(", &[]),
        ("#[ignore", &[]),
    ];
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        if path == Path::new("tests/architecture.rs") {
            continue;
        }
        for (call, allowed) in homes {
            let tests_too = matches!(*call, "todo!(" | "unimplemented!(" | "dbg!(" | "#[ignore");
            let applies = tests_too || path.starts_with("src");
            let home = allowed.iter().any(|home| path == Path::new(home));
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            if applies && !home && code.contains(call) {
                wrong.push(format!("{}: {call} belongs elsewhere", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
