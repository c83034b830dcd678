//! The archive's database: one table, pruned now and then.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, named_params, params};
use sonagi_ports::{Filing, FilingFilter, FilingPart, StoreError};

use crate::database::Doing as _;

/// Version of the table.
const VERSION: i64 = 1;

const TABLE: &str = "
CREATE TABLE filings (
    scope TEXT NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL, label TEXT NOT NULL, summary BLOB NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (scope, id)
) STRICT;
CREATE INDEX filings_at ON filings (scope, at, id);
CREATE INDEX filings_labelled ON filings (scope, label, at, id);
";

/// Records after which the oldest are looked for.
pub(super) const PRUNE_EVERY: u64 = 1000;

/// What stays.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    pub(super) per_scope: u64,
    pub(super) age_ms: i64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Tables {
    connection: Connection,
    keep: Keep,
    unpruned: u64,
}

impl Tables {
    /// Opens or makes the file. One that a newer program wrote is refused.
    pub(super) fn open(path: &Path, keep: Keep) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // The journal beside it holds what a killed process did not file.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version == 0 {
            connection.execute_batch(&format!("BEGIN; {TABLE} PRAGMA user_version = {VERSION}; COMMIT;"))?;
        } else if version != VERSION {
            return Err(rusqlite::Error::InvalidParameterName(format!(
                "the archive has version {version}, this program knows {VERSION}"
            )));
        }
        Ok(Self {
            connection,
            keep,
            unpruned: 0,
        })
    }

    /// Files records, all or none.
    pub(super) fn insert(&mut self, group: &[Arc<Filing>]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT OR REPLACE INTO filings (scope, id, at, label, summary, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for filing in group {
                insert.execute(params![
                    filing.scope,
                    filing.id,
                    filing.at.as_micros(),
                    filing.label,
                    &filing.summary[..],
                    &filing.body[..],
                ])?;
            }
        }
        self.unpruned += group.len() as u64;
        if self.unpruned >= PRUNE_EVERY
            && let Some(newest) = group.iter().map(|filing| filing.at.as_micros()).max()
        {
            prune(&transaction, self.keep, newest)?;
            self.unpruned = 0;
        }
        transaction.commit()
    }

    /// The whole record of an id.
    pub(super) fn get(&self, scope: &str, id: &str) -> Result<Option<Bytes>, StoreError> {
        let read = || {
            let mut statement = self
                .connection
                .prepare_cached("SELECT body FROM filings WHERE scope = ?1 AND id = ?2")?;
            statement
                .query_row([scope, id], |row| row.get::<_, Vec<u8>>(0))
                .optional()
        };
        Ok(read().doing("read a record of the archive")?.map(Bytes::from))
    }

    /// Parts of records, newest first.
    pub(super) fn list(&self, filter: &FilingFilter, part: FilingPart) -> Result<Vec<Bytes>, StoreError> {
        let column = match part {
            FilingPart::Summary => "summary",
            FilingPart::Body => "body",
        };
        let read = || {
            let mut statement = self.connection.prepare_cached(&query(filter, column))?;
            let rows = statement.query_map(
                named_params! {
                    ":scope": filter.scope, ":label": filter.label.as_deref().unwrap_or_default(),
                    ":since": since(filter), ":upto": upto(filter),
                    ":limit": whole(filter.limit), ":skip": whole(filter.skip),
                },
                |row| row.get::<_, Vec<u8>>(0),
            )?;
            rows.map(|row| row.map(Bytes::from))
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().doing("list records of the archive")
    }

    /// How many records there are.
    pub(super) fn count(&self, filter: &FilingFilter) -> Result<u64, StoreError> {
        let read = || {
            let counted = format!("SELECT count(*) FROM ({})", query(filter, "1"));
            let mut statement = self.connection.prepare_cached(&counted)?;
            statement.query_row(
                named_params! {
                    ":scope": filter.scope, ":label": filter.label.as_deref().unwrap_or_default(),
                    ":since": since(filter), ":upto": upto(filter),
                    ":limit": whole(filter.limit), ":skip": whole(filter.skip),
                },
                |row| row.get::<_, i64>(0),
            )
        };
        Ok(read().doing("count records of the archive")?.cast_unsigned())
    }
}

fn query(filter: &FilingFilter, column: &str) -> String {
    // Named in both forms, so that both take the same parameters.
    let label = if filter.label.is_some() {
        "label = :label"
    } else {
        ":label IS NOT NULL"
    };
    format!(
        "SELECT {column} FROM filings WHERE scope = :scope AND {label} AND at BETWEEN :since AND :upto \
         ORDER BY at DESC, id DESC LIMIT :limit OFFSET :skip"
    )
}

fn since(filter: &FilingFilter) -> i64 {
    filter.since.map_or(i64::MIN, sonagi_model::Timestamp::as_micros)
}

/// Moments are compared to the millisecond, which is what callers know.
fn upto(filter: &FilingFilter) -> i64 {
    filter
        .upto
        .map_or(i64::MAX, |upto| upto.as_micros().saturating_add(999))
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn prune(connection: &Connection, keep: Keep, newest: i64) -> rusqlite::Result<()> {
    let oldest = newest.saturating_sub(keep.age_ms.saturating_mul(1000));
    let scopes = {
        let mut statement = connection.prepare_cached("SELECT DISTINCT scope FROM filings")?;
        let scopes = statement.query_map([], |row| row.get::<_, String>(0))?;
        scopes.collect::<rusqlite::Result<Vec<_>>>()?
    };
    for scope in scopes {
        let first: Option<i64> = connection
            .prepare_cached("SELECT at FROM filings WHERE scope = ?1 ORDER BY at DESC, id DESC LIMIT 1 OFFSET ?2")?
            .query_row(params![scope, whole(keep.per_scope)], |row| row.get(0))
            .optional()?;
        connection
            .prepare_cached("DELETE FROM filings WHERE scope = ?1 AND (at < ?2 OR at <= ?3)")?
            .execute(params![scope, oldest, first.unwrap_or(i64::MIN)])?;
    }
    Ok(())
}
