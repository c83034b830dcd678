//! A closed-loop client: a number of kept connections, each of which sends the next request when it has the answer.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Most requests of one run, whatever its time.
const REQUESTS_MAX: usize = 2_000_000;

/// Where requests go and what they are.
#[derive(Debug, Clone)]
pub struct Target {
    /// `HOST:PORT` to connect to.
    pub address: String,
    /// What stands in the `Host` header.
    pub host: String,
    /// The path.
    pub path: String,
    /// The body.
    pub body: Bytes,
}

/// What a run gave.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Answered requests a second.
    pub per_second: f64,
    /// Time of each request, microseconds.
    pub latencies_us: Vec<f64>,
}

/// One kept connection.
#[derive(Debug)]
pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: JoinSet<()>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Nothing listens there.
    pub async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // An error shows as an error of the request under way.
            let _ = connection.await;
        });
        Ok(Self { sender, driver })
    }

    /// Sends one request and reads the whole answer.
    ///
    /// # Errors
    /// The connection broke, or the answer is no success.
    pub async fn call(&mut self, target: &Target) -> Result<Bytes> {
        let request = Request::post(target.path.parse::<Uri>()?)
            .header("host", &target.host)
            .header("content-type", "application/json")
            .body(Full::new(target.body.clone()))?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            bail!("{}: {status} {}", target.host, String::from_utf8_lossy(&body));
        }
        Ok(body)
    }

    /// Ends it.
    pub async fn close(mut self) {
        drop(self.sender);
        while self.driver.join_next().await.is_some() {}
    }
}

/// Sends requests over a number of connections for a time.
///
/// # Errors
/// A request failed: a figure with failures in it says nothing.
pub async fn run(target: &Target, connections: usize, time: Duration) -> Result<Outcome> {
    let mut workers = JoinSet::new();
    let begun = Instant::now();
    for _ in 0..connections {
        let target = target.clone();
        workers.spawn(async move {
            let mut connection = Connection::open(&target.address).await?;
            let mut latencies = Vec::new();
            while begun.elapsed() < time && latencies.len() < REQUESTS_MAX / connections {
                let sent = Instant::now();
                connection.call(&target).await?;
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
