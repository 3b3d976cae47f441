//! The copy of a job that a worker keeps for another driver: written as pieces come, read by `runner worker kept`.

use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::folders::private_folder;
use crate::ids::{JobId, WorkerId};
use crate::protocol::copy::{FoundWorker, JobCopy, KeptFile};
use crate::protocol::{MARKER, frames};

/// The folder of the copy in that of the worker.
const FOLDER: &str = "kept";

/// Writes a piece.
///
/// # Errors
/// Those of the file system.
pub fn write(worker: &Path, file: KeptFile, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let folder = worker.join(FOLDER);
    private_folder(&folder)?;
    let file = fs_err::OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(file.name()))?;
    file.file().write_all_at(bytes, offset)
}

/// The workers of a job whose folders lie below `scratch`.
pub fn find(scratch: &Path, job: &JobId) -> Vec<FoundWorker> {
    let before = format!("{job}-w");
    let entries = fs_err::read_dir(scratch.join("jobs")).into_iter().flatten().flatten();
    let found = entries.filter_map(|entry| {
        let name = entry.file_name();
        let worker = WorkerId(name.to_str()?.strip_prefix(&before)?.parse().ok()?);
        let journal = fs_err::metadata(entry.path().join(FOLDER).join(KeptFile::Journal.name()));
        Some(FoundWorker { worker, journal_bytes: journal.map_or(0, |journal| journal.len()) })
    });
    found.collect()
}

/// What a worker has of a job.
///
/// # Errors
/// When a file is not there or cannot be read.
pub fn read(scratch: &Path, job: &JobId, worker: WorkerId) -> io::Result<JobCopy> {
    let folder: PathBuf = scratch.join("jobs").join(format!("{job}-{worker}")).join(FOLDER);
    let read = |file: KeptFile| fs_err::read(folder.join(file.name()));
    Ok(JobCopy { job: read(KeptFile::Job)?, splits: read(KeptFile::Splits)?, journal: read(KeptFile::Journal)? })
}

/// Prints the workers that are found, or what one of them has, for a driver to read.
///
/// # Errors
/// As [`read`], and those of stdout.
pub fn print(scratch: &Path, job: &JobId, of: Option<WorkerId>) -> io::Result<()> {
    let bytes = match of {
        Some(worker) => frames::encode(&read(scratch, job, worker)?)?,
        None => frames::encode(&find(scratch, job))?,
    };
    let mut stdout = io::stdout();
    stdout.write_all(MARKER)?;
    stdout.write_all(&bytes)?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_a_copy_that_is_found() {
        let scratch = tempfile::tempdir().expect("a folder");
        let job: JobId = "job-000001".parse().expect("an id");
        let folder = |worker: u32| scratch.path().join("jobs").join(format!("job-000001-w{worker}"));
        for (file, pieces) in
            [(KeptFile::Job, ["{", "}"]), (KeptFile::Splits, ["a", "b"]), (KeptFile::Journal, ["12", "34"])]
        {
            let mut offset = 0;
            for piece in pieces {
                write(&folder(3), file, offset, piece.as_bytes()).expect("writes");
                offset += piece.len() as u64;
            }
            // A piece that comes twice changes nothing.
            write(&folder(3), file, 0, pieces[0].as_bytes()).expect("writes");
        }
        private_folder(&folder(12)).expect("is made");
        private_folder(&scratch.path().join("jobs/job-000002-w1")).expect("is made");
        let mut found = find(scratch.path(), &job);
        found.sort_by_key(|found| found.worker);
        let expected =
            [(3, 4), (12, 0)].map(|(worker, journal_bytes)| FoundWorker { worker: WorkerId(worker), journal_bytes });
        assert_eq!(found, expected);
        let copy = read(scratch.path(), &job, WorkerId(3)).expect("reads");
        assert_eq!((&copy.job[..], &copy.splits[..], &copy.journal[..]), (&b"{}"[..], &b"ab"[..], &b"1234"[..]));
        assert!(read(scratch.path(), &job, WorkerId(12)).is_err());
    }
}
