//! The tables of the index.

use rusqlite::{Connection, TransactionBehavior};

use crate::error::{Doing, Error};

/// Version of the tables; a change is a further step beside this one.
const VERSION: i64 = 1;

const OPEN: &str = "open the index of objects";

/// Keys are blobs: they are compared byte by byte, which for UTF-8 is the order that listings promise, and the end of a
/// prefix need not be text. `dead` are bodies that nobody names any more and whose files may still be there.
const TABLES: &str = "
CREATE TABLE buckets (
    name TEXT PRIMARY KEY, owner TEXT NOT NULL, region TEXT NOT NULL, created INTEGER NOT NULL, document TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX buckets_owner ON buckets (owner, name);
CREATE TABLE objects (
    bucket TEXT NOT NULL, key BLOB NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL, modified INTEGER NOT NULL,
    segments TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (bucket, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE uploads (
    id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key BLOB NOT NULL, initiated INTEGER NOT NULL, document TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX uploads_bucket ON uploads (bucket, key, id);
CREATE TABLE parts (
    upload TEXT NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL, modified INTEGER NOT NULL,
    segments TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (upload, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE bodies (name TEXT PRIMARY KEY, size INTEGER NOT NULL, names INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE dead (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE notices (id INTEGER PRIMARY KEY AUTOINCREMENT, payload BLOB NOT NULL) STRICT;
";

/// Makes the tables of a new index; refuses one of a newer program.
pub(crate) fn prepare(connection: &mut Connection) -> Result<(), Error> {
    let found: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .doing(OPEN)?;
    if found == VERSION {
        return Ok(());
    }
    if found > VERSION {
        return Err(Error::Index {
            action: OPEN,
            source: format!("it has version {found}, this program knows up to {VERSION}").into(),
        });
    }
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .doing(OPEN)?;
    transaction.execute_batch(TABLES).doing(OPEN)?;
    transaction.pragma_update(None, "user_version", VERSION).doing(OPEN)?;
    transaction.commit().doing(OPEN)
}

/// Opens a connection as all of them are used: a commit is on disk before it is answered.
pub(crate) fn connect(path: &std::path::Path) -> Result<Connection, Error> {
    let connection = Connection::open(path).doing(OPEN)?;
    connection.busy_timeout(std::time::Duration::from_secs(5)).doing(OPEN)?;
    for (name, value) in [
        ("journal_mode", "WAL"),
        ("synchronous", "FULL"),
        ("journal_size_limit", "8388608"),
        ("cache_size", "-4096"),
        ("temp_store", "MEMORY"),
    ] {
        connection.pragma_update(None, name, value).doing(OPEN)?;
    }
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}
