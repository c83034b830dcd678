//! Tables, and the steps by which an older store becomes one of today.
//!
//! Each step is one transaction together with the number it leaves in `user_version`, so a step that was interrupted
//! begins again from its start. A step that was released is never edited; a change is a further step.

use rusqlite::{Connection, TransactionBehavior};

/// Steps, in order; the store's version is how many were taken.
const STEPS: [&str; 1] = [STEP_1];

/// Version that this program writes.
pub(crate) const VERSION: i64 = STEPS.len() as i64;

const STEP_1: &str = "
CREATE TABLE functions (
    id BLOB PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL, format INTEGER NOT NULL, record TEXT NOT NULL,
    UNIQUE (namespace, name)
) STRICT;
CREATE TABLE revisions (
    id BLOB PRIMARY KEY, function BLOB NOT NULL, format INTEGER NOT NULL, record TEXT NOT NULL
) STRICT;
CREATE INDEX revisions_of_function ON revisions (function);
CREATE TABLE aliases (
    function BLOB NOT NULL, name TEXT NOT NULL, format INTEGER NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (function, name)
) STRICT;
CREATE TABLE documents (
    collection TEXT NOT NULL, key TEXT NOT NULL, format INTEGER NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (collection, key)
) STRICT;

-- Pending events. Payloads are apart, so that postponing an event does not rewrite its payload.
CREATE TABLE events (
    id BLOB PRIMARY KEY, invocation BLOB NOT NULL, contract TEXT NOT NULL, function BLOB NOT NULL, qualifier TEXT,
    attributes TEXT NOT NULL, accepted INTEGER NOT NULL, attempts INTEGER NOT NULL, due INTEGER NOT NULL,
    format INTEGER NOT NULL
) STRICT;
CREATE INDEX events_due ON events (due, id);
CREATE TABLE event_payloads (id BLOB PRIMARY KEY, payload BLOB NOT NULL) STRICT;
CREATE TABLE settled_events (
    sequence INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, invocation BLOB NOT NULL, function BLOB NOT NULL,
    status TEXT NOT NULL, accepted INTEGER NOT NULL, settled INTEGER NOT NULL, attempts INTEGER NOT NULL
) STRICT;

CREATE TABLE runs (
    sequence INTEGER PRIMARY KEY, invocation BLOB NOT NULL, attempt INTEGER NOT NULL, function BLOB NOT NULL,
    namespace TEXT NOT NULL, started INTEGER NOT NULL, failed INTEGER NOT NULL, format INTEGER NOT NULL,
    record TEXT NOT NULL,
    UNIQUE (invocation, attempt)
) STRICT;
CREATE INDEX runs_of_function ON runs (function, started);
CREATE INDEX runs_started ON runs (started);
CREATE TABLE usage (
    tenant TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, memory INTEGER NOT NULL,
    scratch INTEGER NOT NULL, hour INTEGER NOT NULL, attempts INTEGER NOT NULL, errors INTEGER NOT NULL,
    cold_starts INTEGER NOT NULL, duration_us INTEGER NOT NULL, billed_ms INTEGER NOT NULL,
    response_bytes INTEGER NOT NULL,
    PRIMARY KEY (tenant, namespace, name, memory, scratch, hour)
) STRICT, WITHOUT ROWID;

-- How far each ring of the ledger has been taken over.
CREATE TABLE ring_positions (shard INTEGER PRIMARY KEY, position INTEGER NOT NULL, sequence INTEGER NOT NULL) STRICT;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO counters VALUES ('pending_events', 0), ('runs_pruned_until', -9223372036854775808);
";

/// Why the tables are not as needed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SchemaError {
    #[error("store has schema version {found}, this program knows up to {VERSION}")]
    Newer { found: i64 },
    #[error("schema step {step} failed")]
    Step {
        step: i64,
        #[source]
        source: rusqlite::Error,
    },
    #[error("schema version cannot be read")]
    Version(#[source] rusqlite::Error),
}

/// Takes the steps that are missing.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), SchemaError> {
    let found: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(SchemaError::Version)?;
    if found > VERSION {
        return Err(SchemaError::Newer { found });
    }
    for (step, sql) in (1..).zip(STEPS).filter(|(step, _)| *step > found) {
        take(connection, step, sql).map_err(|source| SchemaError::Step { step, source })?;
    }
    Ok(())
}

fn take(connection: &mut Connection, step: i64, sql: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(sql)?;
    transaction.pragma_update(None, "user_version", step)?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_taken_once_and_a_newer_store_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        migrate(&mut connection).unwrap();
        connection.pragma_update(None, "user_version", VERSION + 1).unwrap();
        let refused = migrate(&mut connection).unwrap_err().to_string();
        assert_eq!(
            refused,
            format!(
                "store has schema version {}, this program knows up to {VERSION}",
                VERSION + 1
            )
        );
    }

    #[test]
    fn an_interrupted_step_leaves_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        let broken = format!("{STEP_1} SELECT no_such_function();");
        assert!(take(&mut connection, 1, &broken).is_err());
        migrate(&mut connection).unwrap();
    }
}
