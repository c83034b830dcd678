//! Durable records of functions, revisions, aliases and providers' documents.

use async_trait::async_trait;
use sonagi_model::{Alias, AliasName, Document, EventId, Function, FunctionId, Revision, RevisionId};

/// A durable store failed; nothing of the request was kept unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full; reading goes on.
    #[error("disk full while {0}")]
    Full(&'static str),
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
    /// More is waiting than the bound allows.
    #[error("{what} is full ({limit})")]
    Busy {
        /// Which queue.
        what: &'static str,
        /// Its bound.
        limit: usize,
    },
    /// The event is not in the queue: never accepted, or over.
    #[error("event {0} is not pending")]
    NotPending(EventId),
    /// A stored record cannot be read: a newer format or damage.
    #[error("stored {what} cannot be read: {why}")]
    Unreadable {
        /// Which record.
        what: String,
        /// Why.
        why: String,
    },
    /// The database failed.
    #[error("{action} failed")]
    Database {
        /// What was tried.
        action: &'static str,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// One durable record.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "short-lived values of the control side; boxing would buy nothing"
)]
pub enum Record {
    /// A function.
    Function(Function),
    /// A revision.
    Revision(Revision),
    /// An alias.
    Alias(Alias),
    /// A provider's or the server's own document (accounts, settings).
    Document {
        /// The set it belongs to, for instance `aws.accounts`.
        collection: String,
        /// Its key in that set.
        key: String,
        /// The document.
        value: Document,
    },
}

/// One change of the records.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "short-lived values of the control side; boxing would buy nothing"
)]
pub enum Change {
    /// Insert, or replace by identity.
    Put(Record),
    /// Remove a function with all its revisions and aliases.
    RemoveFunction(FunctionId),
    /// Remove a revision.
    RemoveRevision(RevisionId),
    /// Remove an alias.
    RemoveAlias(FunctionId, AliasName),
    /// Remove a document.
    RemoveDocument {
        /// Its set.
        collection: String,
        /// Its key.
        key: String,
    },
}

/// Durable records. Readers keep what they need in memory; the store is read as a whole at start.
#[async_trait]
pub trait MetadataStore: Send + Sync + std::fmt::Debug {
    /// Every record.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn load(&self) -> Result<Vec<Record>, StoreError>;

    /// Applies all changes or none; durable when it returns. Concurrent callers share one flush to disk.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError>;
}
