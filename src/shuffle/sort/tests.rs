//! What any budget, any number of threads, and any way in must not change.

use super::*;
use crate::shuffle::group::Groups;
use crate::shuffle::merge::tests::{Lines, all, lines, sort_stably};
use crate::shuffle::reader::PartitionReader;
use crate::shuffle::record::RecordStream;
use crate::shuffle::segment::Compression;
use proptest::prelude::*;
use std::collections::BTreeMap;

const KEY: KeyRule = KeyRule::Fields { separator: b'\t', fields: 1 };
/// From every record spilled alone to none spilled.
const BUDGETS: [usize; 6] = [0, 60, 200, 700, 4000, 1 << 20];

/// Replaces the records of a key by their number; a line's own number is what its value says, or one.
#[derive(Clone, Copy, Debug)]
enum Count {
    InOrder,
    Reversed,
    AsCommand,
}

impl Combiner for Count {
    fn combine(
        &mut self,
        sorted: &mut (dyn RecordStream + Send),
        out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut counted = Vec::new();
        let mut groups = Groups::new(sorted);
        while let Some(key) = groups.next_key()? {
            let mut line = key.to_vec();
            let mut count = 0;
            while let Some(value) = groups.next_value()? {
                count += number(value);
            }
            line.extend_from_slice(format!("\tcount {count}").as_bytes());
            counted.push(line);
        }
        match self {
            Count::InOrder | Count::AsCommand => {}
            Count::Reversed => counted.reverse(),
        }
        counted.iter().try_for_each(|line| out(line))
    }

    fn in_process(&self) -> bool {
        matches!(self, Count::InOrder | Count::Reversed)
    }
}

fn number(value: &[u8]) -> u64 {
    let count = || std::str::from_utf8(value.strip_prefix(b"count ")?).ok()?.parse().ok();
    count().unwrap_or(1)
}

fn partitioners() -> impl Strategy<Value = Partitioner> {
    let range = Partitioner::Range(vec![vec![0, 1], vec![1], vec![1, 0, 1]]);
    prop::sample::select(vec![Partitioner::Hash(1), Partitioner::Hash(5), range])
}

fn config(partitioner: &Partitioner, memory: usize, combiner: Option<Count>, scratch: &Path) -> SortConfig {
    SortConfig {
        partitioner: partitioner.clone(),
        key: KEY,
        memory,
        scratch: scratch.to_owned(),
        compressor: Compression::Lz4.into(),
        combiner: combiner.map(|combiner| Box::new(combiner) as Box<dyn Combiner>),
        idle: Box::new(|| 0),
    }
}

/// The records of each partition, and the summary.
fn sort(lines: &Lines, partitioner: &Partitioner, memory: usize, combiner: Option<Count>) -> (Vec<Lines>, SortSummary) {
    let folder = tempfile::tempdir().expect("a folder");
    let scratch = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("segment");
    let config = config(partitioner, memory, combiner, scratch.path());
    let mut sorter = Sorter::new(config, &path);
    for (line, key_len) in lines {
        sorter.push(Record { line, key_len: *key_len }).expect("no error");
    }
    let summary = sorter.finish().expect("no error");
    assert_eq!(SegmentIndex::read(&path).expect("whole"), summary.index);
    assert_eq!(summary.index.partitions.len(), partitioner.partitions() as usize);
    assert_eq!(fs_err::read_dir(scratch.path()).expect("there").count(), 0);
    let open = |entry| PartitionReader::open(&path, entry).expect("opens");
    (summary.index.partitions.iter().map(|entry| all(open(entry))).collect(), summary)
}

fn naive(lines: &Lines, partitioner: &Partitioner) -> Vec<Lines> {
    let mut partitions = vec![Vec::new(); partitioner.partitions() as usize];
    for (line, key_len) in lines {
        partitions[partitioner.partition(&line[..*key_len]) as usize].push((line.clone(), *key_len));
    }
    partitions.iter_mut().for_each(sort_stably);
    partitions
}

