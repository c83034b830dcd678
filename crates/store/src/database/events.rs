//! The durable queue of asynchronous invocations.

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use sonagi_model::{EventId, FunctionId, InvocationId, RunRecord, Timestamp};
use sonagi_ports::{EventQueue, EventStatus, QueuedEvent, Settlement, StoreError};

use super::failure::Conflict;
use super::runs::{KeptRun, keep_runs};
use super::{Bounds, Database, Doing, signed, unreadable, unsigned};

/// Version of the format of a queued event: the columns, and its attributes as a JSON list of pairs.
const FORMAT: i64 = 1;

const ACCEPT: &str = "accept an event";
const READ: &str = "read events";
const POSTPONE: &str = "postpone an event";
const SETTLE: &str = "settle an event";

#[async_trait]
impl EventQueue for Database {
    async fn accept(&self, event: QueuedEvent) -> Result<(), StoreError> {
        let bounds = self.bounds();
        self.write(ACCEPT, move |connection| accept(connection, &event, bounds))
            .await
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<QueuedEvent>, StoreError> {
        self.read(move |connection| due(connection, now, limit)).await
    }

    async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.read(move |connection| {
            let next: Option<i64> = connection
                .prepare_cached("SELECT min(due) FROM events WHERE due > ?1")
                .and_then(|mut statement| statement.query_row([now.as_micros()], |row| row.get(0)))
                .doing(READ)?;
            Ok(next.map(Timestamp::from_micros))
        })
        .await
    }

    async fn postpone(
        &self,
        id: EventId,
        attempts: u32,
        due: Timestamp,
        record: Option<RunRecord>,
    ) -> Result<(), StoreError> {
        let (bounds, run) = (self.bounds(), record.map(KeptRun::new).transpose()?);
        self.write(POSTPONE, move |connection| {
            let changed = connection
                .prepare_cached("UPDATE events SET attempts = ?2, due = ?3 WHERE id = ?1")
                .and_then(|mut statement| {
                    statement.execute(params![id.as_uuid().as_bytes(), attempts, due.as_micros()])
                })
                .doing(POSTPONE)?;
            if changed == 0 {
                return Err(not_pending(POSTPONE, id));
            }
            keep_runs(connection, run.as_slice(), bounds)
        })
        .await
    }

    async fn settle(&self, id: EventId, settlement: Settlement, record: Option<RunRecord>) -> Result<(), StoreError> {
        let (bounds, run) = (self.bounds(), record.map(KeptRun::new).transpose()?);
        self.write(SETTLE, move |connection| {
            let last = run.as_ref().map(KeptRun::attempt);
            settle(connection, id, &settlement, last, bounds)?;
            keep_runs(connection, run.as_slice(), bounds)
        })
        .await
    }

    async fn pending(&self) -> Result<u64, StoreError> {
        self.read(|connection| pending(connection).doing(READ)).await
    }
}

fn not_pending(action: &'static str, id: EventId) -> StoreError {
    Conflict::error(action, format!("event {id} is not pending"))
}

fn pending(connection: &Connection) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached("SELECT value FROM counters WHERE name = 'pending_events'")?;
    statement.query_row([], |row| row.get(0).map(unsigned))
}

/// The count lives in a table and changes in the event's own transaction, so it is right whatever is undone.
fn count(connection: &Connection, change: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE counters SET value = value + ?1 WHERE name = 'pending_events'")?
        .execute([change])
        .map(drop)
}

fn accept(connection: &Connection, event: &QueuedEvent, bounds: Bounds) -> Result<(), StoreError> {
    let id = event.id.as_uuid().as_bytes();
    let known = connection
        .prepare_cached("SELECT 1 FROM events WHERE id = ?1 UNION ALL SELECT 1 FROM settled_events WHERE id = ?1")
        .and_then(|mut statement| statement.exists([id]))
        .doing(ACCEPT)?;
    if known {
        return Err(Conflict::error(
            ACCEPT,
            format!("event {} is already accepted", event.id),
        ));
    }
    if pending(connection).doing(ACCEPT)? >= bounds.pending_events {
        let limit = usize::try_from(bounds.pending_events).unwrap_or(usize::MAX);
        return Err(StoreError::Busy {
            what: "event queue",
            limit,
        });
    }
    let attributes = serde_json::to_string(&event.attributes).map_err(|error| unreadable("event attributes", error))?;
    insert(connection, event, &attributes).doing(ACCEPT)
}

