//! `Invoke`, `InvokeAsync` and `InvokeWithResponseStream`.
//! Source: "Invoke" and "InvokeWithResponseStream" of the Lambda API reference; answers recorded from the real service.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use sonagi_dispatch::{Answer, Finished, LogTail, Refused, Request};
use sonagi_model::{EventId, InvocationId, Outcome, ThrottleReason};
use sonagi_ports::{Accepted, Attributes, EventRoute, NewEvent, StreamPart, Token};
use sonagi_wire::Body;

use super::outcome::{error_body, platform_error};
use super::streaming::event_stream;
use super::trace::{TRACE_HEADER, TraceHeader};
use super::{Invoker, Target};
use crate::auth::Caller;
use crate::control::validate::Violations;
use crate::errors::{Code, LambdaError};
use crate::events::{LOOP_LIMIT, count_of};
use crate::json;
use crate::records::{FunctionRecord, RecursiveLoop, read};
use crate::runtime::{CONTRACT, attributes};

/// Name of the header with an answer's request id.
pub(crate) const REQUEST_ID: &str = "x-amzn-requestid";

/// Bytes of a log that come back with an answer. Source: "X-Amz-Log-Result" of the API reference.
const LOG_TAIL: usize = 4096;

/// Longest client context, bytes of base64. Source: "X-Amz-Client-Context" of the API reference.
const CLIENT_CONTEXT_MAX: usize = 3583;

/// How a call wants its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    RequestResponse,
    Event,
    DryRun,
}

/// One request to run a function, authenticated and read.
#[derive(Debug)]
pub(crate) struct InvokeCall<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) name: &'a str,
    pub(crate) qualifier: Option<&'a str>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) payload: Bytes,
}

/// A call whose every part is in order.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) target: Target,
    pub(crate) invocation: InvocationId,
    pub(crate) trace: TraceHeader,
    /// The event as the function gets it; JSON.
    pub(crate) payload: Bytes,
    attributes: Attributes,
    log_tail: LogTail,
}

/// The whole answer of an attempt, streamed ones collected.
#[derive(Debug)]
pub(crate) struct Collected {
    pub(crate) finished: Finished,
    pub(crate) body: Bytes,
    pub(crate) content_type: Option<String>,
}

impl Invoker {
    /// `Invoke`.
    ///
    /// # Errors
    /// [`LambdaError`]: nothing ran, or the platform failed.
    pub(crate) async fn invoke(&self, call: InvokeCall<'_>) -> Result<Response<Body>, LambdaError> {
        let mode = mode(call.headers)?;
        let prepared = self.prepare(call)?;
        if mode == Mode::RequestResponse {
            refuse_loop(&prepared)?;
        }
        match mode {
            Mode::DryRun => Ok(answer(StatusCode::NO_CONTENT, &prepared, sonagi_wire::empty())),
            Mode::Event => {
                self.accept(&prepared, None).await?;
                Ok(answer(StatusCode::ACCEPTED, &prepared, sonagi_wire::empty()))
            }
            Mode::RequestResponse => {
                let collected = self.run_whole(&prepared).await?;
                render(&prepared, collected)
            }
        }
    }

    /// `InvokeAsync`, the form of 2014.
    ///
    /// # Errors
    /// [`LambdaError`]: the event was not accepted.
    pub(crate) async fn invoke_async(&self, call: InvokeCall<'_>) -> Result<Response<Body>, LambdaError> {
        let prepared = self.prepare(call)?;
        self.accept(&prepared, None).await?;
        Ok(answer(StatusCode::ACCEPTED, &prepared, sonagi_wire::full("{}")))
    }

    /// `InvokeWithResponseStream`.
    ///
    /// # Errors
    /// [`LambdaError`]: nothing ran, or the platform failed before the answer began.
    pub(crate) async fn invoke_streaming(&self, call: InvokeCall<'_>) -> Result<Response<Body>, LambdaError> {
        let mode = mode(call.headers)?;
        if mode == Mode::Event {
            let mut found = Violations::default();
            found.one_of("invocationType", Some("Event"), &["RequestResponse", "DryRun"]);
            found.finish()?;
        }
        let prepared = self.prepare(call)?;
        if mode == Mode::DryRun {
            return Ok(answer(StatusCode::NO_CONTENT, &prepared, sonagi_wire::empty()));
        }
        refuse_loop(&prepared)?;
        let run = self.run(&prepared).await?;
        if let Answer::Whole(finished) = &run
            && let Some(error) = platform_error(&finished.outcome)
        {
            return Err(error);
        }
        Ok(event_stream(&prepared, run))
    }