/// The number of records of each key.
fn totals(partitions: &[Lines]) -> BTreeMap<Vec<u8>, u64> {
    let mut totals = BTreeMap::new();
    for (line, key_len) in partitions.iter().flatten() {
        *totals.entry(line[..*key_len].to_vec()).or_default() += number(line.get(key_len + 1..).unwrap_or_default());
    }
    totals
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_budget_gives_the_stable_sort_of_each_partition(
        lines in lines(150), partitioner in partitioners(), budget in prop::sample::select(&BUDGETS[..]),
    ) {
        let (sorted, summary) = sort(&lines, &partitioner, budget, None);
        prop_assert_eq!(sorted, naive(&lines, &partitioner));
        prop_assert_eq!((summary.records_in, summary.records_out), (lines.len() as u64, lines.len() as u64));
        // One that is the same as the one before it needs no room.
        let changes = lines.windows(2).filter(|two| two[0] != two[1]).count() as u64;
        prop_assert!(budget > 0 || summary.spills == changes);
    }

    #[test]
    fn a_combiner_gives_the_same_with_and_without_spills(
        lines in lines(150), partitioner in partitioners(), budget in prop::sample::select(&BUDGETS[..]),
    ) {
        let expected = totals(&naive(&lines, &partitioner));
        let (in_memory, summary) = sort(&lines, &partitioner, 1 << 20, Some(Count::InOrder));
        prop_assert_eq!(totals(&in_memory), expected.clone());
        prop_assert_eq!(summary.records_out, expected.len() as u64);
        for combiner in [Count::InOrder, Count::Reversed] {
            prop_assert_eq!(&sort(&lines, &partitioner, budget, Some(combiner)).0, &in_memory);
        }
        let (as_command, _) = sort(&lines, &partitioner, budget, Some(Count::AsCommand));
        prop_assert_eq!(&as_command, &naive(&as_command.concat(), &partitioner));
        prop_assert_eq!(totals(&as_command), expected);
    }

    #[test]
    fn records_that_repeat_come_as_often_and_in_their_order(
        pool in lines(6), picks in prop::collection::vec((any::<prop::sample::Index>(), 1usize..4), 0..40),
        partitioner in partitioners(),
    ) {
        let pick = |index: prop::sample::Index| (!pool.is_empty()).then(|| index.get(&pool).clone());
        let lines: Lines =
            picks.into_iter().flat_map(|(index, times)| pick(index).into_iter().cycle().take(times)).collect();
        let expected = naive(&lines, &partitioner);
        let hashes = [0, 200, 4000, 1 << 20].map(|budget| {
            let (sorted, summary) = sort(&lines, &partitioner, budget, None);
            assert_eq!(&sorted, &expected);
            assert_eq!((summary.records_in, summary.records_out), (lines.len() as u64, lines.len() as u64));
            summary.index.hash()
        });
        prop_assert_eq!(hashes, [hashes[0]; 4]);
    }

    #[test]
    fn blocks_of_lines_are_sorted_as_lines_are(
        blocks in prop::collection::vec(prop::collection::vec(prop::sample::select(b"aab\t\n".to_vec()), 0..200), 0..4),
        partitioner in partitioners(), budget in prop::sample::select(&BUDGETS[..]),
    ) {
        let blocks: Vec<Vec<u8>> = blocks.into_iter().map(|block| [block, b"\n".to_vec()].concat()).collect();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("segment");
        let mut sorter = Sorter::new(config(&partitioner, budget, None, folder.path()), &path);
        let mut lines = Lines::new();
        for mut block in blocks.iter().map(Vec::as_slice) {
            while !block.is_empty() {
                let taken = sorter.push_lines_if_room(block).expect("no error");
                block = &block[taken..];
                if let Some(line) = block.split(|byte| *byte == b'\n').next().filter(|_| !block.is_empty()) {
                    sorter.push(Record::new(line, &KEY)).expect("no error");
                    block = &block[line.len() + 1..];
                }
            }
        }
        for line in blocks.concat().strip_suffix(b"\n").into_iter().flat_map(|all| all.split(|byte| *byte == b'\n')) {
            lines.push((line.to_vec(), Record::new(line, &KEY).key_len));
        }
        let summary = sorter.finish().expect("no error");
        prop_assert_eq!(summary.records_in, lines.len() as u64);
        let open = |entry| PartitionReader::open(&path, entry).expect("opens");
        let sorted: Vec<_> = summary.index.partitions.iter().map(|entry| all(open(entry))).collect();
        prop_assert_eq!(sorted, naive(&lines, &partitioner));
    }

    #[test]
    fn long_equal_beginnings_are_sorted(
        endings in prop::collection::vec((0usize..90, lines(3)), 0..40),
    ) {
        let lines: Lines = endings
            .into_iter()
            .flat_map(|(begins, lines)| lines.into_iter().map(move |(line, key_len)| {
                ([vec![1; begins], line].concat(), begins + key_len)
            }))
            .collect();
        let partitioner = Partitioner::Hash(2);
        prop_assert_eq!(sort(&lines, &partitioner, 1 << 20, None).0, naive(&lines, &partitioner));
    }
}

