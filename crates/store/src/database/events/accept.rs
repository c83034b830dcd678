//! Accepting events: the one kind of write that comes in crowds, so those that wait together are applied together.

use rusqlite::{CachedStatement, Connection, params};
use sonagi_crash::crash_point;
use sonagi_model::EventId;
use sonagi_ports::{AcceptError, Accepted, Lane, Lease, QueuedEvent, StoreError, Token};
use tokio::sync::oneshot;

use super::tokens::{self, Known};
use super::{Body, Head, bodies, execute, key};
use crate::database::failure::CommitFailure;
use crate::database::{Bounds, Database, Doing, signed, unsigned};

pub(in crate::database) const ACCEPT: &str = "accept an event";

/// Longest scope or text of a token, bytes.
const TOKEN_MAX: usize = 256;

const INSERT: &str =
    "INSERT INTO queue (id, lane, due, accepted, started, failures, postponed, leased, cancelled, bytes, origin, body)
     VALUES (?1, ?2, ?3, ?4, 0, 0, 0, ?5, 0, ?6, ?7, ?8)";

type Outcome = Result<Accepted, AcceptError>;

/// An event on its way through the writer.
#[derive(Debug)]
pub(in crate::database) struct Acceptance {
    event: QueuedEvent,
    lane: Lane,
    head: String,
    body: Body,
    token: Option<Token>,
    lease: Lease,
    outcome: Option<Outcome>,
    reply: oneshot::Sender<Outcome>,
}

impl Acceptance {
    /// Tells the caller.
    pub(in crate::database) fn finish(self, committed: Result<(), &CommitFailure>) {
        let answer = match (self.outcome, committed) {
            (Some(Err(refused)), _) => Err(refused),
            (Some(Ok(_)) | None, Err(failure)) => Err(failure.to_error(ACCEPT).into()),
            (Some(Ok(accepted)), Ok(())) => Ok(accepted),
            (None, Ok(())) => Err(StoreError::Closed.into()),
        };
        // The caller may have lost interest; the event is accepted all the same.
        let _ = self.reply.send(answer);
    }

    /// Its outcome when it could not be stored.
    pub(in crate::database) fn fail(&mut self, error: StoreError) {
        self.outcome = Some(Err(error.into()));
    }
}

impl Database {
    pub(super) async fn accept_event(&self, event: QueuedEvent, token: Option<Token>, lease: Lease) -> Outcome {
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
        // Whatever can be done here is not done by the one thread that everybody waits for.
        let (reply, answer) = oneshot::channel();
        let acceptance = Acceptance {
            lane: event.route.lane(),
            head: Head::of(&event).text()?,
            event,
            body,
            token,
            lease,
            outcome: None,
            reply,
        };
        let accepted = match self.writer.accept(acceptance).await {
            Ok(()) => answer.await.unwrap_or(Err(StoreError::Closed.into())),
            Err(error) => Err(error.into()),
        };
        if !matches!(accepted, Ok(Accepted::New(_))) {
            self.bodies().remove(file).await;
        }
        accepted
    }
}

/// Accepts events one after the other within a transaction. What all of them change, the totals, is read at the first and
/// written by [`Acceptor::close`].
pub(in crate::database) struct Acceptor<'c> {
    connection: &'c Connection,
    bounds: Bounds,
    ended: CachedStatement<'c>,
    waiting: CachedStatement<'c>,
    insert: CachedStatement<'c>,
    pending: u64,
    pending_bytes: u64,
    tokens: u64,
    accepted: i64,
    bytes: i64,
    tokens_change: i64,
}

