//! Which sendings are one event.

use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest as _, Sha256};
use sonagi_model::{EventId, Timestamp};
use sonagi_ports::{QueuedEvent, StoreError, Token};

use super::accept::ACCEPT;
use super::{event_id, execute, key};
use crate::database::Doing;

/// Tokens whose window is over and that are forgotten with each new one, at most. More than one, so that they run out.
const FORGOTTEN_AT_ONCE: i64 = 8;

/// Whether a token is known.
pub(super) enum Known {
    No,
    /// Its window is over.
    NoLonger,
    /// For the same content.
    Same(EventId),
    /// For another.
    Other(EventId),
}

fn digest(event: &QueuedEvent) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(event.route.lane().as_str());
    hasher.update([0]);
    hasher.update(&event.payload);
    hasher.finalize().into()
}

/// Looks a token up.
pub(super) fn find(connection: &Connection, token: &Token, event: &QueuedEvent) -> Result<Known, StoreError> {
    let known = connection
        .prepare_cached("SELECT event, digest, expires > ?3 FROM tokens WHERE scope = ?1 AND token = ?2")
        .and_then(|mut statement| {
            let parameters = params![token.scope, token.text, event.accepted.as_micros()];
            let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, [u8; 32]>(1)?, row.get(2)?));
            statement.query_row(parameters, read).optional()
        })
        .doing(ACCEPT)?;
    Ok(match known {
        None => Known::No,
        Some((_, _, false)) => Known::NoLonger,
        Some((id, stored, true)) if stored == digest(event) => Known::Same(event_id(id)),
        Some((id, _, true)) => Known::Other(event_id(id)),
    })
}

/// Forgets a few of those whose window is over; how many.
pub(super) fn forget(connection: &Connection, now: Timestamp) -> Result<u64, StoreError> {
    let forgotten = execute(
        connection,
        ACCEPT,
        "DELETE FROM tokens WHERE (scope, token) IN
         (SELECT scope, token FROM tokens WHERE expires <= ?1 ORDER BY expires LIMIT ?2)",
        params![now.as_micros(), FORGOTTEN_AT_ONCE],
    )?;
    Ok(forgotten as u64)
}

/// Remembers a token, or puts it in the place of the same one whose window is over.
pub(super) fn insert(connection: &Connection, token: &Token, event: &QueuedEvent) -> Result<(), StoreError> {
    let parameters = params![
        token.scope,
        token.text,
        key(&event.id),
        digest(event),
        event.accepted.plus(token.window).as_micros()
    ];
    let sql = "INSERT OR REPLACE INTO tokens (scope, token, event, digest, expires) VALUES (?1, ?2, ?3, ?4, ?5)";
    execute(connection, ACCEPT, sql, parameters).map(drop)
}
