//! Groups of messages: which message of each comes first, and when it may be handed out.

use rusqlite::{Connection, params};
use sonagi_ports::{Fetch, StoreError};

use super::{execute, size};
use crate::database::Doing;

/// A message was added at the end of its group.
pub(super) fn joined(
    connection: &Connection,
    action: &'static str,
    queue: i64,
    member: &str,
    sequence: i64,
    visible: i64,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO message_groups (queue, member, ready, head) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
    execute(connection, action, sql, params![queue, member, visible, sequence]).map(drop)
}

/// Something happened to a message of a group: finds out anew what comes first, and when. Messages in flight are among
/// the first ones of their group, because they were handed out together and nothing is handed out beside them.
pub(super) fn settle(
    connection: &Connection,
    action: &'static str,
    queue: i64,
    member: &str,
) -> Result<(), StoreError> {
    let sql = "SELECT sequence, visible, receives FROM messages WHERE queue = ?1 AND member = ?2
               ORDER BY sequence LIMIT ?3";
    let first = connection
        .prepare_cached(sql)
        .and_then(|mut statement| {
            let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            let rows = statement.query_map(params![queue, member, size(Fetch::GROUP_MAX)], read)?;
            rows.collect::<Result<Vec<(i64, i64, u32)>, _>>()
        })
        .doing(action)?;
    let Some((head, visible, _)) = first.first().copied() else {
        let sql = "DELETE FROM message_groups WHERE queue = ?1 AND member = ?2";
        return execute(connection, action, sql, params![queue, member]).map(drop);
    };
    let received = first.iter().filter(|(_, _, receives)| *receives > 0);
    let ready = received.map(|(_, visible, _)| *visible).chain([visible]).max();
    let sql = "UPDATE message_groups SET ready = ?3, head = ?4 WHERE queue = ?1 AND member = ?2";
    execute(connection, action, sql, params![queue, member, ready, head]).map(drop)
}

/// Groups whose first message may be handed out, those first that could longest.
pub(super) fn ready(
    connection: &Connection,
    action: &'static str,
    queue: i64,
    now: i64,
    limit: usize,
) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT member FROM message_groups WHERE queue = ?1 AND ready <= ?2 ORDER BY ready, head LIMIT ?3";
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| {
            let rows = statement.query_map(params![queue, now, size(limit)], |row| row.get(0))?;
            rows.collect::<Result<Vec<String>, _>>()
        })
        .doing(action)
}

/// When the next group is ready that is not now.
pub(super) fn next(
    connection: &Connection,
    action: &'static str,
    queue: i64,
    now: i64,
) -> Result<Option<i64>, StoreError> {
    connection
        .prepare_cached("SELECT min(ready) FROM message_groups WHERE queue = ?1 AND ready > ?2")
        .and_then(|mut statement| statement.query_row([queue, now], |row| row.get(0)))
        .doing(action)
}
