//! Reading request bodies, bounded in size and time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use sonagi_wire::{BodyError, read_limited};

use crate::errors::{Code, LambdaError};

/// Longest time for a body to arrive whole.
const READ_TIME: Duration = Duration::from_secs(300);

/// Bytes beyond the limit that are read and thrown away, so that a client which sends all before it listens gets its
/// answer rather than a broken connection.
const DISCARD: usize = 8 * 1024 * 1024;

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
    mut body: Incoming,
    limit: usize,
    too_large: impl FnOnce() -> LambdaError,
) -> Result<Bytes, LambdaError> {
    let reading = async {
        match read_limited(&mut body, limit).await {
            Ok(bytes) => Ok(bytes),
            Err(BodyError::TooLarge { .. }) => {
                discard(&mut body, limit.saturating_add(DISCARD)).await;
                Err(too_large())
            }
            Err(BodyError::Broken(error)) => {
                tracing::debug!(%error, "a request body broke off");
                Err(LambdaError::new(
                    Code::Serialization,
                    "The request body could not be read.",
                ))
            }
        }
    };
    match tokio::time::timeout(READ_TIME, reading).await {
        Ok(result) => result,
        Err(_) => {
            let text = format!(
                "The request body did not arrive within {} seconds.",
                READ_TIME.as_secs()
            );
            Err(LambdaError::new(Code::RequestTimedOut, text))
        }
    }
}

async fn discard(body: &mut Incoming, mut left: usize) {
    while let Some(Ok(frame)) = body.frame().await {
        let size = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(size) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
