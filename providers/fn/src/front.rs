//! Where Fn's requests come in.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use serde_json::json;
use sonagi_wire::{Body, Claim, Head, Surface};

use crate::api::{self, Api};
use crate::invoke::Invoker;

/// The server whose API this is.
const VERSION: &str = "0.3.753";

/// The entry of everything that clients send. Clones are handles on the same front.
#[derive(Debug, Clone)]
pub struct Front {
    api: Arc<Api>,
    invoker: Arc<Invoker>,
}

impl Front {
    pub(crate) const fn new(api: Arc<Api>, invoker: Arc<Invoker>) -> Self {
        Self { api, invoker }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        if path.starts_with("/t/") {
            return Box::pin(self.invoker.by_trigger(&parts, body)).await;
        }
        if let Some(id) = path.strip_prefix("/invoke/") {
            return Box::pin(self.invoker.by_id(&parts, body, id)).await;
        }
        let answered = match (path, &parts.method) {
            ("/version", &Method::GET) => Ok(api::document(&json!({ "version": VERSION }))),
            ("/version", _) => Err(api::no_method(&parts)),
            _ => Box::pin(self.api.answer(&parts, body)).await,
        };
        answered.unwrap_or_else(|error| error.response())
    }
}

#[async_trait]
impl Surface for Front {
    /// Ours is everything below `/v2`, `/invoke` and `/t`, and `/version`.
    fn claim(&self, head: &Head<'_>) -> Claim {
        let path = head.uri.path();
        let below = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
        if path == "/version" || path == "/v2" || ["/v2", "/invoke", "/t"].into_iter().any(below) {
            Claim::Path
        } else {
            Claim::None
        }
    }

    async fn serve(&self, request: Request<Incoming>, _peer: SocketAddr) -> Response<Body> {
        self.answer(request).await
    }
}
