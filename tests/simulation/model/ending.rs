//! What must hold when a run has ended.

use std::collections::BTreeMap;

use runner::error::Kind;
use runner::facts::End;
use runner::ids::TaskId;

use super::{Model, Stay};
use crate::machine::Reads;
use crate::plan::{Plan, Program};

impl Model {
    /// After the run: the end is justified, and what was committed is whole and of one piece.
    pub fn check_end(&self, plan: &Plan, parts: &BTreeMap<TaskId, Reads>, stay: Stay) {
        assert!(self.live.values().all(Vec::is_empty), "attempts outlive the job: {:?}", self.live);
        // A job that ends otherwise does not hear any more of parts that are lost.
        if stay == Stay::WithUs || self.end == Some(End::Done) {
            for task in self.committed.keys() {
                assert!(parts.contains_key(task), "{task} is committed and has no part");
            }
        }
        match self.end.as_ref().expect("the run has ended") {
            End::Done => self.check_done(parts),
            End::Failed { kind, text } => self.check_failed(plan, *kind, text),
            End::Interrupted | End::Cancelled => assert!(plan.interrupted_at.is_some(), "nobody ended it"),
        }
        if plan.must_succeed() && plan.program == Program::Deterministic {
            assert_eq!(self.end, Some(End::Done), "nothing went wrong");
        }
    }

    fn check_done(&self, parts: &BTreeMap<TaskId, Reads>) {
        let count = if self.reduces > 0 { self.reduces } else { self.maps };
        assert_eq!(self.committed.len(), count as usize, "parts are missing");
        assert_eq!(parts.len(), count as usize, "parts are missing");
        let mut kinds: Vec<&Reads> = parts.values().collect();
        kinds.dedup();
        assert!(kinds.len() <= 1, "parts were made from different segments: {kinds:?}");
    }

    fn check_failed(&self, plan: &Plan, kind: Kind, text: &str) {
        let reached = |counts: &BTreeMap<TaskId, u32>, max: u32| counts.values().any(|count| *count >= max);
        let justified = match kind {
            Kind::NoWorker => self.workers.values().all(|seen| seen.lost || seen.draining),
            Kind::Data => plan.rotten + plan.commit_failures + plan.strikes + plan.cut > 0 || has_deaf(plan),
            Kind::TaskFailed if text.contains("deterministic") => plan.program == Program::Random,
            Kind::TaskFailed if text.contains("in a row") => reached(&self.losses, self.rules.losses_max),
            Kind::TaskFailed => reached(&self.failures, self.rules.attempts_max),
            _ => false,
        };
        assert!(justified, "the job failed without a reason: {text}");
    }
}

fn has_deaf(plan: &Plan) -> bool {
    plan.hosts.iter().any(|host| host.nature == crate::plan::Nature::Deaf)
}
