//! Runs: sorted parts of one sorter's records on disk, each a segment file, and their merge partition by partition.

use std::io;
use std::path::{Path, PathBuf};

use fs_err::File;
use tempfile::TempDir;

use super::batch::Batch;
use super::merge::Merge;
use super::policy::Compressor;
use super::reader::PartitionReader;
use super::record::{Record, RecordStream};
use super::segment::{SegmentIndex, SegmentWriter};

/// A run that is complete.
#[derive(Debug)]
pub(super) struct Run {
    pub path: PathBuf,
    pub index: SegmentIndex,
}

/// A stream that knows the partition of the record it stands at.
pub(super) trait PartitionedStream: RecordStream {
    /// The partition of the record that the last `advance` went to.
    fn partition(&self) -> u32;
}

/// Makes runs in a folder of its own, which goes with it.
#[derive(Debug)]
pub(super) struct RunFolder {
    scratch: PathBuf,
    partitions: u32,
    compressor: Compressor,
    /// Made with the first run.
    folder: Option<TempDir>,
    runs_made: u64,
}

impl RunFolder {
    /// A folder below `scratch`.
    pub fn new(scratch: &Path, partitions: u32, compressor: Compressor) -> Self {
        RunFolder { scratch: scratch.to_owned(), partitions, compressor, folder: None, runs_made: 0 }
    }

    /// Starts a run.
    pub fn create(&mut self) -> io::Result<SegmentWriter> {
        let folder = match self.folder.take() {
            Some(folder) => folder,
            None => tempfile::Builder::new().prefix("runs-").tempdir_in(&self.scratch)?,
        };
        let path = self.folder.insert(folder).path().join(self.runs_made.to_string());
        self.runs_made += 1;
        SegmentWriter::create(path, self.partitions, self.compressor.clone())
    }

    /// Makes a run of all records of a stream.
    pub fn write(&mut self, stream: &mut impl PartitionedStream) -> io::Result<Run> {
        let mut writer = self.create()?;
        while stream.advance()? {
            let times = 1 + stream.take_repeats();
            writer.push_times(stream.partition(), stream.record(), times)?;
        }
        Run::finish(writer)
    }

    /// Makes a run of all records of a batch, which so many threads may sort, and clears it.
    pub fn write_batch(&mut self, batch: &mut Batch, threads: usize) -> io::Result<Run> {
        batch.write(self.create()?, threads)
    }

    /// Merges runs into one and removes them.
    pub fn join(&mut self, runs: Vec<Run>) -> io::Result<Run> {
        let joined = self.write(&mut MergedRuns::open(&runs)?)?;
        runs.iter().try_for_each(Run::remove)?;
        Ok(joined)
    }

    /// Whether the file is one of these runs.
    pub fn holds(&self, path: &Path) -> bool {
        self.folder.as_ref().is_some_and(|folder| path.starts_with(folder.path()))
    }
}

impl Run {
    /// Ends a run.
    pub fn finish(writer: SegmentWriter) -> io::Result<Run> {
        let path = writer.path().to_owned();
        Ok(Run { path, index: writer.finish()? })
    }

    /// Frees its place on the disk.
    pub fn remove(&self) -> io::Result<()> {
        fs_err::remove_file(&self.path)
    }
}

/// The records of many runs by partition and key; equal keys in the order of the runs.
pub(super) struct MergedRuns<'a> {
    runs: &'a [Run],
    merge: Merge<PartitionReader<File>>,
    partition: u32,
}

impl<'a> MergedRuns<'a> {
    /// Opens runs of the same partitions. Each file is read once, from its start to its end.
    pub fn open(runs: &'a [Run]) -> io::Result<Self> {
        let open = |run: &Run| {
            let first = run.index.partitions.first().copied().unwrap_or_default();
            PartitionReader::open(&run.path, &first)
        };
        let readers = runs.iter().map(open).collect::<io::Result<_>>()?;
        Ok(MergedRuns { runs, merge: Merge::new(readers), partition: 0 })
    }
}

impl RecordStream for MergedRuns<'_> {
    fn advance(&mut self) -> io::Result<bool> {
        while !self.merge.advance()? {
            let next = self.partition as usize + 1;
            if self.runs.first().is_none_or(|run| next >= run.index.partitions.len()) {
                return Ok(false);
            }
            for (reader, run) in self.merge.restart().iter_mut().zip(self.runs) {
                reader.begin(&run.index.partitions[next]);
            }
            self.partition += 1;
        }
        Ok(true)
    }

    fn record(&self) -> Record<'_> {
        self.merge.record()
    }

    fn take_repeats(&mut self) -> u64 {
        self.merge.take_repeats()
    }
}

impl PartitionedStream for MergedRuns<'_> {
    fn partition(&self) -> u32 {
        self.partition
    }
}
