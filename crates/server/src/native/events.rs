//! Accepted events and dead letters.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use sonagi_api as api;
use sonagi_dispatch::Asynchronous;
use sonagi_model::{EventId, InvocationId};
use sonagi_ports::{
    AcceptError, Cancelled, EventFilter, EventQueue, EventRoute, EventState, EventStatus, EventView, StoreError,
};

use super::answer::Refusal;
use super::query::{EventsQuery, Params};
use super::{Shared, convert, moment};

/// The most events in one answer, as [`EventFilter`] has it.
const EVENTS_MAX: usize = 1000;

/// Changes the lives of events.
#[async_trait]
pub trait EventDesk: Send + Sync + std::fmt::Debug {
    /// See [`Asynchronous::cancel`].
    ///
    /// # Errors
    /// [`StoreError`].
    async fn cancel(&self, id: EventId) -> Result<Cancelled, StoreError>;

    /// See [`Asynchronous::repeat`].
    ///
    /// # Errors
    /// [`AcceptError`].
    async fn repeat(&self, id: EventId) -> Result<Option<EventId>, AcceptError>;
}

#[async_trait]
impl EventDesk for Asynchronous {
    async fn cancel(&self, id: EventId) -> Result<Cancelled, StoreError> {
        Self::cancel(self, id).await
    }

    async fn repeat(&self, id: EventId) -> Result<Option<EventId>, AcceptError> {
        Self::repeat(self, id).await
    }
}

/// What is known of events, and who changes it.
#[derive(Debug, Clone)]
pub struct Events {
    /// The queue.
    pub queue: Arc<dyn EventQueue>,
    /// The runner.
    pub desk: Arc<dyn EventDesk>,
}

/// An event by its own id or by that of its invocation.
fn parse(text: &str) -> Result<EventId, Refusal> {
    let invocation = || {
        text.parse::<InvocationId>()
            .ok()
            .map(|id| EventId::from_uuid(*id.as_uuid()))
    };
    text.parse().ok().or_else(invocation).ok_or_else(|| {
        Refusal::invalid(format!("{text:?} is no event's id"))
            .hint("it has the form evt_…, or is the id of an invocation; `sonagi events` lists events")
    })
}

fn missing(id: EventId) -> Refusal {
    Refusal::missing(format!("event {id} is not known"))
        .hint("ended events are remembered up to a number; synchronous calls are no events")
}

fn shown(view: EventView) -> api::Event {
    let (state, reason, due, ended) = match view.state {
        EventState::Waiting => ("waiting", String::new(), Some(moment::text(view.due)), None),
        EventState::Running => ("running", String::new(), None, None),
        EventState::Ended(end) => (end.status.as_str(), end.reason, None, Some(moment::text(end.at))),
    };
    api::Event {
        id: view.id.to_string(),
        invocation: view.id.as_uuid().as_hyphenated().to_string(),
        namespace: view.namespace.to_string(),
        name: view.name,
        destination: match view.route {
            EventRoute::Function { .. } => None,
            EventRoute::Destination { adapter, .. } => Some(adapter),
        },
        origin: view.origin.map(|origin| origin.to_string()),
        accepted: moment::text(view.accepted),
        state: state.to_owned(),
        reason,
        attempts: view.progress.started,
        due,
        ended,
        bytes: view.bytes,
        kept: view.kept,
        dead: view.letter,
    }
}

fn repeated(origin: EventId, new: EventId) -> Json<api::Repeated> {
    Json(api::Repeated {
        id: new.to_string(),
        invocation: new.as_uuid().as_hyphenated().to_string(),
        origin: origin.to_string(),
    })
}

fn filter(shared: &Shared, query: EventsQuery) -> Result<EventFilter, Refusal> {
    let place = shared.place(&query.scope())?;
    let limit = query.limit.unwrap_or(0);
    if limit > EVENTS_MAX {
        return Err(Refusal::invalid(format!("limit {limit} is more than {EVENTS_MAX}")));
    }
    Ok(EventFilter {
        namespace: Some(place.namespace),
        name: query.function,
        before: query.before.as_deref().map(parse).transpose()?,
        limit,
    })
}

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Params(query): Params<EventsQuery>,
) -> Result<Json<api::Events>, Refusal> {
    let found = shared.events.queue.recent(filter(&shared, query)?).await?;
    let events = found.into_iter().map(shown).collect();
    Ok(Json(api::Events { events }))
}

