//! What a caller sees of an attempt that failed.
//! Source: answers recorded from the real service; error types of AWS's open runtime interface emulator.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use sonagi_model::{Exit, FunctionError, InvocationId, Outcome};

use crate::errors::{self, Code, LambdaError};

/// The error document of a failed attempt, `None` for a success. Whatever a function reported itself is passed on byte
/// for byte.
pub(crate) fn error_body(outcome: &Outcome, invocation: InvocationId, timeout: Duration) -> Option<Bytes> {
    let document = |kind: &str, text: String| {
        let message = format!("RequestId: {invocation} Error: {text}");
        Some(Bytes::from(
            json!({ "errorType": kind, "errorMessage": message }).to_string(),
        ))
    };
    match outcome {
        Outcome::Success => None,
        Outcome::FunctionError(error) | Outcome::InitError(error) => Some(reported(error)),
        Outcome::Timeout | Outcome::InitTimeout => document(
            "Sandbox.Timedout",
            format!("Task timed out after {:.2} seconds", timeout.as_secs_f64()),
        ),
        Outcome::Exited(exit) | Outcome::InitExited(exit) => match exit {
            Exit::Code(0) => document(
                "Runtime.ExitError",
                "Runtime exited without providing a reason".to_owned(),
            ),
            Exit::Code(_) | Exit::Signal(_) => {
                document("Runtime.ExitError", format!("Runtime exited with error: {exit}"))
            }
            Exit::OutOfMemory => document(
                "Runtime.OutOfMemory",
                "Runtime exited with error: signal: killed".to_owned(),
            ),
            Exit::Reclaimed => document(
                "Sandbox.Failure",
                "The platform ended the execution environment".to_owned(),
            ),
        },
        Outcome::ResponseTooLarge(limit) => {
            let text = format!("Response payload size exceeded maximum allowed payload size ({limit} bytes).");
            let body = json!({ "errorType": "Function.ResponseSizeTooLarge", "errorMessage": text });
            Some(Bytes::from(body.to_string()))
        }
        Outcome::ProtocolViolation(what) => document("Runtime.Unknown", (*what).to_owned()),
        Outcome::EntryPoint { kind, message } => {
            document(kind.as_deref().unwrap_or("Runtime.InvalidEntrypoint"), message.clone())
        }
        Outcome::CallerGone | Outcome::ArtifactDamaged(_) | Outcome::Platform(_) => {
            document("Sandbox.Failure", "The platform could not run the function".to_owned())
        }
    }
}

/// An error without a body still has a type.
fn reported(error: &FunctionError) -> Bytes {
    if !error.body.is_empty() {
        return Bytes::from(error.body.clone());
    }
    let kind = error.kind.as_deref().unwrap_or("Runtime.Unknown");
    Bytes::from(json!({ "errorType": kind, "errorMessage": "" }).to_string())
}

/// The error of the API for an attempt in which the platform failed, not the function.
pub(crate) fn platform_error(outcome: &Outcome) -> Option<LambdaError> {
    match outcome {
        Outcome::Platform(detail) => {
            tracing::error!(%detail, "an invocation failed through the platform's fault");
            Some(LambdaError::new(
                Code::Service,
                "The platform could not run the function.",
            ))
        }
        Outcome::ArtifactDamaged(detail) => {
            tracing::error!(%detail, "an invocation was refused because its code is damaged");
            Some(errors::damaged())
        }
        Outcome::Exited(Exit::Reclaimed) | Outcome::InitExited(Exit::Reclaimed) => Some(LambdaError::new(
            Code::ServiceUnavailable,
            "The platform stopped while the function ran.",
        )),
        Outcome::Success
        | Outcome::FunctionError(_)
        | Outcome::Timeout
        | Outcome::Exited(_)
        | Outcome::InitError(_)
        | Outcome::InitExited(_)
        | Outcome::InitTimeout
        | Outcome::ResponseTooLarge(_)
        | Outcome::EntryPoint { .. }
        | Outcome::CallerGone
        | Outcome::ProtocolViolation(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::too_many_lines, reason = "a table")]
    #[test]
    fn every_failure_has_lambdas_words() {
        let id: InvocationId = "67e55044-10b1-426f-9247-bb680e5fe0c8".parse().unwrap();
        let prefix = format!("RequestId: {id} Error: ");
        let cases = [
            (
                Outcome::Timeout,
                "Sandbox.Timedout",
                format!("{prefix}Task timed out after 1.50 seconds"),
            ),
            (
                Outcome::Exited(Exit::Code(0)),
                "Runtime.ExitError",
                format!("{prefix}Runtime exited without providing a reason"),
            ),
            (
                Outcome::Exited(Exit::Code(127)),
                "Runtime.ExitError",
                format!("{prefix}Runtime exited with error: exit status 127"),
            ),
            (
                Outcome::InitExited(Exit::Signal(9)),
                "Runtime.ExitError",
                format!("{prefix}Runtime exited with error: signal: killed"),
            ),
            (
                Outcome::Exited(Exit::OutOfMemory),
                "Runtime.OutOfMemory",
                format!("{prefix}Runtime exited with error: signal: killed"),
            ),
            (
                Outcome::ResponseTooLarge(6_291_556),
                "Function.ResponseSizeTooLarge",
                "Response payload size exceeded maximum allowed payload size (6291556 bytes).".to_owned(),
            ),
        ];
        for (outcome, kind, message) in cases {
            let body = error_body(&outcome, id, Duration::from_millis(1500)).unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(
                (
                    body["errorType"].as_str().unwrap(),
                    body["errorMessage"].as_str().unwrap()
                ),
                (kind, message.as_str())
            );
        }
        let entry = Outcome::EntryPoint {
            kind: Some("Runtime.InvalidWorkingDir".to_owned()),
            message: "x".to_owned(),
        };
        assert!(
            error_body(&entry, id, Duration::ZERO)
                .unwrap()
                .starts_with(b"{\"errorType\":\"Runtime.InvalidWorkingDir\"")
        );
        let own = FunctionError {
            kind: None,
            body: b"not even json".to_vec(),
        };
        assert_eq!(
            error_body(&Outcome::FunctionError(own), id, Duration::ZERO).unwrap(),
            "not even json"
        );
        assert_eq!(error_body(&Outcome::Success, id, Duration::ZERO), None);
        assert_eq!(
            platform_error(&Outcome::Platform("x".to_owned())).unwrap().code,
            Code::Service
        );
        assert_eq!(
            platform_error(&Outcome::ArtifactDamaged("x".to_owned())).unwrap().code,
            Code::InvalidZipFile
        );
    }
}
