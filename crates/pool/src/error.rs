//! Why no instance could be had.

use std::sync::Arc;

use sonagi_model::{ColdPhases, InstanceId, Mebibytes, Outcome, ThrottleReason};

/// No instance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcquireError {
    /// There is no room for another instance, or too many requests wait already.
    #[error("throttled: {0:?}")]
    Throttled(ThrottleReason),
    /// The pool is stopping.
    #[error("the pool is stopping")]
    Stopping,
    /// The instance that was started for this request did not become ready, or the revision is left alone after
    /// several such failures.
    #[error("the instance did not start: {:?}", .0.outcome)]
    Failed(StartFailure),
}

/// An instance that did not become ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartFailure {
    /// How it ended: one of the `Init…` outcomes, an entry point that cannot be started, damaged code, or the platform.
    pub outcome: Outcome,
    /// The instance that was to be.
    pub instance: InstanceId,
    /// Whether its process ran.
    pub process: ProcessRan,
    /// Where the time went; `None`: nothing was started for this request, the failure is an earlier one.
    pub phases: Option<ColdPhases>,
    /// The highest memory it has used; zero if its process never ran.
    pub memory_peak: Mebibytes,
    /// The end of what it wrote.
    pub output: Arc<[u8]>,
}

/// Whether a process of an instance has run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessRan {
    /// It has.
    Yes,
    /// It was never started.
    No,
}

impl StartFailure {
    /// The same failure, told to somebody for whom nothing was started.
    pub(crate) fn replayed(&self) -> Self {
        Self {
            phases: None,
            ..self.clone()
        }
    }
}
