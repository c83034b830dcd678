//! HTTP bodies: one boxed type for answers, and reading of requests under a limit.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long a request's body may take whatever its size, how many bytes a second it must bring after that, and how long it
/// may take in all.
const PACE_GRACE: Duration = Duration::from_secs(10);
const PACE_WHOLE: Duration = Duration::from_secs(300);
const PACE_BYTES_A_SECOND: u64 = 1024;

/// A request body came too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("body came slower than {PACE_BYTES_A_SECOND} bytes a second")]
pub struct TooSlow;

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

/// Reads a whole body, stopping at the limit: neither the declared length nor the sender is trusted.
///
/// # Errors
/// [`BodyError`].
pub async fn read_limited<B>(body: B, limit: usize) -> Result<Bytes, BodyError>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let read = read(body, limit, None).await;
    read.unwrap_or_else(|TooSlow| Err(BodyError::Broken(Box::new(TooSlow))))
}

/// As [`read_limited`], of a sender that may be slow on purpose: after 10 s it must have brought 1 KiB for each further
/// second, and in any case everything within 5 min.
///
/// # Errors
/// [`TooSlow`] outside, [`BodyError`] inside.
pub async fn read_paced<B>(body: B, limit: usize) -> Result<Result<Bytes, BodyError>, TooSlow>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    read(body, limit, Some(Pace::default())).await
}

/// When the next part of a body must have come.
#[derive(Debug, Default)]
struct Pace {
    /// When somebody first had to wait.
    since: Option<Instant>,
}

impl Pace {
    /// The next frame, or `None` when it did not come in time. The clock is looked at only when there is something to wait
    /// for.
    async fn next<B>(&mut self, body: &mut B, come: usize) -> Option<Option<Result<Frame<Bytes>, B::Error>>>
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
    {
        let mut frame = body.frame();
        if let Some(frame) = std::future::poll_fn(|cx| Poll::Ready(poll_now(&mut frame, cx))).await {
            return Some(frame);
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let earned = Duration::from_secs(come as u64 / PACE_BYTES_A_SECOND);
        let allowed = (PACE_GRACE + earned).min(PACE_WHOLE);
        tokio::time::timeout_at(since + allowed, frame).await.ok()
    }
}

fn poll_now<F: Future + Unpin>(future: &mut F, cx: &mut Context<'_>) -> Option<F::Output> {
    match Pin::new(future).poll(cx) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

async fn read<B>(mut body: B, limit: usize, mut pace: Option<Pace>) -> Result<Result<Bytes, BodyError>, TooSlow>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let declared = body.size_hint().lower();
    if declared > limit as u64 {
        return Ok(Err(BodyError::TooLarge { limit }));
    }
    let mut first: Option<Bytes> = None;
    let mut joined = BytesMut::new();
    loop {
        let held = first.as_ref().map_or(joined.len(), Bytes::len);
        let frame = match &mut pace {
            Some(pace) => pace.next(&mut body, held).await.ok_or(TooSlow)?,
            None => body.frame().await,
        };
        let Some(frame) = frame else {
            return Ok(Ok(first.unwrap_or_else(|| joined.freeze())));
        };
        let data = match frame.map(Frame::into_data) {
            Ok(Ok(data)) => data,
            // Trailers are of no interest.
            Ok(Err(_)) => continue,
            Err(error) => return Ok(Err(BodyError::Broken(error.into()))),
        };
        if held + data.len() > limit {
            return Ok(Err(BodyError::TooLarge { limit }));
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
    #[tokio::test(start_paused = true)]
    async fn a_slow_body_is_given_up() {
        let dripping = |bytes: usize, pause: Duration, times: usize| {
            let frames = futures_util::stream::unfold(0, move |count| async move {
                tokio::time::sleep(pause).await;
                (count < times).then(|| (Ok::<_, BoxError>(Frame::data(Bytes::from(vec![0; bytes]))), count + 1))
            });
            Box::pin(StreamBody::new(frames))
        };
        let second = Duration::from_secs(1);
        assert!(matches!(read_paced(dripping(1, second, 100), 1000).await, Err(TooSlow)));
        assert_eq!(read_limited(dripping(1, second, 100), 1000).await.unwrap().len(), 100);
        assert_eq!(
            read_paced(dripping(2048, second, 60), 200_000)
                .await
                .unwrap()
                .unwrap()
                .len(),
            60 * 2048
        );
        assert_eq!(
            read_paced(dripping(1, second, 8), 1000).await.unwrap().unwrap().len(),
            8
        );
    }
}
