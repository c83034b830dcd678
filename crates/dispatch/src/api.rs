//! What callers of the dispatcher say and hear.

use std::sync::Arc;

use bytes::Bytes;
use sonagi_model::{Function, InvocationId, Outcome, Revision, RunRecord, ThrottleReason};
use sonagi_ports::{Attributes, StreamPart};
use tokio::sync::{mpsc, oneshot};

/// One synchronous request to run.
#[derive(Debug, Clone)]
pub struct Request {
    /// The function.
    pub function: Arc<Function>,
    /// The revision that its adapter chose.
    pub revision: Arc<Revision>,
    /// The invocation's id, made by the adapter.
    pub invocation: InvocationId,
    /// Which try, from 1.
    pub attempt: u32,
    /// The event as the function gets it.
    pub payload: Bytes,
    /// What the adapter says to its own session.
    pub attributes: Attributes,
    /// Concurrent invocations that the owner may have in all.
    pub tenant_concurrency: u32,
    /// Whether the end of the log is wanted with the answer.
    pub log_tail: LogTail,
}

/// Whether the end of an invocation's log comes back with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogTail {
    /// No.
    Omit,
    /// The last so many bytes, START and REPORT lines included.
    Bytes(usize),
}

/// The request was refused before anything ran. Nothing was metered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A limit of concurrency or capacity.
    #[error("throttled: {0:?}")]
    Throttled(ThrottleReason),
    /// The platform is stopping.
    #[error("the platform is stopping")]
    Stopping,
}

/// An attempt has run, or is still streaming.
#[derive(Debug)]
pub enum Answer {
    /// It is over.
    Whole(Finished),
    /// Bytes are still coming.
    Stream(Streaming),
}

/// The end of an attempt.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub outcome: Outcome,
    /// The answer of the function; empty unless [`Outcome::Success`].
    pub body: Bytes,
    /// Its content type, if the function named one.
    pub content_type: Option<String>,
    /// The end of its log, if wanted.
    pub log_tail: Option<Vec<u8>>,
    /// Its record, already in the ledger.
    pub record: Arc<RunRecord>,
}

/// An answer that is still coming. Dropping the parts tells the dispatcher that the caller has gone; the attempt is
/// then ended and metered.
#[derive(Debug)]
pub struct Streaming {
    /// Content type, if the function named one.
    pub content_type: Option<String>,
    /// The parts. The channel closes after [`StreamPart::End`] or [`StreamPart::Failed`], or early when the attempt broke
    /// off (crash, deadline); `finished` then says why.
    pub parts: mpsc::Receiver<StreamPart>,
    /// The end of the attempt; its body is empty.
    pub finished: oneshot::Receiver<Finished>,
}
