//! How an attempt to run ended, and whose fault it was.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How the first process of an instance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It exited with this status.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// The kernel ended it because the instance had reached its memory limit.
    OutOfMemory,
    /// The platform ended it.
    Reclaimed,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "signal: {name}"),
                None => write!(f, "signal: {signal}"),
            },
            Self::OutOfMemory => f.write_str("out of memory"),
            Self::Reclaimed => f.write_str("reclaimed by the platform"),
        }
    }
}

/// What people call a signal. Numbers: signal(7), x86-64 and aarch64.
const fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        31 => "bad system call",
        _ => return None,
    })
}

/// An error that function code reported, in its own words.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionError {
    /// The type that came beside the body, if the contract has such a thing.
    pub kind: Option<String>,
    /// The body exactly as the function sent it.
    pub body: Vec<u8>,
}

impl fmt::Debug for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionError")
            .field("kind", &self.kind)
            .field("bytes", &self.body.len())
            .finish()
    }
}

/// Why a call was refused before anything ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ThrottleReason {
    /// The function's reserved concurrency is used up (or zero).
    FunctionConcurrency,
    /// The tenant's concurrency is used up.
    TenantConcurrency,
    /// The node has no memory left and no idle instance to evict.
    NodeCapacity,
}

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The function answered.
    Success,
    /// The function reported an error.
    FunctionError(FunctionError),
    /// The function did not answer by its deadline.
    Timeout,
    /// The instance ended while it worked on the event.
    Exited(Exit),
    /// The instance reported an error while it initialized.
    InitError(FunctionError),
    /// The instance ended while it initialized.
    InitExited(Exit),
    /// The instance did not become ready in time.
    InitTimeout,
    /// The answer was larger than the contract allows; the limit in bytes.
    ResponseTooLarge(u64),
    /// The function broke its contract; what it did.
    ProtocolViolation(&'static str),
    /// The code has nothing that could be started (no such runtime here, no such file, wrong format); nothing of it ran.
    EntryPoint {
        /// The type of the error in the contract's vocabulary; `None`: the sandbox found out, the contract did not.
        kind: Option<String>,
        /// For the function's owner.
        message: String,
    },
    /// The caller of a streamed answer went away before its end; the attempt was ended then.
    CallerGone,
    /// The stored code is not what was hashed at its upload; it is quarantined and nothing of it ran. Text for operators.
    ArtifactDamaged(String),
    /// The platform failed; text for operators.
    Platform(String),
}

/// Whose fault an outcome is: billing, status codes, alarms and retries follow from this and never from text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Nobody's.
    None,
    /// The function's.
    Function,
    /// The platform's.
    Platform,
}

impl Outcome {
    /// Whose fault it is.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Success | Self::CallerGone => Blame::None,
            Self::FunctionError(_)
            | Self::Timeout
            | Self::Exited(_)
            | Self::InitError(_)
            | Self::InitExited(_)
            | Self::InitTimeout
            | Self::ResponseTooLarge(_)
            | Self::ProtocolViolation(_)
            | Self::EntryPoint { .. } => Blame::Function,
            Self::ArtifactDamaged(_) | Self::Platform(_) => Blame::Platform,
        }
    }

    /// Whether the instance may serve another event afterwards: only if it answered within its contract.
    #[must_use]
    pub const fn leaves_instance_usable(&self) -> bool {
        matches!(self, Self::Success | Self::FunctionError(_) | Self::ResponseTooLarge(_))
    }
}
