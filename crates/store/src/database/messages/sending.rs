//! Sending: from an offered message to rows.

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use sonagi_model::{MessageId, Timestamp};
use sonagi_ports::{Attributes, NewMessage, Sent, StoreError};

use super::{FORMAT, Own, count, execute, groups, micros, size};
use crate::database::{Bounds, Doing, signed, unreadable, unsigned};

pub(super) const SEND: &str = "send messages";

/// Tokens whose window is over and that are forgotten with each new one, at most. More than one, so that they run out.
const FORGOTTEN_AT_ONCE: i64 = 8;

/// What of a message never changes and is not its body, as stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    #[serde(default)]
    pub(super) attributes: Attributes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<String>,
}

pub(super) fn send(
    connection: &Connection,
    own: Own,
    messages: &[NewMessage],
    now: Timestamp,
    bounds: Bounds,
) -> Result<Vec<Sent>, StoreError> {
    let (mut number, mut bytes) = (0, 0);
    let mut sent = Vec::with_capacity(messages.len());
    for message in messages {
        if let Some(token) = &message.token
            && let Some(known) = known(connection, own, token, now)?
        {
            sent.push(known);
            continue;
        }
        let sequence = insert(connection, own, message, now)?;
        number += 1;
        bytes += size(message.body.len());
        if let Some(token) = &message.token {
            remember(connection, own, token, message.id, sequence, now)?;
        }
        sent.push(Sent {
            id: message.id,
            sequence: unsigned(sequence),
            known: false,
        });
    }
    room(connection, number, bytes, bounds)?;
    Ok(sent)
}

/// Counts the new ones, unless they would be too many: then all of this is undone.
fn room(connection: &Connection, number: i64, bytes: i64, bounds: Bounds) -> Result<(), StoreError> {
    let sql = "UPDATE message_totals SET messages = messages + ?1, bytes = bytes + ?2
               WHERE messages + ?1 <= ?3 AND bytes + ?2 <= ?4";
    let parameters = params![number, bytes, signed(bounds.messages), signed(bounds.message_bytes)];
    if number == 0 || execute(connection, SEND, sql, parameters)? == 1 {
        return Ok(());
    }
    let limit = usize::try_from(bounds.messages).unwrap_or(usize::MAX);
    Err(StoreError::Busy {
        what: "store of messages",
        limit,
    })
}

fn known(connection: &Connection, own: Own, token: &str, now: Timestamp) -> Result<Option<Sent>, StoreError> {
    let sql = "SELECT id, sequence FROM message_tokens WHERE queue = ?1 AND token = ?2 AND expires > ?3";
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| {
            let read = |row: &rusqlite::Row<'_>| {
                Ok(Sent {
                    id: message_id(row.get(0)?),
                    sequence: unsigned(row.get(1)?),
                    known: true,
                })
            };
            let parameters = params![own.number, token, now.as_micros()];
            statement.query_row(parameters, read).optional()
        })
        .doing(SEND)
}

pub(super) fn message_id(bytes: [u8; 16]) -> MessageId {
    MessageId::from_uuid(uuid::Uuid::from_bytes(bytes))
}

fn remember(
    connection: &Connection,
    own: Own,
    token: &str,
    id: MessageId,
    sequence: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM message_tokens WHERE (queue, token) IN
               (SELECT queue, token FROM message_tokens WHERE expires <= ?1 ORDER BY expires LIMIT ?2)";
    execute(connection, SEND, sql, [now.as_micros(), FORGOTTEN_AT_ONCE])?;
    let sql = "INSERT OR REPLACE INTO message_tokens (queue, token, id, sequence, expires) VALUES (?1, ?2, ?3, ?4, ?5)";
    let expires = now.as_micros().saturating_add(own.window);
    let parameters = params![own.number, token, id.as_uuid().as_bytes(), sequence, expires];
    execute(connection, SEND, sql, parameters).map(drop)
}

fn insert(connection: &Connection, own: Own, message: &NewMessage, now: Timestamp) -> Result<i64, StoreError> {
    let visible = now.as_micros().saturating_add(micros(message.delay));
    let member = own.grouped.then_some(message.group.as_str());
    let sql = "INSERT INTO messages (queue, id, member, sent, visible, expires, receives, bytes)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7)";
    let parameters = params![
        own.number,
        message.id.as_uuid().as_bytes(),
        member,
        now.as_micros(),
        visible,
        now.as_micros().saturating_add(own.retention),
        size(message.body.len())
    ];
    execute(connection, SEND, sql, parameters)?;
    let sequence = connection.last_insert_rowid();
    let head = Head {
        attributes: message.attributes.clone(),
        token: message.token.clone(),
    };
    let head = serde_json::to_string(&head).map_err(|error| unreadable("message", error))?;
    let sql = "INSERT INTO message_bodies (sequence, head, body, format) VALUES (?1, ?2, ?3, ?4)";
    execute(
        connection,
        SEND,
        sql,
        params![sequence, head, message.body.as_ref(), FORMAT],
    )?;
    if let Some(member) = member {
        groups::joined(connection, SEND, own.number, member, sequence, visible)?;
    }
    Ok(sequence)
}

/// Takes a message away, within the caller's transaction.
pub(super) fn forget(connection: &Connection, action: &'static str, sequence: i64) -> Result<(), StoreError> {
    let gone: Option<(i64, Option<String>, i64)> = connection
        .prepare_cached("DELETE FROM messages WHERE sequence = ?1 RETURNING queue, member, bytes")
        .and_then(|mut statement| {
            let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            statement.query_row([sequence], read).optional()
        })
        .doing(action)?;
    let Some((queue, member, bytes)) = gone else {
        return Ok(());
    };
    execute(
        connection,
        action,
        "DELETE FROM message_bodies WHERE sequence = ?1",
        [sequence],
    )?;
    if let Some(member) = member {
        groups::settle(connection, action, queue, &member)?;
    }
    count(connection, action, -1, -bytes)
}
