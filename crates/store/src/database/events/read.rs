//! Reading events.

use rusqlite::{Connection, Row, params};
use sonagi_model::{EventId, Namespace, Timestamp};
use sonagi_ports::{
    DuePage, EventFilter, EventHead, EventState, EventStatus, EventTotals, EventView, Lane, Progress, QueuedEvent,
    Settlement, StoreError,
};

use super::{Bodies, Head, READ, bodies, event_id, key};
use crate::database::{Doing, signed, unreadable, unsigned};

/// The most of an event's offspring that is listed.
const OFFSPRING_MAX: i64 = 100;

fn rows<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
    mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql).doing(READ)?;
    let mut rows = statement.query(parameters).doing(READ)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().doing(READ)? {
        found.push(read(row)?);
    }
    Ok(found)
}

fn time(row: &Row<'_>, column: usize) -> Result<Timestamp, StoreError> {
    row.get(column).map(Timestamp::from_micros).doing(READ)
}

fn id_of(row: &Row<'_>, column: usize) -> Result<EventId, StoreError> {
    row.get(column).map(event_id).doing(READ)
}

fn progress(row: &Row<'_>, first: usize) -> Result<Progress, StoreError> {
    Ok(Progress {
        started: row.get(first).doing(READ)?,
        failures: row.get(first + 1).doing(READ)?,
        postponed: row.get(first + 2).doing(READ)?,
    })
}

/// The first waiting event of each lane: a few steps down the index for each.
pub(super) fn lanes(connection: &Connection) -> Result<Vec<(Lane, Timestamp)>, StoreError> {
    let mut lanes = Vec::new();
    let mut after = String::new();
    loop {
        let next = rows(
            connection,
            "SELECT lane, due FROM queue WHERE leased = 0 AND lane > ?1 ORDER BY lane, due LIMIT 1",
            [&after],
            |row| Ok((row.get::<_, String>(0).doing(READ)?, time(row, 1)?)),
        )?;
        let Some((lane, due)) = next.into_iter().next() else {
            return Ok(lanes);
        };
        lanes.push((Lane::from_text(&lane), due));
        after = lane;
    }
}

fn head(row: &Row<'_>, lane: Lane) -> Result<EventHead, StoreError> {
    Ok(EventHead {
        id: id_of(row, 0)?,
        lane,
        accepted: time(row, 1)?,
        due: time(row, 2)?,
        progress: progress(row, 3)?,
        cancelled: row.get(6).doing(READ)?,
    })
}

pub(super) fn due(connection: &Connection, lane: &Lane, now: Timestamp, limit: usize) -> Result<DuePage, StoreError> {
    let mut heads = rows(
        connection,
        "SELECT id, accepted, due, started, failures, postponed, cancelled FROM queue
         WHERE leased = 0 AND lane = ?1 ORDER BY due, id LIMIT ?2",
        params![lane.as_str(), signed(limit as u64).saturating_add(1)],
        |row| head(row, lane.clone()),
    )?;
    let due = heads.iter().take_while(|head| head.due <= now).count().min(limit);
    let next = heads.get(due).map(|head| head.due);
    heads.truncate(due);
    Ok(DuePage { heads, next })
}

pub(super) fn leased(
    connection: &Connection,
    after: Option<EventId>,
    limit: usize,
) -> Result<Vec<EventHead>, StoreError> {
    let after = after.as_ref().map_or([].as_slice(), |id| key(id));
    rows(
        connection,
        "SELECT id, accepted, due, started, failures, postponed, cancelled, lane FROM queue
         WHERE leased = 1 AND id > ?1 ORDER BY id LIMIT ?2",
        params![after, signed(limit as u64)],
        |row| head(row, Lane::from_text(&row.get::<_, String>(7).doing(READ)?)),
    )
}

pub(super) fn load(connection: &Connection, bodies: &Bodies, id: EventId) -> Result<Option<QueuedEvent>, StoreError> {
    let found = rows(
        connection,
        "SELECT accepted, due, origin FROM queue WHERE id = ?1",
        [key(&id)],
        |row| Ok((time(row, 0)?, time(row, 1)?, origin(row, 2)?)),
    )?;
    let Some((accepted, due, origin)) = found.into_iter().next() else {
        return Ok(None);
    };
    let body = bodies::find(connection, id)?;
    let (head, body) = body.ok_or_else(|| unreadable(format!("event {id}"), "it has no content"))?;
    Ok(Some(QueuedEvent {
        id,
        route: head.route,
        namespace: head.namespace,
        name: head.name,
        payload: bodies.payload(id, body)?,
        attributes: head.attributes,
        origin,
        accepted,
        due,
    }))
}

fn origin(row: &Row<'_>, column: usize) -> Result<Option<EventId>, StoreError> {
    let bytes: Option<[u8; 16]> = row.get(column).doing(READ)?;
    Ok(bytes.map(event_id))
}

/// Columns of a pending event's view.
const PENDING: &str = "SELECT queue.id, head, queue.origin, accepted, due, started, failures, postponed, bytes, leased
                       FROM queue JOIN bodies ON bodies.number = queue.body";
/// Columns of an ended event's view.
const ENDED: &str = "SELECT id, head, origin, accepted, settled, started, failures, postponed, bytes, kept, letter,
                     status, reason FROM ended";

