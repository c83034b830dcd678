//! Calling functions.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use sonagi_api as api;
use sonagi_ports::{NativeAnswer, NativeCall};

use super::answer::Refusal;
use super::query::{CallQuery, Params};
use super::scope::Place;
use super::{Shared, body, convert};

/// The end of a log that goes with an answer, bytes.
const LOG_TAIL_BYTES: usize = 4096;

/// Names an event, so that sending it again within a day accepts it once.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

async fn call(
    shared: &Shared,
    name: String,
    query: CallQuery,
    token: Option<String>,
    body: Body,
) -> Result<(Place, NativeCall), Refusal> {
    let place = shared.place_of(&query.scope(), &name)?;
    let payload = body::read(body, "event", shared.limits.event).await?;
    let call = NativeCall {
        namespace: place.namespace.clone(),
        name,
        qualifier: query.qualifier,
        payload,
        token,
    };
    Ok((place, call))
}

pub(super) async fn invoke(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Params(query): Params<CallQuery>,
    body: Body,
) -> Result<Response, Refusal> {
    let (place, call) = call(&shared, name, query, None, body).await?;
    let answer = place.adapter.invoke(call).await?;
    let headers = headers(&answer)?;
    let mut response = Response::new(Body::from(answer.body));
    *response.headers_mut() = headers;
    Ok(response)
}

fn headers(answer: &NativeAnswer) -> Result<HeaderMap, Refusal> {
    let tail = &answer.log_tail[answer.log_tail.len().saturating_sub(LOG_TAIL_BYTES)..];
    let failed = |_| Refusal::new(api::ErrorCode::Platform, "the run's record does not fit into a header");
    let run = api::header::encode(&convert::run(answer.record.clone())).map_err(failed)?;
    let mut headers = HeaderMap::with_capacity(5);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    for (name, value) in [
        (api::header::INVOCATION, answer.invocation.to_string()),
        (api::header::FAILED, answer.failed.to_string()),
        (api::header::RUN, run),
        (api::header::LOG_TAIL, api::header::bytes_to_text(tail)),
    ] {
        let value = HeaderValue::try_from(value).expect("ids, words and base64 are header values");
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(headers)
}

pub(super) async fn send(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Params(query): Params<CallQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<api::Accepted>), Refusal> {
    let token = headers.get(IDEMPOTENCY_KEY).map(|value| {
        let text = value.to_str().ok().filter(|text| !text.is_empty());
        text.map(str::to_owned)
            .ok_or_else(|| Refusal::invalid("Idempotency-Key must be 1 to 256 printable characters"))
    });
    let (place, call) = call(&shared, name, query, token.transpose()?, body).await?;
    let invocation = place.adapter.send(call).await?.to_string();
    Ok((StatusCode::ACCEPTED, Json(api::Accepted { invocation })))
}
