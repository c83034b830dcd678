//! Serving HTTP on a listener or on one stream: HTTP/1.1 and HTTP/2 with prior knowledge, bounded in every direction.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Body, BoxError};

/// How often a stopping server looks whether a connection has anything left to finish.
const STOP_CHECK: Duration = Duration::from_millis(250);

/// Counts the requests under way on one connection, until the last byte of each answer is handed over. A service that
/// counts lets its connection be closed at a stop although half of a further request may have come.
#[derive(Debug, Clone, Default)]
pub struct RequestCount(Arc<AtomicUsize>);

impl RequestCount {
    /// A request has come; the value goes into [`UnderWay::hold`].
    #[must_use]
    pub fn begin(&self) -> UnderWay {
        self.0.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(&self.0))
    }

    fn is_zero(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

/// One request under way, until this is dropped.
#[derive(Debug)]
pub struct UnderWay(Arc<AtomicUsize>);

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

/// Bounds of an HTTP server.
#[derive(Debug, Clone)]
pub struct HttpLimits {
    /// Connections at once; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Bytes of a request's line and headers together.
    pub head_bytes: usize,
    /// Headers of a request.
    pub headers: usize,
    /// Longest time for a request's head to arrive, idle time between requests included; `None`: no limit.
    pub head_timeout: Option<Duration>,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            head_bytes: 64 * 1024,
            headers: 100,
            head_timeout: Some(Duration::from_secs(60)),
        }
    }
}

/// Accepts connections until `stop` is cancelled, then lets open requests finish. Connections run as tasks of `tasks`.
/// An accept error (descriptors used up, for instance) is waited out, it does not end the loop.
pub async fn accept_loop<S, M>(
    listener: TcpListener,
    limits: HttpLimits,
    tasks: TaskTracker,
    stop: CancellationToken,
    make_service: M,
) where
    M: Fn(std::net::SocketAddr, RequestCount) -> S,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                let count = RequestCount::default();
                let service = make_service(peer, count.clone());
                let connection = serve_stream(stream, limits.clone(), service, stop.clone(), Some(count));
                tasks.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, std::net::SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

/// Serves one connection to its end. When `stop` is cancelled, the request under way is finished and the connection
/// closed. Not cancel safe: dropping it cuts the connection.
pub async fn serve_stream<S>(
    stream: TcpStream,
    limits: HttpLimits,
    service: S,
    stop: CancellationToken,
    count: Option<RequestCount>,
) where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
{
    // Answers are written in one piece where possible; waiting to join small segments would only delay them.
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.head_bytes.max(16 * 1024))
        .max_headers(limits.headers)
        .pipeline_flush(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(Some(32));
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // A connection without a request under way has nothing to finish, though half a request may have come.
            loop {
                tokio::select! {
                    result = connection.as_mut() => break result,
                    () = tokio::time::sleep(STOP_CHECK) => if count.as_ref().is_some_and(RequestCount::is_zero) { return },
                }
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}
