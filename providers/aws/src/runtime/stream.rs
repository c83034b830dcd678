//! Streamed answers: chunks go to the caller as they come, through a bounded channel, so a slow caller slows the
//! function and nothing piles up here.
//!
//! Source: AWS Lambda response streaming as observed with aws-lambda-ric 4.0.2: chunked request body with
//! `Lambda-Runtime-Function-Response-Mode: streaming`; an error at the end comes as two trailers, the error's type and
//! the base64 of its JSON.

use base64::Engine as _;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use sonagi_model::FunctionError;
use sonagi_ports::{Reply, ReplyBody, StreamPart};
use tokio::sync::mpsc;

use super::answers::{self, Answer};
use super::exchange::Answering;
use super::server::ERROR_TYPE;

/// Chunks on their way to the caller. One chunk is what one read of the connection brought, at most some 400 KiB.
const PARTS: usize = 16;

/// `Lambda-Runtime-Function-Error-Body`, a trailer.
const ERROR_BODY: &str = "lambda-runtime-function-error-body";

/// Forwards a streamed answer to its end. A caller that has gone does not disturb the function: the rest is read and
/// dropped.
pub(super) async fn forward(
    mut answering: Answering,
    content_type: Option<String>,
    mut body: Incoming,
    limit: u64,
) -> Answer {
    let (sender, receiver) = mpsc::channel(PARTS);
    answering.begin_stream(Reply {
        content_type,
        body: ReplyBody::Stream(receiver),
    });
    let mut passed: u64 = 0;
    let mut failure = None;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            // The channel closes without an end: the reader sees that the answer was cut off.
            return answers::truncated();
        };
        match frame.into_data() {
            Ok(data) => {
                passed += data.len() as u64;
                if passed > limit {
                    drop(answering);
                    let _ = sender
                        .send(StreamPart::Failed(answers::stream_too_large_error(limit)))
                        .await;
                    return answers::too_large(limit);
                }
                pass_on(&sender, data).await;
            }
            Err(frame) => failure = frame.into_trailers().ok().and_then(|trailers| error_in(&trailers)),
        }
    }
    // As for whole answers, the runtime is done before its caller hears of it.
    drop(answering);
    let last = failure.map_or(StreamPart::End, StreamPart::Failed);
    let _ = sender.send(last).await;
    answers::accepted()
}

async fn pass_on(sender: &mpsc::Sender<StreamPart>, data: Bytes) {
    if !data.is_empty() && !sender.is_closed() {
        let _ = sender.send(StreamPart::Data(data)).await;
    }
}

/// The error that trailers tell of. A body that is no base64 is passed on as it is.
fn error_in(trailers: &HeaderMap) -> Option<FunctionError> {
    let kind = trailers
        .get(ERROR_TYPE)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let body = trailers.get(ERROR_BODY).map(|value| {
        base64::engine::general_purpose::STANDARD
            .decode(value.as_bytes())
            .unwrap_or_else(|_| value.as_bytes().to_vec())
    });
    if kind.as_deref().unwrap_or_default().is_empty() && body.as_deref().unwrap_or_default().is_empty() {
        return None;
    }
    Some(FunctionError {
        kind,
        body: body.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(trailers: &[(&'static str, &'static str)], expected: Option<(Option<&str>, &str)>) {
        let map = trailers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let expected = expected.map(|(kind, body)| FunctionError {
            kind: kind.map(str::to_owned),
            body: body.as_bytes().to_vec(),
        });
        assert_eq!(error_in(&map), expected, "{trailers:?}");
    }

    #[test]
    fn trailers_tell_of_an_error_or_of_none() {
        check(&[], None);
        check(&[(ERROR_TYPE, ""), (ERROR_BODY, "")], None);
        check(&[("x-other", "1")], None);
        check(
            &[(ERROR_TYPE, "Boom"), (ERROR_BODY, "eyJhIjoxfQ==")],
            Some((Some("Boom"), "{\"a\":1}")),
        );
        check(&[(ERROR_TYPE, "Boom")], Some((Some("Boom"), "")));
        check(&[(ERROR_BODY, "not base64!")], Some((None, "not base64!")));
    }
}
