//! Serving HTTP on a listener or on one stream: HTTP/1.1 and HTTP/2 with prior knowledge, bounded in every direction.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Body;
use crate::callers::Callers;
use crate::count::RequestCount;
use crate::gate::{End, Gate, Guarded, Report, Version};

/// How often a stopping server looks whether a connection has anything left to finish.
const STOP_CHECK: Duration = Duration::from_millis(250);

/// Most bytes that are read ahead of a connection.
const READ_AHEAD: usize = 64 * 1024;

/// What a caller hears whose address has too many connections.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";

/// Bounds of an HTTP server.
#[derive(Debug, Clone)]
pub struct HttpLimits {
    /// Connections at once; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Connections at once of one address (IPv6: one /64), loopback excepted; further ones hear 503.
    pub connections_of_address: usize,
    /// Bytes of a request's line and headers together; more: 431.
    pub head_bytes: usize,
    /// Bytes of a request's target; more: 414.
    pub target_bytes: usize,
    /// Headers of a request; more: 431.
    pub headers: usize,
    /// Longest time for a request's head to arrive, counted from its first byte (of a connection's first one: from the
    /// beginning); 408 after it. `None`: no limit.
    pub head_timeout: Option<Duration>,
    /// A connection without a request is closed after this time, at most twice of it, if its service counts requests;
    /// `None`: it is kept.
    pub idle_timeout: Option<Duration>,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_of_address: 1024,
            head_bytes: 32 * 1024,
            target_bytes: 8 * 1024,
            headers: 100,
            head_timeout: Some(Duration::from_secs(10)),
            idle_timeout: Some(Duration::from_secs(60)),
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
    M: Fn(SocketAddr, RequestCount) -> S,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    let callers = Callers::new(limits.connections_of_address);
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                let Some(of_address) = callers.admit(peer.ip()) else {
                    // A new connection has room for so little; whether it is heard does not matter.
                    let _ = stream.try_write(TOO_MANY);
                    continue;
                };
                let count = RequestCount::default();
                let service = make_service(peer, count.clone());
                let connection = serve_stream(stream, limits.clone(), service, stop.clone(), Some(count));
                tasks.spawn(async move {
                    connection.await;
                    drop((place, of_address));
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
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
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
    let mut gate = Gate::new(stream, &limits);
    let version = tokio::select! {
        version = gate.version() => version,
        () = stop.cancelled() => None,
    };
    let service = Guarded::new(service, gate.report(), &limits);
    let life = Life {
        count,
        report: gate.report(),
        idle_timeout: limits.idle_timeout,
        stop,
    };
    let end = match version {
        None => return,
        Some(Version::Http1) => {
            let mut builder = http1::Builder::new();
            // Answers are not gathered over pipelined requests: the library would lose those of a connection that it closes
            // while bytes follow (hyper 1.12).
            builder.max_buf_size(READ_AHEAD.max(limits.head_bytes));
            // The library is faster with its own limit, which is the usual one; the gate counts in any case.
            if limits.headers != 100 {
                builder.max_headers(limits.headers);
            }
            let connection = builder.serve_connection(TokioIo::new(&mut gate), service);
            boxed(life.follow(connection)).await
        }
        Some(Version::Http2) => {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .max_concurrent_streams(256)
                .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
                .max_pending_accept_reset_streams(Some(32))
                .keep_alive_interval(limits.idle_timeout);
            let connection = builder.serve_connection(TokioIo::new(&mut gate), service);
            boxed(life.follow(connection)).await
        }
    };
    gate.close(end).await;
}

/// One type for whatever serves a connection: who awaits it need not see through the service's own future.
fn boxed<'a>(serving: impl Future<Output = End> + Send + 'a) -> Pin<Box<dyn Future<Output = End> + Send + 'a>> {
    Box::pin(serving)
}

/// A connection that can be told to end.
trait Graceful: Future<Output = hyper::Result<()>> {
    /// No more requests: it ends after the answers under way.
    fn finish(self: Pin<&mut Self>);
}

impl<I, S> Graceful for http1::Connection<I, S>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S> Graceful for http2::Connection<I, S, TokioExecutor>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// What ends a connection from this side.
struct Life {
    count: Option<RequestCount>,
    report: Arc<Report>,
    idle_timeout: Option<Duration>,
    stop: CancellationToken,
}

impl Life {
    /// Runs a connection until it ends by itself, has been idle for too long, or the server stops.
    async fn follow<C: Graceful>(self, connection: C) -> End {
        tokio::pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = self.unused() => {
                connection.as_mut().finish();
                // Nothing is left to say but the goodbye of HTTP/2, for which a moment is enough.
                match tokio::time::timeout(STOP_CHECK, connection.as_mut()).await {
                    Ok(result) => result,
                    Err(_) => return End::Regular,
                }
            }
            () = self.stop.cancelled() => {
                connection.as_mut().finish();
                // A connection without a request under way has nothing to finish, though half a request may have come.
                loop {
                    tokio::select! {
                        result = connection.as_mut() => break result,
                        () = tokio::time::sleep(STOP_CHECK) => if self.count.as_ref().is_some_and(RequestCount::is_zero) { return End::Regular },
                    }
                }
            }
        };
        match result {
            Ok(()) => End::Regular,
            Err(error) => {
                tracing::debug!(%error, "a connection ended early");
                End::Early
            }
        }
    }

    /// Returns when nothing has happened for the idle time. One timer for a whole connection: none is set for a request.
    async fn unused(&self) {
        let (Some(pause), Some(count)) = (self.idle_timeout, &self.count) else {
            return std::future::pending().await;
        };
        let mut seen = None;
        loop {
            let (begun, come) = (count.begun(), self.report.requests());
            // A service that does not count may be busy although nothing is counted.
            let counts = begun == come as u32;
            if counts && count.is_zero() && !self.report.is_receiving() && seen == Some(begun) {
                return;
            }
            seen = Some(begun);
            tokio::time::sleep(pause).await;
        }
    }
}
