//! The journal: the facts of a run, kept on disk.
//!
//! [`Journal`] appends; [`Journal::read`] gives back what was kept. A fact is durable once [`Journal::sync`] has returned, and
//! one sync serves a batch. A torn tail, as a crash or a full disk leaves it, costs the facts behind the tear and
//! nothing else. Nothing here knows what a fact means, and nothing is ever rewritten: the file only grows.
//!
//! Next: `format` has the bytes; `report` and `progress` read the same facts.

mod format;

use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::facts::{Stamped, VERSION};

/// A journal open for appending. At most one driver writes to it.
#[derive(Debug)]
pub struct Journal {
    file: fs::File,
    /// What the disk holds for certain, in bytes: where the next batch begins, also after a write that failed halfway.
    durable: u64,
    /// Whole records that wait for the next sync.
    waiting: Vec<u8>,
}

/// What a journal holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Contents {
    /// The facts, oldest first.
    pub facts: Vec<Stamped>,
    /// Bytes behind the last whole record, which say nothing: a torn tail, or garbage. Usually 0.
    pub torn: u64,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be read or written; the text names it.
    #[error(transparent)]
    File(#[from] io::Error),
    /// Something else has this name.
    #[error("{}: this is no journal of runner", .0.display())]
    Foreign(PathBuf),
    /// Written by another version of the program.
    #[error(
        "{}: the journal has version {version}, and this program reads version {VERSION}: \
         use the binary that is kept in the job's folder",
        path.display()
    )]
    Version {
        /// Which journal.
        path: PathBuf,
        /// The version that it has.
        version: u16,
    },
    /// A whole record, with a good checksum, that is no fact of this version.
    #[error("{}: the record at byte {offset} is no fact of this version: {source}", path.display())]
    Record {
        /// Which journal.
        path: PathBuf,
        /// Where the record begins.
        offset: u64,
        /// What the decoder says.
        source: postcard::Error,
    },
    /// A fact that has no stored form, such as a path that is no UTF-8.
    #[error("a fact cannot be stored: {0}")]
    Fact(postcard::Error),
}

impl Journal {
    /// A new, empty journal, durable with its name.
    ///
    /// # Errors
    /// When the file is there already, or cannot be written.
    pub fn create(path: &Path) -> Result<Self, JournalError> {
        let mut file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        file.write_all(&format::header())?;
        file.sync_all()?;
        sync_folder_of(path)?;
        Ok(Journal { file, durable: format::HEADER_LEN as u64, waiting: Vec::new() })
    }

    /// What the journal at `path` holds, without touching it: also while a driver writes to it.
    ///
    /// # Errors
    /// When the file cannot be read, is no journal, or is of another version. A torn tail is no error.
    pub fn read(path: &Path) -> Result<Contents, JournalError> {
        let bytes = fs::read(path)?;
        parse(path, &bytes).map(|(contents, _)| contents)
    }

    /// Opens a journal to go on with it, and gives what it holds. A torn tail is cut off first.
    ///
    /// # Errors
    /// As [`Journal::read`], and when the file cannot be written.
    pub fn open(path: &Path) -> Result<(Self, Contents), JournalError> {
        let mut file = fs::OpenOptions::new().read(true).write(true).open(path)?;
        let (contents, good) = parse(path, &fs::read(path)?)?;
        file.set_len(good)?;
        if good == 0 {
            // Not even the header survived.
            file.write_all(&format::header())?;
        }
        file.sync_all()?;
        let durable = good.max(format::HEADER_LEN as u64);
        Ok((Journal { file, durable, waiting: Vec::new() }, contents))
    }

    /// Adds a fact to the batch. It is on disk after the next [`Journal::sync`], and lost if none follows.
    ///
    /// # Errors
    /// When the fact has no stored form.
    pub fn append(&mut self, stamped: &Stamped) -> Result<(), JournalError> {
        format::push_record(&mut self.waiting, stamped).map_err(JournalError::Fact)
    }

    /// Makes all appended facts durable; costs nothing when there are none.
    ///
    /// # Errors
    /// When the file cannot be written. The batch is kept, and the next sync writes it again over what was torn.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.file.seek(SeekFrom::Start(self.durable))?;
        self.file.write_all(&self.waiting)?;
        self.file.sync_data()?;
        self.durable += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}

/// The contents, and the length of the file up to the last whole record.
fn parse(path: &Path, bytes: &[u8]) -> Result<(Contents, u64), JournalError> {
    if format::is_torn_header(bytes) {
        return Ok((Contents { facts: Vec::new(), torn: bytes.len() as u64 }, 0));
    }
    match format::version(bytes) {
        None => return Err(JournalError::Foreign(path.to_owned())),
        Some(VERSION) => {}
        Some(version) => return Err(JournalError::Version { path: path.to_owned(), version }),
    }
    let mut facts = Vec::new();
    let mut offset = format::HEADER_LEN;
    while let Some(payload) = format::next_payload(&bytes[offset..]) {
        let fact = postcard::from_bytes(payload).map_err(|source| JournalError::Record {
            path: path.to_owned(),
            offset: offset as u64,
            source,
        })?;
        facts.push(fact);
        offset += format::FRAME_LEN + payload.len();
    }
    let torn = (bytes.len() - offset) as u64;
    Ok((Contents { facts, torn }, offset as u64))
}

