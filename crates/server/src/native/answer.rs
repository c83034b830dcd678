//! Every refusal of the native API, in one form.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, StatusCode, Uri};
use sonagi_api::{ErrorBody, ErrorCode, ErrorDocument};
use sonagi_ports::{AcceptError, AdapterError, StoreError};

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal(ErrorBody);

impl Refusal {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(ErrorBody {
            code,
            message: message.into(),
            hint: None,
        })
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Invalid, message)
    }

    pub(super) fn missing(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let code = self.0.code;
        let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(ErrorDocument { error: self.0 })).into_response();
        let headers = response.headers_mut();
        match code {
            ErrorCode::Unauthorized => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            ErrorCode::Throttled | ErrorCode::Unavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            ErrorCode::Invalid
            | ErrorCode::Forbidden
            | ErrorCode::NotFound
            | ErrorCode::MethodNotAllowed
            | ErrorCode::Conflict
            | ErrorCode::TooLarge
            | ErrorCode::Platform
            | ErrorCode::Unknown => {}
        }
        response
    }
}

impl From<AdapterError> for Refusal {
    fn from(error: AdapterError) -> Self {
        match error {
            AdapterError::Invalid { message, hint } => Self(ErrorBody {
                code: ErrorCode::Invalid,
                message,
                hint,
            }),
            AdapterError::Missing(message) => {
                Self::missing(message).hint("`sonagi ls` lists functions, `sonagi show NAME` versions and aliases")
            }
            AdapterError::Conflict(message) => Self::new(ErrorCode::Conflict, message),
            AdapterError::Throttled(message) => Self::new(ErrorCode::Throttled, message).hint("try again shortly"),
            AdapterError::Platform(message) => {
                Self::new(ErrorCode::Platform, message).hint("the platform's own log says more")
            }
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let chain: &dyn std::error::Error = &error;
        tracing::error!(error = chain, "a store failed under the native API");
        match error {
            StoreError::Full(_) => {
                Self::new(ErrorCode::Unavailable, error.to_string()).hint("make room on the disk of the data directory")
            }
            StoreError::Closed | StoreError::Busy { .. } => Self::new(ErrorCode::Unavailable, error.to_string()),
            StoreError::NotPending(_) => Self::new(ErrorCode::Conflict, error.to_string()),
            StoreError::Unreadable { .. } | StoreError::Database { .. } => {
                Self::new(ErrorCode::Platform, "the platform's store failed").hint("the platform's own log says more")
            }
        }
    }
}

impl From<AcceptError> for Refusal {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Store(error) => error.into(),
            AcceptError::TokenReused { .. } => Self::new(ErrorCode::Conflict, error.to_string()),
            AcceptError::TooLarge { .. } => Self::new(ErrorCode::TooLarge, error.to_string()),
        }
    }
}

/// No such path.
pub(super) async fn no_route(uri: Uri) -> Refusal {
    Refusal::missing(format!("the native API has no path {:?}", uri.path()))
        .hint("this platform may be older than its client: compare `sonagi --version` with `sonagi doctor`")
}

/// The path has other methods.
pub(super) async fn no_method(method: Method, uri: Uri) -> Refusal {
    Refusal::new(
        ErrorCode::MethodNotAllowed,
        format!("{:?} does not take {method}", uri.path()),
    )
}
