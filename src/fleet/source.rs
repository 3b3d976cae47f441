//! What was said about workers, and which source of hosts it means.
//!
//! The environment and the settings are passed in as values; the only question asked of the machine is whether a file is
//! there.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::HostSpec;
use super::ranges::split_list;
use super::workers_file::parse_file;
use crate::error::Fault;

/// The file that is looked for when nothing was said.
const DEFAULT_FILE: &str = "workers.txt";

/// A place that hosts come from, not yet asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// This machine alone.
    ThisMachine,
    /// A file of hosts, a line each.
    File(PathBuf),
    /// Hosts with commas between them.
    List(String),
    /// Instances on EC2: what was written behind `ec2:`.
    Ec2(String),
}

/// Whether `--local` was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LocalChoice {
    /// It was not.
    #[default]
    NotAsked,
    /// It was: this machine, whatever else is said.
    Forced,
}

impl Source {
    /// What a text in the place of `--workers` means. `ec2:` and what follows is EC2; a file that is there is a file;
    /// so is what holds a `/` other than that of `4/host`, and one word that ends in `.txt`, so that a missing file is
    /// named as one; all else is a list. Relative paths start at `folder`, an empty one being the process's own.
    ///
    /// # Errors
    /// A [`Fault`] of kind usage where there is nothing but white space.
    pub fn parse(text: &str, folder: &Path) -> Result<Source, Fault> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Fault::usage("--workers: a file or a list host1,host2 is expected, and nothing was given"));
        }
        if let Some(selection) = text.strip_prefix("ec2:") {
            return Ok(Source::Ec2(selection.to_owned()));
        }
        let path = folder.join(text);
        let is_file = path.exists() && !path.is_dir();
        if is_file || split_list(text).any(looks_like_path) || (text.ends_with(".txt") && !text.contains(',')) {
            return Ok(Source::File(path));
        }
        Ok(Source::List(text.to_owned()))
    }
}

/// The source that holds: `--local`, else `--workers`, else `standing` (`$RUNNER_WORKERS` or the setting `workers`), else
/// `workers.txt` in `folder` (an empty path is the process's own) if it is there, else this machine.
///
/// # Errors
/// As [`Source::parse`].
pub fn choose(flag: Option<&str>, local: LocalChoice, standing: Option<&str>, folder: &Path) -> Result<Source, Fault> {
    match local {
        LocalChoice::Forced => return Ok(Source::ThisMachine),
        LocalChoice::NotAsked => {}
    }
    // An empty variable counts as none, as nearly everywhere; an empty flag is a slip.
    if let Some(text) = flag.or(standing.filter(|text| !text.trim().is_empty())) {
        return Source::parse(text, folder);
    }
    let default = folder.join(DEFAULT_FILE);
    Ok(if default.exists() { Source::File(default) } else { Source::ThisMachine })
}

/// The hosts of a file.
pub(super) fn read(path: &Path) -> Result<Vec<HostSpec>, Fault> {
    let shown = path.display().to_string();
    let bytes = fs_err::read(path).map_err(|error| {
        Fault::usage(match error.kind() {
            std::io::ErrorKind::NotFound => {
                format!("no such file of workers: {shown} (hosts without a file are written host1,host2)")
            }
            _ => format!("{error:#}"),
        })
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        Fault::usage(format!("{shown}:{line}: no UTF-8 text: a list of hosts is expected"))
    })?;
    parse_file(&text, &shown)
}

/// Whether an item of a list can only be meant as a path: a `/` in a word that is no option, but for the one of `4/host`.
fn looks_like_path(item: &str) -> bool {
    item.split_whitespace().filter(|word| !word.contains('=')).any(|word| match word.split_once('/') {
        Some((number, rest)) => {
            number.is_empty() || number.contains(|c: char| !c.is_ascii_digit()) || rest.contains('/')
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Fleet;
    use super::*;

    #[test]
    fn files_are_told_from_lists() {
        let folder = tempfile::tempdir().expect("a folder");
        let here = folder.path();
        fs_err::write(here.join("hosts"), "node1\n").expect("writes");
        fs_err::create_dir(here.join("node1")).expect("a folder that is named like a host");
        let file = |text: &str| assert_eq!(Source::parse(text, here), Ok(Source::File(here.join(text))), "{text}");
        let list = |text: &str| assert_eq!(Source::parse(text, here), Ok(Source::List(text.into())), "{text}");
        file("hosts");
        file("workers.txt");
        file("./hosts");
        file("fleet/prod");
        file("/etc/workers");
        file("4/a/b");
        file("my fleet/hosts");
        list("node1");
        list("node1,node2");
        list("4/node1");
        list("4/node1,8/node2");
        list("node1 scratch=/big/disk,node2");
        list("n[1,2],a.txt");
        list(":");
        assert_eq!(Source::parse("ec2:tag:a=b", here), Ok(Source::Ec2("tag:a=b".into())));
        assert!(Source::parse("  ", here).is_err());
    }

    #[test]
    fn the_strongest_word_holds() {
        let (empty, full) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        fs_err::write(full.path().join("workers.txt"), "node1\n").expect("writes");
        let list = |text: &str| Source::List(text.into());
        let check = |flag, local, standing, folder: &tempfile::TempDir, source: Source| {
            assert_eq!(choose(flag, local, standing, folder.path()), Ok(source), "{flag:?} {local:?} {standing:?}");
        };
        use LocalChoice::{Forced, NotAsked};
        check(None, NotAsked, None, &empty, Source::ThisMachine);
        check(None, NotAsked, None, &full, Source::File(full.path().join("workers.txt")));
        check(None, NotAsked, Some("b"), &full, list("b"));
        check(None, NotAsked, Some(""), &empty, Source::ThisMachine);
        check(Some("a"), NotAsked, Some("b"), &full, list("a"));
        check(Some("a"), Forced, Some("b"), &full, Source::ThisMachine);
        assert!(choose(Some(""), NotAsked, Some("b"), full.path()).is_err());
    }

    #[test]
    fn files_that_hold_no_fleet_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("workers.txt");
        let check = |bytes: Option<&[u8]>, part: &str| {
            if let Some(bytes) = bytes {
                fs_err::write(&path, bytes).expect("writes");
            }
            let fault = Fleet::resolve(&Source::File(path.clone())).expect_err(part);
            assert_eq!(fault.kind, crate::error::Kind::Usage);
            assert!(fault.text.contains(part) && fault.text.contains("workers.txt"), "{fault}");
        };
        check(None, "no such file of workers");
        check(Some(b""), "no host in it");
        check(Some(b"# none\n"), "no host in it");
        check(Some(b"node1\nn\xffde\n"), "workers.txt:2: no UTF-8 text");
        check(Some(b"node1\nnode2 slots=x\n"), "workers.txt:2: ");
    }

    #[test]
    fn a_file_becomes_a_fleet() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("workers.txt");
        fs_err::write(&path, "node[1-2]\n:\n").expect("writes");
        let fleet = Fleet::resolve(&Source::File(path)).expect("a fleet");
        assert_eq!(fleet.names(), ["node1", "node2", "local"]);
        // The settings have a say in it.
        assert_eq!(fleet.hosts[2].slots, None);
    }
}