#[test]
fn more_runs_than_are_merged_at_once() {
    let lines: Lines = (0..5000u32).map(|i| (i.wrapping_mul(2_654_435_761).to_be_bytes().to_vec(), 2)).collect();
    let partitioner = Partitioner::Hash(3);
    let (sorted, summary) = sort(&lines, &partitioner, 0, None);
    assert_eq!(sorted, naive(&lines, &partitioner));
    assert_eq!(summary.spills, 4999);
}

#[test]
fn a_record_larger_than_the_budget_is_sorted() {
    let line = |key: u8, len: usize| (vec![key; len], len.min(1));
    let lines = vec![line(2, 10), line(1, 3 << 20), line(1, 0), line(0, 70_000)];
    let partitioner = Partitioner::Hash(1);
    for memory in BUDGETS {
        assert_eq!(sort(&lines, &partitioner, memory, None).0, naive(&lines, &partitioner));
    }
}

#[test]
fn helpers_change_nothing() {
    let key = |i: u32| format!("{:04}/{}", i.wrapping_mul(2_654_435_761) % 50, i.wrapping_mul(40_503) % 9000);
    let lines: Lines = (0..100_000).map(|i| (format!("{}\t{i}", key(i)).into_bytes(), key(i).len())).collect();
    let partitioner = Partitioner::Hash(2);
    let folder = tempfile::tempdir().expect("a folder");
    let hash = |(idle, memory, spills): (usize, usize, u64)| {
        let config = config(&partitioner, memory, None, folder.path());
        let mut sorter =
            Sorter::new(SortConfig { idle: Box::new(move || idle), ..config }, folder.path().join("segment"));
        lines.iter().for_each(|(line, key_len)| sorter.push(Record { line, key_len: *key_len }).expect("no error"));
        let summary = sorter.finish().expect("no error");
        assert_eq!(summary.records_out, 100_000);
        assert!(summary.spills >= spills, "{}", summary.spills);
        assert_eq!(fs_err::read_dir(folder.path()).expect("there").count(), 1, "only the segment is left");
        summary.index.hash()
    };
    let alone = hash((0, 64 << 20, 0));
    let helped = [(1, 64 << 20, 0), (7, 64 << 20, 0), (0, 1 << 20, 4), (1, 1 << 20, 8), (2, 100_000, 80)];
    assert_eq!(helped.map(hash), [alone; 5]);
}

#[test]
fn a_sorter_that_is_given_up_leaves_nothing() {
    let scratch = tempfile::tempdir().expect("a folder");
    let left = || fs_err::read_dir(scratch.path()).expect("there").count();
    let config = config(&Partitioner::Hash(1), 0, None, scratch.path());
    let mut sorter = Sorter::new(config, scratch.path().join("segment"));
    for line in [b"b", b"a"] {
        sorter.push(Record { line, key_len: 1 }).expect("no error");
    }
    assert_eq!((sorter.spills, left()), (1, 1));
    drop(sorter);
    assert_eq!(left(), 0);
}
