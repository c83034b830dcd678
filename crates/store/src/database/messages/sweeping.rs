//! Frees the room of messages that nobody can receive any more, some at a time, so that nobody waits long for the writer.

use rusqlite::{Connection, OptionalExtension, params};
use sonagi_model::Timestamp;
use sonagi_ports::StoreError;

use super::sending::forget;
use super::{count, execute};
use crate::database::Doing;

pub(super) const SWEEP: &str = "sweep messages";

/// Messages that go at once.
const AT_ONCE: i64 = 1000;

/// Whether there are more.
pub(super) fn sweep(connection: &Connection, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "SELECT sequence FROM messages WHERE expires <= ?1 ORDER BY expires LIMIT ?2";
    let old = sequences(connection, sql, now.as_micros())?;
    for sequence in &old {
        forget(connection, SWEEP, *sequence)?;
    }
    let garbage: Option<i64> = connection
        .prepare_cached("SELECT queue FROM message_garbage LIMIT 1")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)).optional())
        .doing(SWEEP)?;
    match garbage {
        None => Ok(old.len() == AT_ONCE as usize),
        Some(queue) => discard(connection, queue).map(|()| true),
    }
}

fn sequences(connection: &Connection, sql: &str, parameter: i64) -> Result<Vec<i64>, StoreError> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| {
            let rows = statement.query_map([parameter, AT_ONCE], |row| row.get(0))?;
            rows.collect()
        })
        .doing(SWEEP)
}

/// Discards messages of a queue that is gone; when it has none left, everything else of it.
fn discard(connection: &Connection, queue: i64) -> Result<(), StoreError> {
    let sql = "SELECT sequence FROM messages WHERE queue = ?1 ORDER BY visible LIMIT ?2";
    let found = sequences(connection, sql, queue)?;
    let mut bytes = 0;
    for sequence in &found {
        let sql = "DELETE FROM messages WHERE sequence = ?1 RETURNING bytes";
        let size: i64 = connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row([sequence], |row| row.get(0)))
            .doing(SWEEP)?;
        bytes += size;
        let sql = "DELETE FROM message_bodies WHERE sequence = ?1";
        execute(connection, SWEEP, sql, [sequence])?;
    }
    count(connection, SWEEP, -(found.len() as i64), -bytes)?;
    if !found.is_empty() {
        return Ok(());
    }
    for sql in [
        "DELETE FROM message_groups WHERE (queue, member) IN
         (SELECT queue, member FROM message_groups WHERE queue = ?1 LIMIT ?2)",
        "DELETE FROM message_tokens WHERE (queue, token) IN
         (SELECT queue, token FROM message_tokens WHERE queue = ?1 LIMIT ?2)",
    ] {
        if execute(connection, SWEEP, sql, params![queue, AT_ONCE])? > 0 {
            return Ok(());
        }
    }
    execute(
        connection,
        SWEEP,
        "DELETE FROM message_garbage WHERE queue = ?1",
        [queue],
    )
    .map(drop)
}
