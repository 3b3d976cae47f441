//! The copy of the job that some workers keep, piece by piece as the journal grows.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fs_err::File;

use crate::ids::WorkerId;
use crate::protocol::control::ToWorker;
use crate::protocol::copy::KeptFile;

/// So many workers have a copy, where there are so many: one more than may well be lost together.
pub const COPIES: usize = 3;

/// The most that is sent to a worker at a time: heartbeats go over the same connection.
const PIECE_MAX: u64 = 256 << 10;

/// What was sent to whom.
#[derive(Debug)]
pub struct Copies {
    folder: PathBuf,
    sent: BTreeMap<(WorkerId, KeptFile), u64>,
}

impl Copies {
    /// Of the job in this folder; nobody has anything of it yet.
    pub fn new(folder: &Path) -> Self {
        Copies { folder: folder.to_owned(), sent: BTreeMap::new() }
    }

    /// What a worker was sent may not have arrived.
    pub fn forget(&mut self, worker: WorkerId) {
        self.sent.retain(|(other, _), _| *other != worker);
    }

    /// The next piece for a worker; none while it has everything.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn next(&mut self, worker: WorkerId) -> io::Result<Option<ToWorker>> {
        for file in KeptFile::ALL {
            let sent = self.sent.entry((worker, file)).or_default();
            let source = File::open(self.folder.join(file.name()))?;
            let length = source.metadata()?.len().saturating_sub(*sent).min(PIECE_MAX);
            if length == 0 {
                continue;
            }
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
            source.file().read_exact_at(&mut bytes, *sent)?;
            let offset = *sent;
            *sent += length;
            return Ok(Some(ToWorker::Keep { file, offset, bytes }));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_whole_and_in_order_and_then_as_they_grow() {
        let folder = tempfile::tempdir().expect("a folder");
        let write =
            |file: KeptFile, bytes: &[u8]| fs_err::write(folder.path().join(file.name()), bytes).expect("writes");
        write(KeptFile::Job, b"{}");
        write(KeptFile::Splits, &vec![7; PIECE_MAX as usize + 5]);
        write(KeptFile::Journal, b"abc");
        let mut copies = Copies::new(folder.path());
        let mut pieces = |worker: u32| {
            let mut pieces = Vec::new();
            while let Some(piece) = copies.next(WorkerId(worker)).expect("reads") {
                let ToWorker::Keep { file, offset, bytes } = piece else { panic!("{piece:?}") };
                pieces.push((file, offset, bytes.len()));
            }
            pieces
        };
        let splits = PIECE_MAX as usize;
        let all = [
            (KeptFile::Job, 0, 2),
            (KeptFile::Splits, 0, splits),
            (KeptFile::Splits, PIECE_MAX, 5),
            (KeptFile::Journal, 0, 3),
        ];
        assert_eq!(pieces(1), all);
        assert_eq!(pieces(1), []);
        write(KeptFile::Journal, b"abcdef");
        assert_eq!(pieces(1), [(KeptFile::Journal, 3, 3)]);
        assert_eq!(pieces(2).len(), 4);
        copies.forget(WorkerId(1));
        assert!(copies.next(WorkerId(1)).expect("reads").is_some());
    }
}
