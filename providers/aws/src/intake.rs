//! Reading request bodies, bounded in size and time.

use bytes::Bytes;
use hyper::body::Incoming;
use sonagi_wire::{BodyError, TooSlow, read_paced};

use crate::errors::{Code, LambdaError};

/// How much of a body is taken, and what its sender is told if it is more.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) limit: usize,
    pub(crate) too_large: LambdaError,
}

/// Reads a body.
///
/// # Errors
/// The given error for a body over the limit; 408 for one that does not come; 400 for one that breaks off.
pub(crate) async fn read(body: Incoming, intake: Intake) -> Result<Bytes, LambdaError> {
    read_up_to(body, intake.limit, || intake.too_large).await
}

/// As [`read`]; the error is made when it is needed.
///
/// # Errors
/// As [`read`].
pub(crate) async fn read_up_to(
    body: Incoming,
    limit: usize,
    too_large: impl FnOnce() -> LambdaError,
) -> Result<Bytes, LambdaError> {
    match read_paced(body, limit).await {
        Ok(Ok(bytes)) => Ok(bytes),
        // A client that sends all before it listens is heard out when its connection is closed.
        Ok(Err(BodyError::TooLarge { .. })) => Err(too_large()),
        Ok(Err(BodyError::Broken(error))) => {
            tracing::debug!(%error, "a request body broke off");
            Err(LambdaError::new(
                Code::Serialization,
                "The request body could not be read.",
            ))
        }
        Err(TooSlow) => Err(LambdaError::new(
            Code::RequestTimedOut,
            "The request body did not arrive in time.",
        )),
    }
}
