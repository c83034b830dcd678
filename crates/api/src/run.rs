//! What ran, and where its time went.

use serde::{Deserialize, Serialize};

/// Whether an instance was there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// The instance was started for this call.
    Cold,
    /// An instance was there.
    Warm,
}

/// How an attempt ended.
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
    /// The caller went away before the answer was complete.
    CallerGone,
    /// The platform failed.
    Platform,
    /// The platform ended while it ran; how far it got is not known, and nobody pays for it.
    Lost,
    /// A status of a newer platform.
    #[serde(other)]
    Unknown,
}

impl RunStatus {
    /// The text form, as in JSON, with spaces.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::FunctionError => "function error",
            Self::Timeout => "timeout",
            Self::Crash => "crash",
            Self::OutOfMemory => "out of memory",
            Self::InitError => "init error",
            Self::ResponseTooLarge => "response too large",
            Self::ProtocolViolation => "protocol violation",
            Self::CallerGone => "caller gone",
            Self::Platform => "platform error",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
    }
}

/// Phases of a cold start, microseconds, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
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

impl Phases {
    /// The phases in order, with their names.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, u64); 5] {
        [
            ("queue", self.queue_us),
            ("artifact", self.artifact_us),
            ("cell", self.cell_us),
            ("process", self.process_us),
            ("init", self.init_us),
        ]
    }
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The invocation.
    pub invocation: String,
    /// Which try, from 1.
    pub attempt: u32,
    /// Where the function is named.
    pub namespace: String,
    /// The function's name when it ran.
    pub name: String,
    /// The revision that ran.
    pub revision: String,
    /// That revision's label.
    pub version: String,
    /// The instance, if one was reached.
    pub instance: Option<String>,
    /// When it began, RFC 3339.
    pub started: String,
    /// Cold or warm.
    pub start: Start,
    /// Phases of a cold start.
    pub phases: Option<Phases>,
    /// Initialization that this attempt caused and pays for, microseconds.
    pub init_us: u64,
    /// From handing over the event until the last byte of the answer, microseconds.
    pub duration_us: u64,
    /// What is billed, milliseconds.
    pub billed_ms: u64,
    /// Memory configured, MiB.
    pub memory_mib: u32,
    /// Highest memory of the instance so far, MiB.
    pub memory_peak_mib: u32,
    /// Bytes of the answer.
    pub response_bytes: u64,
    /// How it ended.
    pub status: RunStatus,
    /// The error's type, where the function or the contract gave one.
    pub error_kind: Option<String>,
}

/// Attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    /// The attempts, in the order that the request promises.
    pub runs: Vec<Run>,
}
