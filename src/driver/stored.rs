//! What is kept of a job so that another driver can go on with it: the job as resolved, on what, by whom, by which rules.
//!
//! `job.json` holds it for people too; the splits, which can be a hundred thousand, lie beside it in a line each. Beside
//! them lies the program itself, so that a job is gone on with by the build that began it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::fs::{AtFlags, CWD, linkat};
use serde::{Deserialize, Serialize};

use super::peers::Shuffle;
use super::shared::Timing;
use crate::fleet::{Fleet, HostSpec, Source};
use crate::ids::WorkerId;
use crate::input::Split;
use crate::job::{Job, Output};
use crate::scheduler::Rules;
use crate::shuffle::policy::CompressionPolicy;

/// The version of the stored form.
const VERSION: u16 = 1;

/// A job as it is kept in its folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredJob {
    /// The version of this form.
    pub version: u16,
    /// The build that began it; only the same one can talk to its workers.
    pub build: String,
    /// What is run.
    pub job: Job,
    /// Where the result goes.
    pub output: Output,
    /// How many input files there are.
    pub files: u64,
    /// Where hosts come from.
    pub source: Source,
    /// The hosts that it found.
    pub fleet: Fleet,
    /// Workers that were found elsewhere than their name says, by a driver on another machine.
    #[serde(default)]
    pub places: BTreeMap<WorkerId, HostSpec>,
    /// Hosts that were on the list before; something may be left there.
    #[serde(default)]
    pub former: Vec<HostSpec>,
    /// Slots of a host that does not say; 0 for its cores.
    pub slots: u32,
    /// Whether workers fetch from each other.
    pub shuffle: Shuffle,
    /// When segments are compressed.
    #[serde(default)]
    pub compression: CompressionPolicy,
    /// When things are given up.
    pub rules: Rules,
    /// When silence counts.
    pub timing: Timing,
    /// How often the list of hosts is looked at again.
    pub list_every: Duration,
    /// The configuration for ssh that goes before the user's, absolute.
    pub ssh_config: Option<PathBuf>,
}

/// What [`StoredJob`] begins with, whatever the version.
#[derive(Deserialize)]
struct Head {
    version: u16,
    build: String,
}

impl StoredJob {
    /// The version that this build writes.
    pub const VERSION: u16 = VERSION;

    /// The stored form.
    ///
    /// # Errors
    /// When it has none, as with a path that is no UTF-8.
    pub fn to_json(&self) -> anyhow::Result<Vec<u8>> {
        serde_json::to_vec_pretty(self).context("storing the job")
    }

    /// What is stored.
    ///
    /// # Errors
    /// When it is malformed, or of another version; the text names the build that wrote it.
    pub fn from_json(bytes: &[u8]) -> anyhow::Result<Self> {
        let head: Head = serde_json::from_slice(bytes).context("no stored job")?;
        if head.version != VERSION {
            bail!(
                "the job is stored in version {}, by runner {}; this build reads version {VERSION}",
                head.version,
                head.build
            );
        }
        serde_json::from_slice(bytes).context("a stored job that cannot be read")
    }

    /// The build that wrote a stored job, whatever its version.
    pub fn build_of(bytes: &[u8]) -> Option<String> {
        serde_json::from_slice::<Head>(bytes).ok().map(|head| head.build)
    }
}

/// The stored form of splits: JSON, a line each.
///
/// # Errors
/// None with splits of ours.
pub fn splits_to_lines(splits: &[Split]) -> anyhow::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for split in splits {
        serde_json::to_writer(&mut lines, split)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// The splits that are stored.
///
/// # Errors
/// When a line is no split.
pub fn splits_from_lines(lines: &[u8]) -> anyhow::Result<Vec<Split>> {
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).context("a stored split that cannot be read")).collect()
}

/// Gives the job's folder a copy of the program. All jobs of a build share one, as long as the file system has links.
///
/// # Errors
/// Those of the file system.
pub fn keep_binary(binary: &Path, builds: &Path, build: &str, job: &Path) -> anyhow::Result<()> {
    let (shared, own) = (builds.join(build), job.join("runner"));
    if hard_link(&shared, &own) {
        return Ok(());
    }
    fs_err::create_dir_all(builds)?;
    let fresh = builds.join(format!("{build}.{}", std::process::id()));
    if !hard_link(binary, &fresh) {
        fs_err::copy(binary, &fresh)?;
    }
    fs_err::rename(&fresh, &shared)?;
    if !hard_link(&shared, &own) {
        fs_err::copy(&shared, &own)?;
    }
    Ok(())
}

