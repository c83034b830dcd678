//! The ledger of attempts: written before an answer is complete, read by bills and by people.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sonagi_model::{FunctionId, FunctionName, InvocationId, Mebibytes, Namespace, RunRecord, TenantId, Timestamp};

use crate::StoreError;

/// The ledger cannot take a record now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The ring is full and draining; try again shortly.
    #[error("the usage ledger is full")]
    Full,
    /// The record is larger than a slot.
    #[error("the record is too large for the usage ledger")]
    TooLarge,
}

/// Which runs.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Of this function only.
    pub function: Option<FunctionId>,
    /// In this namespace only.
    pub namespace: Option<Namespace>,
    /// Begun at or after this moment.
    pub since: Option<Timestamp>,
    /// Failed ones only.
    pub failed: bool,
    /// At most so many, newest first; 0 means 50, at most 1000.
    pub limit: usize,
}

/// Which usage.
#[derive(Debug, Clone, Default)]
pub struct UsageFilter {
    /// Of this tenant only.
    pub tenant: Option<TenantId>,
    /// In this namespace only.
    pub namespace: Option<Namespace>,
    /// Attempts begun at or after this moment.
    pub from: Option<Timestamp>,
    /// Attempts begun before this moment.
    pub to: Option<Timestamp>,
}

/// Use of one function at one memory size over the period asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    /// Who pays.
    pub tenant: TenantId,
    /// Where the function is named.
    pub namespace: Namespace,
    /// The function's name.
    pub name: FunctionName,
    /// Memory configured.
    pub memory: Mebibytes,
    /// Scratch space configured.
    pub scratch: Mebibytes,
    /// Attempts.
    pub attempts: u64,
    /// Attempts that failed.
    pub errors: u64,
    /// Attempts that started an instance.
    pub cold_starts: u64,
    /// Sum of durations, microseconds.
    pub duration_us: u64,
    /// Sum of billed times, milliseconds.
    pub billed_ms: u64,
    /// Sum of answers, bytes.
    pub response_bytes: u64,
}

/// Records of attempts.
#[async_trait]
pub trait RunStore: Send + Sync + std::fmt::Debug {
    /// Keeps a record so that it survives the end of this process at any later moment. Waits for no disk.
    ///
    /// # Errors
    /// [`LedgerError`]; the caller then uses [`RunStore::append_slow`].
    fn append(&self, record: &RunRecord) -> Result<(), LedgerError>;

    /// Keeps a record through the database; durable when it returns.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn append_slow(&self, record: RunRecord) -> Result<(), StoreError>;

    /// All attempts of an invocation, oldest first. Records appended earlier are included.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn attempts(&self, invocation: InvocationId) -> Result<Vec<RunRecord>, StoreError>;

    /// Attempts by filter, newest first. Records appended earlier are included.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn recent(&self, filter: RunFilter) -> Result<Vec<RunRecord>, StoreError>;

    /// Usage by function and size. Records appended earlier are included.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn usage(&self, filter: UsageFilter) -> Result<Vec<UsageRow>, StoreError>;
}
