//! The durable queue of asynchronous invocations.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sonagi_model::{EventId, Function, FunctionId, InvocationId, Revision, RunRecord, Timestamp};

use crate::{Attributes, StoreError};

/// One accepted event. It leaves the queue by exactly one [`Settlement`].
#[derive(Debug, Clone, PartialEq)]
pub struct QueuedEvent {
    /// Identity.
    pub id: EventId,
    /// The invocation's id, the same for every attempt.
    pub invocation: InvocationId,
    /// The contract whose adapter accepted it and will resolve its target.
    pub contract: String,
    /// The function it is for.
    pub function: FunctionId,
    /// Which revision, in the words of the adapter (a version or alias, resolved again at every attempt).
    pub qualifier: Option<String>,
    /// The event itself.
    pub payload: Bytes,
    /// What the adapter hands to its sessions beside the event.
    pub attributes: Attributes,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// Attempts that have run so far.
    pub attempts: u32,
    /// When the next attempt is due.
    pub due: Timestamp,
}

/// How an event ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventStatus {
    /// The function answered.
    Succeeded,
    /// All attempts failed.
    RetriesExhausted,
    /// It became older than allowed.
    Expired,
    /// Its function is gone.
    TargetGone,
}

/// The end of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// How it ended.
    pub status: EventStatus,
    /// When.
    pub at: Timestamp,
}

/// The durable queue.
#[async_trait]
pub trait EventQueue: Send + Sync + std::fmt::Debug {
    /// Takes an event; durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::Full`] or [`StoreError::Busy`]: the caller must be told, the event is not kept.
    async fn accept(&self, event: QueuedEvent) -> Result<(), StoreError>;

    /// Events due at `now`, oldest first, at most `limit`. The same event is returned again until it is settled or
    /// postponed: the caller remembers what it is working on.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<QueuedEvent>, StoreError>;

    /// When the next event after `now` becomes due.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// An attempt has failed and another will follow at `due`; `record` is that attempt's record, kept in the same
    /// transaction, absent when nothing ran (throttled).
    ///
    /// # Errors
    /// [`StoreError`].
    async fn postpone(
        &self,
        id: EventId,
        attempts: u32,
        due: Timestamp,
        record: Option<RunRecord>,
    ) -> Result<(), StoreError>;

    /// The event is over; `record` is the last attempt's record, kept in the same transaction.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn settle(&self, id: EventId, settlement: Settlement, record: Option<RunRecord>) -> Result<(), StoreError>;

    /// Events that are not settled.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn pending(&self) -> Result<u64, StoreError>;
}

/// Where an event goes now.
#[derive(Debug, Clone)]
pub struct Target {
    /// The function.
    pub function: Arc<Function>,
    /// The revision for this attempt.
    pub revision: Arc<Revision>,
    /// Attributes for the session.
    pub attributes: Attributes,
    /// Concurrent invocations that the owner may have in all.
    pub tenant_concurrency: u32,
}

/// An event's function, version or alias no longer exists.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the target of the event no longer exists")]
pub struct TargetGone;

/// Implemented by each provider: says where an accepted event goes at this moment.
pub trait EventTargets: Send + Sync {
    /// Resolves the event's function and qualifier.
    ///
    /// # Errors
    /// [`TargetGone`].
    fn resolve(&self, event: &QueuedEvent) -> Result<Target, TargetGone>;
}
