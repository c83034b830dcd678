//! Every error of the Lambda API in one table: status, type, and which key carries the message.
//! Sources: the service model of botocore 1.44.5; answers recorded from the real service.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};
use sonagi_control::EditError;
use sonagi_ports::{AcceptError, ArchiveProblem, ArtifactError, StoreError};
use sonagi_wire::Body;

use crate::limits::LambdaLimits;

/// Header that names the error's type.
pub(crate) const ERROR_TYPE: &str = "x-amzn-errortype";

/// The kinds of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The caller may not do that.
    AccessDenied,
    /// Archives of the account take too much room.
    CodeStorageExceeded,
    /// A temporary credential is over.
    ExpiredToken,
    /// The signature's form is wrong.
    IncompleteSignature,
    /// A value is wrong.
    InvalidParameterValue,
    /// The payload is no JSON.
    InvalidRequestContent,
    /// The signature does not match, or its time is off.
    InvalidSignature,
    /// The host lacks the runtime.
    InvalidRuntime,
    /// Stored code is damaged or cannot be unpacked.
    InvalidZipFile,
    /// The request is not signed.
    MissingAuthenticationToken,
    /// A resource policy is too long.
    PolicyLengthExceeded,
    /// A function calls itself through others without end.
    RecursiveInvocation,
    /// A revision id is not the newest.
    PreconditionFailed,
    /// There is no provisioned concurrency.
    ProvisionedConcurrencyConfigNotFound,
    /// A request of the control API is too large.
    RequestEntityTooLarge,
    /// The request's body did not arrive in time.
    RequestTimedOut,
    /// A payload is too large.
    RequestTooLarge,
    /// It exists already, or is in use.
    ResourceConflict,
    /// It is being changed.
    ResourceInUse,
    /// It does not exist.
    ResourceNotFound,
    /// The request body is not of the operation's shape.
    Serialization,
    /// The platform failed.
    Service,
    /// The platform is stopping or has no room.
    ServiceUnavailable,
    /// A limit of concurrency or rate.
    TooManyRequests,
    /// No operation has this method and path.
    UnknownOperation,
    /// The key is not known.
    UnrecognizedClient,
    /// A value breaks the model's constraint.
    Validation,
}

/// The member that carries an error's message; clients read both, but each error has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    /// `Message`, beside `Type`.
    Upper,
    /// `message`, beside `Type`.
    Lower,
    /// `Message` alone.
    UpperAlone,
    /// `message` alone.
    LowerAlone,
}

impl Code {
    /// Status, type, and key of the message.
    const fn row(self) -> (u16, &'static str, Key) {
        match self {
            Self::AccessDenied => (403, "AccessDeniedException", Key::UpperAlone),
            Self::CodeStorageExceeded => (400, "CodeStorageExceededException", Key::Lower),
            Self::ExpiredToken => (403, "ExpiredTokenException", Key::LowerAlone),
            Self::IncompleteSignature => (403, "IncompleteSignatureException", Key::LowerAlone),
            Self::InvalidParameterValue => (400, "InvalidParameterValueException", Key::Lower),
            Self::InvalidRequestContent => (400, "InvalidRequestContentException", Key::Lower),
            Self::InvalidSignature => (403, "InvalidSignatureException", Key::LowerAlone),
            Self::InvalidRuntime => (502, "InvalidRuntimeException", Key::Upper),
            Self::InvalidZipFile => (502, "InvalidZipFileException", Key::Upper),
            Self::MissingAuthenticationToken => (403, "MissingAuthenticationTokenException", Key::LowerAlone),
            Self::PolicyLengthExceeded => (400, "PolicyLengthExceededException", Key::Lower),
            Self::RecursiveInvocation => (400, "RecursiveInvocationException", Key::Upper),
            Self::PreconditionFailed => (412, "PreconditionFailedException", Key::Lower),
            Self::ProvisionedConcurrencyConfigNotFound => {
                (404, "ProvisionedConcurrencyConfigNotFoundException", Key::Lower)
            }
            Self::RequestEntityTooLarge => (413, "RequestEntityTooLargeException", Key::UpperAlone),
            Self::RequestTimedOut => (408, "RequestTimeoutException", Key::LowerAlone),
            Self::RequestTooLarge => (413, "RequestTooLargeException", Key::Lower),
            Self::ResourceInUse => (400, "ResourceInUseException", Key::Upper),
            Self::ResourceConflict => (409, "ResourceConflictException", Key::Lower),
            Self::ResourceNotFound => (404, "ResourceNotFoundException", Key::Upper),
            Self::Serialization => (400, "SerializationException", Key::UpperAlone),
            Self::Service => (500, "ServiceException", Key::Upper),
            Self::ServiceUnavailable => (503, "ServiceUnavailableException", Key::Upper),
            Self::TooManyRequests => (429, "TooManyRequestsException", Key::Lower),
            Self::UnknownOperation => (404, "UnknownOperationException", Key::LowerAlone),
            Self::UnrecognizedClient => (403, "UnrecognizedClientException", Key::LowerAlone),
            Self::Validation => (400, "ValidationException", Key::LowerAlone),
        }
    }

