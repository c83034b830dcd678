//! Dead letters, and events run again.

use rusqlite::{Connection, OptionalExtension, params};
use sonagi_model::{EventId, Timestamp};
use sonagi_ports::StoreError;

use super::{bodies, event_id, execute, key};
use crate::database::{Bounds, Doing, signed};

pub(super) const REPEAT: &str = "repeat an event";
pub(super) const DROP: &str = "drop a dead letter";

/// Dead letters thrown away after each new one, at most, while there are too many.
const PRUNED_AT_ONCE: i64 = 4;

/// Throws away the oldest dead letters beyond the bounds; files to be removed once that is durable.
pub(super) fn prune(connection: &Connection, bounds: Bounds) -> Result<Vec<String>, StoreError> {
    let (mut number, mut bytes): (i64, i64) = connection
        .prepare_cached("SELECT letters, letter_bytes FROM totals")
        .and_then(|mut statement| statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))))
        .doing(DROP)?;
    let is_over = |number: i64, bytes: i64| {
        number > signed(bounds.letters) || (bytes > signed(bounds.letter_bytes) && number > 1)
    };
    if !is_over(number, bytes) {
        return Ok(Vec::new());
    }
    let oldest: Vec<([u8; 16], i64)> = connection
        .prepare_cached("SELECT id, bytes FROM ended WHERE letter = 1 ORDER BY sequence LIMIT ?1")
        .and_then(|mut statement| {
            statement
                .query_map([PRUNED_AT_ONCE], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .doing(DROP)?;
    let mut files = Vec::new();
    for (id, size) in oldest {
        if !is_over(number, bytes) {
            break;
        }
        (number, bytes) = (number - 1, bytes - size);
        files.extend(drop_letter(connection, event_id(id))?.unwrap_or_default());
    }
    Ok(files)
}

/// Takes a letter from the letters: the number of its body; `None`: it is none.
fn take(connection: &Connection, id: EventId) -> Result<Option<i64>, StoreError> {
    let sql = "UPDATE ended SET letter = 0, kept = 0 WHERE id = ?1 AND letter = 1 RETURNING bytes, sequence, body";
    let taken: Option<(i64, i64, i64)> = connection
        .prepare_cached(sql)
        .and_then(|mut statement| {
            statement
                .query_row([key(&id)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()
        })
        .doing(DROP)?;
    let Some((bytes, sequence, body)) = taken else {
        return Ok(None);
    };
    let sql = "UPDATE totals SET letters = letters - 1, letter_bytes = letter_bytes - ?1";
    execute(connection, DROP, sql, [bytes])?;
    // What was remembered only because it was a letter is forgotten now.
    let sql = "DELETE FROM ended WHERE sequence = ?1 AND sequence <= (SELECT forgotten_floor FROM totals)";
    execute(connection, DROP, sql, [sequence])?;
    Ok(Some(body))
}

/// Throws a letter's content away; `None`: there is no such letter.
pub(super) fn drop_letter(connection: &Connection, id: EventId) -> Result<Option<Vec<String>>, StoreError> {
    let Some(body) = take(connection, id)? else {
        return Ok(None);
    };
    Ok(Some(bodies::remove(connection, body)?.into_iter().collect()))
}

/// Accepts the content of an ended event under a new id.
pub(super) fn repeat(
    connection: &Connection,
    id: EventId,
    new: EventId,
    at: Timestamp,
    bounds: Bounds,
) -> Result<bool, StoreError> {
    let Some(Ended {
        bytes,
        letter,
        body,
        is_file,
    }) = find_ended(connection, id)?
    else {
        return Ok(false);
    };
    let counted = execute(
        connection,
        REPEAT,
        "UPDATE totals SET accepted = accepted + 1, pending = pending + 1, pending_bytes = pending_bytes + ?1
         WHERE pending < ?2",
        params![bytes, signed(bounds.pending_events)],
    )?;
    if counted == 0 {
        let limit = usize::try_from(bounds.pending_events).unwrap_or(usize::MAX);
        return Err(StoreError::Busy {
            what: "event queue",
            limit,
        });
    }
    let lane: String = lane_of(connection, id)?;
    let body = if letter || is_file {
        // A file belongs to one event: whoever repeats it takes it over.
        body
    } else {
        let sql =
            "INSERT INTO bodies (head, payload, format) SELECT head, payload, format FROM bodies WHERE number = ?1";
        execute(connection, REPEAT, sql, [body])?;
        connection.last_insert_rowid()
    };
    let sql =
        "INSERT INTO queue (id, lane, due, accepted, started, failures, postponed, leased, cancelled, bytes, origin,
                                  body)
               VALUES (?1, ?2, ?3, ?3, 0, 0, 0, 0, 0, ?4, ?5, ?6)";
    execute(
        connection,
        REPEAT,
        sql,
        params![key(&new), lane, at.as_micros(), bytes, key(&id), body],
    )?;
    if letter {
        take(connection, id)?;
    } else if is_file {
        let sql = "UPDATE ended SET kept = 0 WHERE id = ?1";
        execute(connection, REPEAT, sql, [key(&id)])?;
        let sql = "UPDATE totals SET history_bytes = history_bytes - ?1";
        execute(connection, REPEAT, sql, [bytes])?;
    }
    Ok(true)
}

struct Ended {
    bytes: i64,
    letter: bool,
    body: i64,
    is_file: bool,
}

fn find_ended(connection: &Connection, id: EventId) -> Result<Option<Ended>, StoreError> {
    let sql = "SELECT ended.bytes, ended.letter, bodies.number, bodies.file IS NOT NULL
               FROM ended JOIN bodies ON bodies.number = ended.body WHERE ended.id = ?1 AND ended.kept = 1";
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Ended {
            bytes: row.get(0)?,
            letter: row.get(1)?,
            body: row.get(2)?,
            is_file: row.get(3)?,
        })
    };
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([key(&id)], read).optional())
        .doing(REPEAT)
}

fn lane_of(connection: &Connection, id: EventId) -> Result<String, StoreError> {
    let found = bodies::find(connection, id)?;
    let (head, _) = found.ok_or(StoreError::NotPending(id))?;
    Ok(head.route.lane().as_str().to_owned())
}
