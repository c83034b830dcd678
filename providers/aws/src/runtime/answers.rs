//! What the Runtime API says back: bodies, statuses and the headers of `next`.
//!
//! Sources: AWS Lambda Runtime API 2018-06-01 as published; texts and status codes of AWS's open runtime interface
//! emulator (commit 4fa2157); header requirements observed with awslambdaric 4.2.2, aws-lambda-ric 4.0.2 and the Rust
//! crate lambda_runtime 1.5.0.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::json;
use sonagi_model::FunctionError;
use sonagi_ports::Call;

use super::attributes;
use super::exchange::Refusal;

/// An answer of the Runtime API. All of them are whole.
pub(super) type Answer = Response<Full<Bytes>>;

/// Exactly this text: with a parameter the Python client hands raw bytes to the handler, without the header the native
/// clients of Python and Node crash (observed).
const JSON: HeaderValue = HeaderValue::from_static("application/json");

const REQUEST_ID: HeaderName = HeaderName::from_static("lambda-runtime-aws-request-id");
const DEADLINE_MS: HeaderName = HeaderName::from_static("lambda-runtime-deadline-ms");
const INVOKED_ARN: HeaderName = HeaderName::from_static("lambda-runtime-invoked-function-arn");
const TRACE_ID: HeaderName = HeaderName::from_static("lambda-runtime-trace-id");
const CLIENT_CONTEXT: HeaderName = HeaderName::from_static("lambda-runtime-client-context");
const COGNITO_IDENTITY: HeaderName = HeaderName::from_static("lambda-runtime-cognito-identity");
const TENANT_ID: HeaderName = HeaderName::from_static("lambda-runtime-aws-tenant-id");

/// Values for the headers that a call need not bring.
#[derive(Debug)]
pub(super) struct Defaults {
    /// The function's ARN without a qualifier.
    pub(super) function_arn: String,
}

/// The event, as the answer to `next`.
pub(super) fn event(call: &Call, defaults: &Defaults, new_trace: impl FnOnce() -> String) -> Answer {
    let mut answer = Response::new(Full::new(call.payload.clone()));
    let headers = answer.headers_mut();
    headers.reserve(8);
    headers.insert(CONTENT_TYPE, JSON);
    let mut text = |name: HeaderName, value: &str| {
        if let Some(value) = header_value(value) {
            headers.insert(name, value);
        }
    };
    text(REQUEST_ID, &call.invocation.to_string());
    text(DEADLINE_MS, &call.deadline.as_millis().to_string());
    let given = |key| call.attributes.get(key).filter(|value| !value.is_empty());
    text(
        INVOKED_ARN,
        given(attributes::INVOKED_ARN).unwrap_or(&defaults.function_arn),
    );
    match given(attributes::TRACE_ID) {
        Some(trace) => text(TRACE_ID, trace),
        None => text(TRACE_ID, &new_trace()),
    }
    for (name, key) in [
        (CLIENT_CONTEXT, attributes::CLIENT_CONTEXT),
        (COGNITO_IDENTITY, attributes::COGNITO_IDENTITY),
        (TENANT_ID, attributes::TENANT_ID),
    ] {
        if let Some(value) = given(key) {
            text(name, value);
        }
    }
    answer
}

/// JSON text may be spread over lines, which a header cannot hold; between tokens a space means the same. A value with
/// any other control character is left out: no client could have sent it as JSON.
fn header_value(text: &str) -> Option<HeaderValue> {
    if text.contains(['\r', '\n', '\t']) {
        return HeaderValue::from_bytes(text.replace(['\r', '\n', '\t'], " ").as_bytes()).ok();
    }
    HeaderValue::from_bytes(text.as_bytes()).ok()
}

/// 202, as every accepted answer gets it. Python compares the status of `init/error` with this number.
pub(super) fn accepted() -> Answer {
    json_text(StatusCode::ACCEPTED, Bytes::from_static(b"{\"status\":\"OK\"}\n"))
}

/// `GET …/restore/next`: there are no snapshots here, so the runtime goes on at once.
pub(super) fn restored() -> Answer {
    json_text(StatusCode::OK, Bytes::new())
}

/// `GET /ping`.
pub(super) fn pong() -> Answer {
    plain(StatusCode::OK, "pong")
}

