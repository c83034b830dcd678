//! What can go wrong, for whoever speaks a protocol over this store.

use std::io;
use std::path::PathBuf;

/// The store did not do it; nothing of the change was kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bucket does not exist.
    #[error("bucket {0} does not exist")]
    NoBucket(String),
    /// The object does not exist.
    #[error("object {0} does not exist")]
    NoObject(String),
    /// The upload does not exist: it was never begun, was ended or was given up.
    #[error("upload {0} does not exist")]
    NoUpload(String),
    /// The bucket's name is taken.
    #[error("bucket {name} exists and belongs to {owner}")]
    Taken {
        /// The bucket.
        name: String,
        /// Whose it is.
        owner: String,
    },
    /// What the caller expected of the object is not so.
    #[error("object {0} is not as was expected")]
    Condition(String),
    /// A bound is reached.
    #[error("{what} may be {limit} at most")]
    Bound {
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
    /// More waits than may wait; later there is room.
    #[error("{what} is full ({limit})")]
    Busy {
        /// Which queue.
        what: &'static str,
        /// Its bound.
        limit: u64,
    },
    /// The disk is full.
    #[error("disk full while trying to {0}")]
    Full(&'static str),
    /// The store is closed.
    #[error("the object store is closed")]
    Closed,
    /// The index failed.
    #[error("{action} failed")]
    Index {
        /// What was tried.
        action: &'static str,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file failed.
    #[error("{action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Names what was tried when a statement of the index fails.
pub(crate) trait Doing<T> {
    fn doing(self, action: &'static str) -> Result<T, Error>;
}

impl<T> Doing<T> for rusqlite::Result<T> {
    fn doing(self, action: &'static str) -> Result<T, Error> {
        self.map_err(|error| of_index(action, error))
    }
}

impl<T> Doing<T> for serde_json::Result<T> {
    fn doing(self, action: &'static str) -> Result<T, Error> {
        self.map_err(|error| Error::Index {
            action,
            source: Box::new(error),
        })
    }
}

pub(crate) fn of_index(action: &'static str, error: rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => Error::Full(action),
        Some(_) | None => Error::Index {
            action,
            source: Box::new(error),
        },
    }
}

pub(crate) fn of_file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| {
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Error::Full(action);
        }
        Error::File { action, path, source }
    }
}
