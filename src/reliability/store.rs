//! The file in which hosts are remembered: JSON, replaced as a whole, by one writer at a time.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use fs_err::File;
use serde::{Deserialize, Serialize};

use super::fold::{Fold, Seen, Verdict};
use super::{Mark, Record};
use crate::clock::Moment;
use crate::error::{Fault, did_you_mean};
use crate::folders::private_folder;

/// The version of the stored form.
const VERSION: u32 = 1;

/// All hosts that are known, by name.
pub type Memory = BTreeMap<String, Record>;

/// Where they are remembered.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    hosts: Memory,
}

impl Store {
    /// That in the folder of a person's state, which need not exist.
    pub fn new(state: &Path) -> Self {
        Store { folder: state.to_owned() }
    }

    /// What is remembered.
    ///
    /// # Errors
    /// When the file cannot be read, or was written by a newer version.
    pub fn read(&self) -> anyhow::Result<Memory> {
        let path = self.path();
        let bytes = match fs_err::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Memory::new()),
            Err(error) => return Err(error.into()),
        };
        let stored: Stored = serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))?;
        if stored.version != VERSION {
            let (path, version) = (path.display(), stored.version);
            bail!(
                "{path} has version {version}, and this program reads version {VERSION}: remove it, or use a newer runner"
            );
        }
        Ok(stored.hosts)
    }

    /// Adds what a run has said; `now` is the same moment on the run's clock as `now_ms` on the calendar.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn add(&self, run: &Fold, now: Moment, now_ms: u64) -> anyhow::Result<()> {
        let calendar = |moment: Moment| {
            let ahead = u64::try_from(moment.since(now).as_millis()).unwrap_or(u64::MAX);
            let behind = u64::try_from(now.since(moment).as_millis()).unwrap_or(u64::MAX);
            now_ms.saturating_add(ahead).saturating_sub(behind)
        };
        self.change(|memory| {
            for (name, seen) in run.hosts() {
                add_to(memory.entry(name.clone()).or_default(), seen, now_ms, &calendar);
            }
            Ok(())
        })
    }

    /// Forgets what speaks against hosts.
    ///
    /// # Errors
    /// A [`Fault`] of kind usage for a host that is not known; others when the file cannot be read or written.
    pub fn forgive(&self, hosts: &[String]) -> anyhow::Result<()> {
        self.change(|memory| {
            for name in hosts {
                let hint = did_you_mean(name, memory.keys().map(String::as_str));
                let unknown = || Fault::usage(format!("no host `{name}` is known{hint}; `runner workers` lists them"));
                memory.get_mut(name).ok_or_else(unknown)?.forgive();
            }
            Ok(())
        })
    }

    fn change(&self, change: impl FnOnce(&mut Memory) -> anyhow::Result<()>) -> anyhow::Result<()> {
        private_folder(&self.folder)?;
        let lock = File::create(self.folder.join("hosts.lock"))?;
        lock.file().lock().context("locking hosts.lock")?;
        let mut hosts = self.read()?;
        change(&mut hosts)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(&serde_json::to_vec_pretty(&Stored { version: VERSION, hosts })?)?;
        file.as_file().sync_all()?;
        file.persist(self.path())?;
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.folder.join("hosts.json")
    }
}

