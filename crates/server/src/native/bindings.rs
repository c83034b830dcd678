//! Functions that run by a schedule, by the events of a bus, by a queue or a bucket, and the door for CloudEvents.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use http::{HeaderMap, StatusCode};
use sha2::{Digest as _, Sha256};
use sonagi_api as api;
use sonagi_model::{EventId, Namespace, Timestamp};
use sonagi_ports::{Listen, ListenTo, ListenView, Token};
use sonagi_triggers::{Binding, BindingError, CloudEvent, Source, read_request};

use super::answer::Refusal;
use super::query::{Params, ScopeQuery};
use super::{Shared, body, moment};

/// Bytes of a request with events.
const EVENTS_BYTES: usize = 1024 * 1024;
/// For how long an event of the same source and id is the same event.
const SAME_EVENT: Duration = Duration::from_secs(24 * 3600);

impl From<BindingError> for Refusal {
    fn from(error: BindingError) -> Self {
        match error {
            BindingError::Invalid(text) => {
                Self::invalid(text).hint("`sonagi on cron --help` and `sonagi on bus --help` have examples")
            }
            BindingError::Exists(_) => Self::new(api::ErrorCode::Conflict, error.to_string())
                .hint("choose another with --name, or remove it with `sonagi on rm`"),
            BindingError::TooMany | BindingError::Schedules(_) => Self::invalid(error.to_string()),
            BindingError::Store(error) => error.into(),
        }
    }
}

fn shown(shared: &Shared, binding: &Binding) -> api::Binding {
    let source = match &binding.source {
        Source::Schedule {
            expression,
            zone,
            payload,
            missed,
        } => api::BindingSource::Schedule {
            expression: expression.clone(),
            zone: Some(zone.clone()),
            payload: payload.clone(),
            missed: Some(missed.clone()),
        },
        Source::Bus { bus, filter } => api::BindingSource::Bus {
            bus: bus.clone(),
            filter: filter.clone(),
        },
    };
    api::Binding {
        name: binding.name.clone(),
        namespace: binding.namespace.to_string(),
        function: binding.function.clone(),
        qualifier: binding.qualifier.clone(),
        source,
        created: Some(moment::text(binding.created)),
        next: shared.bindings.next(binding).map(moment::text),
        state: None,
    }
}

/// A queue or a bucket that a provider's own service serves.
fn service(source: &api::BindingSource) -> Option<ListenTo> {
    match source.clone() {
        api::BindingSource::Queue {
            queue,
            batch,
            window,
            concurrency,
            filter,
            partial,
        } => Some(ListenTo::Queue {
            queue,
            batch,
            window,
            concurrency,
            filter: filter.map(|filter| filter.to_string()),
            partial,
        }),
        api::BindingSource::Objects {
            bucket,
            events,
            prefix,
            suffix,
        } => Some(ListenTo::Objects {
            bucket,
            events,
            prefix,
            suffix,
        }),
        api::BindingSource::Schedule { .. } | api::BindingSource::Bus { .. } => None,
    }
}

fn served(namespace: &Namespace, found: ListenView) -> api::Binding {
    let source = match found.to {
        ListenTo::Queue {
            queue,
            batch,
            window,
            concurrency,
            filter,
            partial,
        } => api::BindingSource::Queue {
            queue,
            batch,
            window,
            concurrency,
            filter: filter.and_then(|filter| serde_json::from_str(&filter).ok()),
            partial,
        },
        ListenTo::Objects {
            bucket,
            events,
            prefix,
            suffix,
        } => api::BindingSource::Objects {
            bucket,
            events,
            prefix,
            suffix,
        },
    };
    api::Binding {
        name: found.name,
        namespace: namespace.to_string(),
        function: found.function,
        qualifier: found.qualifier,
        source,
        created: None,
        next: None,
        state: Some(found.state),
    }
}

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Params(query): Params<ScopeQuery>,
) -> Result<Json<api::Bindings>, Refusal> {
    let place = shared.place(&query.scope())?;
    let found = shared.bindings.of(&place.namespace);
    let mut bindings: Vec<api::Binding> = found.iter().map(|binding| shown(&shared, binding)).collect();
    let listening = place.adapter.listening(&place.namespace).await?;
    bindings.extend(listening.into_iter().map(|found| served(&place.namespace, found)));
    Ok(Json(api::Bindings { bindings }))
}

