//! The groups of a sorted stream: each key once, then its records.

use std::io;

use super::record::{Record, RecordStream};

/// Walks a sorted stream key by key, and within a key record by record.
#[derive(Debug)]
pub struct Groups<S> {
    stream: S,
    key: Vec<u8>,
    at: At,
}

/// Where the stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before its first record.
    Start,
    /// At a record of the group that has been lent.
    Lent,
    /// At a record of the group that has not been lent.
    Fresh,
    /// At the first record of the next group.
    Next,
    /// Behind its last record.
    End,
}

impl<S: RecordStream> Groups<S> {
    /// The groups of a stream that is sorted by key.
    pub fn new(stream: S) -> Self {
        Groups { stream, key: Vec::new(), at: At::Start }
    }

    /// Goes to the next group and lends its key; none at the end. What is left of the group before is passed over.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn next_key(&mut self) -> io::Result<Option<&[u8]>> {
        while matches!(self.at, At::Start | At::Lent | At::Fresh) {
            self.step()?;
        }
        if self.at == At::End {
            return Ok(None);
        }
        self.key.clear();
        self.key.extend_from_slice(self.stream.record().key());
        self.at = At::Fresh;
        Ok(Some(&self.key))
    }

    /// The key of the group; empty before the first.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The next record of the group; none at its end.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn next_record(&mut self) -> io::Result<Option<Record<'_>>> {
        if self.at == At::Lent {
            self.step()?;
        }
        if self.at != At::Fresh {
            return Ok(None);
        }
        self.at = At::Lent;
        Ok(Some(self.stream.record()))
    }

    /// The value of the next record of the group; none at its end.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn next_value(&mut self) -> io::Result<Option<&[u8]>> {
        Ok(self.next_record()?.map(|record| record.value()))
    }

    fn step(&mut self) -> io::Result<()> {
        self.at = if !self.stream.advance()? {
            At::End
        } else if self.at == At::Start || self.stream.record().key() != self.key {
            At::Next
        } else {
            At::Fresh
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shuffle::merge::tests::{Lines, Listed, lines, sort_stably};
    use proptest::prelude::*;

    type Naive = Vec<(Vec<u8>, Vec<Vec<u8>>)>;

    fn naive(lines: &Lines, records_max: usize) -> Naive {
        let key = |(line, key_len): &(Vec<u8>, usize)| line[..*key_len].to_vec();
        let value = |(line, key_len): &(Vec<u8>, usize)| line.get(key_len + 1..).unwrap_or_default().to_vec();
        let group = |group: &[_]| (key(&group[0]), group.iter().map(value).take(records_max).collect());
        lines.chunk_by(|a, b| key(a) == key(b)).map(group).collect()
    }

    /// The groups with the first values of each.
    fn grouped(lines: &Lines, records_max: usize) -> io::Result<Naive> {
        let mut groups = Groups::new(Listed { lines, next: 0 });
        let mut seen = Vec::new();
        assert_eq!(groups.next_record()?, None);
        while let Some(key) = groups.next_key()? {
            let key = key.to_vec();
            let mut values = Vec::new();
            while values.len() < records_max
                && let Some(value) = groups.next_value()?
            {
                values.push(value.to_vec());
            }
            assert_eq!(groups.key(), key);
            seen.push((key, values));
        }
        assert_eq!(groups.next_key()?, None);
        assert_eq!(groups.next_record()?, None);
        Ok(seen)
    }

    proptest! {
        #[test]
        fn every_key_comes_once_with_its_values(mut lines in lines(40), records_max in 0usize..4) {
            sort_stably(&mut lines);
            for records_max in [records_max, usize::MAX] {
                prop_assert_eq!(grouped(&lines, records_max).expect("no error"), naive(&lines, records_max));
            }
        }
    }
}
