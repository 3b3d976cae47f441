//! Merging more sources than may be open at once: consecutive ones are merged into runs on disk first.

use std::io;
use std::path::{Path, PathBuf};

use fs_err::File;

use super::block::BLOCK_BYTES;
use super::merge::Merge;
use super::policy::Compressor;
use super::reader::PartitionReader;
use super::record::{Record, RecordStream};
use super::run::{PartitionedStream, RunFolder};
use super::segment::PartitionIndex;

/// A partition of one map's output in a file: its segment, or any file that its blocks were fetched to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// What the map's index says of it, but with the offset that it has in this file.
    pub entry: PartitionIndex,
}

/// The merge of all sources; runs that it needed go with it.
pub struct MergedSources {
    merge: Merge<PartitionReader<File>>,
    _runs: RunFolder,
}

/// Fewer sources at once would mean many passes, whatever memory is short.
const FAN_IN_MIN: usize = 16;

/// More sources at once would win no pass for hardly any job, and files are far from any limit.
const FAN_IN_MAX: usize = 128;

/// How many sources may be merged at once within `memory` bytes: each holds a block as it is stored and one decoded.
pub fn fan_in(memory: usize) -> usize {
    (memory / (2 * BLOCK_BYTES)).clamp(FAN_IN_MIN, FAN_IN_MAX)
}

/// Merges the sources in their order while at most `fan_in` (at least 2) of them are open at once, each with a block in
/// memory. Where there are more, the first ones are merged into runs below `scratch`, in as many passes as it takes.
///
/// # Errors
/// Those of the file system, and of sources that are not what their entries say.
pub fn merge_in_passes(
    sources: Vec<Source>,
    fan_in: usize,
    scratch: &Path,
    compressor: Compressor,
) -> io::Result<MergedSources> {
    let mut runs = RunFolder::new(scratch, 1, compressor);
    let sources = reduce_count(sources, fan_in, |group| {
        let run = runs.write(&mut OnePartition(open(&group)?))?;
        for source in group.iter().filter(|source| runs.holds(&source.path)) {
            fs_err::remove_file(&source.path)?;
        }
        let entry = run.index.partitions.first().copied().unwrap_or_default();
        Ok(Source { path: run.path, entry })
    })?;
    Ok(MergedSources { merge: open(&sources)?, _runs: runs })
}

/// Joins consecutive items, at most `count_max` (at least 2) at once, until no more than that are left, and no more than
/// that takes.
pub(super) fn reduce_count<T>(
    mut items: Vec<T>,
    count_max: usize,
    mut join: impl FnMut(Vec<T>) -> io::Result<T>,
) -> io::Result<Vec<T>> {
    let count_max = count_max.max(2);
    while items.len() > count_max {
        let mut excess = items.len() - count_max;
        let mut rest = items.into_iter();
        items = Vec::new();
        while rest.len() > 0 {
            let group: Vec<T> = rest.by_ref().take(count_max.min(excess + 1)).collect();
            excess -= group.len() - 1;
            items.push(match <[T; 1]>::try_from(group) {
                Ok([alone]) => alone,
                Err(group) => join(group)?,
            });
        }
    }
    Ok(items)
}

fn open(sources: &[Source]) -> io::Result<Merge<PartitionReader<File>>> {
    let open = |source: &Source| PartitionReader::open(&source.path, &source.entry);
    Ok(Merge::new(sources.iter().map(open).collect::<io::Result<_>>()?))
}

impl RecordStream for MergedSources {
    fn advance(&mut self) -> io::Result<bool> {
        self.merge.advance()
    }

    fn record(&self) -> Record<'_> {
        self.merge.record()
    }

    fn take_repeats(&mut self) -> u64 {
        self.merge.take_repeats()
    }
}

/// A stream of partition 0.
struct OnePartition<S>(S);

impl<S: RecordStream> RecordStream for OnePartition<S> {
    fn advance(&mut self) -> io::Result<bool> {
        self.0.advance()
    }

    fn record(&self) -> Record<'_> {
        self.0.record()
    }

    fn take_repeats(&mut self) -> u64 {
        self.0.take_repeats()
    }
}

impl<S: RecordStream> PartitionedStream for OnePartition<S> {
    fn partition(&self) -> u32 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shuffle::merge::tests::{Lines, all, lines, sort_stably};
    use crate::shuffle::segment::{Compression, SegmentWriter};
    use proptest::prelude::*;

    /// Items are numbers; a join keeps the order, and counts what it reads.
    fn check(count: usize, count_max: usize, read_max: usize) {
        let mut read = 0;
        let items = (0..count).map(|item| vec![item]).collect();
        let joined = reduce_count(items, count_max, |group: Vec<Vec<usize>>| {
            assert!((2..=count_max).contains(&group.len()));
            let group = group.concat();
            read += group.len();
            Ok(group)
        });
        let joined = joined.expect("no error");
        assert!(joined.len() <= count_max);
        assert!(joined.concat().is_sorted() && joined.concat().len() == count);
        assert!(read <= read_max, "{read}");
    }

    #[test]
    fn no_more_is_joined_than_is_needed() {
        check(0, 64, 0);
        check(64, 64, 0);
        check(65, 64, 2);
        check(128, 64, 66);
        check(64 * 64, 64, 64 * 64);
        check(10_000, 64, 20_000);
        check(17, 2, 17 * 5);
    }

    fn write(path: &Path, lines: &Lines) -> Source {
        let mut writer = SegmentWriter::create(path, 2, Compression::Lz4).expect("a new file");
        for (line, key_len) in lines {
            writer.push(1, Record { line, key_len: *key_len }).expect("in order");
        }
        Source { path: path.to_owned(), entry: writer.finish().expect("written").partitions[1] }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn passes_change_nothing_and_leave_nothing(
            mut sources in prop::collection::vec(lines(6), 0..20),
            fan_in in 2usize..6,
        ) {
            sources.iter_mut().for_each(sort_stably);
            let mut expected = sources.concat();
            sort_stably(&mut expected);
            let folder = tempfile::tempdir().expect("a folder");
            let scratch = tempfile::tempdir().expect("a folder");
            let written =
                sources.iter().enumerate().map(|(i, lines)| write(&folder.path().join(i.to_string()), lines)).collect();
            let merged = merge_in_passes(written, fan_in, scratch.path(), Compression::None.into()).expect("no error");
            prop_assert_eq!(all(merged), expected);
            prop_assert_eq!(fs_err::read_dir(scratch.path()).expect("there").count(), 0);
            prop_assert_eq!(fs_err::read_dir(folder.path()).expect("there").count(), sources.len());
        }
    }
}
