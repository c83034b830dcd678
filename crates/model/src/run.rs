//! The record that every attempt leaves: what it used, how it ended, where its time went. Bills are made from these.

use serde::{Deserialize, Serialize};

use crate::{
    Exit, FunctionId, FunctionName, InstanceId, InvocationId, Mebibytes, Namespace, Outcome, RevisionId, Start,
    TenantId, Timestamp,
};

/// Where the time of a cold start went, in microseconds, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ColdPhases {
    /// Waiting for the platform to begin the start.
    pub queue_us: u64,
    /// Artifact looked up, digest and manifest checked.
    pub artifact_us: u64,
    /// Namespaces, control groups, mounts.
    pub cell_us: u64,
    /// Process started and locked down.
    pub process_us: u64,
    /// Language runtime and user code until it asked for its first event.
    pub init_us: u64,
}

impl ColdPhases {
    /// All phases together.
    #[must_use]
    pub const fn total_us(&self) -> u64 {
        self.queue_us + self.artifact_us + self.cell_us + self.process_us + self.init_us
    }
}

/// How an attempt ended, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// The function answered.
    Success,
    /// The function reported an error.
    FunctionError,
    /// Past its deadline.
    Timeout,
    /// The instance ended.
    Crash,
    /// The instance ended at its memory limit.
    OutOfMemory,
    /// Initialization failed.
    InitError,
    /// The answer was too large.
    ResponseTooLarge,
    /// The function broke its contract.
    ProtocolViolation,
    /// The caller went away before the end of a streamed answer.
    CallerGone,
    /// The platform failed.
    Platform,
    /// The platform ended while the attempt ran; how far it got is not known, and nobody pays for it.
    Lost,
}

impl From<&Outcome> for RunStatus {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Success => Self::Success,
            Outcome::FunctionError(_) => Self::FunctionError,
            Outcome::Timeout | Outcome::InitTimeout => Self::Timeout,
            Outcome::Exited(Exit::OutOfMemory) | Outcome::InitExited(Exit::OutOfMemory) => Self::OutOfMemory,
            Outcome::Exited(_) => Self::Crash,
            Outcome::InitError(_) | Outcome::InitExited(_) | Outcome::EntryPoint { .. } => Self::InitError,
            Outcome::ResponseTooLarge(_) => Self::ResponseTooLarge,
            Outcome::ProtocolViolation(_) => Self::ProtocolViolation,
            Outcome::CallerGone => Self::CallerGone,
            Outcome::ArtifactDamaged(_) | Outcome::Platform(_) => Self::Platform,
        }
    }
}

/// One attempt, for ever: written once, before its caller has the whole answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The invocation.
    pub invocation: InvocationId,
    /// Which try, from 1.
    pub attempt: u32,
    /// The function.
    pub function: FunctionId,
    /// Where the function is named.
    pub namespace: Namespace,
    /// Who pays.
    pub tenant: TenantId,
    /// The function's name when it ran.
    pub name: FunctionName,
    /// The revision that ran.
    pub revision: RevisionId,
    /// That revision's label.
    pub label: String,
    /// The instance, if one was reached.
    pub instance: Option<InstanceId>,
    /// When the attempt began.
    pub started: Timestamp,
    /// Cold or warm.
    pub start: Start,
    /// Phases of a cold start.
    pub phases: Option<ColdPhases>,
    /// Initialization that this attempt caused and pays for, microseconds.
    pub init_us: u64,
    /// From handing over the event until the last byte of the answer, microseconds.
    pub duration_us: u64,
    /// What is billed by the rule of the function's contract, milliseconds.
    pub billed_ms: u64,
    /// Memory configured.
    pub memory: Mebibytes,
    /// Highest memory of the instance so far.
    pub memory_peak: Mebibytes,
    /// Scratch space configured.
    pub scratch: Mebibytes,
    /// Bytes of the answer.
    pub response_bytes: u64,
    /// How it ended.
    pub status: RunStatus,
    /// The error's type, where the function or the contract gave one.
    pub error_kind: Option<String>,
}
