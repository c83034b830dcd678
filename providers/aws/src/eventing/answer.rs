//! Answers and errors of both services.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json as document};
use sonagi_ports::{AcceptError, StoreError};
use sonagi_triggers::TooManySchedules;
use sonagi_wire::Body;

use crate::errors::ERROR_TYPE;

/// An error of a service: status, type, message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub(crate) struct ServiceError {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl ServiceError {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    /// 400 `ValidationException`.
    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new(400, "ValidationException", message)
    }

    /// One member that breaks a constraint, in the model's own words.
    pub(crate) fn constraint(value: &str, member: &str, constraint: &str) -> Self {
        let shown: String = value.chars().filter(|c| !c.is_control()).take(256).collect();
        Self::validation(format!(
            "1 validation error detected: Value '{shown}' at '{member}' failed to satisfy constraint: {constraint}"
        ))
    }

    /// The whole answer. Clients read the type from the header or from the body, and the message under either name.
    pub(crate) fn response(&self, content_type: &'static str) -> Response<Body> {
        let body = document!({ "__type": self.code, "message": self.message, "Message": self.message });
        let mut response = json(content_type, &body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response
            .headers_mut()
            .insert(ERROR_TYPE, HeaderValue::from_static(self.code));
        response
    }
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "a change could not be stored");
        match error {
            StoreError::Full(_) | StoreError::Closed | StoreError::Busy { .. } => Self::new(
                503,
                "ServiceUnavailableException",
                format!("The platform cannot store it now: {error}. Nothing was changed; try again."),
            ),
            StoreError::NotPending(_) | StoreError::Unreadable { .. } | StoreError::Database { .. } => {
                Self::new(500, "InternalException", "The platform could not store the change.")
            }
        }
    }
}

impl From<AcceptError> for ServiceError {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Store(error) => error.into(),
            AcceptError::TokenReused { .. } | AcceptError::TooLarge { .. } => Self::validation(error.to_string()),
        }
    }
}

impl From<TooManySchedules> for ServiceError {
    fn from(error: TooManySchedules) -> Self {
        Self::new(402, "ServiceQuotaExceededException", error.to_string())
    }
}

/// An answer with a document.
pub(crate) fn json(content_type: &'static str, body: &Value) -> Response<Body> {
    let mut response = Response::new(sonagi_wire::full(body.to_string()));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An answer with nothing in it.
pub(crate) fn empty(content_type: &'static str) -> Response<Body> {
    json(content_type, &document!({}))
}

/// A page of items that are sorted by key: those after the one that `token` names, at most `limit`, and the token of the
/// next page.
///
/// # Errors
/// `ValidationException` for a token that is none of ours.
pub(crate) fn page<T>(
    items: Vec<(String, T)>,
    token: Option<&str>,
    limit: usize,
) -> Result<(Vec<T>, Option<String>), ServiceError> {
    let after = token
        .map(|token| {
            let decoded = URL_SAFE_NO_PAD
                .decode(token)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok());
            decoded
                .ok_or_else(|| ServiceError::validation("Invalid NextToken: it must be a NextToken of this operation."))
        })
        .transpose()?;
    let left = items
        .into_iter()
        .filter(|(key, _)| after.as_ref().is_none_or(|after| key > after));
    let mut left: Vec<(String, T)> = left.take(limit + 1).collect();
    let more = left.len() > limit;
    left.truncate(limit);
    let next = left.last().filter(|_| more).map(|(key, _)| URL_SAFE_NO_PAD.encode(key));
    Ok((left.into_iter().map(|(_, item)| item).collect(), next))
}
