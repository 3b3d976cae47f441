//! Many sorted streams become one.
//!
//! A tree of losers (Knuth, The Art of Computer Programming 3, section 5.4.1): each inner node keeps who lost there, so
//! a new head of the winner's stream meets one rival a level, and no record is moved or copied. Equal keys come in the
//! order of the streams, and so as a stable sort of all streams one after the other would leave them.

use std::cmp::Ordering;
use std::io;

use super::order::{compare_beyond_prefix, prefix};
use super::record::{Record, RecordStream};

/// The records of all sources in the order of their keys.
#[derive(Debug)]
pub struct Merge<S> {
    sources: Vec<S>,
    /// Who wins, then the loser of each inner node; the children of node `n` are `2n` and `2n + 1`, and the leaves are
    /// the sources in order. Empty until the first record is asked for.
    tree: Vec<Head>,
    /// How often the record comes once more, of what its source knows.
    repeats: u64,
}

/// Where a source stands, as far as most comparisons need to know.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// At its end, which comes after all keys.
    ended: bool,
    prefix: u64,
    source: usize,
}

impl<S: RecordStream> Merge<S> {
    /// Streams that are each sorted by key.
    pub fn new(sources: Vec<S>) -> Self {
        Merge { sources, tree: Vec::new(), repeats: 0 }
    }

    /// Hands out the sources to be set to other records, and starts anew with those.
    pub(super) fn restart(&mut self) -> &mut [S] {
        self.tree.clear();
        self.repeats = 0;
        &mut self.sources
    }

    /// The first heads meet.
    fn start(&mut self) -> io::Result<bool> {
        let count = self.sources.len();
        if count == 0 {
            return Ok(false);
        }
        let leaves = (0..count).map(|source| self.head(source)).collect::<io::Result<Vec<_>>>()?;
        let mut winners = leaves.repeat(2); // the first half is that of the inner nodes, set below
        self.tree = winners[..count].to_vec();
        for node in (1..count).rev() {
            let (left, right) = (winners[2 * node], winners[2 * node + 1]);
            let left_first = self.comes_first(&left, &right);
            (winners[node], self.tree[node]) = if left_first { (left, right) } else { (right, left) };
        }
        Ok(self.set_winner(winners[1]))
    }

    /// Lends the record of `winner` from now on; false if that is at its end.
    fn set_winner(&mut self, winner: Head) -> bool {
        self.tree[0] = winner;
        if !winner.ended {
            self.repeats = self.sources[winner.source].take_repeats();
        }
        !winner.ended
    }

    /// Takes the next record of a source.
    fn head(&mut self, source: usize) -> io::Result<Head> {
        let stream = &mut self.sources[source];
        let ended = !stream.advance()?;
        let prefix = if ended { u64::MAX } else { prefix(stream.record().key(), 0) };
        Ok(Head { ended, prefix, source })
    }

    fn comes_first(&self, a: &Head, b: &Head) -> bool {
        match a.prefix.cmp(&b.prefix) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => self.comes_first_beyond_prefix(a, b),
        }
    }

    fn comes_first_beyond_prefix(&self, a: &Head, b: &Head) -> bool {
        let keys = || {
            let key = |head: &Head| self.sources[head.source].record().key();
            compare_beyond_prefix(key(a), key(b))
        };
        let order = if a.ended || b.ended { a.ended.cmp(&b.ended) } else { keys() };
        order.then(a.source.cmp(&b.source)).is_lt()
    }
}

impl<S: RecordStream> RecordStream for Merge<S> {
    fn advance(&mut self) -> io::Result<bool> {
        if self.repeats > 0 {
            self.repeats -= 1;
            return Ok(true);
        }
        let Some(last) = self.tree.first() else { return self.start() };
        if last.ended {
            return Ok(false);
        }
        let mut winner = self.head(last.source)?;
        let mut node = (winner.source + self.sources.len()) / 2;
        while node > 0 {
            let rival = self.tree[node];
            if self.comes_first(&rival, &winner) {
                self.tree[node] = winner;
                winner = rival;
            }
            node /= 2;
        }
        Ok(self.set_winner(winner))
    }

    fn record(&self) -> Record<'_> {
        self.sources[self.tree[0].source].record()
    }

    fn take_repeats(&mut self) -> u64 {
        std::mem::take(&mut self.repeats)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Lines with the lengths of their keys.
    pub type Lines = Vec<(Vec<u8>, usize)>;

    /// Records from memory.
    pub struct Listed<'a> {
        pub lines: &'a Lines,
        pub next: usize,
    }

    impl RecordStream for Listed<'_> {
        fn advance(&mut self) -> io::Result<bool> {
            self.next += usize::from(self.next <= self.lines.len());
            Ok(self.next <= self.lines.len())
        }

        fn record(&self) -> Record<'_> {
            let (line, key_len) = &self.lines[self.next - 1];
            Record { line, key_len: *key_len }
        }
    }

    /// Everything that a stream has.
    pub fn all(mut stream: impl RecordStream) -> Lines {
        let mut lines = Vec::new();
        while let Some(record) = stream.next_record().expect("no error") {
            lines.push((record.line.to_vec(), record.key_len));
        }
        assert!(!stream.advance().expect("still at the end"));
        lines
    }

    pub fn sort_stably(lines: &mut Lines) {
        lines.sort_by(|(a, a_key), (b, b_key)| a[..*a_key].cmp(&b[..*b_key]));
    }

    /// Lines of few different bytes, zeros among them, so that many keys are equal or begin alike.
    pub fn lines(count_max: usize) -> impl Strategy<Value = Lines> {
        let line = prop::collection::vec(prop::sample::select(&[0, 1, b'\t', b'\t', 0xff][..]), 0..14);
        let line = line.prop_map(|line| {
            let key_len = line.iter().position(|byte| *byte == b'\t').unwrap_or(line.len());
            (line, key_len)
        });
        prop::collection::vec(line, 0..count_max)
    }

    proptest! {
        #[test]
        fn a_merge_is_a_stable_sort(mut sources in prop::collection::vec(lines(20), 0..9)) {
            sources.iter_mut().for_each(sort_stably);
            let mut expected = sources.concat();
            sort_stably(&mut expected);
            let streams = sources.iter().map(|lines| Listed { lines, next: 0 }).collect();
            prop_assert_eq!(all(Merge::new(streams)), expected);
        }
    }
}