fn view(row: &Row<'_>, state: EventState, (kept, letter): (bool, bool)) -> Result<EventView, StoreError> {
    let id = id_of(row, 0)?;
    let head = Head::parse(id, row.get_ref(1).and_then(|text| Ok(text.as_str()?)).doing(READ)?)?;
    Ok(EventView {
        id,
        route: head.route,
        namespace: head.namespace,
        name: head.name,
        origin: origin(row, 2)?,
        accepted: time(row, 3)?,
        due: time(row, 4)?,
        progress: progress(row, 5)?,
        state,
        bytes: unsigned(row.get(8).doing(READ)?),
        kept,
        letter,
    })
}

fn pending(row: &Row<'_>) -> Result<EventView, StoreError> {
    let state = if row.get(9).doing(READ)? {
        EventState::Running
    } else {
        EventState::Waiting
    };
    view(row, state, (true, false))
}

fn ended(row: &Row<'_>) -> Result<EventView, StoreError> {
    let text: String = row.get(11).doing(READ)?;
    let status = EventStatus::parse(&text).ok_or_else(|| unreadable("event", format!("status {text:?}")))?;
    let settlement = Settlement {
        status,
        at: time(row, 4)?,
        progress: progress(row, 5)?,
        reason: row.get(12).doing(READ)?,
    };
    let kept = (row.get(9).doing(READ)?, row.get(10).doing(READ)?);
    view(row, EventState::Ended(settlement), kept)
}

pub(super) fn find(connection: &Connection, id: EventId) -> Result<Option<EventView>, StoreError> {
    let found = rows(
        connection,
        &format!("{PENDING} WHERE queue.id = ?1"),
        [key(&id)],
        pending,
    )?;
    if let Some(found) = found.into_iter().next() {
        return Ok(Some(found));
    }
    let found = rows(connection, &format!("{ENDED} WHERE id = ?1"), [key(&id)], ended)?;
    Ok(found.into_iter().next())
}

pub(super) fn offspring(connection: &Connection, id: EventId) -> Result<Vec<EventView>, StoreError> {
    let parameters = params![key(&id), OFFSPRING_MAX];
    let sql = format!("{PENDING} WHERE queue.origin = ?1 ORDER BY queue.id LIMIT ?2");
    let mut found = rows(connection, &sql, parameters, pending)?;
    let sql = format!("{ENDED} WHERE origin = ?1 ORDER BY id LIMIT ?2");
    found.extend(rows(connection, &sql, parameters, ended)?);
    found.sort_by_key(|view| view.id);
    found.truncate(usize::try_from(OFFSPRING_MAX).unwrap_or(usize::MAX));
    Ok(found)
}

/// Conditions of a filter over a column with the id and the head.
fn conditions(id: &str) -> String {
    format!(
        "(?1 IS NULL OR {id} < ?1) AND (?2 IS NULL OR head ->> 'namespace' = ?2) AND (?3 IS NULL OR head ->> 'name' = ?3)
         ORDER BY {id} DESC LIMIT ?4"
    )
}

fn filtered(
    connection: &Connection,
    sql: &str,
    filter: &EventFilter,
    read: fn(&Row<'_>) -> Result<EventView, StoreError>,
) -> Result<Vec<EventView>, StoreError> {
    let parameters = params![
        filter.before.as_ref().map(key),
        filter.namespace.as_ref().map(Namespace::as_str),
        filter.name,
        signed(filter.limit() as u64)
    ];
    rows(connection, sql, parameters, read)
}

pub(super) fn letters(connection: &Connection, filter: &EventFilter) -> Result<Vec<EventView>, StoreError> {
    let sql = format!("{ENDED} WHERE letter = 1 AND {}", conditions("id"));
    filtered(connection, &sql, filter, ended)
}

pub(super) fn recent(connection: &Connection, filter: &EventFilter) -> Result<Vec<EventView>, StoreError> {
    let sql = format!("{PENDING} WHERE {}", conditions("queue.id"));
    let mut found = filtered(connection, &sql, filter, pending)?;
    let sql = format!("{ENDED} WHERE {}", conditions("id"));
    found.extend(filtered(connection, &sql, filter, ended)?);
    found.sort_by_key(|view| std::cmp::Reverse(view.id));
    found.truncate(filter.limit());
    Ok(found)
}

pub(super) fn totals(connection: &Connection) -> Result<EventTotals, StoreError> {
    let statuses: Vec<&str> = EventStatus::ALL.iter().map(|status| status.as_str()).collect();
    let sql = format!(
        "SELECT accepted, pending, pending_bytes, letters, {} FROM totals",
        statuses.join(", ")
    );
    let found = rows(connection, &sql, [], |row| {
        let number = |column| row.get(column).map(unsigned).doing(READ);
        let mut totals = EventTotals {
            accepted: number(0)?,
            pending: number(1)?,
            pending_bytes: number(2)?,
            letters: number(3)?,
            ..EventTotals::default()
        };
        for (place, ended) in totals.ended.iter_mut().enumerate() {
            *ended = number(4 + place)?;
        }
        Ok(totals)
    })?;
    found
        .into_iter()
        .next()
        .ok_or_else(|| unreadable("totals", "there are none"))
}
