//! HTTP bodies: one boxed type for answers, and reading of requests under a limit.

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use tokio::sync::mpsc;

/// Whatever made a body fail.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A request body was not read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It has more bytes than allowed.
    #[error("body has more than {limit} bytes")]
    TooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// The peer went away or broke the protocol.
    #[error("body could not be read")]
    Broken(#[source] BoxError),
}

/// A body of known bytes; a `String`, `Vec<u8>` or `Bytes` is taken without a copy.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// No body.
#[must_use]
pub fn empty() -> Body {
    full(Bytes::new())
}

/// A body fed through a bounded channel. Each part is one frame, flushed at once; an error cuts the connection, so that
/// the reader cannot take a broken answer for a whole one. The sender notices a reader that went away.
#[must_use]
pub fn channel(parts: usize) -> (mpsc::Sender<Result<Frame<Bytes>, BoxError>>, Body) {
    let (sender, receiver) = mpsc::channel(parts);
    let stream = futures_util::stream::unfold(
        receiver,
        |mut receiver: mpsc::Receiver<Result<Frame<Bytes>, BoxError>>| async {
            receiver.recv().await.map(|part| (part, receiver))
        },
    );
    (sender, BodyExt::boxed_unsync(StreamBody::new(stream)))
}

/// Reads a whole request body, stopping at the limit: neither the declared length nor the sender is trusted.
///
/// # Errors
/// [`BodyError`].
pub async fn read_limited<B>(mut body: B, limit: usize) -> Result<Bytes, BodyError>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let declared = body.size_hint().lower();
    if declared > limit as u64 {
        return Err(BodyError::TooLarge { limit });
    }
    let mut first: Option<Bytes> = None;
    let mut joined = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| BodyError::Broken(error.into()))?.into_data() else {
            continue;
        };
        let held = first.as_ref().map_or(joined.len(), Bytes::len);
        if held + data.len() > limit {
            return Err(BodyError::TooLarge { limit });
        }
        match (first.take(), joined.is_empty()) {
            (None, true) => first = Some(data),
            (Some(one), _) => {
                joined.reserve((declared as usize).clamp(one.len() + data.len(), limit));
                joined.extend_from_slice(&one);
                joined.extend_from_slice(&data);
            }
            (None, false) => joined.extend_from_slice(&data),
        }
    }
    Ok(first.unwrap_or_else(|| joined.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_joined_and_cut_at_its_limit() {
        let parts = |parts: &'static [&'static str]| {
            let frames = parts
                .iter()
                .map(|part| Ok::<_, BoxError>(Frame::data(Bytes::from_static(part.as_bytes()))));
            StreamBody::new(futures_util::stream::iter(frames))
        };
        assert_eq!(read_limited(parts(&[]), 4).await.unwrap(), "");
        assert_eq!(read_limited(parts(&["ab"]), 4).await.unwrap(), "ab");
        assert_eq!(read_limited(parts(&["ab", "", "c", "d"]), 4).await.unwrap(), "abcd");
        assert!(matches!(
            read_limited(parts(&["ab", "cde"]), 4).await,
            Err(BodyError::TooLarge { limit: 4 })
        ));
        assert!(matches!(
            read_limited(full("abcde"), 4).await,
            Err(BodyError::TooLarge { limit: 4 })
        ));
    }
}