fn insert(connection: &Connection, event: &QueuedEvent, attributes: &str) -> rusqlite::Result<()> {
    let id = event.id.as_uuid().as_bytes();
    let mut statement = connection.prepare_cached(
        "INSERT INTO events (id, invocation, contract, function, qualifier, attributes, accepted, attempts, due, format)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    statement.execute(params![
        id,
        event.invocation.as_uuid().as_bytes(),
        event.contract,
        event.function.as_uuid().as_bytes(),
        event.qualifier,
        attributes,
        event.accepted.as_micros(),
        event.attempts,
        event.due.as_micros(),
        FORMAT,
    ])?;
    connection
        .prepare_cached("INSERT INTO event_payloads (id, payload) VALUES (?1, ?2)")?
        .execute(params![id, event.payload.as_ref()])?;
    count(connection, 1)
}

fn due(connection: &Connection, now: Timestamp, limit: usize) -> Result<Vec<QueuedEvent>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT id, invocation, contract, function, qualifier, attributes, accepted, attempts, due, format, payload
             FROM events JOIN event_payloads USING (id) WHERE due <= ?1 ORDER BY due, id LIMIT ?2",
        )
        .doing(READ)?;
    let mut rows = statement
        .query(params![now.as_micros(), signed(limit as u64)])
        .doing(READ)?;
    let mut events = Vec::new();
    while let Some(row) = rows.next().doing(READ)? {
        events.push(event(row)?);
    }
    Ok(events)
}

fn event(row: &Row<'_>) -> Result<QueuedEvent, StoreError> {
    let uuid = |column| row.get(column).map(uuid::Uuid::from_bytes).doing(READ);
    let id = EventId::from_uuid(uuid(0)?);
    let format: i64 = row.get(9).doing(READ)?;
    if format != FORMAT {
        let why = format!("format {format}, this program reads format {FORMAT}");
        return Err(unreadable(format!("event {id}"), why));
    }
    let attributes: String = row.get(5).doing(READ)?;
    Ok(QueuedEvent {
        id,
        invocation: InvocationId::from_uuid(uuid(1)?),
        contract: row.get(2).doing(READ)?,
        function: FunctionId::from_uuid(uuid(3)?),
        qualifier: row.get(4).doing(READ)?,
        payload: Bytes::from(row.get::<_, Vec<u8>>(10).doing(READ)?),
        attributes: serde_json::from_str(&attributes).map_err(|error| unreadable(format!("event {id}"), error))?,
        accepted: Timestamp::from_micros(row.get(6).doing(READ)?),
        attempts: row.get(7).doing(READ)?,
        due: Timestamp::from_micros(row.get(8).doing(READ)?),
    })
}

/// The stored name of a status; part of the format.
const fn status_name(status: EventStatus) -> &'static str {
    match status {
        EventStatus::Succeeded => "succeeded",
        EventStatus::RetriesExhausted => "retries_exhausted",
        EventStatus::Expired => "expired",
        EventStatus::TargetGone => "target_gone",
    }
}

fn settle(
    connection: &Connection,
    id: EventId,
    settlement: &Settlement,
    last_attempt: Option<u32>,
    bounds: Bounds,
) -> Result<(), StoreError> {
    let moved = connection
        .prepare_cached(
            "INSERT INTO settled_events (id, invocation, function, status, accepted, settled, attempts)
             SELECT id, invocation, function, ?2, accepted, ?3, max(attempts, ?4) FROM events WHERE id = ?1
             RETURNING sequence",
        )
        .and_then(|mut statement| {
            let (status, at) = (status_name(settlement.status), settlement.at.as_micros());
            let parameters = params![id.as_uuid().as_bytes(), status, at, last_attempt.unwrap_or(0)];
            statement.query_row(parameters, |row| row.get::<_, i64>(0)).optional()
        })
        .doing(SETTLE)?;
    let Some(sequence) = moved else {
        return Err(not_pending(SETTLE, id));
    };
    remove(connection, id, sequence.saturating_sub(signed(bounds.settled_events))).doing(SETTLE)
}

/// Takes an event out of the queue, and forgets ended ones up to a number.
fn remove(connection: &Connection, id: EventId, forget: i64) -> rusqlite::Result<()> {
    let id = id.as_uuid().as_bytes();
    connection
        .prepare_cached("DELETE FROM events WHERE id = ?1")?
        .execute([id])?;
    connection
        .prepare_cached("DELETE FROM event_payloads WHERE id = ?1")?
        .execute([id])?;
    connection
        .prepare_cached("DELETE FROM settled_events WHERE sequence <= ?1")?
        .execute([forget])?;
    count(connection, -1)
}
