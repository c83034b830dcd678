//! The durable queue of accepted events.

use async_trait::async_trait;
use sonagi_model::{EventId, Namespace, RunRecord, Timestamp};

use crate::{
    AcceptError, Accepted, EventHead, EventRoute, EventStatus, Lane, Progress, QueuedEvent, StoreError, Token,
};

/// Whether an event is leased in the very transaction that accepts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// Yes: its first attempt begins as soon as it is durable.
    Taken,
    /// No: it waits for its turn.
    Free,
}

/// Events of a lane that are due.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DuePage {
    /// Oldest first; none of them is leased.
    pub heads: Vec<EventHead>,
    /// When the first event that is not among them becomes due (or became).
    pub next: Option<Timestamp>,
}

/// The end of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// How it ended.
    pub status: EventStatus,
    /// When.
    pub at: Timestamp,
    /// What was tried.
    pub progress: Progress,
    /// Why, for people; empty after a success. At most [`Settlement::REASON_MAX`] bytes are kept.
    pub reason: String,
}

impl Settlement {
    /// Longest reason, bytes.
    pub const REASON_MAX: usize = 1024;

    /// An end without a reason.
    #[must_use]
    pub const fn new(status: EventStatus, at: Timestamp, progress: Progress) -> Self {
        Self {
            status,
            at,
            progress,
            reason: String::new(),
        }
    }
}

/// Another attempt will follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Postponement {
    /// When.
    pub due: Timestamp,
    /// What was tried so far.
    pub progress: Progress,
}

/// What a request to cancel did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The event is over.
    Now,
    /// An attempt is under way: the event is over when that is, and succeeds if that does.
    AfterAttempt,
    /// It is not pending.
    NotPending,
}

/// Where an event is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventState {
    /// It waits.
    Waiting,
    /// An attempt is under way.
    Running,
    /// It is over.
    Ended(Settlement),
}

/// One event, as people see it.
#[derive(Debug, Clone, PartialEq)]
pub struct EventView {
    /// Identity.
    pub id: EventId,
    /// Where it goes.
    pub route: EventRoute,
    /// Where its destination is named.
    pub namespace: Namespace,
    /// What its destination is called.
    pub name: String,
    /// The event by whose end, or for whose repetition, it was made.
    pub origin: Option<EventId>,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// When its next attempt is due, while it is pending.
    pub due: Timestamp,
    /// What was tried.
    pub progress: Progress,
    /// Where it is.
    pub state: EventState,
    /// Bytes of its content.
    pub bytes: u64,
    /// Whether the content is still stored.
    pub kept: bool,
    /// Whether it lies among the dead letters.
    pub letter: bool,
}

/// Which events.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// In this namespace only.
    pub namespace: Option<Namespace>,
    /// To destinations of this name only.
    pub name: Option<String>,
    /// Older than this one only: the last one of the page before.
    pub before: Option<EventId>,
    /// At most so many, newest first; 0 means 50, at most 1000.
    pub limit: usize,
}

impl EventFilter {
    /// The number asked for, within its bounds.
    #[must_use]
    pub fn limit(&self) -> usize {
        if self.limit == 0 { 50 } else { self.limit.min(1000) }
    }
}

/// Sums over the life of the store: `accepted` is always `pending` plus all ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventTotals {
    /// Ever accepted.
    pub accepted: u64,
    /// Not settled.
    pub pending: u64,
    /// Bytes of their contents.
    pub pending_bytes: u64,
    /// Settled, by status, in the order of [`EventStatus::ALL`].
    pub ended: [u64; EventStatus::ALL.len()],
    /// Dead letters that are kept.
    pub letters: u64,
}

impl EventTotals {
    /// What was accepted and neither waits nor ended: always 0.
    #[must_use]
    pub fn missing(&self) -> i128 {
        let ended: u64 = self.ended.iter().sum();
        i128::from(self.accepted) - i128::from(self.pending) - i128::from(ended)
    }
}

/// The durable queue. Whatever a method has answered survives the end of the process and of the machine's power.
#[async_trait]
pub trait EventQueue: Send + Sync + std::fmt::Debug {
    /// Takes an event; durable when it returns.
    ///
    /// # Errors
    /// [`AcceptError`]: the caller must be told, the event is not kept.
    async fn accept(&self, event: QueuedEvent, token: Option<Token>, lease: Lease) -> Result<Accepted, AcceptError>;

    /// Every lane with events that are not leased, and when the first of each becomes due.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn lanes(&self) -> Result<Vec<(Lane, Timestamp)>, StoreError>;

    /// Events of a lane due at `now` and not leased, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn due(&self, lane: &Lane, now: Timestamp, limit: usize) -> Result<DuePage, StoreError>;

    /// Marks events as worked on, so that a restart knows which attempts were under way. Those that are not as they were
    /// when their heads were read (ended, leased, postponed meanwhile) are left alone and left out of the answer.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn lease(&self, heads: Vec<EventHead>) -> Result<Vec<EventId>, StoreError>;

    /// Leased events after the given one, in the order of their ids, at most `limit`: right after a start these are the
    /// attempts that an earlier process left.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn leased(&self, after: Option<EventId>, limit: usize) -> Result<Vec<EventHead>, StoreError>;

    /// A pending event with its content; `None`: it is not pending.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn load(&self, id: EventId) -> Result<Option<QueuedEvent>, StoreError>;

    /// Another attempt will follow: the lease ends. `record` is the last attempt's, kept in the same transaction, absent
    /// when nothing ran.
    ///
    /// # Errors
    /// [`StoreError`], also when the event is not pending.
    async fn postpone(&self, id: EventId, next: Postponement, record: Option<RunRecord>) -> Result<(), StoreError>;

    /// The event is over; `record` is the last attempt's, and `follow_ups` are what its end sends elsewhere, kept in the
    /// same transaction. The queue's bounds do not hold for those. A dead event's content stays as a dead letter.
    ///
    /// # Errors
    /// [`StoreError`], also when the event is not pending: an event ends once.
    async fn settle(
        &self,
        id: EventId,
        settlement: Settlement,
        record: Option<RunRecord>,
        follow_ups: Vec<QueuedEvent>,
    ) -> Result<(), StoreError>;

    /// Ends an event early.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn cancel(&self, id: EventId, at: Timestamp) -> Result<Cancelled, StoreError>;

    /// Accepts the content of an ended event once more, under a new id and with the old one as its origin. A dead letter
    /// is taken from the dead letters. `None`: there is no ended event of this id whose content is kept.
    ///
    /// # Errors
    /// [`AcceptError`].
    async fn repeat(&self, id: EventId, new: EventId, at: Timestamp) -> Result<Option<QueuedEvent>, AcceptError>;

    /// Throws a dead letter's content away; whether there was one.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn drop_letter(&self, id: EventId) -> Result<bool, StoreError>;

    /// Dead letters, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn letters(&self, filter: EventFilter) -> Result<Vec<EventView>, StoreError>;

    /// Events, pending or ended, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn recent(&self, filter: EventFilter) -> Result<Vec<EventView>, StoreError>;

    /// One event; ended ones are remembered up to a number.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find(&self, id: EventId) -> Result<Option<EventView>, StoreError>;

    /// What an event's end or repetition made, oldest first, at most 100.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn offspring(&self, id: EventId) -> Result<Vec<EventView>, StoreError>;

    /// The content of an event, pending or ended; `None`: it is not stored any more.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn content(&self, id: EventId) -> Result<Option<bytes::Bytes>, StoreError>;

    /// Sums.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn totals(&self) -> Result<EventTotals, StoreError>;
}
