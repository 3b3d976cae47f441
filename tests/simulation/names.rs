//! Short names of facts, by which it is told which of them a run has met.

use runner::facts::{DropReason, Fact, Next};

/// That of a fact.
pub fn name(fact: &Fact) -> &'static str {
    match fact {
        Fact::JobPlanned(_) | Fact::JobResumed { .. } => "not the scheduler's",
        Fact::WorkerJoined { .. } => "joined",
        Fact::WorkerRefused { .. } => "refused",
        Fact::WorkerSuspect { .. } => "suspect",
        Fact::WorkerBack { .. } => "back",
        Fact::WorkerLost { .. } => "lost",
        Fact::WorkerBarred { .. } => "barred",
        Fact::StageStarted { .. } => "stage started",
        Fact::StageFinished { .. } => "stage finished",
        Fact::WorkerMarked { share_percent: 0, .. } => "outpaced",
        Fact::WorkerMarked { .. } => "slow",
        Fact::WorkerCleared { .. } => "cleared",
        Fact::WorkerRemembered { .. } => "remembered",
        Fact::WorkerHeld { .. } => "held",
        Fact::WorkerEased { .. } => "eased",
        Fact::WorkerDraining { .. } => "draining",
        Fact::WorkerKept { .. } => "kept",
        Fact::WorkerReleased { .. } => "released",
        Fact::AttemptCopied { .. } => "copied",
        Fact::AttemptQueued { .. } => "queued",
        Fact::AttemptStarted { .. } => "started",
        Fact::AttemptFinished { .. } => "finished",
        Fact::AttemptFailed { next: Next::Retry { .. }, .. } => "retried",
        Fact::AttemptFailed { next: Next::GiveUp, .. } => "given up",
        Fact::AttemptFailed { next: Next::Covered, .. } => "covered",
        Fact::AttemptDropped { reason: DropReason::Beaten, .. } => "beaten",
        Fact::AttemptDropped { reason: DropReason::Moved, .. } => "moved",
        Fact::AttemptDropped { reason: DropReason::NeverArrived, .. } => "never arrived",
        Fact::AttemptDropped { reason: DropReason::WorkerLost, .. } => "gone with its worker",
        Fact::AttemptDropped { reason: DropReason::InputGone, .. } => "input gone",
        Fact::AttemptDropped { reason: DropReason::JobEnds, .. } => "ended with the job",
        Fact::OutputLost { .. } => "output lost",
        Fact::PartCommitted { .. } => "committed",
        Fact::JobFinished { .. } => "job finished",
    }
}
