//! What clients are told when something goes wrong: `{"message": TEXT}` with a status.
//! Source: fnproject/fn 0.3.753, `api/models/error.go` and the files beside it.

use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;
use sonagi_control::EditError;
use sonagi_dispatch::Refused;
use sonagi_model::{FunctionError, Outcome, ThrottleReason};
use sonagi_ports::{AcceptError, ArtifactError, StoreError};
use sonagi_wire::Body;

/// How the session names the ways in which a function fails. They are the texts that clients see, except the first two.
pub(crate) mod kinds {
    /// The function raised.
    pub(crate) const FAILED: &str = "function failed";
    /// The FDK saw a time-out.
    pub(crate) const TIMED_OUT: &str = "Timed out";
    /// The FDK answered with a status that it never uses.
    pub(crate) const INVALID: &str = "invalid function response";
    /// The head of the answer is too long.
    pub(crate) const HEAD: &str = "function response header too large";
    /// The socket is not there in time.
    pub(crate) const INIT_TIMED_OUT: &str =
        "Container initialization timed out, please ensure you are using the latest fdk and check the logs";
    /// The socket is not one that may be used, or the container ended.
    pub(crate) const INIT_FAILED: &str =
        "Container failed to initialize, please ensure you are using the latest fdk and check the logs";
}

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct FnError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    /// Seconds after which a client may try again.
    pub(crate) retry_after: Option<u32>,
}

impl FnError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            retry_after: None,
        }
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn missing(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    pub(crate) fn invalid_json() -> Self {
        Self::bad("Invalid JSON")
    }

    pub(crate) fn no_app() -> Self {
        Self::missing("App not found")
    }

    pub(crate) fn no_fn() -> Self {
        Self::missing("Fn not found")
    }

    pub(crate) fn no_trigger() -> Self {
        Self::missing("Trigger not found")
    }

    pub(crate) fn no_image(image: &str, why: &str) -> Self {
        Self::missing(format!("Failed to pull image '{image}': {why}"))
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Missing or invalid bearer token")
    }

    pub(crate) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "Request content too large")
    }

    fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
    }

    fn busy() -> Self {
        Self {
            retry_after: Some(15),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "Timed out - server too busy")
        }
    }

    /// The answer.
    pub(crate) fn response(&self) -> Response<Body> {
        let mut response = Response::new(sonagi_wire::full(format!("{}\n", json!({ "message": self.message }))));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        );
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    /// What a caller sees of an attempt without an answer; nothing for one with.
    pub(crate) fn of_outcome(outcome: &Outcome) -> Option<Self> {
        let gateway = |text: &str| Self::new(StatusCode::BAD_GATEWAY, text);
        let late = |text: &str| Self::new(StatusCode::GATEWAY_TIMEOUT, text);
        Some(match outcome {
            Outcome::Success => return None,
            Outcome::FunctionError(error) | Outcome::InitError(error) => Self::of_function(error),
            Outcome::Timeout => late(kinds::TIMED_OUT),
            Outcome::InitTimeout => late(kinds::INIT_TIMED_OUT),
            Outcome::InitExited(_) => gateway(kinds::INIT_FAILED),
            Outcome::Exited(_) | Outcome::ProtocolViolation(_) | Outcome::CallerGone => {
                gateway("error receiving function response")
            }
            Outcome::ResponseTooLarge(_) => gateway("function response body too large"),
            Outcome::EntryPoint { message, .. } => gateway(&format!("{}: {message}", kinds::INIT_FAILED)),
            Outcome::ArtifactDamaged(_) | Outcome::Platform(_) => Self::internal(),
        })
    }

    fn of_function(error: &FunctionError) -> Self {
        let kind = error.kind.as_deref().unwrap_or(kinds::FAILED);
        let status = match kind {
            kinds::TIMED_OUT | kinds::INIT_TIMED_OUT => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        };
        Self::new(status, kind)
    }
}

impl From<Refused> for FnError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Throttled(ThrottleReason::NodeCapacity) | Refused::Stopping => Self::busy(),
            Refused::Throttled(ThrottleReason::FunctionConcurrency | ThrottleReason::TenantConcurrency) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "Too many requests submitted")
            }
        }
    }
}

impl From<StoreError> for FnError {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "a change could not be stored");
        match error {
            StoreError::Full(_) | StoreError::Busy { .. } | StoreError::Closed => Self::busy(),
            StoreError::Unreadable { .. } | StoreError::Database { .. } | StoreError::NotPending(_) => Self::internal(),
        }
    }
}

impl From<AcceptError> for FnError {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Store(error) => error.into(),
            AcceptError::TooLarge { .. } | AcceptError::TokenReused { .. } => Self::too_large(),
        }
    }
}

impl From<ArtifactError> for FnError {
    fn from(error: ArtifactError) -> Self {
        match error {
            ArtifactError::Refused(problem) => Self::bad(format!("the uploaded folder was refused: {problem}")),
            ArtifactError::Missing(_) | ArtifactError::Damaged { .. } | ArtifactError::Io { .. } => {
                tracing::error!(error = &error as &dyn std::error::Error, "an upload cannot be used");
                Self::internal()
            }
        }
    }
}

impl From<EditError<Self>> for FnError {
    fn from(error: EditError<Self>) -> Self {
        match error {
            EditError::Missing(..) => Self::no_fn(),
            EditError::Exists(..) => Self::conflict("Fn with specified name already exists"),
            EditError::Refused(error) => error,
            EditError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use sonagi_model::Exit;

    use super::*;

    #[test]
    fn each_end_has_its_status_and_text() {
        let failed = |kind: &str| {
            Outcome::FunctionError(FunctionError {
                kind: Some(kind.to_owned()),
                body: Vec::new(),
            })
        };
        for (outcome, status, text) in [
            (failed(kinds::FAILED), 502, "function failed"),
            (failed(kinds::TIMED_OUT), 504, "Timed out"),
            (failed(kinds::INVALID), 502, "invalid function response"),
            (Outcome::Timeout, 504, "Timed out"),
            (
                Outcome::Exited(Exit::OutOfMemory),
                502,
                "error receiving function response",
            ),
            (
                Outcome::ProtocolViolation("x"),
                502,
                "error receiving function response",
            ),
            (Outcome::ResponseTooLarge(1), 502, "function response body too large"),
            (Outcome::InitExited(Exit::Code(1)), 502, kinds::INIT_FAILED),
            (Outcome::Platform("x".to_owned()), 500, "Internal server error"),
        ] {
            let error = FnError::of_outcome(&outcome).unwrap();
            assert_eq!(
                (error.status.as_u16(), error.message.as_str()),
                (status, text),
                "{outcome:?}"
            );
        }
        assert_eq!(FnError::of_outcome(&Outcome::Success), None);
        let busy = FnError::from(Refused::Throttled(ThrottleReason::NodeCapacity)).response();
        assert_eq!(
            (busy.status().as_u16(), &busy.headers()["retry-after"]),
            (503, &HeaderValue::from(15))
        );
    }
}