    /// Checks everything that can be checked before anything runs.
    fn prepare(&self, call: InvokeCall<'_>) -> Result<Prepared, LambdaError> {
        let log_tail = log_tail(call.headers)?;
        let target = self.target(call.caller, call.name, call.qualifier)?;
        let client_context = client_context(call.headers)?;
        let payload = if call.payload.is_empty() {
            Bytes::from_static(b"{}")
        } else {
            call.payload
        };
        json::check(&payload).map_err(|problem| {
            let text = format!("Could not parse request body into json: Could not parse payload into json: {problem}");
            LambdaError::new(Code::InvalidRequestContent, text)
        })?;
        let mut prepared = self.assemble(target, call.headers, log_tail);
        let function = prepared.target.entry.function.id;
        prepared.trace = prepared.trace.with_turn(function);
        let trace = prepared.trace.as_str();
        prepared.attributes.replace(attributes::TRACE_ID, trace);
        prepared.payload = payload;
        if let Some(context) = client_context {
            prepared.attributes.set(attributes::CLIENT_CONTEXT, context);
        }
        if let Some(tenant) = call
            .headers
            .get("x-amz-tenant-id")
            .and_then(|value| value.to_str().ok())
        {
            prepared.attributes.set(attributes::TENANT_ID, tenant);
        }
        Ok(prepared)
    }

    /// A call of a target, still without its event.
    pub(crate) fn assemble(&self, target: Target, headers: &HeaderMap, log_tail: LogTail) -> Prepared {
        let invocation = InvocationId::generate();
        let trace = TraceHeader::of(headers, invocation, self.clock.now(), &*self.entropy);
        let mut attributes = Attributes::default();
        attributes.set(attributes::INVOKED_ARN, target.arn.clone());
        attributes.set(attributes::TRACE_ID, trace.as_str());
        Prepared {
            target,
            invocation,
            trace,
            payload: Bytes::new(),
            attributes,
            log_tail,
        }
    }

    /// A call with a batch of messages, on the trace of one of them.
    pub(crate) fn prepare_batch(&self, target: Target, trace: Option<&str>, payload: Bytes) -> Prepared {
        let mut headers = HeaderMap::new();
        let trace = trace.and_then(|trace| HeaderValue::from_str(trace).ok());
        headers.extend(trace.map(|trace| (HeaderName::from_static(TRACE_HEADER), trace)));
        let mut prepared = self.assemble(target, &headers, LogTail::Omit);
        prepared.trace = prepared.trace.with_turn(prepared.target.entry.function.id);
        let trace = prepared.trace.as_str();
        prepared.attributes.replace(attributes::TRACE_ID, trace);
        prepared.payload = payload;
        prepared
    }

    /// Runs a call; a streamed answer is handed on as it is.
    ///
    /// # Errors
    /// 429 or 503: nothing ran.
    pub(crate) async fn run(&self, prepared: &Prepared) -> Result<Answer, LambdaError> {
        let request = Request {
            function: prepared.target.entry.function.clone(),
            revision: prepared.target.revision.clone(),
            invocation: prepared.invocation,
            attempt: 1,
            payload: prepared.payload.clone(),
            attributes: prepared.attributes.clone(),
            tenant_concurrency: self.limits.account_concurrency,
            log_tail: prepared.log_tail,
        };
        self.runner.run(request).await.map_err(refused)
    }

    /// Runs a call and waits for all of the answer.
    ///
    /// # Errors
    /// 429, 503, or an error through the platform's fault.
    pub(crate) async fn run_whole(&self, prepared: &Prepared) -> Result<Collected, LambdaError> {
        let mut collected = match self.run(prepared).await? {
            Answer::Whole(mut finished) => {
                let (body, content_type) = (std::mem::take(&mut finished.body), finished.content_type.take());
                Collected {
                    finished,
                    body,
                    content_type,
                }
            }
            Answer::Stream(mut streaming) => {
                let body = self.collect(&mut streaming.parts).await;
                let finished = streaming
                    .finished
                    .await
                    .map_err(|_| LambdaError::new(Code::Service, "The platform lost track of the invocation."))?;
                Collected {
                    finished,
                    body,
                    content_type: streaming.content_type,
                }
            }
        };
        if collected.body.len() > self.limits.response && collected.finished.outcome == Outcome::Success {
            collected.finished.outcome = Outcome::ResponseTooLarge(self.limits.response as u64);
        }
        match platform_error(&collected.finished.outcome) {
            Some(error) => Err(error),
            None => Ok(collected),
        }
    }

