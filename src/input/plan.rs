//! Files become splits: how much of the input one map task reads.
//!
//! Order is that of the input, source by source. The split size does not reach the result of a job, only how many tasks
//! share its work. Nothing here touches a file.

use super::list::InputFile;
use super::split::{Codec, Home, Piece, Split};

/// A bound on the files of one split: a task opens them one after the other, and its description travels.
const PIECES_MAX: usize = 4096;

/// How splits are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanConfig {
    /// Bytes that a split aims at; 0 counts as 1. Only the last one of a file may be larger, by a tenth, as Hadoop has it
    /// (`SPLIT_SLOP` of its `FileInputFormat`).
    pub split_size: u64,
    /// Whether consecutive small files of a source go together into a split.
    pub combine: bool,
}

/// The splits of the sources, in the order of the input.
///
/// Plain files are cut into ranges, compressed ones are a split each. Empty files are in no split, so input without a
/// byte has no splits: a job with no map task.
pub fn plan(sources: &[Vec<InputFile>], config: PlanConfig) -> Vec<Split> {
    let mut splits = Vec::new();
    for (source, files) in (0..).zip(sources) {
        plan_source(source, files, config, &mut splits);
    }
    splits
}

fn plan_source(source: u32, files: &[InputFile], config: PlanConfig, splits: &mut Vec<Split>) {
    let split_size = config.split_size.max(1);
    let mut group = Group::default();
    for file in files.iter().filter(|file| file.bytes > 0) {
        // A part of a dataset stays by itself: who has it may not have the next one.
        let alone = matches!(file.home, Home::Dataset { .. });
        let is_small = config.combine && file.codec == Codec::Plain && file.bytes <= split_size && !alone;
        if !is_small || !group.has_room(file, split_size) {
            splits.extend(group.take(source));
        }
        if is_small {
            group.push(file);
        } else {
            let split = |piece| Split { source, codec: file.codec, pieces: vec![piece], home: file.home.clone() };
            splits.extend(cut(file, split_size).map(split));
        }
    }
    splits.extend(group.take(source));
}

/// Small files that will be a split.
#[derive(Default)]
struct Group {
    bytes: u64,
    home: Option<Home>,
    pieces: Vec<Piece>,
}

impl Group {
    fn has_room(&self, file: &InputFile, split_size: u64) -> bool {
        let fits = self.bytes.saturating_add(file.bytes) <= split_size && self.pieces.len() < PIECES_MAX;
        fits && self.home.as_ref().is_none_or(|home| *home == file.home)
    }

    fn push(&mut self, file: &InputFile) {
        self.bytes += file.bytes;
        self.home = Some(file.home.clone());
        self.pieces.push(Piece { path: file.path.clone(), start: 0, end: file.bytes });
    }

    /// What came together, if anything did; the group begins anew.
    fn take(&mut self, source: u32) -> Option<Split> {
        let Group { home, pieces, .. } = std::mem::take(self);
        Some(Split { source, codec: Codec::Plain, pieces, home: home? })
    }
}

/// The ranges of a file that is not empty.
fn cut(file: &InputFile, split_size: u64) -> impl Iterator<Item = Piece> {
    let last_max = match file.codec {
        Codec::Plain => split_size.saturating_add(split_size / 10),
        Codec::Gzip | Codec::Zstd | Codec::Bzip2 | Codec::Xz => u64::MAX,
    };
    let mut start = 0;
    std::iter::from_fn(move || {
        let left = file.bytes - start;
        let taken = if left > last_max { split_size } else { left };
        let piece = Piece { path: file.path.clone(), start, end: start + taken };
        start += taken;
        (taken > 0).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(name: &str, bytes: u64) -> InputFile {
        let path = format!("/{name}").into();
        let codec = Codec::of(std::path::Path::new(name));
        InputFile { path, bytes, codec, home: Home::Driver }
    }

    /// A plan in words: pieces by `+`, splits by spaces.
    fn words(splits: &[Split]) -> String {
        let piece = |piece: &Piece| {
            let name = piece.path.display().to_string();
            format!("{}{}-{}", &name[1..], piece.start, piece.end)
        };
        let split = |split: &Split| split.pieces.iter().map(piece).collect::<Vec<_>>().join("+");
        splits.iter().map(split).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn files_become_splits() {
        let check = |combine, files: &[(&str, u64)], expected: &str| {
            let files = files.iter().map(|(name, bytes)| file(name, *bytes)).collect();
            let splits = plan(&[files], PlanConfig { split_size: 10, combine });
            assert_eq!(words(&splits), expected);
        };
        check(false, &[], "");
        check(false, &[("a", 0)], "");
        check(true, &[("a", 0), ("b.gz", 0)], "");
        check(false, &[("a", 10)], "a0-10");
        check(false, &[("a", 11)], "a0-11");
        check(false, &[("a", 12)], "a0-10 a10-12");
        check(false, &[("a", 21)], "a0-10 a10-21");
        check(false, &[("a", 22)], "a0-10 a10-20 a20-22");
        check(false, &[("a", 3), ("b", 4)], "a0-3 b0-4");
        check(false, &[("a.gz", 99)], "a.gz0-99");
        check(true, &[("a", 3), ("b", 0), ("c", 7), ("d", 1)], "a0-3+c0-7 d0-1");
        check(true, &[("a", 3), ("b", 8), ("c", 2)], "a0-3 b0-8+c0-2");
        check(true, &[("a", 3), ("b", 12), ("c", 2)], "a0-3 b0-10 b10-12 c0-2");
        check(true, &[("a", 3), ("b.gz", 1), ("c", 2)], "a0-3 b.gz0-1 c0-2");
    }

    #[test]
    fn sources_stay_apart() {
        let splits = plan(&[vec![file("a", 1)], vec![file("b", 1)]], PlanConfig { split_size: 10, combine: true });
        assert_eq!(words(&splits), "a0-1 b0-1");
        assert_eq!(splits.iter().map(|split| split.source).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_split_has_a_bound_on_its_files() {
        let splits = plan(&[vec![file("a", 1); 100_000]], PlanConfig { split_size: u64::MAX, combine: true });
        assert_eq!(splits.len(), 100_000_usize.div_ceil(PIECES_MAX));
    }

    proptest! {
        /// Every byte of every file is in one piece, in the order of the input, and no piece is empty.
        #[test]
        fn pieces_cover_the_input(
            sizes in prop::collection::vec((0..60_u64, any::<bool>()), 0..20),
            split_size in 0..30_u64,
            combine: bool,
        ) {
            let name = |index: usize, gzip| format!("{index}{}", if gzip { ".gz" } else { "" });
            let files: Vec<_> =
                sizes.iter().enumerate().map(|(index, (bytes, gzip))| file(&name(index, *gzip), *bytes)).collect();
            let splits = plan(std::slice::from_ref(&files), PlanConfig { split_size, combine });
            let mut pieces = splits.iter().flat_map(|split| &split.pieces);
            for file in &files {
                let mut at = 0;
                while at < file.bytes {
                    let piece = pieces.next().expect("a piece for the bytes left");
                    prop_assert_eq!((&piece.path, piece.start), (&file.path, at));
                    prop_assert!(piece.end > at);
                    at = piece.end;
                }
                prop_assert_eq!(at, file.bytes);
            }
            prop_assert!(pieces.next().is_none());
            let bound = split_size.max(1) + split_size / 10;
            prop_assert!(splits.iter().all(|split| split.codec != Codec::Plain || split.bytes() <= bound));
        }
    }
}
