//! What the database says, as the port's errors.

use rusqlite::ErrorCode;
use sonagi_ports::StoreError;

/// Names what was being done when the database failed.
pub(crate) trait Doing<T> {
    /// Turns the database's error into the port's.
    fn doing(self, action: &'static str) -> Result<T, StoreError>;
}

impl<T> Doing<T> for rusqlite::Result<T> {
    fn doing(self, action: &'static str) -> Result<T, StoreError> {
        self.map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full(action),
            Some(_) | None => StoreError::Database {
                action,
                source: Box::new(error),
            },
        })
    }
}

/// A transaction of several jobs failed as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct CommitFailure {
    pub(crate) full: bool,
    /// The disk did not keep what it was given: nothing may be written until the database was recovered.
    pub(crate) fatal: bool,
    message: String,
}

impl CommitFailure {
    pub(crate) fn new(error: &rusqlite::Error) -> Self {
        let code = error.sqlite_error_code();
        Self {
            full: code == Some(ErrorCode::DiskFull),
            fatal: matches!(code, Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt)),
            message: error.to_string(),
        }
    }

    /// A job filled the disk and took the transaction with it.
    pub(crate) fn no_space() -> Self {
        Self {
            full: true,
            fatal: false,
            message: "database or disk is full".to_owned(),
        }
    }

    pub(crate) fn to_error(&self, action: &'static str) -> StoreError {
        if self.full {
            StoreError::Full(action)
        } else {
            StoreError::Database {
                action,
                source: Box::new(self.clone()),
            }
        }
    }
}

/// A request does not fit what is stored; in the caller's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Conflict(pub(crate) String);

impl Conflict {
    pub(crate) fn error(action: &'static str, text: String) -> StoreError {
        StoreError::Database {
            action,
            source: Box::new(Self(text)),
        }
    }
}

/// A stored record that this program cannot read.
pub(crate) fn unreadable(what: impl Into<String>, why: impl ToString) -> StoreError {
    StoreError::Unreadable {
        what: what.into(),
        why: why.to_string(),
    }
}
