//! A client with headers of its own, over any stream: for routes that need credentials, and for functions that listen on a
//! socket file.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::load::Outcome;

/// Most requests of one run, whatever its time.
const REQUESTS_MAX: usize = 2_000_000;

/// One request, again and again.
#[derive(Debug, Clone)]
pub struct Route {
    /// `HOST:PORT` to connect to.
    pub address: String,
    /// What stands in the `Host` header.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// Headers beside `Host` and `Content-Type`.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
}

/// One kept connection.
#[derive(Debug)]
pub struct Direct {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: JoinSet<()>,
}

impl Direct {
    /// Connects to an address.
    ///
    /// # Errors
    /// Nothing listens there.
    pub async fn tcp(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| address.to_owned())?;
        stream.set_nodelay(true)?;
        Self::over(stream).await
    }

    /// Connects to a socket file.
    ///
    /// # Errors
    /// Nothing listens there.
    pub async fn unix(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path).await;
        Self::over(stream.with_context(|| path.display().to_string())?).await
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Self> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // An error shows as an error of the request under way.
            let _ = connection.await;
        });
        Ok(Self { sender, driver })
    }

    /// Sends the request and reads the whole answer.
    ///
    /// # Errors
    /// The connection broke, or the answer is no success.
    pub async fn call(&mut self, route: &Route) -> Result<Bytes> {
        let mut request = Request::post(route.path.as_str())
            .header("host", &route.host)
            .header("content-type", "application/json");
        for (name, value) in &route.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(route.body.clone()))?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        ensure!(
            status.is_success(),
            "{}: {status}: {}",
            route.path,
            String::from_utf8_lossy(&body)
        );
        Ok(body)
    }

    /// Ends it.
    pub async fn close(mut self) {
        drop(self.sender);
        while self.driver.join_next().await.is_some() {}
    }
}

/// A closed loop over a number of connections for a time.
///
/// # Errors
/// A request failed: a figure with failures in it says nothing.
pub async fn run(route: &Route, connections: usize, time: Duration) -> Result<Outcome> {
    let mut workers = JoinSet::new();
    let begun = Instant::now();
    for _ in 0..connections {
        let route = route.clone();
        workers.spawn(async move {
            let mut connection = Direct::tcp(&route.address).await?;
            let mut latencies = Vec::new();
            while begun.elapsed() < time && latencies.len() < REQUESTS_MAX / connections {
                let sent = Instant::now();
                connection.call(&route).await?;
                latencies.push(sent.elapsed().as_secs_f64() * 1e6);
            }
            connection.close().await;
            anyhow::Ok(latencies)
        });
    }
    let mut latencies_us = Vec::new();
    while let Some(worker) = workers.join_next().await {
        latencies_us.extend(worker??);
    }
    Ok(Outcome {
        per_second: latencies_us.len() as f64 / begun.elapsed().as_secs_f64(),
        latencies_us,
    })
}