pub(super) async fn letters(
    State(shared): State<Arc<Shared>>,
    Params(query): Params<EventsQuery>,
) -> Result<Json<api::Events>, Refusal> {
    let found = shared.events.queue.letters(filter(&shared, query)?).await?;
    let events = found.into_iter().map(shown).collect();
    Ok(Json(api::Events { events }))
}

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<api::EventLife>, Refusal> {
    let id = parse(&id)?;
    let event = shared.events.queue.find(id).await?.ok_or_else(|| missing(id))?;
    let attempts = shared.runs.attempts(InvocationId::from_uuid(*id.as_uuid())).await?;
    let sent = shared.events.queue.offspring(id).await?;
    Ok(Json(api::EventLife {
        event: shown(event),
        attempts: attempts.into_iter().map(convert::run).collect(),
        sent: sent.into_iter().map(shown).collect(),
    }))
}

pub(super) async fn content(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let id = parse(&id)?;
    match shared.events.queue.content(id).await? {
        Some(content) => Ok(Response::new(Body::from(content))),
        None => Err(missing(id).hint("the content is not stored any more")),
    }
}

pub(super) async fn cancel(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<api::CancelledEvent>, Refusal> {
    let id = parse(&id)?;
    let over = match shared.events.desk.cancel(id).await? {
        Cancelled::Now => true,
        Cancelled::AfterAttempt => false,
        Cancelled::NotPending => {
            return Err(match shared.events.queue.find(id).await? {
                Some(_) => Refusal::new(api::ErrorCode::Conflict, format!("event {id} is over already")),
                None => missing(id),
            });
        }
    };
    Ok(Json(api::CancelledEvent {
        id: id.to_string(),
        over,
    }))
}

pub(super) async fn replay(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<api::Repeated>), Refusal> {
    let id = parse(&id)?;
    repeat(&shared, id).await
}

async fn repeat(shared: &Shared, id: EventId) -> Result<(StatusCode, Json<api::Repeated>), Refusal> {
    if let Some(new) = shared.events.desk.repeat(id).await? {
        return Ok((StatusCode::ACCEPTED, repeated(id, new)));
    }
    let found = shared.events.queue.find(id).await?.ok_or_else(|| missing(id))?;
    Err(match found.state {
        EventState::Waiting | EventState::Running => {
            Refusal::new(api::ErrorCode::Conflict, format!("event {id} is not over yet"))
        }
        EventState::Ended(_) => Refusal::missing(format!("the content of event {id} is not stored any more"))
            .hint("it was redriven or dropped, or newer ones took its place"),
    })
}

pub(super) async fn redrive(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<api::Repeated>), Refusal> {
    let id = parse(&id)?;
    letter(&shared, id).await?;
    repeat(&shared, id).await
}

pub(super) async fn drop_letter(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Refusal> {
    let id = parse(&id)?;
    if shared.events.queue.drop_letter(id).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(no_letter(id))
}

fn no_letter(id: EventId) -> Refusal {
    Refusal::missing(format!("there is no dead letter {id}")).hint("`sonagi dlq ls` lists dead letters")
}

async fn letter(shared: &Shared, id: EventId) -> Result<(), Refusal> {
    let found = shared.events.queue.find(id).await?;
    found.filter(|view| view.letter).map(drop).ok_or_else(|| no_letter(id))
}

pub(super) async fn totals(State(shared): State<Arc<Shared>>) -> Result<Json<api::EventTotals>, Refusal> {
    let totals = shared.events.queue.totals().await?;
    let missing = i64::try_from(totals.missing()).unwrap_or(i64::MAX);
    let ended = EventStatus::ALL.iter().zip(totals.ended);
    Ok(Json(api::EventTotals {
        accepted: totals.accepted,
        pending: totals.pending,
        pending_bytes: totals.pending_bytes,
        ended: ended
            .map(|(status, number)| (status.as_str().to_owned(), number))
            .collect(),
        letters: totals.letters,
        missing,
    }))
}
