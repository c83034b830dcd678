//! Durable message queues.
//!
//! One file per part of a message's life: sending, receiving, settling; queues themselves and sweeping are apart. Bodies
//! are in a table of their own, so that a receipt rewrites a narrow row only.

mod groups;
mod queues;
mod receiving;
mod sending;
mod settling;
mod sweeping;

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};
use sonagi_model::{QueueId, Timestamp};
use sonagi_ports::{
    Fetch, Fetched, MessageError, MessageStore, NewMessage, Queue, QueueCounts, Receipt, Sent, Settled, Shown,
    StoreError,
};

use super::{Database, Doing, signed};

/// Version of the formats of queues and of messages' heads.
const FORMAT: i64 = 1;

const READ: &str = "read queues";
const CHANGE: &str = "change a queue";

/// An id as the database holds it.
const fn key(id: &QueueId) -> &[u8; 16] {
    id.as_uuid().as_bytes()
}

fn queue_id(bytes: [u8; 16]) -> QueueId {
    QueueId::from_uuid(uuid::Uuid::from_bytes(bytes))
}

/// A length of time as the database's number, microseconds.
fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Runs one statement; how many rows it changed.
fn execute(
    connection: &Connection,
    action: &'static str,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<usize, StoreError> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute(parameters))
        .doing(action)
}

/// What working on a queue needs to know of it.
#[derive(Debug, Clone, Copy)]
struct Own {
    id: QueueId,
    number: i64,
    grouped: bool,
    retention: i64,
    window: i64,
    redrive: Option<(QueueId, u32)>,
}

/// Finds a queue. `None`: it is gone.
fn own(connection: &Connection, action: &'static str, id: QueueId) -> Result<Option<Own>, StoreError> {
    let sql =
        "SELECT number, grouped, retention, dedup_window, redrive_target, redrive_after FROM queues WHERE id = ?1";
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| {
            let read = |row: &rusqlite::Row<'_>| {
                let target: Option<[u8; 16]> = row.get(4)?;
                let after: Option<u32> = row.get(5)?;
                Ok(Own {
                    id,
                    number: row.get(0)?,
                    grouped: row.get(1)?,
                    retention: row.get(2)?,
                    window: row.get(3)?,
                    redrive: target.map(queue_id).zip(after),
                })
            };
            statement.query_row([key(&id)], read).optional()
        })
        .doing(action)
}

/// Counts messages that come or go.
fn count(connection: &Connection, action: &'static str, messages: i64, bytes: i64) -> Result<(), StoreError> {
    let sql = "UPDATE message_totals SET messages = messages + ?1, bytes = bytes + ?2";
    execute(connection, action, sql, [messages, bytes]).map(drop)
}

impl Database {
    /// Does something with a queue that must be there.
    async fn on_queue<T: Send + 'static>(
        &self,
        action: &'static str,
        id: QueueId,
        work: impl FnOnce(&Connection, Own) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, MessageError> {
        let done = self.write(action, move |connection| match own(connection, action, id)? {
            Some(own) => work(connection, own).map(Some),
            None => Ok(None),
        });
        done.await?.ok_or(MessageError::NoQueue(id))
    }
}

#[async_trait]
impl MessageStore for Database {
    async fn queues(&self) -> Result<Vec<Queue>, StoreError> {
        self.read(queues::all).await
    }

    async fn put_queue(&self, queue: Queue) -> Result<(), StoreError> {
        self.write(CHANGE, move |connection| queues::put(connection, &queue))
            .await
    }

    async fn remove_queue(&self, id: QueueId) -> Result<bool, StoreError> {
        self.write(CHANGE, move |connection| queues::remove(connection, id))
            .await
    }

    async fn send(&self, queue: QueueId, messages: Vec<NewMessage>, now: Timestamp) -> Result<Vec<Sent>, MessageError> {
        messages.iter().try_for_each(NewMessage::check)?;
        let bounds = self.bounds();
        self.on_queue(sending::SEND, queue, move |connection, own| {
            sending::send(connection, own, &messages, now, bounds)
        })
        .await
    }

    async fn receive(&self, fetch: Fetch, now: Timestamp) -> Result<Fetched, MessageError> {
        self.on_queue(receiving::RECEIVE, fetch.queue, move |connection, own| {
            receiving::receive(connection, own, fetch, now)
        })
        .await
    }

    async fn delete(
        &self,
        queue: QueueId,
        receipts: Vec<Receipt>,
        now: Timestamp,
    ) -> Result<Vec<Settled>, MessageError> {
        self.on_queue(settling::DELETE, queue, move |connection, own| {
            let each = receipts.into_iter();
            each.map(|receipt| settling::delete(connection, own, receipt, now))
                .collect()
        })
        .await
    }

    async fn change_visibility(
        &self,
        queue: QueueId,
        changes: Vec<(Receipt, Duration)>,
        now: Timestamp,
    ) -> Result<Vec<Shown>, MessageError> {
        self.on_queue(settling::SHOW, queue, move |connection, own| {
            let each = changes.into_iter();
            each.map(|(receipt, later)| settling::show(connection, own, receipt, now.plus(later), now))
                .collect()
        })
        .await
    }

    async fn purge(&self, queue: QueueId) -> Result<(), MessageError> {
        self.on_queue(CHANGE, queue, queues::purge).await
    }

    async fn counts(&self, queue: QueueId, now: Timestamp) -> Result<QueueCounts, MessageError> {
        let counted = self.read(move |connection| match own(connection, READ, queue)? {
            Some(own) => queues::counts(connection, own, now).map(Some),
            None => Ok(None),
        });
        counted.await?.ok_or(MessageError::NoQueue(queue))
    }

    async fn sweep(&self, now: Timestamp) -> Result<bool, StoreError> {
        self.write(sweeping::SWEEP, move |connection| sweeping::sweep(connection, now))
            .await
    }
}

/// A size or number for a row.
fn size(bytes: usize) -> i64 {
    signed(bytes as u64)
}
