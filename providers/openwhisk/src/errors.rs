//! What clients are told when something goes wrong: `{"error": TEXT, "code": TRANSACTION}` with a status.
//! Source: apache/openwhisk (commit 1fae641), `Messages.scala` and `ErrorResponse.scala`.

use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;
use sonagi_ports::{ArtifactError, StoreError};
use sonagi_wire::Body;

/// The text for parameters that a request may not define.
pub(crate) const NOT_ALLOWED: &str = "Request defines parameters that are not allowed (e.g., reserved properties).";

/// The text for what does not exist.
pub(crate) const NOT_FOUND: &str = "The requested resource does not exist.";

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct WhiskError {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
}

impl WhiskError {
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }

    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    pub(crate) fn malformed(why: impl std::fmt::Display) -> Self {
        Self::bad(format!("The request content was malformed:\n{why}"))
    }

    pub(crate) fn query(name: &str, why: impl std::fmt::Display) -> Self {
        Self::bad(format!("The query parameter '{name}' was malformed:\n{why}"))
    }

    pub(crate) fn missing() -> Self {
        Self::new(StatusCode::NOT_FOUND, NOT_FOUND)
    }

    pub(crate) fn conflict(text: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, text)
    }

    pub(crate) fn wrong_collection() -> Self {
        Self::conflict("Resource by this name exists but is not in this collection.")
    }

    pub(crate) fn forbidden(resource: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            format!("The supplied authentication is not authorized to access '{resource}'."),
        )
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "The supplied authentication is invalid or was not supplied.",
        )
    }

    pub(crate) fn method(supported: &str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("HTTP method not allowed, supported methods: {supported}"),
        )
    }

    pub(crate) fn too_large(what: &str, actual: usize, limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("{what} larger than allowed: {actual} > {limit} bytes."),
        )
    }

    pub(crate) fn unavailable(text: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    /// The answer; pretty-printed where web actions are concerned.
    pub(crate) fn response(&self, transaction: &str, style: Style) -> Response<Body> {
        let document = json!({ "error": self.text, "code": transaction });
        let text = match style {
            Style::Compact => document.to_string(),
            Style::Pretty => pretty(&document),
        };
        let mut response = Response::new(sonagi_wire::full(text));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"OpenWhisk secure realm\""),
            );
        }
        response
    }
}

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Compact,
    Pretty,
}

/// A document on several lines.
pub(crate) fn pretty(document: &serde_json::Value) -> String {
    serde_json::to_string_pretty(document).unwrap_or_else(|_| document.to_string())
}

impl From<StoreError> for WhiskError {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "a change could not be stored");
        match error {
            StoreError::Full(_) | StoreError::Busy { .. } | StoreError::Closed => {
                Self::unavailable("The platform cannot store anything now; try again.")
            }
            StoreError::Unreadable { .. } | StoreError::Database { .. } | StoreError::NotPending(_) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "There was an internal server error.")
            }
        }
    }
}

impl From<ArtifactError> for WhiskError {
    fn from(error: ArtifactError) -> Self {
        match error {
            ArtifactError::Refused(problem) => Self::malformed(format!("the action's code was refused: {problem}")),
            ArtifactError::Missing(_) | ArtifactError::Damaged { .. } | ArtifactError::Io { .. } => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "an action's code cannot be used"
                );
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "There was an internal server error.")
            }
        }
    }
}
