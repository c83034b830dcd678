//! The one database file: who writes it, who reads it, how it is opened and closed.

mod events;
mod failure;
mod keyring;
mod messages;
mod metadata;
mod packs;
mod runs;
mod schema;
mod usage;
mod writer;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use sonagi_ports::StoreError;

use events::{Bodies, BodiesError};
pub(crate) use failure::{Doing, unreadable};
pub(crate) use keyring::{Keyring, find_master, needed_master, rewrap, seal_plain};
pub(crate) use runs::{KeptRun, RingPosition, keep_runs_of_ring, ring_positions};
pub(crate) use schema::SchemaError;

use crate::workers::Workers;
use writer::Writer;

/// Connections for reading, each on a thread of its own.
const READERS: usize = 2;

/// How much of what has ended is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Bounds {
    pub(crate) pending_events: u64,
    pub(crate) pending_bytes: u64,
    pub(crate) settled_events: u64,
    pub(crate) history_events: u64,
    pub(crate) history_bytes: u64,
    pub(crate) letters: u64,
    pub(crate) letter_bytes: u64,
    pub(crate) tokens: u64,
    pub(crate) messages: u64,
    pub(crate) message_bytes: u64,
    pub(crate) runs: u64,
}

/// The database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error("create the database")]
    Create(#[source] std::io::Error),
    #[error("{action} failed")]
    Open {
        action: &'static str,
        #[source]
        source: rusqlite::Error,
    },
    #[error("open the contents of events")]
    Bodies(#[from] BodiesError),
    #[error("start a thread of the store")]
    Thread(#[source] std::io::Error),
}

/// The database, open. One thread writes with group commit, two read; nothing runs while nobody asks.
#[derive(Debug)]
pub(crate) struct Database {
    writer: Writer,
    readers: Workers<Connection>,
    bodies: Bodies,
    bounds: Bounds,
    keyring: Arc<Keyring>,
}

/// A database that is open and of today's schema, before its threads run.
#[derive(Debug)]
pub(crate) struct Prepared {
    path: PathBuf,
    pub(crate) connection: Connection,
    pub(crate) bounds: Bounds,
}

impl Prepared {
    /// Opens or creates the file and brings its tables up to date.
    pub(crate) fn open(path: PathBuf, bounds: Bounds) -> Result<Self, DatabaseError> {
        // Made here, so that nobody else may read it; the database gives its other files the same mode.
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(DatabaseError::Create)?;
        let mut connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        schema::migrate(&mut connection)?;
        Ok(Self {
            path,
            connection,
            bounds,
        })
    }

    /// Starts the threads.
    pub(crate) fn start(self, keyring: Arc<Keyring>) -> Result<Database, DatabaseError> {
        let readers = (0..READERS).map(|_| {
            let connection = connect(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            configure(&connection, &[("query_only", "1")])?;
            Ok(connection)
        });
        let readers = readers.collect::<Result<Vec<_>, DatabaseError>>()?;
        let bodies = Bodies::open(self.path.with_file_name("bodies"), &self.connection)?;
        Ok(Database {
            bodies,
            writer: Writer::start(self.connection, self.bounds).map_err(DatabaseError::Thread)?,
            readers: Workers::start("store-reader", readers).map_err(DatabaseError::Thread)?,
            bounds: self.bounds,
            keyring,
        })
    }
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, DatabaseError> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(|source| {
        DatabaseError::Open {
            action: "open the database",
            source,
        }
    })?;
    connection
        .busy_timeout(Duration::from_secs(5))
        .map_err(|source| DatabaseError::Open {
            action: "set the busy timeout",
            source,
        })?;
    // FULL: a commit is on disk before it is answered. The log is moved over every 1000 pages (4 MiB) and its file cut
    // back, so it stays small; the page cache is bounded per connection.
    configure(
        &connection,
        &[
            ("journal_mode", "WAL"),
            ("synchronous", "FULL"),
            ("wal_autocheckpoint", "1000"),
            ("journal_size_limit", "8388608"),
            ("cache_size", "-4096"),
            ("temp_store", "MEMORY"),
        ],
    )?;
    connection.set_prepared_statement_cache_capacity(144);
    Ok(connection)
}

fn configure(connection: &Connection, settings: &[(&str, &str)]) -> Result<(), DatabaseError> {
    for (name, value) in settings {
        connection
            .pragma_update(None, name, value)
            .map_err(|source| DatabaseError::Open {
                action: "configure the database",
                source,
            })?;
    }
    Ok(())
}

impl Database {
    /// Runs `work` on a reading connection. It sees every write that was answered before.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers
            .run(|connection| work(connection))
            .await
            .map_err(|_| StoreError::Closed)?
    }

    /// See [`Writer::write`].
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.write(action, work).await
    }

    /// See [`Writer::write_blocking`].
    pub(crate) fn write_blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.write_blocking(action, work)
    }

    pub(crate) const fn bodies(&self) -> &Bodies {
        &self.bodies
    }

    pub(crate) fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.keyring)
    }

    pub(crate) const fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Finishes what waits and leaves one file behind. Readers go first: the last one out moves the log over.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// An unsigned number as the database's signed one. Counts and sizes never come near the end of its range.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The database's number as the unsigned one that was stored.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
