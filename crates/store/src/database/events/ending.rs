//! Ends of events: written once, together with the last attempt's record and with what the end sends elsewhere.

use rusqlite::{Connection, OptionalExtension, params};
use sonagi_model::{EventId, RunRecord, Timestamp};
use sonagi_ports::{Cancelled, EventStatus, QueuedEvent, Settlement, StoreError};

use super::{Body, Head, accept, bodies, execute, key, letters};
use crate::database::runs::{KeptRun, keep_runs};
use crate::database::{Bounds, Database, Doing, signed};

pub(super) const SETTLE: &str = "settle an event";
pub(super) const CANCEL: &str = "cancel an event";

/// Ended events that are looked at after each end, at most, to throw away what is beyond the bounds. More than one, so
/// that a lowered bound is reached.
const PRUNED_AT_ONCE: i64 = 4;

impl Database {
    pub(super) async fn settle_event(
        &self,
        id: EventId,
        settlement: Settlement,
        record: Option<RunRecord>,
        follow_ups: Vec<QueuedEvent>,
    ) -> Result<(), StoreError> {
        let (bounds, run) = (self.bounds(), record.map(KeptRun::new).transpose()?);
        let mut sent = Vec::with_capacity(follow_ups.len());
        for event in follow_ups {
            let body = self.bodies().prepare(&event.payload).await?;
            let head = Head::of(&event).text()?;
            sent.push((event, head, body));
        }
        let files: Vec<String> = sent.iter().filter_map(|(_, _, body)| file(body)).collect();
        let settled = self
            .write(SETTLE, move |connection| {
                let surplus = end(connection, id, &settlement, bounds)?;
                for (event, head, body) in &sent {
                    accept::insert_unbounded(connection, event, head, body)?;
                }
                keep_runs(connection, run.as_slice(), bounds)?;
                Ok(surplus)
            })
            .await;
        match settled {
            Ok(surplus) => {
                self.bodies().remove(surplus).await;
                Ok(())
            }
            Err(error) => {
                self.bodies().remove(files).await;
                Err(error)
            }
        }
    }
}

fn file(body: &Body) -> Option<String> {
    match body {
        Body::Inline(_) => None,
        Body::File { name, .. } => Some(name.clone()),
    }
}

/// Ends a pending event; files to be removed once that is durable.
pub(super) fn end(
    connection: &Connection,
    id: EventId,
    settlement: &Settlement,
    bounds: Bounds,
) -> Result<Vec<String>, StoreError> {
    let removed = connection
        .prepare_cached("DELETE FROM queue WHERE id = ?1 RETURNING accepted, bytes, origin, body")
        .and_then(|mut statement| {
            let read = |row: &rusqlite::Row<'_>| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, Option<[u8; 16]>>(2)?,
                    row.get::<_, i64>(3)?,
                ))
            };
            statement.query_row([key(&id)], read).optional()
        })
        .doing(SETTLE)?;
    let (accepted, bytes, origin, body) = removed.ok_or(StoreError::NotPending(id))?;
    let Settlement {
        status,
        at,
        progress,
        reason,
    } = settlement;
    let letter = status.is_dead();
    let sql =
        "INSERT INTO ended (id, status, accepted, settled, started, failures, postponed, reason, head, bytes, kept,
                                  letter, origin, body)
               SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, head, ?9, 1, ?10, ?11, number FROM bodies WHERE number = ?12";
    let parameters = params![
        key(&id),
        status.as_str(),
        accepted,
        at.as_micros(),
        progress.started,
        progress.failures,
        progress.postponed,
        short(reason),
        bytes,
        letter,
        origin,
        body,
    ];
    if execute(connection, SETTLE, sql, parameters)? != 1 {
        return Err(crate::database::unreadable(format!("event {id}"), "it has no content"));
    }
    count(connection, *status, bytes)?;
    let mut files = prune(connection, bounds)?;
    if letter {
        files.extend(letters::prune(connection, bounds)?);
    }
    Ok(files)
}

