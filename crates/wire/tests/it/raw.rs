//! A server that says what reached it, and a client that sends any bytes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use sonagi_wire::{Body, Head, HttpLimits, RequestCount, accept_loop, full, read_limited};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Longest time for anything here.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Most bytes of a body that the server takes.
pub const BODY_MAX: usize = 1024 * 1024;

/// A running server.
pub struct Server {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    pub tasks: TaskTracker,
    _stop: DropGuard,
}

impl Server {
    pub async fn start(limits: HttpLimits) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let service = {
            let seen = Arc::clone(&seen);
            move |_, count: RequestCount| {
                let seen = Arc::clone(&seen);
                service_fn(move |request| {
                    let (under_way, seen) = (count.begin(), Arc::clone(&seen));
                    async move {
                        let answer: Result<_, Infallible> = answer(seen, request).await;
                        answer.map(|answer| answer.map(|body| under_way.hold(body)))
                    }
                })
            }
        };
        tasks.spawn(accept_loop(listener, limits, tasks.clone(), stop.clone(), service));
        Self {
            address,
            seen,
            tasks,
            _stop: stop.drop_guard(),
        }
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends these bytes on a connection of their own and returns all that is answered, to the end of the connection, which
    /// must not be a reset.
    pub async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        self.rest(stream).await
    }

    pub async fn rest(&self, mut stream: TcpStream) -> String {
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        read.expect("the connection ends").expect("without a reset");
        String::from_utf8(answer).unwrap()
    }

    /// Targets and bodies of the requests that were let through.
    pub fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

async fn answer(seen: Arc<Mutex<Vec<String>>>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    if let Err(problem) = Head::from(&request).check_host() {
        return Ok(with_status(StatusCode::BAD_REQUEST, problem.to_string()));
    }
    let target = request.uri().to_string();
    let length = request
        .headers()
        .get("content-length")
        .map(|value| value.to_str().unwrap().to_owned());
    if target == "/unread" {
        return Ok(with_status(StatusCode::PAYLOAD_TOO_LARGE, "unread".to_owned()));
    }
    let body = read_limited(request.into_body(), BODY_MAX).await;
    let Ok(body) = body else {
        return Ok(with_status(StatusCode::BAD_REQUEST, "the body is broken".to_owned()));
    };
    let line = format!(
        "{target} {} {}",
        length.unwrap_or_default(),
        String::from_utf8_lossy(&body)
    );
    seen.lock().unwrap().push(line);
    Ok(with_status(StatusCode::OK, format!("answer to {target}")))
}

fn with_status(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response
}

/// The statuses in a stream of answers.
pub fn statuses(answers: &str) -> Vec<u16> {
    let heads = answers.split("HTTP/1.").skip(1);
    heads.filter_map(|head| head.get(2..5)?.parse().ok()).collect()
}