impl<'c> Acceptor<'c> {
    /// Begins, in an open transaction.
    pub(in crate::database) fn open(connection: &'c Connection, bounds: Bounds) -> Result<Self, StoreError> {
        let (pending, pending_bytes, tokens): (i64, i64, i64) = connection
            .prepare_cached("SELECT pending, pending_bytes, tokens FROM totals")
            .and_then(|mut statement| statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))))
            .doing(ACCEPT)?;
        let prepare = |sql| connection.prepare_cached(sql).doing(ACCEPT);
        Ok(Self {
            connection,
            bounds,
            ended: prepare("SELECT 1 FROM ended WHERE id = ?1")?,
            waiting: prepare("SELECT 1 FROM queue WHERE id = ?1")?,
            insert: prepare(INSERT)?,
            pending: unsigned(pending),
            pending_bytes: unsigned(pending_bytes),
            tokens: unsigned(tokens),
            accepted: 0,
            bytes: 0,
            tokens_change: 0,
        })
    }

    /// Accepts an event or refuses it. A refusal has changed nothing that matters; an error may have left a part of the
    /// event, and everything since [`Acceptor::open`] must be undone.
    pub(in crate::database) fn accept(&mut self, acceptance: &mut Acceptance) -> Result<(), StoreError> {
        crash_point!(ACCEPT, "begun");
        acceptance.outcome = match self.try_accept(acceptance) {
            Err(AcceptError::Store(error)) if !matches!(error, StoreError::Busy { .. }) => return Err(error),
            decided => Some(decided),
        };
        crash_point!(ACCEPT, "applied");
        Ok(())
    }

    fn try_accept(&mut self, acceptance: &Acceptance) -> Outcome {
        let event = &acceptance.event;
        let mut tokens_added = 0;
        if let Some(token) = &acceptance.token {
            // Before it is looked for: the same token, its window over, may be among those that are forgotten.
            self.forget_tokens(event)?;
            match tokens::find(self.connection, token, event)? {
                Known::No => tokens_added = 1,
                Known::NoLonger => {}
                Known::Same(id) => return Ok(Accepted::Known(id)),
                Known::Other(known) => {
                    let text = token.text.clone();
                    return Err(AcceptError::TokenReused { text, known });
                }
            }
            if self.tokens + tokens_added > self.bounds.tokens {
                return Err(full("memory of tokens", self.bounds.tokens).into());
            }
        }
        if self.is_known(event.id)? {
            return Ok(Accepted::Known(event.id));
        }
        let size = event.payload.len() as u64;
        if self.pending >= self.bounds.pending_events || self.pending_bytes + size > self.bounds.pending_bytes {
            return Err(full("event queue", self.bounds.pending_events).into());
        }
        if let Some(token) = &acceptance.token {
            tokens::insert(self.connection, token, event)?;
            self.tokens_change += signed(tokens_added);
            self.tokens += tokens_added;
        }
        let body = bodies::insert(self.connection, &acceptance.head, &acceptance.body)?;
        let parameters = params![
            key(&event.id),
            acceptance.lane.as_str(),
            event.due.as_micros(),
            event.accepted.as_micros(),
            acceptance.lease == Lease::Taken,
            signed(size),
            event.origin.as_ref().map(key),
            body,
        ];
        self.insert.execute(parameters).doing(ACCEPT)?;
        self.pending += 1;
        self.pending_bytes += size;
        self.accepted += 1;
        self.bytes += signed(size);
        Ok(Accepted::New(event.id))
    }

    fn is_known(&mut self, id: EventId) -> Result<bool, StoreError> {
        let exists = |statement: &mut CachedStatement<'_>| statement.exists([key(&id)]).doing(ACCEPT);
        Ok(exists(&mut self.waiting)? || exists(&mut self.ended)?)
    }

    fn forget_tokens(&mut self, event: &QueuedEvent) -> Result<(), StoreError> {
        let forgotten = tokens::forget(self.connection, event.accepted)?;
        self.tokens_change -= signed(forgotten);
        self.tokens = self.tokens.saturating_sub(forgotten);
        Ok(())
    }

    /// Writes the totals.
    pub(in crate::database) fn close(self) -> Result<(), StoreError> {
        if self.accepted == 0 && self.tokens_change == 0 {
            return Ok(());
        }
        let sql = "UPDATE totals SET accepted = accepted + ?1, pending = pending + ?1,
                                     pending_bytes = pending_bytes + ?2, tokens = tokens + ?3";
        let parameters = [self.accepted, self.bytes, self.tokens_change];
        execute(self.connection, ACCEPT, sql, parameters).map(drop)
    }
}

fn full(what: &'static str, limit: u64) -> StoreError {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    StoreError::Busy { what, limit }
}

/// Counts one more pending event whatever the bounds are, and inserts it: it comes from an event that was accepted.
pub(super) fn insert_unbounded(
    connection: &Connection,
    event: &QueuedEvent,
    head: &str,
    body: &Body,
) -> Result<(), StoreError> {
    let size = signed(event.payload.len() as u64);
    let sql = "UPDATE totals SET accepted = accepted + 1, pending = pending + 1, pending_bytes = pending_bytes + ?1";
    execute(connection, ACCEPT, sql, [size])?;
    let body = bodies::insert(connection, head, body)?;
    let lane = event.route.lane();
    let parameters = params![
        key(&event.id),
        lane.as_str(),
        event.due.as_micros(),
        event.accepted.as_micros(),
        false,
        size,
        event.origin.as_ref().map(key),
        body,
    ];
    execute(connection, ACCEPT, INSERT, parameters).map(drop)
}
