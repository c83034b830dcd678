//! The reference for warm calls: one hop through a hyper proxy that does nothing else. It takes the backend that was
//! used last, and each backend works on one request at a time, as an instance of the platform does.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

type Sender = client::SendRequest<Full<Bytes>>;

/// Idle connections to backends, the one used last on top.
struct Backends {
    idle: Mutex<Vec<Sender>>,
    free: Semaphore,
}

/// Serves until the process ends; prints its port first.
///
/// # Errors
/// It cannot listen, or a backend cannot be reached.
pub async fn serve(backends: &[u16]) -> Result<()> {
    let mut drivers = JoinSet::new();
    let mut idle = Vec::new();
    for port in backends {
        let stream = TcpStream::connect(("127.0.0.1", *port))
            .await
            .with_context(|| format!("backend {port}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = client::handshake(TokioIo::new(stream)).await?;
        drivers.spawn(async move {
            let _ = connection.await;
        });
        idle.push(sender);
    }
    let free = Semaphore::new(idle.len());
    let backends = Arc::new(Backends {
        idle: Mutex::new(idle),
        free,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let backends = Arc::clone(&backends);
        let service = service_fn(move |request| {
            let backends = Arc::clone(&backends);
            async move { Ok::<_, Infallible>(forward(&backends, request).await.unwrap_or_else(|error| failed(&error))) }
        });
        drivers.spawn(async move {
            let _ = server::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// Serves an answer without work until the process ends; prints its port first.
///
/// # Errors
/// It cannot listen.
pub async fn hello() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = service_fn(async |request: Request<Incoming>| {
            request.into_body().collect().await?;
            Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from_static(b"hello"))))
        });
        connections.spawn(async move {
            let _ = server::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn forward(backends: &Backends, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
    let _permit = backends.free.acquire().await?;
    let taken = backends.idle.lock().expect("no panic while it is held").pop();
    let mut sender = taken.context("a permit without a backend")?;
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    sender.ready().await?;
    let answer = sender.send_request(Request::from_parts(head, Full::new(body))).await?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await?.to_bytes();
    backends.idle.lock().expect("no panic while it is held").push(sender);
    Ok(Response::from_parts(head, Full::new(body)))
}

fn failed(error: &anyhow::Error) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{error:#}\n"))));
    *answer.status_mut() = StatusCode::BAD_GATEWAY;
    answer
}
