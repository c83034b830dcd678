//! Tables, and the steps by which an older store becomes one of today.
//!
//! Each step is one transaction together with the number it leaves in `user_version`, so a step that was interrupted
//! begins again from its start. A step that was released is never edited; a change is a further step.

use rusqlite::{Connection, TransactionBehavior};
use sonagi_crash::crash_point;

/// Steps, in order; the store's version is how many were taken.
const STEPS: [&str; 5] = [STEP_1, STEP_2, STEP_3, STEP_4, STEP_5];

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

const STEP_2: &str = "
-- Pending events, one narrow row each, rewritten at every step of its life; what never changes is in `bodies`.
CREATE TABLE queue (
    id BLOB PRIMARY KEY, lane TEXT NOT NULL, due INTEGER NOT NULL, accepted INTEGER NOT NULL, started INTEGER NOT NULL,
    failures INTEGER NOT NULL, postponed INTEGER NOT NULL, leased INTEGER NOT NULL, cancelled INTEGER NOT NULL,
    bytes INTEGER NOT NULL, origin BLOB, body INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX queue_waiting ON queue (lane, due, id) WHERE leased = 0;
CREATE INDEX queue_origin ON queue (origin) WHERE origin IS NOT NULL;
-- Contents, of pending events and of ended ones while they are kept; large ones are files. Numbered, so that each goes
-- behind the last one: pages are filled and never divided.
CREATE TABLE bodies (
    number INTEGER PRIMARY KEY, head TEXT NOT NULL, payload BLOB, file TEXT, digest BLOB, format INTEGER NOT NULL
) STRICT;
CREATE INDEX bodies_file ON bodies (file) WHERE file IS NOT NULL;
CREATE TABLE ended (
    sequence INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, status TEXT NOT NULL, accepted INTEGER NOT NULL,
    settled INTEGER NOT NULL, started INTEGER NOT NULL, failures INTEGER NOT NULL, postponed INTEGER NOT NULL,
    reason TEXT NOT NULL, head TEXT NOT NULL, bytes INTEGER NOT NULL, kept INTEGER NOT NULL, letter INTEGER NOT NULL,
    origin BLOB, body INTEGER NOT NULL
) STRICT;
CREATE INDEX ended_letters ON ended (sequence) WHERE letter = 1;
CREATE INDEX ended_origin ON ended (origin) WHERE origin IS NOT NULL;
CREATE TABLE tokens (
    scope TEXT NOT NULL, token TEXT NOT NULL, event BLOB NOT NULL, digest BLOB NOT NULL, expires INTEGER NOT NULL,
    PRIMARY KEY (scope, token)
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_expires ON tokens (expires);
-- One row. `history_floor` and `forgotten_floor` are how far in `ended` contents and rows have been thrown away.
CREATE TABLE totals (
    one INTEGER PRIMARY KEY CHECK (one = 1), accepted INTEGER NOT NULL, pending INTEGER NOT NULL,
    pending_bytes INTEGER NOT NULL, succeeded INTEGER NOT NULL, retries_exhausted INTEGER NOT NULL,
    expired INTEGER NOT NULL, target_gone INTEGER NOT NULL, disabled INTEGER NOT NULL, loop_stopped INTEGER NOT NULL,
    cancelled INTEGER NOT NULL, letters INTEGER NOT NULL, letter_bytes INTEGER NOT NULL, history_bytes INTEGER NOT NULL,
    history_floor INTEGER NOT NULL, forgotten_floor INTEGER NOT NULL, tokens INTEGER NOT NULL
) STRICT;

-- An event of step 1 goes on under the number of its invocation, which its callers know.
INSERT INTO queue
    SELECT invocation, 'fn_' || lower(hex(function)), due, accepted, attempts, attempts, 0, 0, 0, length(payload), NULL,
        events.rowid
    FROM events JOIN event_payloads USING (id);
INSERT INTO bodies
    SELECT events.rowid,
        json_object('route', json_object('function', json_object('contract', contract,
            'function', 'fn_' || lower(hex(function)), 'qualifier', qualifier)),
            'namespace', coalesce((SELECT namespace FROM functions WHERE functions.id = events.function), 'unknown'),
            'name', coalesce((SELECT name FROM functions WHERE functions.id = events.function), 'unknown'),
            'attributes', json(attributes)),
        payload, NULL, NULL, 2
    FROM events JOIN event_payloads USING (id);
INSERT INTO ended
    SELECT sequence, invocation, status, accepted, settled, attempts, 0, 0, '',
        json_object('route', json_object('function', json_object('contract', 'unknown',
            'function', 'fn_' || lower(hex(function)))),
            'namespace', coalesce((SELECT namespace FROM functions WHERE functions.id = function), 'unknown'),
            'name', coalesce((SELECT name FROM functions WHERE functions.id = function), 'unknown'),
            'attributes', json('[]')),
        0, 0, 0, NULL, 0
    FROM settled_events;
INSERT INTO totals VALUES (1,
    (SELECT count(*) FROM queue) + (SELECT count(*) FROM ended), (SELECT count(*) FROM queue),
    (SELECT coalesce(sum(bytes), 0) FROM queue), (SELECT count(*) FROM ended WHERE status = 'succeeded'),
    (SELECT count(*) FROM ended WHERE status = 'retries_exhausted'),
    (SELECT count(*) FROM ended WHERE status = 'expired'), (SELECT count(*) FROM ended WHERE status = 'target_gone'),
    0, 0, 0, 0, 0, 0, 0, 0, 0);
DROP TABLE events;
DROP TABLE event_payloads;
DROP TABLE settled_events;
DELETE FROM counters WHERE name = 'pending_events';
";

const STEP_3: &str = "
-- Run records that came in large batches: lines of JSON, and the span of time in which their attempts began.
CREATE TABLE run_packs (
    sequence INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL, runs INTEGER NOT NULL,
    failed INTEGER NOT NULL, format INTEGER NOT NULL, records BLOB NOT NULL
) STRICT;
";

const STEP_4: &str = "
-- Keys that seal records, each wrapped with the master key that `master` names.
CREATE TABLE data_keys (
    id INTEGER PRIMARY KEY, scope TEXT NOT NULL UNIQUE, master TEXT NOT NULL, wrapped TEXT NOT NULL
) STRICT;
";

const STEP_5: &str = "
-- Message queues. `number` is what a queue's messages carry; it changes when the queue is purged, and what carries a
-- number of `message_garbage` is swept away by and by.
CREATE TABLE queues (
    id BLOB PRIMARY KEY, number INTEGER NOT NULL UNIQUE, namespace TEXT NOT NULL, name TEXT NOT NULL,
    grouped INTEGER NOT NULL, retention INTEGER NOT NULL, dedup_window INTEGER NOT NULL, redrive_target BLOB,
    redrive_after INTEGER, created INTEGER NOT NULL, document TEXT NOT NULL, format INTEGER NOT NULL,
    UNIQUE (namespace, name)
) STRICT, WITHOUT ROWID;
-- One narrow row each, rewritten at every receipt; `receives` tells receipts apart. What never changes is in
-- `message_bodies`.
CREATE TABLE messages (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, queue INTEGER NOT NULL, id BLOB NOT NULL, member TEXT,
    sent INTEGER NOT NULL, visible INTEGER NOT NULL, expires INTEGER NOT NULL, receives INTEGER NOT NULL,
    first_received INTEGER, moved_from BLOB, bytes INTEGER NOT NULL
) STRICT;
CREATE INDEX messages_visible ON messages (queue, visible, sequence, receives, expires);
CREATE INDEX messages_grouped ON messages (queue, member, sequence) WHERE member IS NOT NULL;
CREATE INDEX messages_expires ON messages (expires);
CREATE TABLE message_bodies (
    sequence INTEGER PRIMARY KEY, head TEXT NOT NULL, body BLOB NOT NULL, format INTEGER NOT NULL
) STRICT;
-- Of each group with messages: its first message, and when that may be handed out: not while one of the group is in
-- flight.
CREATE TABLE message_groups (
    queue INTEGER NOT NULL, member TEXT NOT NULL, ready INTEGER NOT NULL, head INTEGER NOT NULL,
    PRIMARY KEY (queue, member)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_groups_ready ON message_groups (queue, ready, head);
CREATE TABLE message_tokens (
    queue INTEGER NOT NULL, token TEXT NOT NULL, id BLOB NOT NULL, sequence INTEGER NOT NULL, expires INTEGER NOT NULL,
    PRIMARY KEY (queue, token)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_tokens_expires ON message_tokens (expires);
CREATE TABLE message_garbage (queue INTEGER PRIMARY KEY) STRICT;
CREATE TABLE message_totals (
    one INTEGER PRIMARY KEY CHECK (one = 1), messages INTEGER NOT NULL, bytes INTEGER NOT NULL,
    next_number INTEGER NOT NULL
) STRICT;
INSERT INTO message_totals VALUES (1, 0, 0, 1);
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
    crash_point!("schema/taken");
    transaction.commit()?;
    crash_point!("schema/committed");
    Ok(())
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
    fn events_of_step_1_go_on() {
        let mut connection = Connection::open_in_memory().unwrap();
        take(&mut connection, 1, STEP_1).unwrap();
        let rows = "
            INSERT INTO functions VALUES (x'00000000000000000000000000000001', 'test/a', 'f', 1, '{}');
            INSERT INTO events VALUES (x'0a', x'0000000000000000000000000000000b', 'test',
                x'00000000000000000000000000000001', 'live', '[[\"trace\",\"Root=1\"]]', 5, 1, 6, 1);
            INSERT INTO event_payloads VALUES (x'0a', x'7b7d');
            INSERT INTO settled_events VALUES (7, x'0c', x'0000000000000000000000000000000d',
                x'00000000000000000000000000000001', 'expired', 1, 2, 3);";
        connection.execute_batch(rows).unwrap();
        migrate(&mut connection).unwrap();
        let queued: (String, i64, i64) = connection
            .query_row("SELECT lane, failures, bytes FROM queue", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .unwrap();
        assert_eq!(queued, ("fn_00000000000000000000000000000001".to_owned(), 1, 2));
        let head: String = connection
            .query_row("SELECT head FROM bodies", [], |row| row.get(0))
            .unwrap();
        assert_eq!(
            head,
            r#"{"route":{"function":{"contract":"test","function":"fn_00000000000000000000000000000001","qualifier":"live"}},"namespace":"test/a","name":"f","attributes":[["trace","Root=1"]]}"#
        );
        let totals: (i64, i64, i64) = connection
            .query_row("SELECT accepted, pending, expired FROM totals", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .unwrap();
        assert_eq!(totals, (2, 1, 1));
    }

    #[test]
    fn an_interrupted_step_leaves_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        let broken = format!("{STEP_1} SELECT no_such_function();");
        assert!(take(&mut connection, 1, &broken).is_err());
        migrate(&mut connection).unwrap();
    }
}