/// Removes the builds that no job has any more.
///
/// # Errors
/// Those of the file system.
pub fn forget_builds(builds: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt;
    for entry in fs_err::read_dir(builds).into_iter().flatten() {
        let entry = entry?;
        if entry.metadata()?.nlink() == 1 {
            fs_err::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether the same file got another name. `/proc/self/exe`, which names our program even once its file was replaced, is
/// followed.
fn hard_link(file: &Path, name: &Path) -> bool {
    linkat(CWD, file, CWD, name, AtFlags::SYMLINK_FOLLOW).is_ok()
}

/// The files of a stored job in its folder.
pub struct Files {
    /// [`StoredJob`].
    pub job: PathBuf,
    /// [`splits_to_lines`].
    pub splits: PathBuf,
    /// The program.
    pub binary: PathBuf,
}

impl Files {
    /// Those of a job's folder.
    pub fn of(root: &Path) -> Self {
        Files { job: root.join("job.json"), splits: root.join("splits.json"), binary: root.join("runner") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{Codec, Home, Piece};
    use crate::job::{Limits, Step};
    use crate::shuffle::record::KeyRule;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    use std::os::unix::fs::MetadataExt;

    /// A job on this machine.
    fn stored() -> StoredJob {
        let fleet = Fleet::resolve(&Source::ThisMachine).expect("this machine");
        let second = Duration::from_secs(1);
        StoredJob {
            version: VERSION,
            build: "0.1.0-abc".to_owned(),
            job: Job {
                name: "identity".to_owned(),
                map: Step::Identity,
                combine: None,
                reduce: Step::Identity,
                partitioner: None,
                key: KeyRule::Line,
                files: Vec::new(),
                setup: None,
                env: Vec::new(),
                limits: Limits::default(),
            },
            output: Output { folder: "/out".into(), overwrite: false, dataset: None },
            files: 1,
            source: Source::ThisMachine,
            fleet,
            places: BTreeMap::new(),
            former: Vec::new(),
            slots: 2,
            rules: Rules::default(),
            list_every: second,
            timing: Timing { suspect_after: second, lost_after: 6 * second, orphan_grace: 60 * second },
            shuffle: Shuffle::Direct,
            compression: CompressionPolicy::Auto,
            ssh_config: None,
        }
    }

    #[test]
    fn a_job_comes_back_as_it_was_stored() {
        let job = stored();
        let json = job.to_json().expect("is stored");
        assert_eq!(StoredJob::from_json(&json).expect("is read"), job);
        assert_eq!(StoredJob::build_of(&json).as_deref(), Some("0.1.0-abc"));
    }

    #[test]
    fn another_version_is_refused_by_its_number_and_build() {
        let newer = br#"{"version": 7, "build": "9.0.0-f", "shape": "unheard of"}"#;
        let error = StoredJob::from_json(newer).expect_err("is refused").to_string();
        assert!(error.contains("version 7") && error.contains("9.0.0-f"), "{error}");
        assert!(StoredJob::from_json(b"{}").is_err());
    }

    #[test]
    fn splits_come_back_whatever_their_paths_are() {
        let split = |path: &[u8]| {
            let path = OsString::from_vec(path.to_vec()).into();
            Split { source: 0, codec: Codec::Plain, pieces: vec![Piece { path, start: 1, end: 9 }], home: Home::Driver }
        };
        let splits = [split(b"/in/a"), split(b"/in/\xff\n"), split("/in/ü".as_bytes())];
        let lines = splits_to_lines(&splits).expect("are stored");
        assert_eq!(splits_from_lines(&lines).expect("are read"), splits);
        assert!(String::from_utf8(lines).expect("text").contains(r#""/in/ü""#));
    }

    #[test]
    fn jobs_of_a_build_share_its_program_until_the_last_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let (binary, builds) = (folder.path().join("binary"), folder.path().join("builds"));
        fs_err::write(&binary, "program").expect("is written");
        let jobs = ["a", "b"].map(|name| folder.path().join(name));
        for job in &jobs {
            fs_err::create_dir(job).expect("is made");
            keep_binary(&binary, &builds, "1-x", job).expect("is kept");
        }
        fs_err::remove_file(&binary).expect("an upgrade");
        assert_eq!(fs_err::metadata(jobs[0].join("runner")).expect("is there").nlink(), 3);
        forget_builds(&builds).expect("looks");
        assert!(builds.join("1-x").exists());
        jobs.iter().for_each(|job| fs_err::remove_dir_all(job).expect("is removed"));
        forget_builds(&builds).expect("looks");
        assert!(!builds.join("1-x").exists());
    }
}