    /// The type's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().1
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        self.row().0
    }
}

/// An error as the Lambda API answers it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", code.name(), message.as_deref().unwrap_or("(no message)"))]
pub struct LambdaError {
    /// Its kind.
    pub code: Code,
    /// Its message; Lambda leaves some out on purpose.
    pub message: Option<String>,
    /// Why a call was throttled.
    pub reason: Option<&'static str>,
}

impl LambdaError {
    /// An error with a message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: Some(message.into()),
            reason: None,
        }
    }

    /// 400 `InvalidParameterValueException`.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidParameterValue, message)
    }

    /// 404 for a function, by its ARN.
    #[must_use]
    pub fn function_not_found(arn: &str) -> Self {
        Self::new(Code::ResourceNotFound, format!("Function not found: {arn}"))
    }

    /// 404 for something that belongs to a function.
    #[must_use]
    pub fn resource_not_found() -> Self {
        Self::new(Code::ResourceNotFound, "The resource you requested does not exist.")
    }

    /// 404 for an alias, by its ARN.
    #[must_use]
    pub fn alias_not_found(arn: &str) -> Self {
        Self::new(Code::ResourceNotFound, format!("Cannot find alias arn: {arn}"))
    }

    /// 412 for an outdated revision id.
    #[must_use]
    pub fn outdated_revision() -> Self {
        Self::new(
            Code::PreconditionFailed,
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to \
             retrieve the latest Revision Id",
        )
    }

    /// 403 that tells nothing, as Lambda answers for another account's names.
    #[must_use]
    pub const fn access_denied() -> Self {
        Self {
            code: Code::AccessDenied,
            message: None,
            reason: None,
        }
    }

    /// 429 with its reason.
    #[must_use]
    pub fn throttled(reason: &'static str) -> Self {
        Self {
            reason: Some(reason),
            ..Self::new(Code::TooManyRequests, "Rate Exceeded.")
        }
    }

    /// Something that this platform does not have yet.
    #[must_use]
    pub fn not_offered(what: &str) -> Self {
        Self::invalid(format!("{what} not offered by this platform."))
    }

    /// The JSON body.
    #[must_use]
    pub fn body(&self) -> String {
        let (status, _, key) = self.code.row();
        let mut members = Map::new();
        if let Some(reason) = self.reason {
            members.insert("Reason".to_owned(), json!(reason));
        }
        let name = match key {
            Key::Upper | Key::Lower => {
                members.insert("Type".to_owned(), json!(if status < 500 { "User" } else { "Service" }));
                if key == Key::Upper { "Message" } else { "message" }
            }
            Key::UpperAlone => "Message",
            Key::LowerAlone => "message",
        };
        members.insert(name.to_owned(), json!(self.message));
        Value::Object(members).to_string()
    }

    /// The same for clients of services with the JSON protocol, who read the type from the body.
    #[must_use]
    pub(crate) fn json_response(&self) -> Response<Body> {
        let (parts, _) = self.response().into_parts();
        let body = json!({ "__type": self.code.name(), "message": self.message });
        Response::from_parts(parts, sonagi_wire::full(body.to_string()))
    }

    /// The whole answer, without request id.
    #[must_use]
    pub fn response(&self) -> Response<Body> {
        let (status, name, _) = self.code.row();
        let mut response = Response::new(sonagi_wire::full(Bytes::from(self.body())));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ERROR_TYPE, HeaderValue::from_static(name));
        if matches!(self.code, Code::TooManyRequests | Code::ServiceUnavailable) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<StoreError> for LambdaError {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "a change could not be stored");
        match error {
            StoreError::Full(_) => Self::new(
                Code::ServiceUnavailable,
                "The platform's disk is full; nothing was changed.",
            ),
            StoreError::Closed => Self::new(Code::ServiceUnavailable, "The platform is stopping."),
            StoreError::Busy { .. } => Self::new(
                Code::ServiceUnavailable,
                "Too many changes are waiting to be stored; try again.",
            ),
            StoreError::NotPending(_) | StoreError::Unreadable { .. } | StoreError::Database { .. } => {
                Self::new(Code::Service, "The platform could not store the change.")
            }
        }
    }
}

