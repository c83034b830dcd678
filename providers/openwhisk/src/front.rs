//! Where OpenWhisk's requests come in.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use sonagi_wire::{Body, Claim, Head, Surface};

use crate::api::{self, Api};
use crate::errors::{Style, WhiskError};
use crate::routes;
use crate::runtime::InstanceFront;
use crate::web;

/// Header with the id of a request, in both directions.
const REQUEST_ID: &str = "x-request-id";

/// Requests with such an id were named by the platform itself; clients may not.
const SYSTEM_ID: &str = "sid_";

/// The entry of everything that clients send. Clones are handles on the same front.
#[derive(Debug, Clone)]
pub struct Front {
    api: Arc<Api>,
}

impl Front {
    pub(crate) const fn new(api: Arc<Api>) -> Self {
        Self { api }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let transaction = transaction(&request);
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let mut response = if path.starts_with(routes::MANAGEMENT) {
            self.api.manage_routes(&parts, body, &transaction).await
        } else if is_route(path) {
            self.api.routed(parts, body, &transaction).await
        } else if path == web::PATH || path.starts_with(&format!("{}/", web::PATH)) {
            self.api.web(&parts, body, &transaction).await
        } else if is_api(path) {
            self.api.answer(&parts, body, &transaction).await
        } else if path == "/" && matches!(parts.method, Method::GET | Method::HEAD) {
            let root = api::root(&self.api.limits, self.api.invoker.contract.interpreters());
            let mut response = api::document(StatusCode::OK, &root);
            api::allow_origins(response.headers_mut());
            response
        } else {
            WhiskError::new(StatusCode::NOT_FOUND, "The requested resource could not be found.")
                .response(&transaction, Style::Compact)
        };
        if let Ok(id) = HeaderValue::from_str(&transaction) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }
}

fn is_api(path: &str) -> bool {
    path == "/api/v1" || path.starts_with("/api/v1/")
}

fn is_route(path: &str) -> bool {
    path.starts_with(routes::PREFIX)
}

/// The id of a request: its own, unless that is the platform's to give.
fn transaction(request: &Request<Incoming>) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let usable = |id: &&str| !id.is_empty() && id.len() <= 256 && !id.starts_with(SYSTEM_ID);
    given
        .filter(usable)
        .map_or_else(|| uuid::Uuid::new_v4().as_simple().to_string(), str::to_owned)
}

#[async_trait]
impl Surface for Front {
    /// Ours is everything below `/api/v1`, what routes lead to, and `/` for clients that are no browsers.
    fn claim(&self, head: &Head<'_>) -> Claim {
        let path = head.uri.path();
        let accept = head.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
        let reads_html = accept.is_some_and(|accept| accept.contains("text/html"));
        if is_api(path)
            || is_route(path)
            || (path == "/" && !reads_html && matches!(*head.method, Method::GET | Method::HEAD))
        {
            Claim::Path
        } else {
            Claim::None
        }
    }

    async fn serve(&self, request: Request<Incoming>, _peer: SocketAddr) -> Response<Body> {
        self.answer(request).await
    }
}

/// From inside instances: the same API, with the same keys.
impl InstanceFront for Front {
    fn serve_inside(&self, request: Request<Incoming>) -> BoxFuture<'static, Response<Body>> {
        let front = self.clone();
        async move { front.answer(request).await }.boxed()
    }
}