/// As much of a reason as is kept.
fn short(reason: &str) -> &str {
    let mut end = reason.len().min(Settlement::REASON_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

fn count(connection: &Connection, status: EventStatus, bytes: i64) -> Result<(), StoreError> {
    let kept = if status.is_dead() {
        "letters = letters + 1, letter_bytes = letter_bytes + ?1"
    } else {
        "history_bytes = history_bytes + ?1"
    };
    let column = status.as_str();
    let sql = format!(
        "UPDATE totals SET pending = pending - 1, pending_bytes = pending_bytes - ?1, {column} = {column} + 1, {kept}"
    );
    execute(connection, SETTLE, &sql, [bytes]).map(drop)
}

/// Throws away contents of events that did what they were sent for, and at last the memory of all, beyond the bounds.
/// Dead letters are passed over: they have bounds of their own.
fn prune(connection: &Connection, bounds: Bounds) -> Result<Vec<String>, StoreError> {
    let (history, history_floor, forgotten_floor, newest): (i64, i64, i64, i64) = connection
        .prepare_cached(
            "SELECT history_bytes, history_floor, forgotten_floor, (SELECT max(sequence) FROM ended) FROM totals",
        )
        .and_then(|mut statement| {
            statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        })
        .doing(SETTLE)?;
    let mut files = Vec::new();
    let over_bytes = history.saturating_sub(signed(bounds.history_bytes));
    let over_number = newest.saturating_sub(signed(bounds.history_events));
    let (mut freed, mut floor) = (0, history_floor);
    if over_bytes > 0 || history_floor < over_number {
        for row in after(connection, history_floor)? {
            if freed >= over_bytes && row.sequence > over_number {
                break;
            }
            floor = row.sequence;
            if row.kept && !row.letter {
                freed += row.bytes;
                files.extend(bodies::remove(connection, row.body)?);
                let sql = "UPDATE ended SET kept = 0 WHERE sequence = ?1";
                execute(connection, SETTLE, sql, [row.sequence])?;
            }
        }
    }
    let forget = newest.saturating_sub(signed(bounds.settled_events)).min(floor);
    let mut forgotten = forgotten_floor;
    if forgotten_floor < forget {
        for row in after(connection, forgotten_floor)?
            .into_iter()
            .filter(|row| row.sequence <= forget)
        {
            forgotten = row.sequence;
            let sql = "DELETE FROM ended WHERE sequence = ?1 AND letter = 0";
            execute(connection, SETTLE, sql, [row.sequence])?;
        }
    }
    if floor != history_floor || forgotten != forgotten_floor {
        let sql = "UPDATE totals SET history_bytes = history_bytes - ?1, history_floor = ?2, forgotten_floor = ?3";
        execute(connection, SETTLE, sql, [freed, floor, forgotten])?;
    }
    Ok(files)
}

struct EndedRow {
    sequence: i64,
    body: i64,
    bytes: i64,
    kept: bool,
    letter: bool,
}

fn after(connection: &Connection, floor: i64) -> Result<Vec<EndedRow>, StoreError> {
    let read = |row: &rusqlite::Row<'_>| {
        Ok(EndedRow {
            sequence: row.get(0)?,
            body: row.get(1)?,
            bytes: row.get(2)?,
            kept: row.get(3)?,
            letter: row.get(4)?,
        })
    };
    connection
        .prepare_cached(
            "SELECT sequence, body, bytes, kept, letter FROM ended WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
        )
        .and_then(|mut statement| statement.query_map([floor, PRUNED_AT_ONCE], read)?.collect())
        .doing(SETTLE)
}

/// Ends a waiting event, or marks one whose attempt is under way.
pub(super) fn cancel(
    connection: &Connection,
    id: EventId,
    at: Timestamp,
    bounds: Bounds,
) -> Result<(Cancelled, Vec<String>), StoreError> {
    let found = connection
        .prepare_cached("UPDATE queue SET cancelled = 1 WHERE id = ?1 RETURNING leased, started, failures, postponed")
        .and_then(|mut statement| {
            let read = |row: &rusqlite::Row<'_>| {
                let progress = sonagi_ports::Progress {
                    started: row.get(1)?,
                    failures: row.get(2)?,
                    postponed: row.get(3)?,
                };
                Ok((row.get::<_, bool>(0)?, progress))
            };
            statement.query_row([key(&id)], read).optional()
        })
        .doing(CANCEL)?;
    match found {
        None => Ok((Cancelled::NotPending, Vec::new())),
        Some((true, _)) => Ok((Cancelled::AfterAttempt, Vec::new())),
        Some((false, progress)) => {
            let settlement = Settlement::new(EventStatus::Cancelled, at, progress);
            Ok((Cancelled::Now, end(connection, id, &settlement, bounds)?))
        }
    }
}
