//! Errors that are found before the endpoint sees a request, in the form that its clients read.
//! Source: "Error responses" of the S3 API reference.

use http::{HeaderValue, Response, StatusCode, header};
use sonagi_wire::Body;

use crate::errors::{Code, LambdaError};

/// The code that S3 has for an error of signatures.
fn code(error: &LambdaError) -> (&'static str, StatusCode) {
    let message = error.message.as_deref().unwrap_or_default();
    match error.code {
        Code::UnrecognizedClient => ("InvalidAccessKeyId", StatusCode::FORBIDDEN),
        Code::ExpiredToken => ("ExpiredToken", StatusCode::BAD_REQUEST),
        Code::IncompleteSignature => ("AuthorizationHeaderMalformed", StatusCode::BAD_REQUEST),
        Code::InvalidSignature if message.starts_with("Signature expired") || message.contains("not yet current") => {
            ("RequestTimeTooSkewed", StatusCode::FORBIDDEN)
        }
        Code::InvalidSignature => ("SignatureDoesNotMatch", StatusCode::FORBIDDEN),
        Code::RequestTimedOut => ("RequestTimeout", StatusCode::BAD_REQUEST),
        Code::RequestEntityTooLarge | Code::RequestTooLarge => ("EntityTooLarge", StatusCode::BAD_REQUEST),
        Code::TooManyRequests => ("SlowDown", StatusCode::SERVICE_UNAVAILABLE),
        Code::ServiceUnavailable => ("ServiceUnavailable", StatusCode::SERVICE_UNAVAILABLE),
        Code::Service => ("InternalError", StatusCode::INTERNAL_SERVER_ERROR),
        Code::AccessDenied
        | Code::CodeStorageExceeded
        | Code::InvalidParameterValue
        | Code::InvalidRequestContent
        | Code::InvalidRuntime
        | Code::InvalidZipFile
        | Code::MissingAuthenticationToken
        | Code::PolicyLengthExceeded
        | Code::RecursiveInvocation
        | Code::PreconditionFailed
        | Code::ProvisionedConcurrencyConfigNotFound
        | Code::ResourceConflict
        | Code::ResourceNotFound
        | Code::Serialization
        | Code::UnknownOperation
        | Code::ResourceInUse
        | Code::Validation => ("AccessDenied", StatusCode::FORBIDDEN),
    }
}

/// The answer.
pub(crate) fn in_xml(error: &LambdaError) -> Response<Body> {
    let (code, status) = code(error);
    let message = error.message.as_deref().unwrap_or("Access Denied");
    let escaped = message.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{escaped}</Message></Error>"
    );
    let mut response = Response::new(sonagi_wire::full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}
