//! Receiving: which messages are handed out, and which are moved away because they were received too often.

use bytes::Bytes;
use rusqlite::{Connection, params};
use sonagi_model::{QueueId, Timestamp};
use sonagi_ports::{Fetch, Fetched, Message, Receipt, StoreError};

use super::sending::{Head, message_id};
use super::{FORMAT, Own, execute, groups, key, micros, own, queue_id, size};
use crate::database::{Doing, unreadable, unsigned};

pub(super) const RECEIVE: &str = "receive messages";

/// Messages that one request moves away, at most; the next one goes on.
const MOVED_AT_ONCE: usize = 100;

/// A message that may be handed out.
struct Candidate {
    sequence: i64,
    receives: u32,
    bytes: usize,
}

/// One request under way.
struct Receiving<'a> {
    connection: &'a Connection,
    own: Own,
    /// Where messages go that were received so often.
    target: Option<(Own, u32)>,
    fetch: Fetch,
    now: Timestamp,
    bytes: usize,
    moved: usize,
    fetched: Fetched,
}

pub(super) fn receive(connection: &Connection, own: Own, fetch: Fetch, now: Timestamp) -> Result<Fetched, StoreError> {
    let target = match own.redrive {
        Some((id, after)) => target(connection, id)?.map(|target| (target, after)),
        None => None,
    };
    let mut receiving = Receiving {
        connection,
        own,
        target,
        fetch,
        now,
        bytes: 0,
        moved: 0,
        fetched: Fetched::default(),
    };
    if own.grouped {
        receiving.by_groups()?;
    } else {
        receiving.loosely()?;
    }
    receiving.finish()
}

fn target(connection: &Connection, id: QueueId) -> Result<Option<Own>, StoreError> {
    own(connection, RECEIVE, id)
}