    /// The bytes of a streamed answer, one byte beyond the limit at most; how it ended is the dispatcher's word.
    async fn collect(&self, parts: &mut tokio::sync::mpsc::Receiver<StreamPart>) -> Bytes {
        let mut body = bytes::BytesMut::new();
        while let Some(part) = parts.recv().await {
            if let StreamPart::Data(data) = part {
                let room = (self.limits.response + 1).saturating_sub(body.len());
                body.extend_from_slice(&data[..data.len().min(room)]);
            }
        }
        body.freeze()
    }

    /// Accepts a call as an event.
    ///
    /// # Errors
    /// 5xx: the event was not accepted.
    pub(crate) async fn accept(&self, prepared: &Prepared, token: Option<Token>) -> Result<Accepted, LambdaError> {
        let function = &prepared.target.entry.function;
        let route = EventRoute::Function {
            contract: CONTRACT.to_owned(),
            function: function.id,
            qualifier: prepared.target.qualifier.as_ref().map(ToString::to_string),
        };
        let event = NewEvent {
            id: EventId::from_uuid(*prepared.invocation.as_uuid()),
            attributes: prepared.attributes.clone(),
            token,
            ..NewEvent::new(
                route,
                function.namespace.clone(),
                function.name.as_str(),
                prepared.payload.clone(),
            )
        };
        self.runner.accept(event).await.map_err(LambdaError::from)
    }
}

/// Refuses one more turn of a loop, unless the function may go round.
fn refuse_loop(prepared: &Prepared) -> Result<(), LambdaError> {
    let function = &prepared.target.entry.function;
    let trace = prepared.attributes.get(attributes::TRACE_ID).unwrap_or_default();
    if count_of(function.id, trace) <= LOOP_LIMIT {
        return Ok(());
    }
    let record: FunctionRecord = read(&function.document)?;
    match record.recursive_loop {
        RecursiveLoop::Allow => Ok(()),
        RecursiveLoop::Terminate => Err(LambdaError::new(
            Code::RecursiveInvocation,
            format!(
                "Lambda has detected your function being invoked in a recursive loop with other AWS resources and \
                 stopped {}.",
                prepared.target.arn
            ),
        )),
    }
}

