//! Events on their way through attempts.

use rusqlite::{Connection, params};
use sonagi_model::EventId;
use sonagi_ports::{Postponement, StoreError};

use super::{execute, key};
use crate::database::Bounds;
use crate::database::runs::{KeptRun, keep_runs};

pub(super) const LEASE: &str = "lease events";
pub(super) const POSTPONE: &str = "postpone an event";

/// Marks events as worked on; those that are pending.
pub(super) fn lease(connection: &Connection, ids: &[EventId]) -> Result<Vec<EventId>, StoreError> {
    let mut leased = Vec::with_capacity(ids.len());
    for id in ids {
        let sql = "UPDATE queue SET leased = 1 WHERE id = ?1";
        if execute(connection, LEASE, sql, [key(id)])? == 1 {
            leased.push(*id);
        }
    }
    Ok(leased)
}

/// Another attempt follows.
pub(super) fn postpone(
    connection: &Connection,
    id: EventId,
    next: Postponement,
    runs: &[KeptRun],
    bounds: Bounds,
) -> Result<(), StoreError> {
    let Postponement { due, progress } = next;
    let sql = "UPDATE queue SET due = ?2, started = ?3, failures = ?4, postponed = ?5, leased = 0 WHERE id = ?1";
    let parameters = params![
        key(&id),
        due.as_micros(),
        progress.started,
        progress.failures,
        progress.postponed
    ];
    if execute(connection, POSTPONE, sql, parameters)? == 0 {
        return Err(StoreError::NotPending(id));
    }
    keep_runs(connection, runs, bounds)
}