/// No such path.
pub(super) fn not_found() -> Answer {
    plain(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// The path is there, the method is not.
pub(super) fn method_not_allowed() -> Answer {
    plain(StatusCode::METHOD_NOT_ALLOWED, "")
}

/// The answer was larger than the limit.
pub(super) fn too_large(limit: u64) -> Answer {
    let text = format!("Exceeded maximum allowed payload size ({limit} bytes).");
    error(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &text)
}

/// The request ended before its body did.
pub(super) fn truncated() -> Answer {
    error(
        StatusCode::BAD_REQUEST,
        "TruncatedHTTPRequest",
        "HTTP request truncated",
    )
}

/// The response mode is neither absent nor `streaming`.
pub(super) fn invalid_response_mode(mode: &str) -> Answer {
    let text = format!("Invalid function response mode: {mode}");
    error(StatusCode::BAD_REQUEST, "InvalidFunctionResponseMode", &text)
}

/// A refusal of the exchange.
pub(super) fn refused(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::InvalidRequestId => error(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID"),
        Refusal::Transition(from, to) => {
            let text = format!(
                "State transition from {from} to {to} failed for runtime. Error: State transition is not allowed"
            );
            error(StatusCode::FORBIDDEN, "InvalidStateTransition", &text)
        }
        Refusal::Closed => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalServerError",
            "Internal Server Error",
        ),
    }
}

/// What an extension asks for is not allowed; its type of error and the text.
pub(super) fn forbidden(kind: &str, text: &str) -> Answer {
    error(StatusCode::FORBIDDEN, kind, text)
}

/// A subscription is wrong in itself.
pub(super) fn invalid(text: &str) -> Answer {
    error(StatusCode::BAD_REQUEST, "ValidationError", text)
}

/// A subscription cannot be served: 202, as from the emulator, so that clients go on without it.
pub(super) fn unsupported(kind: &str, text: &str) -> Answer {
    error(StatusCode::ACCEPTED, kind, text)
}

/// JSON with a status.
pub(super) fn said(status: StatusCode, body: Bytes) -> Answer {
    json_text(status, body)
}

/// What the caller of the function is told about an answer with a wrong response mode.
pub(super) fn invalid_response_mode_error(mode: &str) -> FunctionError {
    function_error(
        "Runtime.InvalidResponseModeHeader",
        &format!("Invalid function response mode: {mode}"),
    )
}

/// What the caller of the function is told when a streamed answer went over its limit.
pub(super) fn stream_too_large_error(limit: u64) -> FunctionError {
    let text = format!("Response payload size exceeded maximum allowed payload size ({limit} bytes).");
    function_error("Function.ResponseSizeTooLarge", &text)
}

fn function_error(kind: &str, message: &str) -> FunctionError {
    let body = json!({ "errorType": kind, "errorMessage": message })
        .to_string()
        .into_bytes();
    FunctionError {
        kind: Some(kind.to_owned()),
        body,
    }
}

fn error(status: StatusCode, kind: &str, message: &str) -> Answer {
    let mut body = json!({ "errorMessage": message, "errorType": kind }).to_string();
    body.push('\n');
    json_text(status, body.into())
}

fn json_text(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    answer
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonagi_model::{InvocationId, Timestamp};
    use sonagi_ports::Attributes;

    fn call(attributes: &[(&str, &str)]) -> Call {
        Call {
            invocation: InvocationId::generate(),
            attempt: 1,
            payload: Bytes::from_static(b"{}"),
            deadline: Timestamp::from_micros(1_700_000_000_123_999),
            attributes: Attributes(
                attributes
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                    .collect(),
            ),
        }
    }

    fn headers(call: &Call) -> Vec<(String, Vec<u8>)> {
        let answer = event(
            call,
            &Defaults {
                function_arn: "arn:f".to_owned(),
            },
            || "Root=new".to_owned(),
        );
        answer
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect()
    }

    fn check(attributes: &[(&str, &str)], expected: &[(&str, &str)]) {
        let call = call(attributes);
        let found = headers(&call);
        let mut wanted = vec![
            ("content-type".to_owned(), b"application/json".to_vec()),
            (
                "lambda-runtime-aws-request-id".to_owned(),
                call.invocation.to_string().into_bytes(),
            ),
            ("lambda-runtime-deadline-ms".to_owned(), b"1700000000123".to_vec()),
        ];
        wanted.extend(expected.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())));
        assert_eq!(found, wanted, "{attributes:?}");
    }

    #[test]
    fn next_carries_what_the_call_brings_and_defaults_for_the_rest() {
        check(
            &[],
            &[
                ("lambda-runtime-invoked-function-arn", "arn:f"),
                ("lambda-runtime-trace-id", "Root=new"),
            ],
        );
        check(
            &[
                (attributes::INVOKED_ARN, "arn:f:live"),
                (attributes::TRACE_ID, "Root=1-2;Sampled=1"),
                (attributes::CLIENT_CONTEXT, "{\n\t\"k\":\r\n\"é\"}"),
                (attributes::COGNITO_IDENTITY, "{}"),
                (attributes::TENANT_ID, "blue"),
            ],
            &[
                ("lambda-runtime-invoked-function-arn", "arn:f:live"),
                ("lambda-runtime-trace-id", "Root=1-2;Sampled=1"),
                ("lambda-runtime-client-context", "{  \"k\":  \"é\"}"),
                ("lambda-runtime-cognito-identity", "{}"),
                ("lambda-runtime-aws-tenant-id", "blue"),
            ],
        );
        check(
            &[(attributes::TENANT_ID, ""), (attributes::CLIENT_CONTEXT, "a\0b")],
            &[
                ("lambda-runtime-invoked-function-arn", "arn:f"),
                ("lambda-runtime-trace-id", "Root=new"),
            ],
        );
    }
}
