//! Errors of the store in the words of S3.
//! Source: "Error responses" of the S3 API reference.

use s3s::{S3Error, S3ErrorCode};
use sonagi_objects::Error;

/// An error with a text of ours.
pub(crate) fn refuse(code: S3ErrorCode, text: impl Into<String>) -> S3Error {
    let custom = matches!(code, S3ErrorCode::Custom(_));
    let mut error = S3Error::with_message(code, text.into());
    if custom {
        // Codes that the protocol's crate does not know are all of what a caller did wrong.
        error.set_status_code(http::StatusCode::BAD_REQUEST);
    }
    error
}

/// What this platform does not have.
pub(crate) fn not_offered(what: &str) -> S3Error {
    refuse(
        S3ErrorCode::NotImplemented,
        format!("{what} not offered by this platform."),
    )
}

pub(crate) fn no_such_key() -> S3Error {
    refuse(S3ErrorCode::NoSuchKey, "The specified key does not exist.")
}

pub(crate) fn no_such_bucket() -> S3Error {
    refuse(S3ErrorCode::NoSuchBucket, "The specified bucket does not exist")
}

pub(crate) fn no_such_upload() -> S3Error {
    refuse(
        S3ErrorCode::NoSuchUpload,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
    )
}

pub(crate) fn precondition(which: &str) -> S3Error {
    refuse(
        S3ErrorCode::PreconditionFailed,
        format!("At least one of the pre-conditions you specified did not hold: {which}"),
    )
}

pub(crate) fn invalid(text: impl Into<String>) -> S3Error {
    refuse(S3ErrorCode::InvalidArgument, text)
}

/// The store's errors.
pub(crate) fn of_store(error: Error) -> S3Error {
    match error {
        Error::NoBucket(_) => no_such_bucket(),
        Error::NoObject(_) => no_such_key(),
        Error::NoUpload(_) => no_such_upload(),
        Error::Taken { .. } => refuse(
            S3ErrorCode::BucketAlreadyExists,
            "The requested bucket name is not available. It is used by another account of this platform. Select a \
             different name and try again.",
        ),
        Error::Condition(_) => precondition("If-Match or If-None-Match"),
        Error::Bound { what, limit } => refuse(
            S3ErrorCode::TooManyBuckets,
            format!("You have attempted to create more {what} than allowed: {limit}."),
        ),
        Error::Busy { what, limit } => {
            tracing::warn!(what, limit, "the object store takes no more");
            refuse(
                S3ErrorCode::SlowDown,
                format!("Please reduce your request rate: {what} is full."),
            )
        }
        Error::Full(action) => {
            tracing::error!(action, "the disk is full");
            refuse(S3ErrorCode::ServiceUnavailable, "The disk of this platform is full.")
        }
        Error::Closed => refuse(S3ErrorCode::ServiceUnavailable, "The platform is stopping."),
        error @ (Error::Index { .. } | Error::File { .. }) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the object store failed");
            refuse(
                S3ErrorCode::InternalError,
                "We encountered an internal error. Please try again.",
            )
        }
    }
}