/// 429 with its reason, or 503.
pub(crate) fn refused(refused: Refused) -> LambdaError {
    match refused {
        Refused::Throttled(ThrottleReason::FunctionConcurrency) => {
            LambdaError::throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
        }
        Refused::Throttled(ThrottleReason::TenantConcurrency) => {
            LambdaError::throttled("ConcurrentInvocationLimitExceeded")
        }
        Refused::Throttled(ThrottleReason::NodeCapacity) => LambdaError::new(
            Code::ServiceUnavailable,
            "The node has no room for another instance now; try again.",
        ),
        Refused::Stopping => LambdaError::new(Code::ServiceUnavailable, "The platform is stopping."),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

fn mode(headers: &HeaderMap) -> Result<Mode, LambdaError> {
    let given = text(headers, "x-amz-invocation-type");
    let mut found = Violations::default();
    found.one_of("invocationType", given, &["Event", "RequestResponse", "DryRun"]);
    found.finish()?;
    Ok(match given {
        Some("Event") => Mode::Event,
        Some("DryRun") => Mode::DryRun,
        Some(_) | None => Mode::RequestResponse,
    })
}

/// Whether a request's headers make it an event, for the size limit of its body.
pub(crate) fn is_event(headers: &HeaderMap) -> bool {
    text(headers, "x-amz-invocation-type") == Some("Event")
}

fn log_tail(headers: &HeaderMap) -> Result<LogTail, LambdaError> {
    let given = text(headers, "x-amz-log-type");
    let mut found = Violations::default();
    found.one_of("logType", given, &["None", "Tail"]);
    found.finish()?;
    Ok(if given == Some("Tail") {
        LogTail::Bytes(LOG_TAIL)
    } else {
        LogTail::Omit
    })
}

fn client_context(headers: &HeaderMap) -> Result<Option<String>, LambdaError> {
    let Some(given) = text(headers, "x-amz-client-context") else {
        return Ok(None);
    };
    let wrong = |text: &str| LambdaError::new(Code::InvalidRequestContent, text);
    if given.len() > CLIENT_CONTEXT_MAX {
        return Err(wrong(
            "Client context must be no more than 3583 bytes when base64-encoded.",
        ));
    }
    let bytes = STANDARD
        .decode(given)
        .map_err(|_| wrong("Client context must be a valid Base64-encoded JSON object."))?;
    json::check(&bytes).map_err(|_| wrong("Client context must be a valid Base64-encoded JSON object."))?;
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| wrong("Client context must be a valid Base64-encoded JSON object."))
}

/// An answer with the headers that all answers of invocations have.
pub(super) fn answer(status: StatusCode, prepared: &Prepared, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.extend(
        prepared
            .trace
            .value()
            .map(|value| (HeaderName::from_static(TRACE_HEADER), value)),
    );
    let id = HeaderValue::from_str(&prepared.invocation.to_string()).ok();
    headers.extend(id.map(|id| (HeaderName::from_static(REQUEST_ID), id)));
    if let Ok(label) = HeaderValue::from_str(&prepared.target.revision.label)
        && status != StatusCode::ACCEPTED
    {
        headers.insert("x-amz-executed-version", label);
    }
    response
}

/// The last bytes of a log that fit, as base64. Whole characters only.
pub(super) fn log_result(log: &[u8]) -> String {
    let mut from = log.len().saturating_sub(LOG_TAIL);
    // Bytes that go on with a character begin with the bits 10.
    while log.get(from).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000) {
        from += 1;
    }
    STANDARD.encode(&log[from..])
}

fn render(prepared: &Prepared, collected: Collected) -> Result<Response<Body>, LambdaError> {
    let Collected { finished, body, .. } = collected;
    let error = error_body(
        &finished.outcome,
        prepared.invocation,
        prepared.target.revision.spec.timeout,
    );
    let failed = error.is_some();
    let mut response = answer(StatusCode::OK, prepared, sonagi_wire::full(error.unwrap_or(body)));
    let headers = response.headers_mut();
    if failed {
        headers.insert("x-amz-function-error", HeaderValue::from_static("Unhandled"));
    }
    if let Some(log) = &finished.log_tail
        && let Ok(log) = HeaderValue::from_str(&log_result(log))
    {
        headers.insert("x-amz-log-result", log);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_begins_with_a_whole_character() {
        assert_eq!(log_result("\u{e9}x".as_bytes()), STANDARD.encode("\u{e9}x"));
        assert_eq!(log_result(&"\u{e9}x".as_bytes()[1..]), STANDARD.encode("x"));
        let long = format!("{}x", "\u{e9}".repeat(3000));
        let shown = STANDARD.decode(log_result(long.as_bytes())).unwrap();
        assert!(std::str::from_utf8(&shown).unwrap().len() <= LOG_TAIL);
    }

    #[test]
    fn headers_are_checked_in_the_models_words() {
        let with = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            headers
        };
        assert_eq!(mode(&HeaderMap::new()).unwrap(), Mode::RequestResponse);
        assert_eq!(mode(&with("x-amz-invocation-type", "Event")).unwrap(), Mode::Event);
        assert_eq!(
            mode(&with("x-amz-invocation-type", "event")).unwrap_err().code,
            Code::Validation
        );
        assert_eq!(log_tail(&with("x-amz-log-type", "Tail")).unwrap(), LogTail::Bytes(4096));
        assert_eq!(
            log_tail(&with("x-amz-log-type", "x")).unwrap_err().code,
            Code::Validation
        );
        let context = |value: &str| client_context(&with("x-amz-client-context", value));
        assert_eq!(context("eyJhIjoxfQ==").unwrap().as_deref(), Some("{\"a\":1}"));
        for bad in ["!", "e30", "e3s=", &"A".repeat(3584)] {
            assert_eq!(context(bad).unwrap_err().code, Code::InvalidRequestContent, "{bad}");
        }
    }
}
