//! The one address: which request goes to which part. Providers' host names first, so that a function may have any path;
//! then the platform's own paths; then providers' paths.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::Service;
use sonagi_wire::{Body, BoxError, Claim, Head, RequestCount, Surface, empty, full};
use tower_service::Service as _;

use crate::health::Health;

/// Where requests go.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    /// The providers' parts, in the order in which they are asked.
    pub(crate) surfaces: Vec<Arc<dyn Surface>>,
    /// The native API.
    pub(crate) native: axum::Router,
    /// Alive, ready, metrics.
    pub(crate) health: Arc<Health>,
}

impl Front {
    async fn handle(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        if let Err(problem) = Head::from(&request).check_host() {
            return plain(StatusCode::BAD_REQUEST, format!("{problem}\n"));
        }
        let mut by_path = None;
        for surface in &self.surfaces {
            match surface.claim(&Head::from(&request)) {
                Claim::Host => return surface.serve(request, peer).await,
                Claim::Path => by_path = by_path.or(Some(surface)),
                Claim::None => {}
            }
        }
        let (path, method) = (request.uri().path(), request.method());
        if path == "/sonagi" || path.starts_with("/sonagi/") {
            return self.native(request).await;
        }
        match (method, path, by_path) {
            (&Method::GET | &Method::HEAD, "/healthz", _) => plain(StatusCode::OK, "alive\n"),
            (&Method::GET | &Method::HEAD, "/readyz", _) => self.health.ready().await,
            (&Method::GET | &Method::HEAD, "/metrics", _) => self.health.metrics(request.headers()),
            (_, _, Some(surface)) => surface.serve(request, peer).await,
            (&Method::GET | &Method::HEAD, "/", None) => plain(StatusCode::OK, GREETING),
            (_, _, None) => plain(
                StatusCode::NOT_FOUND,
                "nothing is served at this path\nhint: `sonagi ls` lists functions and their URLs\n",
            ),
        }
    }

    async fn native(&self, request: Request<Incoming>) -> Response<Body> {
        let request = request.map(axum::body::Body::new);
        let response = match self.native.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        response.map(|body| body.map_err(|error| Box::new(error) as BoxError).boxed_unsync())
    }
}

const GREETING: &str = "Sonagi is running.\nhint: `sonagi deploy DIR` makes source code live; `sonagi env PROVIDER` prints what a provider's clients need\n";

/// A short text answer.
pub(crate) fn plain(status: StatusCode, text: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// One connection's view of the front.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// Shared by all connections.
    pub(crate) front: Arc<Front>,
    /// Who is at the other end.
    pub(crate) peer: SocketAddr,
    /// Its requests under way.
    pub(crate) count: RequestCount,
}

impl Service<Request<Incoming>> for Connection {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let Self { front, peer, count } = self.clone();
        let under_way = count.begin();
        Box::pin(async move {
            let head = request.method() == Method::HEAD;
            let response = front.handle(request, peer).await;
            Ok(response.map(|body| under_way.hold(if head { empty() } else { body })))
        })
    }
}