impl Receiving<'_> {
    fn limit(&self) -> usize {
        self.fetch.limit.clamp(1, Fetch::LIMIT_MAX)
    }

    fn left(&self) -> usize {
        self.limit() - self.fetched.messages.len()
    }

    fn loosely(&mut self) -> Result<(), StoreError> {
        let sql = "SELECT sequence, receives, bytes FROM messages
                   WHERE queue = ?1 AND visible <= ?2 AND expires > ?2 ORDER BY visible, sequence LIMIT ?3";
        loop {
            let moved = self.moved;
            let found = self.candidates(sql, params![self.own.number, self.now.as_micros(), size(self.left())])?;
            for candidate in found {
                if !self.take(&candidate)? {
                    return Ok(());
                }
            }
            // Those that were moved away made room for others.
            if self.moved == moved || self.moved >= MOVED_AT_ONCE || self.left() == 0 {
                return Ok(());
            }
        }
    }

    fn by_groups(&mut self) -> Result<(), StoreError> {
        let (number, now) = (self.own.number, self.now.as_micros());
        let sql = "SELECT sequence, receives, bytes FROM messages
                   WHERE queue = ?1 AND member = ?2 AND expires > ?3 AND visible <= ?3 AND sequence <
                   coalesce((SELECT min(sequence) FROM messages WHERE queue = ?1 AND member = ?2 AND visible > ?3),
                            9223372036854775807)
                   ORDER BY sequence LIMIT ?4";
        for member in groups::ready(self.connection, RECEIVE, number, now, self.limit())? {
            let mut given = self.left().min(Fetch::GROUP_MAX);
            let mut go_on = true;
            while go_on && given > 0 && self.moved < MOVED_AT_ONCE {
                let moved = self.moved;
                let before = self.fetched.messages.len();
                for candidate in self.candidates(sql, params![number, member, now, size(given)])? {
                    go_on = self.take(&candidate)?;
                    if !go_on {
                        break;
                    }
                }
                given -= self.fetched.messages.len() - before;
                // What is handed out is not visible any more: only after a move there is something new to look at.
                go_on = go_on && self.moved > moved && self.fetched.messages.len() == before;
            }
            groups::settle(self.connection, RECEIVE, number, &member)?;
            if self.left() == 0 || self.fetched.messages.len() == self.limit() {
                break;
            }
        }
        Ok(())
    }

    fn candidates(&self, sql: &str, parameters: impl rusqlite::Params) -> Result<Vec<Candidate>, StoreError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                let read = |row: &rusqlite::Row<'_>| {
                    Ok(Candidate {
                        sequence: row.get(0)?,
                        receives: row.get(1)?,
                        bytes: usize::try_from(row.get::<_, i64>(2)?).unwrap_or(0),
                    })
                };
                statement.query_map(parameters, read)?.collect()
            })
            .doing(RECEIVE)
    }

    /// Hands a message out or moves it away. False: no further one fits.
    fn take(&mut self, candidate: &Candidate) -> Result<bool, StoreError> {
        if let Some((target, after)) = self.target
            && candidate.receives >= after
        {
            move_to(self.connection, self.own, target, candidate.sequence, self.now)?;
            self.moved += 1;
            self.fetched.moved_to = Some(target.id);
            return Ok(self.moved < MOVED_AT_ONCE);
        }
        if !self.fetched.messages.is_empty() && self.bytes.saturating_add(candidate.bytes) > self.fetch.bytes {
            return Ok(false);
        }
        self.bytes += candidate.bytes;
        let message = self.hand_out(candidate)?;
        self.fetched.messages.push(message);
        Ok(true)
    }

    fn hand_out(&self, candidate: &Candidate) -> Result<Message, StoreError> {
        let until = self.now.as_micros().saturating_add(micros(self.fetch.visibility));
        let sql = "UPDATE messages SET receives = receives + 1, visible = ?2,
                   first_received = coalesce(first_received, ?3) WHERE sequence = ?1";
        let parameters = [candidate.sequence, until, self.now.as_micros()];
        execute(self.connection, RECEIVE, sql, parameters)?;
        let sql = "SELECT id, member, sent, first_received, moved_from, receives, head, body, format
                   FROM messages JOIN message_bodies USING (sequence) WHERE sequence = ?1";
        let mut statement = self.connection.prepare_cached(sql).doing(RECEIVE)?;
        let mut rows = statement.query([candidate.sequence]).doing(RECEIVE)?;
        let damaged = |why: String| unreadable(format!("message {}", candidate.sequence), why);
        let row = rows
            .next()
            .doing(RECEIVE)?
            .ok_or_else(|| damaged("it has no body".to_owned()))?;
        let format: i64 = row.get(8).doing(RECEIVE)?;
        if format != FORMAT {
            return Err(damaged(format!("format {format}, this program reads format {FORMAT}")));
        }
        let head: String = row.get(6).doing(RECEIVE)?;
        let head: Head = serde_json::from_str(&head).map_err(|error| damaged(error.to_string()))?;
        Ok(Message {
            id: message_id(row.get(0).doing(RECEIVE)?),
            receipt: Receipt {
                sequence: unsigned(candidate.sequence),
                lease: row.get(5).doing(RECEIVE)?,
            },
            body: Bytes::from(row.get::<_, Vec<u8>>(7).doing(RECEIVE)?),
            attributes: head.attributes,
            group: row.get::<_, Option<String>>(1).doing(RECEIVE)?.unwrap_or_default(),
            token: head.token,
            moved_from: row.get::<_, Option<[u8; 16]>>(4).doing(RECEIVE)?.map(queue_id),
            sent: Timestamp::from_micros(row.get(2).doing(RECEIVE)?),
            first_received: Timestamp::from_micros(row.get(3).doing(RECEIVE)?),
        })
    }

    /// What there will be later.
    fn finish(mut self) -> Result<Fetched, StoreError> {
        let now = self.now.as_micros();
        let next = if self.own.grouped {
            groups::next(self.connection, RECEIVE, self.own.number, now)?
        } else {
            self.connection
                .prepare_cached("SELECT min(visible) FROM messages WHERE queue = ?1 AND visible > ?2")
                .and_then(|mut statement| statement.query_row([self.own.number, now], |row| row.get(0)))
                .doing(RECEIVE)?
        };
        self.fetched.next = next.map(Timestamp::from_micros);
        if self.moved > 0 && self.fetched.messages.is_empty() {
            // Others may have come to the front.
            self.fetched.next = Some(self.now);
        }
        self.fetched.surplus = self
            .connection
            .prepare_cached("SELECT 1 FROM messages WHERE expires <= ?1")
            .and_then(|mut statement| statement.exists([now]))
            .doing(RECEIVE)?;
        Ok(self.fetched)
    }
}

/// Moves a message to the end of another queue, as one that was never received there. In a queue with groups its age
/// begins anew.
pub(super) fn move_to(
    connection: &Connection,
    from: Own,
    to: Own,
    sequence: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let member: Option<String> = connection
        .prepare_cached("SELECT member FROM messages WHERE sequence = ?1")
        .and_then(|mut statement| statement.query_row([sequence], |row| row.get(0)))
        .doing(RECEIVE)?;
    let sent = if to.grouped { "?3" } else { "sent" };
    let sql = format!(
        "INSERT INTO messages (queue, id, member, sent, visible, expires, receives, moved_from, bytes)
         SELECT ?2, id, ?4, {sent}, ?3, {sent} + ?5, 0, ?6, bytes FROM messages WHERE sequence = ?1"
    );
    let new_member = to.grouped.then(|| member.clone().unwrap_or_default());
    let parameters = params![
        sequence,
        to.number,
        now.as_micros(),
        new_member,
        to.retention,
        key(&from.id)
    ];
    execute(connection, RECEIVE, &sql, parameters)?;
    let new = connection.last_insert_rowid();
    let sql = "UPDATE message_bodies SET sequence = ?2 WHERE sequence = ?1";
    execute(connection, RECEIVE, sql, [sequence, new])?;
    execute(
        connection,
        RECEIVE,
        "DELETE FROM messages WHERE sequence = ?1",
        [sequence],
    )?;
    if let Some(member) = member {
        groups::settle(connection, RECEIVE, from.number, &member)?;
    }
    if let Some(member) = new_member {
        groups::joined(connection, RECEIVE, to.number, &member, new, now.as_micros())?;
    }
    Ok(())
}
