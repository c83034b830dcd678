//! Accepting events.

use rusqlite::{Connection, params};
use sonagi_model::EventId;
use sonagi_ports::{AcceptError, Accepted, Lease, QueuedEvent, StoreError, Token};

use super::tokens::{self, Known};
use super::{Body, bodies, execute, key};
use crate::database::{Bounds, Database, Doing, signed};

pub(super) const ACCEPT: &str = "accept an event";

/// Longest scope or text of a token, bytes.
const TOKEN_MAX: usize = 256;

impl Database {
    pub(super) async fn accept_event(
        &self,
        event: QueuedEvent,
        token: Option<Token>,
        lease: Lease,
    ) -> Result<Accepted, AcceptError> {
        let longest = token
            .as_ref()
            .map_or(0, |token| token.scope.len().max(token.text.len()));
        if longest > TOKEN_MAX {
            return Err(AcceptError::TooLarge {
                what: "token",
                size: longest,
                limit: TOKEN_MAX,
            });
        }
        let body = self.bodies().prepare(&event.payload).await?;
        let file = match &body {
            Body::Inline(_) => Vec::new(),
            Body::File { name, .. } => vec![name.clone()],
        };
        let bounds = self.bounds();
        let accepted = self.write(ACCEPT, move |connection| {
            match accept(connection, &event, &body, token.as_ref(), lease, bounds) {
                Err(AcceptError::Store(error)) => Err(error),
                // Refusals that say more than a store's error; they have changed nothing.
                refused_or_accepted => Ok(refused_or_accepted),
            }
        });
        let accepted = accepted.await.map_err(AcceptError::Store).and_then(|accepted| accepted);
        if !matches!(accepted, Ok(Accepted::New(_))) {
            self.bodies().remove(file).await;
        }
        accepted
    }
}

fn accept(
    connection: &Connection,
    event: &QueuedEvent,
    body: &Body,
    token: Option<&Token>,
    lease: Lease,
    bounds: Bounds,
) -> Result<Accepted, AcceptError> {
    if let Some(token) = token {
        match tokens::find(connection, token, event)? {
            Known::No => {}
            Known::Same(id) => return Ok(Accepted::Known(id)),
            Known::Other(known) => {
                let text = token.text.clone();
                return Err(AcceptError::TokenReused { text, known });
            }
        }
        tokens::room(connection, event.accepted, bounds)?;
    }
    if is_known(connection, event.id)? {
        return Ok(Accepted::Known(event.id));
    }
    if !count(connection, event, bounds)? {
        let limit = usize::try_from(bounds.pending_events).unwrap_or(usize::MAX);
        return Err(AcceptError::Store(StoreError::Busy {
            what: "event queue",
            limit,
        }));
    }
    if let Some(token) = token {
        tokens::insert(connection, token, event)?;
    }
    insert(connection, event, body, lease)?;
    Ok(Accepted::New(event.id))
}

fn is_known(connection: &Connection, id: EventId) -> Result<bool, StoreError> {
    connection
        .prepare_cached("SELECT 1 FROM queue WHERE id = ?1 UNION ALL SELECT 1 FROM ended WHERE id = ?1")
        .and_then(|mut statement| statement.exists([key(&id)]))
        .doing(ACCEPT)
}

/// Counts one more pending event, unless that would be one too many.
fn count(connection: &Connection, event: &QueuedEvent, bounds: Bounds) -> Result<bool, StoreError> {
    let sql = "UPDATE totals SET accepted = accepted + 1, pending = pending + 1, pending_bytes = pending_bytes + ?1
               WHERE pending < ?2 AND pending_bytes + ?1 <= ?3";
    let size = signed(event.payload.len() as u64);
    let parameters = params![size, signed(bounds.pending_events), signed(bounds.pending_bytes)];
    Ok(execute(connection, ACCEPT, sql, parameters)? == 1)
}

/// Counts one more pending event whatever the bounds are, and inserts it: it comes from an event that was accepted.
pub(super) fn insert_unbounded(connection: &Connection, event: &QueuedEvent, body: &Body) -> Result<(), StoreError> {
    let unbounded = Bounds {
        pending_events: u64::MAX,
        pending_bytes: u64::MAX,
        ..Bounds::default()
    };
    count(connection, event, unbounded)?;
    insert(connection, event, body, Lease::Free)
}

fn insert(connection: &Connection, event: &QueuedEvent, body: &Body, lease: Lease) -> Result<(), StoreError> {
    let sql =
        "INSERT INTO queue (id, lane, due, accepted, started, failures, postponed, leased, cancelled, bytes, origin)
               VALUES (?1, ?2, ?3, ?4, 0, 0, 0, ?5, 0, ?6, ?7)";
    let lane = event.route.lane();
    let parameters = params![
        key(&event.id),
        lane.as_str(),
        event.due.as_micros(),
        event.accepted.as_micros(),
        lease == Lease::Taken,
        signed(event.payload.len() as u64),
        event.origin.as_ref().map(key),
    ];
    execute(connection, ACCEPT, sql, parameters)?;
    bodies::insert(connection, event, body)
}
