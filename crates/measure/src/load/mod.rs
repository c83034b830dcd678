//! Clients: one connection ([`Connection`]), a closed loop of them ([`run`]), and an open loop ([`open`]).
//!
//! In a closed loop each connection sends its next request when it has the answer: the most that a server gives. In an
//! open loop requests come at fixed moments whatever the server does: what callers see at that rate.

mod connection;
pub mod open;

use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use connection::Connection;

use crate::Error;

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

impl Target {
    /// A server at its own address.
    #[must_use]
    pub fn at(port: u16, path: &str, body: impl Into<Bytes>) -> Self {
        let address = format!("127.0.0.1:{port}");
        Self {
            host: address.clone(),
            address,
            path: path.to_owned(),
            body: body.into(),
        }
    }
}

/// What a run gave.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Answered requests a second.
    pub per_second: f64,
    /// Time of each request, microseconds.
    pub latencies_us: Vec<f64>,
}

/// Sends requests over a number of connections for a time.
///
/// # Errors
/// A request failed: a figure with failures in it says nothing.
pub async fn run(target: &Target, connections: usize, time: Duration) -> Result<Outcome, Error> {
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
            Ok::<_, Error>(latencies)
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