/// A new file survives a crash only once the folder that names it does.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::facts::{End, Fact, Plan};
    use crate::ids::{Stage, WorkerId};

    fn facts() -> Vec<Stamped> {
        let lost = Fact::WorkerLost { worker: WorkerId(2), reason: "connection reset".to_owned() };
        [
            Fact::JobPlanned(Plan { name: "wordcount".to_owned(), splits: vec![300, 20], ..Plan::default() }),
            Fact::StageStarted { stage: Stage::Map },
            lost,
            Fact::JobFinished { end: End::Done },
        ]
        .into_iter()
        .zip(1..)
        .map(|(fact, at)| Stamped { at: Moment(at), fact })
        .collect()
    }

    /// A journal of `facts` in a folder of its own, synced.
    fn written(facts: &[Stamped]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let mut journal = Journal::create(&path).expect("created");
        for fact in facts {
            journal.append(fact).expect("appended");
        }
        journal.sync().expect("synced");
        (folder, path)
    }

    #[test]
    fn facts_come_back_in_order() {
        let (_folder, path) = written(&facts());
        assert_eq!(Journal::read(&path).expect("read"), Contents { facts: facts(), torn: 0 });
    }

    #[test]
    fn a_fact_is_on_disk_after_sync_and_not_before() {
        let (_folder, path) = written(&[]);
        let (mut journal, _) = Journal::open(&path).expect("opened");
        journal.append(&facts()[0]).expect("appended");
        assert_eq!(Journal::read(&path).expect("read").facts, []);
        journal.sync().expect("synced");
        assert_eq!(Journal::read(&path).expect("read").facts, facts()[..1]);
    }

    #[test]
    fn cut_at_every_byte_the_whole_records_survive_and_the_journal_goes_on() {
        let (_folder, path) = written(&facts());
        let whole = fs::read(&path).expect("read");
        let (_other, cut_path) = written(&[]);
        let mut lengths_seen = Vec::new();
        for cut in 0..=whole.len() {
            fs::write(&cut_path, &whole[..cut]).expect("cut");
            let seen = Journal::read(&cut_path).expect("a torn tail is no error");
            assert_eq!(seen.facts, facts()[..seen.facts.len()], "cut at {cut}");

            let (mut journal, opened) = Journal::open(&cut_path).expect("opened");
            assert_eq!(opened, seen, "cut at {cut}");
            journal.append(&facts()[3]).expect("appended");
            journal.sync().expect("synced");
            let after = Journal::read(&cut_path).expect("read");
            assert_eq!((after.facts.len(), after.torn), (seen.facts.len() + 1, 0), "cut at {cut}");

            if seen.torn == 0 {
                lengths_seen.push(seen.facts.len());
            }
        }
        // No bytes are torn in an empty file, behind the header, and behind each record: nowhere else.
        assert_eq!(lengths_seen, [0, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn garbage_behind_the_records_is_cut_off() {
        for garbage in [&[0_u8; 40][..], &[0xff; 5], b"\x03\0\0\0notachecksum"] {
            let (_folder, path) = written(&facts());
            let good = fs::read(&path).expect("read");
            fs::write(&path, [&good, garbage].concat()).expect("written");
            assert_eq!(Journal::read(&path).expect("read"), Contents { facts: facts(), torn: garbage.len() as u64 });
            Journal::open(&path).expect("opened");
            assert_eq!(fs::read(&path).expect("read"), good);
        }
    }

    #[test]
    fn a_flipped_bit_ends_the_facts_before_it() {
        let (_folder, path) = written(&facts());
        let mut bytes = fs::read(&path).expect("read");
        *bytes.last_mut().expect("bytes") ^= 1;
        fs::write(&path, &bytes).expect("written");
        let contents = Journal::read(&path).expect("read");
        assert_eq!(contents.facts, facts()[..3]);
        assert!(contents.torn > 0);
    }

    #[test]
    fn other_files_and_versions_are_refused_by_name_and_left_alone() {
        let check = |bytes: &[u8], text: &str| {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("journal");
            fs::write(&path, bytes).expect("written");
            for error in [Journal::read(&path).expect_err("refused"), Journal::open(&path).expect_err("refused")] {
                assert!(error.to_string().contains(text), "{error}");
                assert!(error.to_string().contains("/journal: "), "{error}");
            }
            assert_eq!(fs::read(&path).expect("read"), bytes);
        };
        let mut newer = format::header();
        newer[format::HEADER_LEN - 2] = 99;
        check(&newer, "version 99");
        check(b"hello", "no journal");
        check(b"a text that is longer than a header", "no journal");

        let (_folder, path) = written(&[]);
        assert!(matches!(Journal::create(&path), Err(JournalError::File(_))));
    }
}
