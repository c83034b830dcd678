//! Counting the requests of a connection.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::{Body, BoxError};

/// Added for a request that begins: one begun (high half), one under way (low half).
const BEGUN: u64 = (1 << 32) + 1;

/// Counts the requests of one connection, begun and under way, until the last byte of each answer is handed over. A service
/// that counts lets its connection be closed when it is unused, and at a stop although half of a further request may have
/// come.
#[derive(Debug, Clone, Default)]
pub struct RequestCount(Arc<AtomicU64>);

impl RequestCount {
    /// A request has come; the value goes into [`UnderWay::hold`].
    #[must_use]
    pub fn begin(&self) -> UnderWay {
        self.0.fetch_add(BEGUN, Ordering::Relaxed);
        UnderWay(Arc::clone(&self.0))
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.seen() & u64::from(u32::MAX) == 0
    }

    /// Requests that have begun; the number wraps.
    pub(crate) fn begun(&self) -> u32 {
        (self.seen() >> 32) as u32
    }

    fn seen(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One request under way, until this is dropped.
#[derive(Debug)]
pub struct UnderWay(Arc<AtomicU64>);

impl UnderWay {
    /// A body that keeps its request under way until it is sent.
    #[must_use]
    pub fn hold(self, body: Body) -> Body {
        Body::new(CountedBody { body, _counted: self })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that holds its request's place among those under way.
struct CountedBody {
    body: Body,
    _counted: UnderWay,
}

impl http_body::Body for CountedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
