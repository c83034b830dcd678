//! Queues themselves: made, changed, emptied, removed, counted.

use rusqlite::{Connection, params};
use sonagi_model::{Document, Namespace, QueueId, Timestamp};
use sonagi_ports::{Order, Queue, QueueCounts, QueueSettings, Redrive, StoreError};

use super::{CHANGE, FORMAT, Own, READ, execute, key, micros, own, queue_id};
use crate::database::failure::Conflict;
use crate::database::{Doing, unreadable, unsigned};

pub(super) fn all(connection: &Connection) -> Result<Vec<Queue>, StoreError> {
    let sql = "SELECT id, namespace, name, grouped, retention, dedup_window, redrive_target, redrive_after, created,
               document, format FROM queues ORDER BY id";
    let mut statement = connection.prepare_cached(sql).doing(READ)?;
    let mut rows = statement.query([]).doing(READ)?;
    let mut queues = Vec::new();
    while let Some(row) = rows.next().doing(READ)? {
        queues.push(read(row)?);
    }
    Ok(queues)
}

fn read(row: &rusqlite::Row<'_>) -> Result<Queue, StoreError> {
    let id = queue_id(row.get(0).doing(READ)?);
    let damaged = |why: String| unreadable(format!("queue {id}"), why);
    let format: i64 = row.get(10).doing(READ)?;
    if format != FORMAT {
        return Err(damaged(format!("format {format}, this program reads format {FORMAT}")));
    }
    let namespace: String = row.get(1).doing(READ)?;
    let document: String = row.get(9).doing(READ)?;
    let target: Option<[u8; 16]> = row.get(6).doing(READ)?;
    let after: Option<u32> = row.get(7).doing(READ)?;
    let length = |column: usize| {
        let micros = row.get::<_, i64>(column).doing(READ)?;
        Ok::<_, StoreError>(std::time::Duration::from_micros(unsigned(micros)))
    };
    Ok(Queue {
        id,
        namespace: Namespace::parse(&namespace).map_err(|error| damaged(error.to_string()))?,
        name: row.get(2).doing(READ)?,
        settings: QueueSettings {
            order: if row.get(3).doing(READ)? {
                Order::Groups
            } else {
                Order::Loose
            },
            retention: length(4)?,
            window: length(5)?,
            redrive: target.zip(after).map(|(target, after)| Redrive {
                target: queue_id(target),
                after,
            }),
        },
        created: Timestamp::from_micros(row.get(8).doing(READ)?),
        document: serde_json::from_str::<Document>(&document).map_err(|error| damaged(error.to_string()))?,
    })
}

/// A number that no queue has had.
fn next_number(connection: &Connection) -> Result<i64, StoreError> {
    connection
        .prepare_cached("UPDATE message_totals SET next_number = next_number + 1 RETURNING next_number - 1")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .doing(CHANGE)
}

pub(super) fn put(connection: &Connection, queue: &Queue) -> Result<(), StoreError> {
    let document = serde_json::to_string(&queue.document).map_err(|error| unreadable("queue", error))?;
    let settings = &queue.settings;
    let retention = micros(settings.retention);
    let redrive = settings.redrive;
    if let Some(old) = own(connection, CHANGE, queue.id)? {
        let sql = "UPDATE queues SET retention = ?2, dedup_window = ?3, redrive_target = ?4, redrive_after = ?5,
                   document = ?6, format = ?7 WHERE id = ?1";
        let parameters = params![
            key(&queue.id),
            retention,
            micros(settings.window),
            redrive.as_ref().map(|redrive| key(&redrive.target)),
            redrive.map(|redrive| redrive.after),
            document,
            FORMAT
        ];
        execute(connection, CHANGE, sql, parameters)?;
        if old.retention != retention {
            let sql = "UPDATE messages SET expires = sent + ?2 WHERE queue = ?1";
            execute(connection, CHANGE, sql, [old.number, retention])?;
        }
        return Ok(());
    }
    let sql = "INSERT INTO queues VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) ON CONFLICT DO NOTHING";
    let parameters = params![
        key(&queue.id),
        next_number(connection)?,
        queue.namespace.as_str(),
        queue.name,
        settings.order == Order::Groups,
        retention,
        micros(settings.window),
        redrive.as_ref().map(|redrive| key(&redrive.target)),
        redrive.map(|redrive| redrive.after),
        queue.created.as_micros(),
        document,
        FORMAT
    ];
    if execute(connection, CHANGE, sql, parameters)? == 0 {
        let text = format!("queue {} exists already in {}", queue.name, queue.namespace);
        return Err(Conflict::error(CHANGE, text));
    }
    Ok(())
}

pub(super) fn remove(connection: &Connection, id: QueueId) -> Result<bool, StoreError> {
    let Some(own) = own(connection, CHANGE, id)? else {
        return Ok(false);
    };
    execute(connection, CHANGE, "DELETE FROM queues WHERE id = ?1", [key(&id)])?;
    discard(connection, own.number)?;
    Ok(true)
}

/// The queue goes on under a new number; what carries the old one is garbage.
pub(super) fn purge(connection: &Connection, own: Own) -> Result<(), StoreError> {
    let sql = "UPDATE queues SET number = ?2 WHERE id = ?1";
    execute(connection, CHANGE, sql, params![key(&own.id), next_number(connection)?])?;
    discard(connection, own.number)
}

fn discard(connection: &Connection, number: i64) -> Result<(), StoreError> {
    execute(connection, CHANGE, "INSERT INTO message_garbage VALUES (?1)", [number]).map(drop)
}

pub(super) fn counts(connection: &Connection, own: Own, now: Timestamp) -> Result<QueueCounts, StoreError> {
    let sql = "SELECT count(*) FILTER (WHERE visible <= ?2), count(*) FILTER (WHERE visible > ?2 AND receives > 0),
               count(*) FILTER (WHERE visible > ?2 AND receives = 0)
               FROM messages INDEXED BY messages_visible WHERE queue = ?1 AND expires > ?2";
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| {
            statement.query_row([own.number, now.as_micros()], |row| {
                Ok(QueueCounts {
                    visible: unsigned(row.get(0)?),
                    in_flight: unsigned(row.get(1)?),
                    delayed: unsigned(row.get(2)?),
                })
            })
        })
        .doing(READ)
}
