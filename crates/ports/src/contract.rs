//! How the platform talks with function code. The pool does not know which side dials.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sonagi_model::{FunctionError, InstanceId, InvocationId, Revision, RevisionSpec, RunRecord, Timestamp};
use tokio::sync::mpsc;

use crate::{CellKind, LaunchPlan, LogLine, LogSource};

/// What an adapter hands to its own sessions beside the event (an ARN, a trace header, a client context). The core
/// carries it and never looks inside.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attributes(pub Vec<(String, String)>);

impl Attributes {
    /// The value under a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// Puts a value in place of any other under its key.
    pub fn replace(&mut self, key: &str, value: impl Into<String>) {
        self.0.retain(|(name, _)| name != key);
        self.set(key, value);
    }

    /// Adds a value.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.push((key.to_owned(), value.into()));
    }
}

/// What a contract is asked to plan.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The revision to run.
    pub revision: &'a Revision,
    /// The instance it will run in.
    pub instance: InstanceId,
    /// The verified code tree on the host.
    pub tree: &'a Path,
    /// The verified tree beside it, if the revision has one.
    pub beside: Option<&'a Path>,
    /// What it is started for.
    pub purpose: Purpose,
}

/// What an instance is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Somebody waits for one.
    Demand,
    /// So many are kept loaded, whether anybody calls or not.
    Floor,
}

/// A launch cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    /// The host lacks the runtime; text for the function's owner, with a hint.
    #[error("runtime {runtime} is not available on this host: {hint}")]
    RuntimeMissing {
        /// The runtime asked for.
        runtime: String,
        /// What to do.
        hint: String,
    },
    /// The code has no entry point; the error type and text that its owner sees.
    #[error("{kind}: {message}")]
    EntryPoint {
        /// In the contract's vocabulary.
        kind: String,
        /// For the function's owner.
        message: String,
    },
}

/// A started instance, handed to its contract.
#[derive(Debug)]
pub struct Opening {
    /// The revision.
    pub revision: Arc<Revision>,
    /// The instance.
    pub instance: InstanceId,
    /// Listeners in the order of the plan, non-blocking.
    pub listeners: Vec<TcpListener>,
    /// Our end of the channel if the plan asked for one, non-blocking.
    pub channel: Option<UnixStream>,
    /// The instance's `/tmp` if the plan asked for it; see [`crate::Started::scratch`]. To be let go of at the latest when
    /// the session is closed.
    pub scratch: Option<OwnedFd>,
    /// What it was started for.
    pub purpose: Purpose,
    /// Its log.
    pub log: Arc<dyn InstanceLog>,
}

/// The log of one instance, for contracts that have something to say in it beside what the function prints.
pub trait InstanceLog: Send + Sync + std::fmt::Debug {
    /// Adds lines: of the platform, or of a program that runs beside the function's and whose output the contract hears.
    /// They belong to the invocation under way, if there is one. Limits hold for those of programs.
    fn write(&self, source: LogSource, lines: Vec<String>);
}

/// Hears what a function prints, as it goes into its log.
pub trait LogTap: Send + Sync + std::fmt::Debug {
    /// Lines of one instance, in order: the function's own, none of [`InstanceLog`]. Called under a lock of the instance's
    /// output, so it must neither wait nor write there.
    fn heard(&self, lines: &[LogLine]);
}

/// Numbers of a contract that the engine enforces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractLimits {
    /// Longest initialization.
    pub init: Duration,
    /// Largest whole answer, bytes.
    pub response: u64,
    /// Largest streamed answer, bytes.
    pub stream: u64,
}

/// A moment about which the platform writes into a function's log, in the provider's own words.
#[derive(Debug)]
pub enum Moment<'a> {
    /// An instance begins to initialize.
    InitStart {
        /// The revision.
        revision: &'a Revision,
        /// The instance.
        instance: InstanceId,
        /// What it is started for.
        purpose: Purpose,
    },
    /// Initialization failed or took too long.
    InitFailed {
        /// The revision.
        revision: &'a Revision,
        /// What it was started for.
        purpose: Purpose,
        /// How long it took.
        took: Duration,
        /// `error`, `timeout`, `exit`.
        status: &'static str,
    },
    /// An attempt begins.
    Start {
        /// The invocation.
        invocation: InvocationId,
        /// The revision.
        revision: &'a Revision,
    },
    /// The deadline passed.
    TimedOut {
        /// The revision.
        revision: &'a Revision,
        /// The invocation.
        invocation: InvocationId,
        /// When.
        at: Timestamp,
        /// The limit.
        timeout: Duration,
    },
    /// An attempt is over and metered.
    End {
        /// The revision.
        revision: &'a Revision,
        /// Its record.
        record: &'a RunRecord,
    },
}

/// One way of talking with function code.
pub trait Contract: Send + Sync + std::fmt::Debug {
    /// The name that revisions carry, for instance `aws-lambda`.
    fn name(&self) -> &'static str;