fn add_to(record: &mut Record, seen: &Seen, now_ms: u64, calendar: &impl Fn(Moment) -> u64) {
    let Seen { record: run, verdict } = seen;
    let mark = match verdict {
        Verdict::Unchanged => record.mark.take(),
        Verdict::Cleared => None,
        Verdict::Marked { kind, since, until, evidence } => Some(Mark {
            kind: *kind,
            since_ms: calendar(*since),
            until_ms: calendar(*until),
            evidence: evidence.clone(),
        }),
    };
    *record = Record {
        // A driver that goes on hears no more of those that its forerunner had.
        slots: if run.slots > 0 { run.slots } else { record.slots },
        done: record.done + run.done,
        failed: record.failed + run.failed,
        faults: record.faults + run.faults,
        lost: record.lost + run.lost,
        copied: record.copied + run.copied,
        outpaced: record.outpaced + run.outpaced,
        seen_ms: now_ms,
        mark: mark.filter(|mark| mark.until_ms > now_ms),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reliability::MarkKind;
    use crate::report::script::{facts, ms};

    fn fold(script: &str) -> Fold {
        let mut fold = Fold::default();
        facts(script).iter().for_each(|fact| fold.observe(fact));
        fold
    }

    const RUN: &str = "plan 1 1 / 0
        join 0 a 4
        join 1 b 2
        1000 finish map-0.0 0 1
        fail map-1.0 1 1 3
        copy map-1.2 0 map-1.1 1 left 9000 1000
        2000 mark 1 50 602 map-1.1 40000 3000
        lose 1 gone
        3000 end done";

    #[test]
    fn runs_add_up_and_marks_have_an_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(&folder.path().join("state"));
        assert_eq!(store.read().expect("nothing is there"), Memory::new());
        for _ in 0..2 {
            store.add(&fold(RUN), ms(3000), 1_003_000).expect("is written");
        }
        let memory = store.read().expect("is there");
        let a = Record { slots: 4, done: 2, seen_ms: 1_003_000, ..Record::default() };
        let mark = Mark {
            kind: MarkKind::Slow { share_percent: 50 },
            since_ms: 1_002_000,
            until_ms: 1_602_000,
            evidence: "map-1 of wordcount-7k2m9q worked there for 40.0s without an end, and took 3.0s elsewhere".into(),
        };
        let b = Record {
            slots: 2,
            failed: 2,
            lost: 2,
            copied: 2,
            outpaced: 2,
            seen_ms: 1_003_000,
            mark: Some(mark),
            ..Record::default()
        };
        assert_eq!(memory, Memory::from([("a".to_owned(), a), ("b".to_owned(), b.clone())]));
        assert!(b.mark_at(1_601_999).is_some() && b.mark_at(1_602_000).is_none());
    }

    #[test]
    fn a_mark_goes_by_proof_by_time_and_by_grace() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path());
        let mark = |store: &Store| store.read().expect("reads")["b"].mark.clone();
        let marked = || store.add(&fold(RUN), ms(3000), 1_003_000).expect("is written");
        let later = |script: &str, now_ms: u64| store.add(&fold(script), ms(9), now_ms).expect("is written");
        marked();
        later("plan 1 / 0\n join 0 b 2\n finish map-0.0 0 1", 1_100_000);
        assert!(mark(&store).is_some(), "nothing has shown that it is gone");
        later("plan 1 / 0\n join 0 b 2\n clear 0", 1_100_000);
        assert_eq!(mark(&store), None);
        marked();
        later("plan 1 / 0\n join 0 b 2", 1_602_000);
        assert_eq!(mark(&store), None);
        marked();
        store.forgive(&["b".to_owned()]).expect("is known");
        let b = &store.read().expect("reads")["b"];
        assert_eq!((b.mark.clone(), b.lost, b.done, b.slots), (None, 0, 1, 2));
        let error = store.forgive(&["bb".to_owned()]).expect_err("is not known").to_string();
        assert_eq!(error, "no host `bb` is known (did you mean `b`?); `runner workers` lists them");
    }

    #[test]
    fn what_a_killed_driver_has_seen_is_kept_by_the_next_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path());
        let mut next = Fold::default();
        // The first told of its end, and kept what it had seen; the second was killed.
        let closed = "plan 3 / 0\n join 0 a 2\n finish map-0.0 0 1\n end interrupted\n";
        next.take_over(&facts(&format!("{closed} finish map-1.0 0 1\n bar 0 3 600")));
        store.add(&next, ms(9), 1000).expect("is written");
        let a = Record { done: 1, seen_ms: 1000, ..Record::default() };
        assert_eq!(store.read().expect("reads"), Memory::from([("a".to_owned(), a)]));
    }

    #[test]
    fn a_newer_file_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        fs_err::write(folder.path().join("hosts.json"), r#"{"version": 2, "hosts": {}}"#).expect("writes");
        let store = Store::new(folder.path());
        assert!(store.read().expect_err("is refused").to_string().contains("has version 2"));
        assert!(store.add(&Fold::default(), ms(0), 0).is_err());
    }
}