impl From<AcceptError> for LambdaError {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Store(error) => error.into(),
            AcceptError::TokenReused { .. } | AcceptError::TooLarge { .. } => Self::invalid(error.to_string()),
        }
    }
}

impl From<EditError<Self>> for LambdaError {
    fn from(error: EditError<Self>) -> Self {
        match error {
            EditError::Missing(namespace, name) => Self::function_not_found(&crate::arn::of_names(&namespace, &name)),
            EditError::Exists(_, name) => Self::new(Code::ResourceConflict, format!("Function already exist: {name}")),
            EditError::Refused(error) => error,
            EditError::Store(error) => error.into(),
        }
    }
}

/// What an upload's failure looks like to its caller.
pub(crate) fn of_upload(error: ArtifactError, limits: &LambdaLimits) -> LambdaError {
    match error {
        ArtifactError::Refused(problem) => of_archive(&problem, limits),
        ArtifactError::Missing(_) | ArtifactError::Damaged { .. } | ArtifactError::Io { .. } => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "an archive could not be stored"
            );
            LambdaError::new(Code::Service, "The platform could not store the code.")
        }
    }
}

fn of_archive(problem: &ArchiveProblem, limits: &LambdaLimits) -> LambdaError {
    match problem {
        ArchiveProblem::PackedSize { limit, .. } => LambdaError::new(
            Code::RequestEntityTooLarge,
            format!("Zipped size must be smaller than {limit} bytes"),
        ),
        ArchiveProblem::UnpackedSize { .. } => LambdaError::invalid(format!(
            "Unzipped size must be smaller than {} bytes",
            limits.archive.unpacked
        )),
        ArchiveProblem::Unreadable(_) => {
            LambdaError::invalid("Could not unzip uploaded file. Please check your file, then try to upload again.")
        }
        ArchiveProblem::Entries { .. }
        | ArchiveProblem::Ratio { .. }
        | ArchiveProblem::Path { .. }
        | ArchiveProblem::Kind { .. }
        | ArchiveProblem::Conflict { .. } => LambdaError::invalid(format!("Could not unzip uploaded file: {problem}.")),
    }
}

/// What the caller of an operation sees when stored code was found damaged: quarantined, never executed.
pub(crate) fn damaged() -> LambdaError {
    LambdaError::new(
        Code::InvalidZipFile,
        "The stored code of the function is damaged and has been quarantined. A damaged copy is made anew at the next call; \
         if this comes again, deploy the function again.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_the_keys_of_the_real_service() {
        let cases = [
            (
                LambdaError::function_not_found("a"),
                404,
                r#"{"Type":"User","Message":"Function not found: a"}"#,
            ),
            (LambdaError::invalid("x"), 400, r#"{"Type":"User","message":"x"}"#),
            (LambdaError::new(Code::Validation, "x"), 400, r#"{"message":"x"}"#),
            (LambdaError::access_denied(), 403, r#"{"Message":null}"#),
            (
                LambdaError::new(Code::Service, "x"),
                500,
                r#"{"Type":"Service","Message":"x"}"#,
            ),
            (
                LambdaError::throttled("ReservedFunctionConcurrentInvocationLimitExceeded"),
                429,
                r#"{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}"#,
            ),
        ];
        for (error, status, body) in cases {
            assert_eq!(error.code.status(), status);
            assert_eq!(error.body(), body);
        }
    }
}
