//! Every error of SQS: status, type, and the code that clients of the older protocol knew, which today's clients show.

use http::{HeaderValue, Response, StatusCode, header};
use sonagi_ports::{MessageError, StoreError};
use sonagi_queues::ChangeError;
use sonagi_wire::Body;

use super::JSON;

/// The kinds of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    BatchEntryIdsNotDistinct,
    BatchRequestTooLong,
    EmptyBatchRequest,
    Internal,
    InvalidAttributeName,
    InvalidAttributeValue,
    InvalidBatchEntryId,
    InvalidMessageContents,
    InvalidParameterValue,
    MessageNotInflight,
    MissingParameter,
    OverLimit,
    QueueDoesNotExist,
    QueueNameExists,
    ReceiptHandleIsInvalid,
    ResourceNotFound,
    Serialization,
    ServiceUnavailable,
    TooManyEntries,
    UnknownOperation,
    UnsupportedOperation,
}

impl Kind {
    /// Status, type, code of the older protocol.
    #[rustfmt::skip]
    const fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::BatchEntryIdsNotDistinct => (400, "com.amazonaws.sqs#BatchEntryIdsNotDistinct", "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"),
            Self::BatchRequestTooLong => (400, "com.amazonaws.sqs#BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong"),
            Self::EmptyBatchRequest => (400, "com.amazonaws.sqs#EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest"),
            Self::Internal => (500, "com.amazonaws.sqs#InternalFailure", "InternalFailure"),
            Self::InvalidAttributeName => (400, "com.amazonaws.sqs#InvalidAttributeName", "InvalidAttributeName"),
            Self::InvalidAttributeValue => (400, "com.amazonaws.sqs#InvalidAttributeValue", "InvalidAttributeValue"),
            Self::InvalidBatchEntryId => (400, "com.amazonaws.sqs#InvalidBatchEntryId", "AWS.SimpleQueueService.InvalidBatchEntryId"),
            Self::InvalidMessageContents => (400, "com.amazonaws.sqs#InvalidMessageContents", "InvalidMessageContents"),
            Self::InvalidParameterValue => (400, "com.amazon.coral.service#InvalidParameterValueException", "InvalidParameterValue"),
            Self::MessageNotInflight => (400, "com.amazonaws.sqs#MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight"),
            Self::MissingParameter => (400, "com.amazon.coral.service#MissingRequiredParameterException", "MissingParameter"),
            Self::OverLimit => (400, "com.amazonaws.sqs#OverLimit", "OverLimit"),
            Self::QueueDoesNotExist => (400, "com.amazonaws.sqs#QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"),
            Self::QueueNameExists => (400, "com.amazonaws.sqs#QueueNameExists", "QueueAlreadyExists"),
            Self::ReceiptHandleIsInvalid => (400, "com.amazonaws.sqs#ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid"),
            Self::ResourceNotFound => (404, "com.amazonaws.sqs#ResourceNotFoundException", "ResourceNotFoundException"),
            Self::Serialization => (400, "com.amazon.coral.service#SerializationException", "MalformedInput"),
            Self::ServiceUnavailable => (503, "com.amazonaws.sqs#ServiceUnavailable", "ServiceUnavailable"),
            Self::TooManyEntries => (400, "com.amazonaws.sqs#TooManyEntriesInBatchRequest", "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"),
            Self::UnknownOperation => (400, "com.amazon.coral.service#UnknownOperationException", "InvalidAction"),
            Self::UnsupportedOperation => (400, "com.amazonaws.sqs#UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation"),
        }
    }

    const fn is_senders_fault(self) -> bool {
        self.row().0 < 500
    }
}

/// An error as SQS answers it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct SqsError {
    pub(super) kind: Kind,
    pub(super) message: String,
}

/// A client's text, fit to be shown back to it.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(256).collect()
}

impl SqsError {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// A parameter's value is wrong.
    pub(super) fn value(parameter: &str, value: &str, reason: &str) -> Self {
        let value = shown(value);
        let text = format!("Value {value} for parameter {parameter} is invalid. Reason: {reason}");
        Self::new(Kind::InvalidParameterValue, text)
    }

    /// A parameter is missing.
    pub(super) fn missing(parameter: &str) -> Self {
        let text = format!("The request must contain the parameter {parameter}.");
        Self::new(Kind::MissingParameter, text)
    }

    /// There is no such queue.
    pub(super) fn no_queue() -> Self {
        Self::new(Kind::QueueDoesNotExist, "The specified queue does not exist.")
    }

    /// The code that clients show.
    pub(super) const fn code(&self) -> &'static str {
        self.kind.row().2
    }

    /// Whether asking again is in vain.
    pub(crate) const fn is_senders_fault(&self) -> bool {
        self.kind.is_senders_fault()
    }

    /// The whole answer, without request id.
    pub(super) fn response(&self) -> Response<Body> {
        let (status, name, code) = self.kind.row();
        let fault = if self.is_senders_fault() { "Sender" } else { "Receiver" };
        let body = serde_json::json!({ "__type": name, "message": self.message });
        let mut response = Response::new(sonagi_wire::full(body.to_string()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
        if let Ok(value) = HeaderValue::from_str(&format!("{code};{fault}")) {
            headers.insert("x-amzn-query-error", value);
        }
        if self.kind == Kind::ServiceUnavailable {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<StoreError> for SqsError {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "a queue could not be served");
        let unavailable = |text: &str| Self::new(Kind::ServiceUnavailable, text);
        match error {
            StoreError::Full(_) => unavailable("The platform's disk is full; nothing was changed."),
            StoreError::Closed => unavailable("The platform is stopping."),
            StoreError::Busy { .. } => {
                unavailable("The platform has as many queues and messages as it may; try again.")
            }
            StoreError::NotPending(_) | StoreError::Unreadable { .. } | StoreError::Database { .. } => {
                Self::new(Kind::Internal, "The platform's store failed.")
            }
        }
    }
}

impl From<MessageError> for SqsError {
    fn from(error: MessageError) -> Self {
        match error {
            MessageError::Store(error) => error.into(),
            MessageError::NoQueue(_) => Self::no_queue(),
            MessageError::TooLarge { .. } => Self::new(Kind::InvalidParameterValue, error.to_string()),
        }
    }
}

impl From<ChangeError> for SqsError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Store(error) => error.into(),
            ChangeError::Missing(_) => Self::no_queue(),
            ChangeError::Exists(_) => Self::new(
                Kind::QueueNameExists,
                "A queue already exists with the same name and a different value for an attribute.",
            ),
        }
    }
}