pub(super) async fn add(
    State(shared): State<Arc<Shared>>,
    Params(query): Params<ScopeQuery>,
    body: Body,
) -> Result<(StatusCode, Json<api::Binding>), Refusal> {
    let new: api::NewBinding = body::document(body, shared.limits.document).await?;
    let place = shared.place_of(&query.scope(), &new.function)?;
    shared.function_id(&place, &new.function)?;
    if let Some(to) = service(&new.source) {
        let listen = Listen {
            namespace: place.namespace.clone(),
            name: new.name,
            function: new.function,
            qualifier: new.qualifier,
            to,
        };
        let made = place.adapter.listen(listen).await?;
        return Ok((StatusCode::CREATED, Json(served(&place.namespace, made))));
    }
    let source = match new.source {
        api::BindingSource::Queue { .. } | api::BindingSource::Objects { .. } => {
            return Err(Refusal::invalid("this source is served by no provider"));
        }
        api::BindingSource::Schedule {
            expression,
            zone,
            payload,
            missed,
        } => Source::Schedule {
            expression,
            zone: zone.unwrap_or_else(|| "UTC".to_owned()),
            payload,
            missed: missed.unwrap_or_else(|| "once".to_owned()),
        },
        api::BindingSource::Bus { bus, filter } => Source::Bus { bus, filter },
    };
    let made_of = |function: &str| {
        let known = shared.bindings.of(&place.namespace);
        let short: String = function
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .chars()
            .take(48)
            .collect();
        let free = |name: &String| known.iter().all(|binding| binding.name != *name);
        // More names than there can be bindings.
        let names = std::iter::once(short.clone()).chain((2..=1001).map(|number| format!("{short}-{number}")));
        names.into_iter().find(free).unwrap_or(short)
    };
    let binding = Binding {
        name: new.name.unwrap_or_else(|| made_of(&new.function)),
        namespace: place.namespace.clone(),
        function: new.function,
        qualifier: new.qualifier,
        source,
        created: Timestamp::EPOCH,
        generation: String::new(),
    };
    let binding = shared.bindings.add(binding).await?;
    Ok((StatusCode::CREATED, Json(shown(&shared, &binding))))
}

pub(super) async fn remove(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Params(query): Params<ScopeQuery>,
) -> Result<StatusCode, Refusal> {
    let place = shared.place(&query.scope())?;
    if shared.bindings.remove(&place.namespace, &name).await? || place.adapter.unlisten(&place.namespace, &name).await?
    {
        return Ok(StatusCode::NO_CONTENT);
    }
    let text = format!("binding {name:?} does not exist in {}", place.namespace);
    Err(Refusal::missing(text).hint("`sonagi on ls` lists bindings"))
}

/// CloudEvents, in any of their three forms: 202 when all are stored or wanted by nobody.
pub(super) async fn publish(
    State(shared): State<Arc<Shared>>,
    Path(bus): Path<String>,
    Params(query): Params<ScopeQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<api::Published>), Refusal> {
    let place = shared.place(&query.scope())?;
    let body = body::read(body, "request", EVENTS_BYTES).await?;
    let events = read_request(&headers, &body).map_err(|error| {
        Refusal::invalid(error.to_string())
            .hint("send headers ce-id, ce-source, ce-type, ce-specversion: 1.0 and the data as the body")
    })?;
    let mut published = Vec::with_capacity(events.len());
    for event in &events {
        let scope = format!("cloudevents {} {bus}", place.namespace);
        let token = Token {
            scope: scope.chars().take(250).collect(),
            text: identity(event),
            window: SAME_EVENT,
        };
        let id = EventId::generate();
        let id = shared
            .broker
            .publish(id, &place.namespace, &bus, event, Some(token))
            .await?;
        published.push(id.map(|id| id.to_string()));
    }
    Ok((StatusCode::ACCEPTED, Json(api::Published { events: published })))
}

/// Source and id together name an event. Source: "CloudEvents" 1.0.2, attribute `id`.
fn identity(event: &CloudEvent) -> String {
    let mut hasher = Sha256::new();
    hasher.update(event.get("source").unwrap_or_default());
    hasher.update([0]);
    hasher.update(event.get("id").unwrap_or_default());
    hex::encode(hasher.finalize())
}
