//! The made-up segments: which are published, and what a reduce reads.

use std::collections::BTreeMap;
use std::rc::Rc;

use runner::ids::{AttemptId, TaskId, WorkerId};

use crate::machine::Reads;
use crate::plan::Nature;

/// The segments that reduces read, as told to the workers.
#[derive(Default)]
pub struct Segments {
    pub published: BTreeMap<TaskId, (AttemptId, WorkerId, u64)>,
    /// Published ones that cannot be read by anybody.
    pub unreadable: BTreeMap<TaskId, AttemptId>,
    /// What a reduce reads now, made when it is asked for.
    snapshot: Option<Reads>,
}

impl Segments {
    pub fn withdraw(&mut self, task: TaskId) {
        self.published.remove(&task);
        self.unreadable.remove(&task);
        self.snapshot = None;
    }

    /// What a reduce reads; or the segment that it cannot read; or nothing while a segment is being made.
    pub fn read(&mut self, maps: usize, nature: Nature) -> Option<Result<Reads, AttemptId>> {
        if let Some((_, source)) = self.unreadable.first_key_value() {
            return Some(Err(*source));
        }
        if self.published.len() < maps {
            return None;
        }
        match self.published.values().next() {
            Some((source, _, _)) if nature == Nature::Deaf => return Some(Err(*source)),
            Some(_) | None => {}
        }
        let published = &self.published;
        let all = || Rc::new(published.values().map(|(_, _, hash)| *hash).collect());
        Some(Ok(self.snapshot.get_or_insert_with(all).clone()))
    }
}
