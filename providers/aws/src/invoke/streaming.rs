//! `InvokeWithResponseStream`: parts of an answer as they come, each a message of the event stream, flushed at once. A
//! failure comes in the last message, where every SDK finds it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::json;
use sonagi_dispatch::{Answer, Finished, Streaming};
use sonagi_model::{FunctionError, InvocationId, Outcome};
use sonagi_ports::StreamPart;
use sonagi_wire::{Body, BoxError};

use super::api::{Prepared, answer, log_result};
use super::event_stream::message;
use super::outcome::error_body;

/// What is still to be sent.
enum State {
    /// Bytes of a whole answer, then its end.
    Whole(Bytes, Finished),
    /// Parts that are still coming.
    Parts(Streaming),
    /// The last message.
    End(Finished),
    /// Nothing.
    Done,
}

/// For the last message of one invocation.
#[derive(Clone, Copy)]
struct About {
    invocation: InvocationId,
    timeout: Duration,
}

/// The answer to `InvokeWithResponseStream`.
pub(super) fn event_stream(prepared: &Prepared, run: Answer) -> Response<Body> {
    let (state, content_type) = match run {
        Answer::Whole(mut finished) => {
            let (body, content_type) = (std::mem::take(&mut finished.body), finished.content_type.take());
            (State::Whole(body, finished), content_type)
        }
        Answer::Stream(mut streaming) => {
            let content_type = streaming.content_type.take();
            (State::Parts(streaming), content_type)
        }
    };
    let about = About {
        invocation: prepared.invocation,
        timeout: prepared.target.revision.spec.timeout,
    };
    let messages = stream::unfold(state, move |state| async move {
        let (message, state) = next(state, about).await?;
        Some((Ok::<_, BoxError>(Frame::data(message)), state))
    });
    let mut response = answer(
        StatusCode::OK,
        prepared,
        BodyExt::boxed_unsync(StreamBody::new(messages)),
    );
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/vnd.amazon.eventstream"),
    );
    let remapped = content_type.and_then(|text| HeaderValue::from_str(&text).ok());
    let remapped = remapped.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    headers.insert("x-amzn-remapped-content-type", remapped);
    response
}

async fn next(state: State, about: About) -> Option<(Bytes, State)> {
    match state {
        State::Whole(body, finished) if finished.outcome == Outcome::Success && !body.is_empty() => {
            Some((chunk(&body), State::End(finished)))
        }
        State::Whole(_, finished) | State::End(finished) => Some((complete(&finished, None, about), State::Done)),
        State::Parts(mut streaming) => {
            let failed = match streaming.parts.recv().await {
                Some(StreamPart::Data(data)) => return Some((chunk(&data), State::Parts(streaming))),
                Some(StreamPart::Failed(error)) => Some(error),
                Some(StreamPart::End) | None => None,
            };
            let message = match streaming.finished.await {
                Ok(finished) => complete(&finished, failed, about),
                Err(_) => end(Some(Bytes::from_static(b"{\"errorType\":\"Sandbox.Failure\"}")), None),
            };
            Some((message, State::Done))
        }
        State::Done => None,
    }
}

fn chunk(data: &[u8]) -> Bytes {
    message("PayloadChunk", "application/octet-stream", data)
}

fn complete(finished: &Finished, failed: Option<FunctionError>, about: About) -> Bytes {
    let error = error_body(&finished.outcome, about.invocation, about.timeout)
        .or_else(|| error_body(&Outcome::FunctionError(failed?), about.invocation, about.timeout));
    end(error, finished.log_tail.as_deref())
}

fn end(error: Option<Bytes>, log: Option<&[u8]>) -> Bytes {
    let mut body = json!({});
    if let Some(error) = error {
        body["ErrorCode"] = json!("Unhandled");
        body["ErrorDetails"] = json!(String::from_utf8_lossy(&error));
    }
    if let Some(log) = log {
        body["LogResult"] = json!(log_result(log));
    }
    message("InvokeComplete", "application/json", body.to_string().as_bytes())
}
