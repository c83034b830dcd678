//! The durable queue of accepted events.
//!
//! One file per part of an event's life: accepting, running, ending, reading. Contents are in [`bodies`].

mod accept;
mod bodies;
mod ending;
mod letters;
mod read;
mod running;
mod tokens;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use sonagi_model::{EventId, Namespace, RunRecord, Timestamp};
use sonagi_ports::{
    AcceptError, Accepted, Attributes, Cancelled, DuePage, EventFilter, EventHead, EventQueue, EventRoute, EventTotals,
    EventView, Lane, Lease, Postponement, QueuedEvent, Settlement, StoreError, Token,
};

pub(super) use accept::{ACCEPT, Acceptance, Acceptor};
pub(crate) use bodies::{Bodies, BodiesError, Body};

use super::runs::KeptRun;
use super::{Database, Doing, unreadable};

const READ: &str = "read events";

/// Version of the format of a body: its columns, and its head as the JSON form of [`Head`].
const FORMAT: i64 = 2;

/// What of an event never changes and is not its payload, as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Head {
    route: EventRoute,
    namespace: Namespace,
    name: String,
    #[serde(default)]
    attributes: Attributes,
}

impl Head {
    fn of(event: &QueuedEvent) -> Self {
        Self {
            route: event.route.clone(),
            namespace: event.namespace.clone(),
            name: event.name.clone(),
            attributes: event.attributes.clone(),
        }
    }

    fn parse(id: EventId, text: &str) -> Result<Self, StoreError> {
        serde_json::from_str(text).map_err(|error| unreadable(format!("event {id}"), error))
    }

    fn text(&self) -> Result<String, StoreError> {
        serde_json::to_string(self).map_err(|error| unreadable("event", error))
    }
}

/// An id as the database holds it.
const fn key(id: &EventId) -> &[u8; 16] {
    id.as_uuid().as_bytes()
}

fn event_id(bytes: [u8; 16]) -> EventId {
    EventId::from_uuid(uuid::Uuid::from_bytes(bytes))
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

#[async_trait]
impl EventQueue for Database {
    async fn accept(&self, event: QueuedEvent, token: Option<Token>, lease: Lease) -> Result<Accepted, AcceptError> {
        self.accept_event(event, token, lease).await
    }

    async fn lanes(&self) -> Result<Vec<(Lane, Timestamp)>, StoreError> {
        self.read(read::lanes).await
    }

    async fn due(&self, lane: &Lane, now: Timestamp, limit: usize) -> Result<DuePage, StoreError> {
        let lane = lane.clone();
        self.read(move |connection| read::due(connection, &lane, now, limit))
            .await
    }

    async fn lease(&self, heads: Vec<EventHead>) -> Result<Vec<EventId>, StoreError> {
        self.write(running::LEASE, move |connection| running::lease(connection, &heads))
            .await
    }

    async fn leased(&self, after: Option<EventId>, limit: usize) -> Result<Vec<EventHead>, StoreError> {
        self.read(move |connection| read::leased(connection, after, limit))
            .await
    }

    async fn load(&self, id: EventId) -> Result<Option<QueuedEvent>, StoreError> {
        let bodies = self.bodies().clone();
        self.read(move |connection| read::load(connection, &bodies, id)).await
    }

    async fn postpone(&self, id: EventId, next: Postponement, record: Option<RunRecord>) -> Result<(), StoreError> {
        let (bounds, run) = (self.bounds(), record.map(KeptRun::new).transpose()?);
        self.write(running::POSTPONE, move |connection| {
            running::postpone(connection, id, next, run.as_slice(), bounds)
        })
        .await
    }

    async fn settle(
        &self,
        id: EventId,
        settlement: Settlement,
        record: Option<RunRecord>,
        follow_ups: Vec<QueuedEvent>,
    ) -> Result<(), StoreError> {
        self.settle_event(id, settlement, record, follow_ups).await
    }

    async fn cancel(&self, id: EventId, at: Timestamp) -> Result<Cancelled, StoreError> {
        let bounds = self.bounds();
        let (cancelled, surplus) = self
            .write(ending::CANCEL, move |connection| {
                ending::cancel(connection, id, at, bounds)
            })
            .await?;
        self.bodies().remove(surplus).await;
        Ok(cancelled)
    }

    async fn repeat(&self, id: EventId, new: EventId, at: Timestamp) -> Result<Option<QueuedEvent>, AcceptError> {
        let bounds = self.bounds();
        let repeated = self
            .write(letters::REPEAT, move |connection| {
                letters::repeat(connection, id, new, at, bounds)
            })
            .await?;
        if !repeated {
            return Ok(None);
        }
        Ok(self.load(new).await?)
    }

    async fn drop_letter(&self, id: EventId) -> Result<bool, StoreError> {
        let dropped = self
            .write(letters::DROP, move |connection| letters::drop_letter(connection, id))
            .await?;
        let found = dropped.is_some();
        self.bodies().remove(dropped.unwrap_or_default()).await;
        Ok(found)
    }

    async fn letters(&self, filter: EventFilter) -> Result<Vec<EventView>, StoreError> {
        self.read(move |connection| read::letters(connection, &filter)).await
    }

    async fn recent(&self, filter: EventFilter) -> Result<Vec<EventView>, StoreError> {
        self.read(move |connection| read::recent(connection, &filter)).await
    }

    async fn find(&self, id: EventId) -> Result<Option<EventView>, StoreError> {
        self.read(move |connection| read::find(connection, id)).await
    }

    async fn offspring(&self, id: EventId) -> Result<Vec<EventView>, StoreError> {
        self.read(move |connection| read::offspring(connection, id)).await
    }

    async fn content(&self, id: EventId) -> Result<Option<Bytes>, StoreError> {
        let bodies = self.bodies().clone();
        self.read(move |connection| {
            let body = bodies::find(connection, id)?;
            body.map(|(_, body)| bodies.payload(id, body)).transpose()
        })
        .await
    }

    async fn totals(&self) -> Result<EventTotals, StoreError> {
        self.read(read::totals).await
    }
}
