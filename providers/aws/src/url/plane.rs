//! Serving function URLs: from an HTTP request to an event, and from the function's result to an HTTP answer.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use sonagi_dispatch::{Answer, LogTail, Streaming};
use sonagi_model::Outcome;
use sonagi_ports::StreamPart;
use sonagi_wire::{Body, BoxError};

use super::answer::{Unreadable, buffered};
use super::prelude::{PRELUDE_TYPE, Prelude};
use super::{UrlAddress, UrlRoute, UrlRoutes, cors, event};
use crate::auth::{Caller, Door, Pending, Verifier};
use crate::control::statement::url_allowed;
use crate::errors::{Code, LambdaError};
use crate::intake;
use crate::invoke::{Collected, Invoker, Prepared, REQUEST_ID, TRACE_HEADER, Target, platform_error};
use crate::records::{UrlAuth, UrlMode};

/// What callers who may not use a URL are told.
const FORBIDDEN: &str = "Forbidden. For troubleshooting Function URL authorization issues, see: \
                         https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html";

/// Serves function URLs.
#[derive(Debug)]
pub(crate) struct UrlPlane {
    pub(crate) routes: Arc<UrlRoutes>,
    pub(crate) invoker: Arc<Invoker>,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) address: Arc<UrlAddress>,
}

/// One request to a URL.
#[derive(Debug)]
pub(crate) struct UrlCall<'a> {
    pub(crate) id: &'a str,
    /// The path that the function sees.
    pub(crate) path: &'a str,
    pub(crate) parts: &'a Parts,
    pub(crate) peer: SocketAddr,
}

impl UrlPlane {
    /// Answers a request.
    pub(crate) async fn serve(&self, call: UrlCall<'_>, body: Incoming) -> Response<Body> {
        let Some(route) = self.routes.get(call.id) else {
            return LambdaError::access_denied().response();
        };
        if let Some(cors) = &route.cors
            && cors::is_preflight(call.parts)
        {
            return cors::preflight(cors, call.parts);
        }
        let mut response = match self.answer(&route, &call, body).await {
            Ok(response) => response,
            Err(error) => error.response(),
        };
        if let Some(cors) = &route.cors {
            cors::decorate(cors, &call.parts.headers, response.headers_mut());
        }
        response
    }

    async fn answer(
        &self,
        route: &UrlRoute,
        call: &UrlCall<'_>,
        body: Incoming,
    ) -> Result<Response<Body>, LambdaError> {
        let pending = self.admit(route, call.parts)?;
        let limit = self.invoker.limits.payload;
        let body = intake::read_up_to(body, limit, || too_large(limit)).await?;
        let caller = pending
            .map(|pending| self.signer(route, pending, call.parts, &body))
            .transpose()?;
        let prepared = self.prepare(route, call, &body, caller.as_ref())?;
        let mut response = match route.mode {
            UrlMode::Buffered => whole(&prepared, self.invoker.run_whole(&prepared).await?),
            UrlMode::Stream => streamed(&prepared, self.invoker.run(&prepared).await?).await?,
        };
        let headers = response.headers_mut();
        let id = HeaderValue::from_str(&prepared.invocation.to_string()).ok();
        headers.extend(id.map(|id| (HeaderName::from_static(REQUEST_ID), id)));
        headers.extend(
            prepared
                .trace
                .value()
                .map(|value| (HeaderName::from_static(TRACE_HEADER), value)),
        );
        Ok(response)
    }

    /// What can be decided before the body is read. `None`: nobody needs to sign.
    fn admit(&self, route: &UrlRoute, parts: &Parts) -> Result<Option<Pending>, LambdaError> {
        match route.auth {
            UrlAuth::None if route.public => Ok(None),
            UrlAuth::None => Err(forbidden()),
            UrlAuth::Iam => {
                let pending = self.verifier.begin(parts, Door::Front).map_err(|error| {
                    if error.code == Code::MissingAuthenticationToken {
                        forbidden()
                    } else {
                        error
                    }
                })?;
                if pending.service != "lambda" {
                    let text = format!(
                        "Credential should be scoped to correct service: 'lambda', not '{}'.",
                        pending.service
                    );
                    return Err(LambdaError::new(Code::InvalidSignature, text));
                }
                Ok(Some(pending))
            }
        }
    }

    /// Who signed, if the owner or the policy lets him in.
    fn signer(&self, route: &UrlRoute, pending: Pending, parts: &Parts, body: &[u8]) -> Result<Caller, LambdaError> {
        let caller = pending.finish(parts, body)?;
        let owner = caller.place.account == route.place.account;
        if owner || url_allowed(&route.statements, &self.invoker.principals(&caller), UrlAuth::Iam) {
            return Ok(caller);
        }
        Err(forbidden())
    }

