//! Records of a provider's own making that are many, never changed and seldom read: activations, for instance.

use async_trait::async_trait;
use bytes::Bytes;
use sonagi_model::Timestamp;

use crate::StoreError;

/// One such record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filing {
    /// Whose: a namespace. Readers see one scope only.
    pub scope: String,
    /// Identity in its scope; filing the same id again replaces the record.
    pub id: String,
    /// What lists are filtered by, and ordered by: when it happened.
    pub at: Timestamp,
    /// What lists are filtered by besides: a name.
    pub label: String,
    /// What lists show.
    pub summary: Bytes,
    /// The whole record.
    pub body: Bytes,
}

/// Which records of a scope.
#[derive(Debug, Clone, Default)]
pub struct FilingFilter {
    /// Whose.
    pub scope: String,
    /// With this label only.
    pub label: Option<String>,
    /// At or after this moment.
    pub since: Option<Timestamp>,
    /// At or before this moment.
    pub upto: Option<Timestamp>,
    /// So many of the newest are left out.
    pub skip: u64,
    /// At most so many, newest first.
    pub limit: u64,
}

/// Which part of records is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilingPart {
    /// [`Filing::summary`].
    Summary,
    /// [`Filing::body`].
    Body,
}

/// Keeps such records for some days, the newest of each scope.
#[async_trait]
pub trait Archive: Send + Sync + std::fmt::Debug {
    /// Keeps a record so that it survives the end of this process at any later moment. Waits for no disk.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when more wait to be filed than the bound allows; nothing was kept then.
    fn file(&self, filing: Filing) -> Result<(), StoreError>;

    /// The whole record of an id. Records filed earlier are included.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn get(&self, scope: &str, id: &str) -> Result<Option<Bytes>, StoreError>;

    /// Records by filter, newest first. Records filed earlier are included.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list(&self, filter: FilingFilter, part: FilingPart) -> Result<Vec<Bytes>, StoreError>;

    /// How many records a filter finds after its `skip`, at most its `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn count(&self, filter: FilingFilter) -> Result<u64, StoreError>;
}