    /// Says what to start.
    ///
    /// # Errors
    /// [`ContractError`].
    fn plan(&self, launch: &Launch<'_>) -> Result<LaunchPlan, ContractError>;

    /// The kind of cell that launches with this configuration will have, where it is known before any code is looked at:
    /// cells can then be made ahead. May block while an interpreter is made ready for the first time.
    fn cell(&self, spec: &RevisionSpec) -> Option<CellKind>;

    /// Begins to serve a started instance. Called on a tokio runtime.
    fn open(&self, opening: Opening) -> Arc<dyn Session>;

    /// The numbers to enforce.
    fn limits(&self) -> ContractLimits;

    /// How long an idle instance of this revision is kept, where its owner decides that; `None`: the platform's time.
    fn keep_alive(&self, _revision: &Revision) -> Option<Duration> {
        None
    }

    /// Billed milliseconds of an attempt that caused `init` and ran for `duration`.
    fn billed_ms(&self, init: Duration, duration: Duration) -> u64;

    /// What to write into the function's log at this moment; nothing if the contract has no such custom.
    fn narrate(&self, moment: &Moment<'_>) -> Vec<String>;
}

/// One event to hand over.
#[derive(Debug, Clone)]
pub struct Call {
    /// The invocation.
    pub invocation: InvocationId,
    /// Which try, from 1.
    pub attempt: u32,
    /// The event as the function gets it.
    pub payload: Bytes,
    /// When the function must have answered; wall time, because functions are told it.
    pub deadline: Timestamp,
    /// The adapter's own words.
    pub attributes: Attributes,
}

/// Around the name of an invocation in front of a line of output. Where a revision's concurrency is more than one, a line
/// that an instance writes may begin with this byte, the invocation's id as 32 hexadecimal digits, and this byte again:
/// it then belongs to that one of the invocations under way in the instance. Without, it belongs to all of them.
pub const OUTPUT_MARK: u8 = 0x1d;

/// Bytes of a whole mark.
pub const MARK_BYTES: usize = 34;

/// The invocation that a line of output names, and the line without its mark.
#[must_use]
pub fn marked_line(line: &[u8]) -> Option<(InvocationId, &[u8])> {
    let (mark, rest) = line.split_at_checked(MARK_BYTES)?;
    let [OUTPUT_MARK, digits @ .., OUTPUT_MARK] = mark else {
        return None;
    };
    let text = std::str::from_utf8(digits).ok()?;
    Some((text.parse().ok()?, rest))
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// Its content type, if the function named one.
    pub content_type: Option<String>,
    /// Its body.
    pub body: ReplyBody,
}

/// The body of an answer.
#[derive(Debug)]
pub enum ReplyBody {
    /// Complete: a result or an error, as the function sent it.
    Whole(Result<Bytes, FunctionError>),
    /// Still coming. The channel is bounded: a slow reader slows the function. Closing it without
    /// [`StreamPart::End`] or [`StreamPart::Failed`] means that the function's side broke off.
    Stream(mpsc::Receiver<StreamPart>),
}

/// A part of a streamed answer.
#[derive(Debug)]
pub enum StreamPart {
    /// Bytes.
    Data(Bytes),
    /// The function ended the stream with an error.
    Failed(FunctionError),
    /// The function ended the stream.
    End,
}

/// The instance did not become ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitFailure {
    /// It reported an error.
    Reported(FunctionError),
    /// It broke the contract; what it did.
    Violation(&'static str),
}

/// An event could not be answered through this session. The end of the process, deadlines and the like are the
/// engine's business, not the session's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionError {
    /// The function never took the event: another instance may be tried.
    NotDelivered,
    /// The answer was larger than this many bytes.
    ResponseTooLarge(u64),
    /// The function broke the contract; what it did.
    Violation(&'static str),
    /// The session was closed.
    Closed,
    /// The function hung up before it had answered: because it ended, or else it broke the contract; what it did then.
    HungUp(&'static str),
    /// The function failed in a way after which its instance must not get another event; in its own words.
    Broken(FunctionError),
    /// It did not answer by a deadline that the contract itself keeps, shorter than the revision's.
    TimedOut,
    /// The same while it still prepared for its first event, for contracts that initialize with that.
    InitTimedOut,
}

/// The conversation with one instance.
#[async_trait]
pub trait Session: Send + Sync + std::fmt::Debug {
    /// Waits until the instance can take its first event. Cancel safe; may be called once.
    ///
    /// # Errors
    /// [`InitFailure`].
    async fn ready(&self) -> Result<(), InitFailure>;

    /// Hands over an event and waits for the answer (for a streamed one: for its beginning). One at a time per unit of
    /// the revision's concurrency. Dropping the future gives up on the event; the instance then gets no other, and is
    /// destroyed when those that it still works on are over: giving up on one must not disturb them.
    ///
    /// # Errors
    /// [`SessionError`].
    async fn invoke(&self, call: Call) -> Result<Reply, SessionError>;

    /// Waits until everything that the instance sent before its process ended has been read. Bounded by the caller.
    async fn drained(&self);

    /// Whether something in the instance may still work on an event that is answered. Asked once for each event, so
    /// it must be cheap; once true it stays.
    fn lingers(&self) -> bool {
        false
    }

    /// Waits until nothing in the instance works on an event any more. Cancel safe. Only for sessions that linger.
    ///
    /// # Errors
    /// [`SessionError`]: the instance must not get another event.
    async fn settled(&self) -> Result<(), SessionError> {
        Ok(())
    }

    /// An attempt is over and metered. Only for sessions that linger.
    fn metered(&self, _record: &RunRecord) {}

    /// Whether the instance is to be told before it ends; see [`Session::farewell`].
    fn takes_leave(&self) -> bool {
        false
    }

    /// Tells the instance, which runs, that it is about to end, and waits until it has put its things in order: not
    /// longer than the contract's own limit, after which it is ended as it is. Called once, before [`Session::close`].
    async fn farewell(&self) {}

    /// Who wants to hear what the function prints. Asked once, when the session has been opened.
    fn log_tap(&self) -> Option<Arc<dyn LogTap>> {
        None
    }

    /// Stops serving and forgets the instance's credentials. May be called again.
    fn close(&self);
}