    fn prepare(
        &self,
        route: &UrlRoute,
        call: &UrlCall<'_>,
        body: &Bytes,
        caller: Option<&Caller>,
    ) -> Result<Prepared, LambdaError> {
        let entry = self
            .invoker
            .catalog
            .get(route.function)
            .ok_or_else(LambdaError::access_denied)?;
        let revision = self
            .invoker
            .pick(&entry, route.qualifier.as_ref())
            .ok_or_else(LambdaError::access_denied)?;
        let target = Target {
            entry,
            revision,
            arn: route.arn.clone(),
            qualifier: route.qualifier.clone(),
        };
        let mut prepared = self.invoker.assemble(target, &call.parts.headers, LogTail::Omit);
        let payload = event::write(&event::Source {
            route,
            parts: call.parts,
            path: call.path,
            body,
            peer: call.peer.ip(),
            port: self.address.port,
            scheme: self.address.scheme,
            invocation: prepared.invocation,
            trace: prepared.trace.as_str(),
            now: self.invoker.clock.now(),
            caller,
        });
        if payload.len() > self.invoker.limits.payload {
            return Err(too_large(self.invoker.limits.payload));
        }
        prepared.payload = Bytes::from(payload);
        Ok(prepared)
    }
}

fn forbidden() -> LambdaError {
    LambdaError::new(Code::AccessDenied, FORBIDDEN)
}

fn too_large(limit: usize) -> LambdaError {
    let text = format!("Request must be smaller than {limit} bytes for the InvokeFunction operation");
    LambdaError::new(Code::RequestTooLarge, text)
}

/// The one answer to whatever the function did wrong: details are in its log.
fn bad_gateway() -> Response<Body> {
    let mut response = Response::new(sonagi_wire::full("Internal Server Error"));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn unreadable(prepared: &Prepared, problem: &Unreadable) -> Response<Body> {
    tracing::info!(invocation = %prepared.invocation, %problem, "a function URL answers 502");
    bad_gateway()
}

fn whole(prepared: &Prepared, collected: Collected) -> Response<Body> {
    let Collected {
        finished,
        body,
        content_type,
    } = collected;
    if finished.outcome != Outcome::Success {
        return bad_gateway();
    }
    if content_type.as_deref() == Some(PRELUDE_TYPE) {
        // A streaming function behind a buffered URL.
        return match Prelude::default().take(&body) {
            Ok(Some(head)) => with_head(head.status, head.headers, sonagi_wire::full(head.rest)),
            Ok(None) => unreadable(prepared, &Unreadable("the prelude has no end".to_owned())),
            Err(problem) => unreadable(prepared, &problem),
        };
    }
    buffered(&body).unwrap_or_else(|problem| unreadable(prepared, &problem))
}

fn with_head(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The answer behind a URL in mode `RESPONSE_STREAM`. A function that fails before its first byte is answered 502; later
/// the connection is cut, because the status is out already.
async fn streamed(prepared: &Prepared, run: Answer) -> Result<Response<Body>, LambdaError> {
    let mut streaming = match run {
        Answer::Whole(finished) => {
            if let Some(error) = platform_error(&finished.outcome) {
                return Err(error);
            }
            if finished.outcome != Outcome::Success {
                return Ok(bad_gateway());
            }
            let headers = content_type_only(finished.content_type.as_deref());
            return Ok(with_head(StatusCode::OK, headers, sonagi_wire::full(finished.body)));
        }
        Answer::Stream(streaming) => streaming,
    };
    let mut prelude = (streaming.content_type.as_deref() == Some(PRELUDE_TYPE)).then(Prelude::default);
    loop {
        let data = match streaming.parts.recv().await {
            Some(StreamPart::Data(data)) => data,
            Some(StreamPart::End) if prelude.is_none() => Bytes::new(),
            Some(StreamPart::End) => {
                return Ok(unreadable(prepared, &Unreadable("the prelude has no end".to_owned())));
            }
            Some(StreamPart::Failed(_)) | None => return failed_early(streaming).await,
        };
        let Some(reading) = &mut prelude else {
            let headers = content_type_only(streaming.content_type.as_deref());
            return Ok(with_head(StatusCode::OK, headers, rest_of(data, streaming)));
        };
        match reading.take(&data) {
            Ok(Some(head)) => return Ok(with_head(head.status, head.headers, rest_of(head.rest, streaming))),
            Ok(None) => {}
            Err(problem) => return Ok(unreadable(prepared, &problem)),
        }
    }
}

async fn failed_early(streaming: Streaming) -> Result<Response<Body>, LambdaError> {
    let finished = streaming.finished.await.ok();
    match finished.and_then(|finished| platform_error(&finished.outcome)) {
        Some(error) => Err(error),
        None => Ok(bad_gateway()),
    }
}

fn content_type_only(content_type: Option<&str>) -> HeaderMap {
    let value = content_type.and_then(|text| HeaderValue::from_str(text).ok());
    let value = value.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    HeaderMap::from_iter([(header::CONTENT_TYPE, value)])
}

/// The first bytes, then the parts as they come. An end that is none cuts the connection, so that nobody takes a broken
/// answer for a whole one.
fn rest_of(first: Bytes, streaming: Streaming) -> Body {
    let state = Some((Some(first).filter(|first| !first.is_empty()), streaming));
    let frames = stream::unfold(state, |state| async {
        let (first, mut streaming) = state?;
        if let Some(first) = first {
            return Some((Ok(Frame::data(first)), Some((None, streaming))));
        }
        match streaming.parts.recv().await {
            Some(StreamPart::Data(data)) => Some((Ok(Frame::data(data)), Some((None, streaming)))),
            Some(StreamPart::End) => None,
            Some(StreamPart::Failed(_)) | None => {
                let cut: BoxError = "the function broke off its answer".into();
                Some((Err(cut), None))
            }
        }
    });
    BodyExt::boxed_unsync(StreamBody::new(frames))
}
