//! A small HTTP client that shows what arrives and when.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::Instant;

/// Longest time for one exchange.
const LIMIT: Duration = Duration::from_secs(120);

/// A client of one address; connections are kept.
#[derive(Debug, Clone)]
pub struct Http {
    base: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Each part of the body, with the time from the request until it came.
    pub parts: Vec<(Duration, Bytes)>,
    /// From sending until the last byte.
    pub took: Duration,
}

impl Answer {
    /// The body as text, what is no UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON: {:?}", self.text()))
    }
}

impl Http {
    /// A client for an address such as `http://127.0.0.1:4747`.
    #[must_use]
    pub fn new(base: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self {
            base: base.trim_end_matches('/').to_owned(),
            client,
        }
    }

    /// Fetches a path.
    ///
    /// # Errors
    /// No complete answer within the limit.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send("GET", path, &[], Bytes::new()).await
    }

    /// Sends any request; a `host` among the headers replaces the address in it.
    ///
    /// # Errors
    /// The request cannot be made, or no complete answer came within the limit.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(body.into()))
            .with_context(|| format!("{method} {path}"))?;
        let exchange = async {
            let begun = Instant::now();
            let (head, mut body) = self.client.request(request).await?.into_parts();
            let mut parts = Vec::new();
            while let Some(frame) = body.frame().await {
                if let Ok(data) = frame?.into_data() {
                    parts.push((begun.elapsed(), data));
                }
            }
            let body = parts.iter().flat_map(|(_, part)| part.iter().copied()).collect();
            let took = begun.elapsed();
            anyhow::Ok(Answer {
                status: head.status,
                headers: head.headers,
                body,
                parts,
                took,
            })
        };
        let answer = tokio::time::timeout(LIMIT, exchange).await;
        answer
            .with_context(|| format!("{method} {path}: no answer in {LIMIT:?}"))?
            .with_context(|| format!("{method} {path}"))
    }

    /// Sends the request to a function's URL: its host goes into the header, the connection to this platform.
    ///
    /// # Errors
    /// As [`Http::send`].
    pub async fn call_url(&self, url: &str, path: &str, body: impl Into<Bytes>) -> Result<Answer> {
        let host = url
            .trim_start_matches("http://")
            .trim_start_matches("https://")
            .trim_end_matches('/');
        let method = "POST";
        self.send(method, path, &[("host", host)], body).await
    }
}
