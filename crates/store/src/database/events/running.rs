//! Events on their way through attempts.

use rusqlite::{Connection, params};
use sonagi_model::EventId;
use sonagi_ports::{EventHead, Postponement, StoreError};

use super::{execute, key};
use crate::database::Bounds;
use crate::database::runs::{KeptRun, keep_runs};

pub(super) const LEASE: &str = "lease events";
pub(super) const POSTPONE: &str = "postpone an event";

/// Marks events as worked on; those that are as they were read.
pub(super) fn lease(connection: &Connection, heads: &[EventHead]) -> Result<Vec<EventId>, StoreError> {
    let mut leased = Vec::with_capacity(heads.len());
    for head in heads {
        let sql = "UPDATE queue SET leased = 1
                   WHERE id = ?1 AND leased = 0 AND due = ?2 AND started = ?3 AND postponed = ?4";
        let progress = head.progress;
        let parameters = params![
            key(&head.id),
            head.due.as_micros(),
            progress.started,
            progress.postponed
        ];
        if execute(connection, LEASE, sql, parameters)? == 1 {
            leased.push(head.id);
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
