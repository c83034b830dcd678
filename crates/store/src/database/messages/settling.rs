//! What becomes of messages that were received: deleted, or visible again sooner or later.

use rusqlite::{Connection, OptionalExtension, params};
use sonagi_model::Timestamp;
use sonagi_ports::{Receipt, Settled, Shown, StoreError};

use super::sending::forget;
use super::{Own, execute, groups};
use crate::database::{Doing, signed};

pub(super) const DELETE: &str = "delete messages";
pub(super) const SHOW: &str = "change visibility";

/// A message as a receipt finds it.
struct Held {
    queue: i64,
    receives: u32,
    visible: i64,
    member: Option<String>,
}

fn find(connection: &Connection, action: &'static str, receipt: Receipt) -> Result<Option<Held>, StoreError> {
    connection
        .prepare_cached("SELECT queue, receives, visible, member FROM messages WHERE sequence = ?1")
        .and_then(|mut statement| {
            let read = |row: &rusqlite::Row<'_>| {
                Ok(Held {
                    queue: row.get(0)?,
                    receives: row.get(1)?,
                    visible: row.get(2)?,
                    member: row.get(3)?,
                })
            };
            statement.query_row([signed(receipt.sequence)], read).optional()
        })
        .doing(action)
}

pub(super) fn delete(
    connection: &Connection,
    own: Own,
    receipt: Receipt,
    now: Timestamp,
) -> Result<Settled, StoreError> {
    Ok(match find(connection, DELETE, receipt)? {
        None => Settled::Gone,
        Some(held) if held.queue != own.number || held.receives != receipt.lease => Settled::Stale,
        Some(held) if own.grouped && held.visible <= now.as_micros() => Settled::Expired,
        Some(_) => {
            forget(connection, DELETE, signed(receipt.sequence))?;
            Settled::Deleted
        }
    })
}

pub(super) fn show(
    connection: &Connection,
    own: Own,
    receipt: Receipt,
    visible: Timestamp,
    now: Timestamp,
) -> Result<Shown, StoreError> {
    let held = find(connection, SHOW, receipt)?.filter(|held| held.queue == own.number);
    let Some(held) = held else {
        return Ok(Shown::Gone);
    };
    if held.receives != receipt.lease || held.visible <= now.as_micros() {
        return Ok(Shown::NotInFlight);
    }
    let sql = "UPDATE messages SET visible = ?2 WHERE sequence = ?1";
    execute(
        connection,
        SHOW,
        sql,
        params![signed(receipt.sequence), visible.as_micros()],
    )?;
    if let Some(member) = held.member {
        groups::settle(connection, SHOW, own.number, &member)?;
    }
    Ok(Shown::Changed)
}
