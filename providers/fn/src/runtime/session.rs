//! The conversation with one instance: HTTP/1.1 over the function's own socket, one call after the other.
//!
//! A connection is used again only within a second: a function that was frozen between two calls may close what has been
//! idle for longer at the very moment of the next one.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use sonagi_model::{FunctionError, InstanceId, Timestamp};
use sonagi_ports::{Call, InitFailure, Reply, ReplyBody, Session, SessionError};
use sonagi_wire::{Body, BodyError, BoxError, read_limited, strip_hop_by_hop};
use tokio::net::UnixStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{envelope, meeting};
use crate::errors::kinds;
use crate::ids;

/// A connection that was idle for longer is not used again. Source: the agent's transport, `IdleConnTimeout`.
const IDLE: Duration = Duration::from_secs(1);
/// Between two attempts to connect to a socket that is bound and does not listen yet, or has a full queue.
const AGAIN: Duration = Duration::from_millis(5);
/// So many of them.
const ATTEMPTS: u32 = 200;
/// Header fields of an answer.
const FIELDS: usize = 200;

/// How the invoker hands the headers of a call to the session.
pub(crate) mod attributes {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use sonagi_ports::Attributes;

    /// What the keys of headers begin with.
    const HEADER: &str = "header ";

    /// Adds headers. Bytes outside ASCII are kept as the characters with their numbers.
    pub(crate) fn put(headers: &HeaderMap, attributes: &mut Attributes) {
        for (name, value) in headers {
            let text: String = value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
            attributes.set(&format!("{HEADER}{name}"), text);
        }
    }

    /// The headers, in order.
    pub(super) fn headers(attributes: &Attributes) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        attributes.0.iter().filter_map(|(key, text)| {
            let name = key.strip_prefix(HEADER)?.parse().ok()?;
            let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
            Some((name, HeaderValue::from_bytes(&bytes).ok()?))
        })
    }
}

/// Numbers of a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// From the start of the container until its socket is there.
    pub(super) init: Duration,
    /// Bytes of the body of an answer.
    pub(super) body: usize,
    /// Bytes of its head.
    pub(super) head: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct FnSession {
    instance: InstanceId,
    bounds: Bounds,
    scratch: Mutex<Option<OwnedFd>>,
    /// The function's socket, by its inode.
    socket: Mutex<Option<Arc<OwnedFd>>>,
    connection: tokio::sync::Mutex<Option<Connection>>,
    closed: CancellationToken,
}

/// An open connection. Nobody works on it between two calls: its other end has nothing to say then.
struct Connection {
    sender: SendRequest<Body>,
    driver: BoxFuture<'static, ()>,
    idle_since: Instant,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("idle_since", &self.idle_since)
            .finish_non_exhaustive()
    }
}

impl FnSession {
    pub(super) fn open(instance: InstanceId, bounds: Bounds, scratch: Option<OwnedFd>) -> Self {
        Self {
            instance,
            bounds,
            scratch: Mutex::new(scratch),
            socket: Mutex::new(None),
            connection: tokio::sync::Mutex::new(None),
            closed: CancellationToken::new(),
        }
    }

    async fn meet(&self) -> Result<(), InitFailure> {
        let Some(scratch) = self.scratch.lock().take() else {
            return Err(InitFailure::Violation("the scratch space is not there"));
        };
        match tokio::time::timeout(self.bounds.init, meeting::wait(&scratch)).await {
            Ok(Ok(socket)) => {
                *self.socket.lock() = Some(Arc::new(socket));
                Ok(())
            }
            Ok(Err(unfit)) => {
                tracing::debug!(instance = %self.instance, ?unfit, "a function's socket is not used");
                Err(InitFailure::Reported(failure(kinds::INIT_FAILED)))
            }
            Err(_elapsed) => Err(InitFailure::Reported(failure(kinds::INIT_TIMED_OUT))),
        }
    }

    /// A connection for one call: the last one, if it is fresh, or a new one.
    async fn connection(&self, kept: Option<Connection>) -> Result<Connection, SessionError> {
        if let Some(mut kept) = kept
            && kept.idle_since.elapsed() < IDLE
            && futures_util::poll!(&mut kept.driver).is_pending()
            && !kept.sender.is_closed()
        {
            return Ok(kept);
        }
        let socket = self.socket.lock().clone().ok_or(SessionError::Closed)?;
        let stream = connect(&socket).await?;
        let mut builder = http1::Builder::new();
        builder
            .title_case_headers(true)
            .max_headers(FIELDS)
            .max_buf_size(self.bounds.head.max(8 * 1024));
        let (sender, driver) = builder
            .handshake::<_, Body>(TokioIo::new(stream))
            .await
            .map_err(|_| SessionError::HungUp("the function closed its socket"))?;
        Ok(Connection {
            sender,
            driver: Box::pin(async move {
                if let Err(error) = driver.await {
                    tracing::debug!(%error, "a function's connection ended early");
                }
            }),
            idle_since: Instant::now(),
        })
    }

    /// One exchange; the connection comes back if it can be used again.
    async fn exchange(
        &self,
        mut connection: Connection,
        request: Request<Body>,
    ) -> (Result<(Response<()>, Bytes), SessionError>, Option<Connection>) {
        let mut answering = Box::pin(answer(&mut connection.sender, request, self.bounds));
        let mut over = false;
        let answered = loop {
            tokio::select! {
                biased;
                answered = &mut answering => break answered,
                () = &mut connection.driver, if !over => over = true,
            }
        };
        drop(answering);
        connection.idle_since = Instant::now();
        let again = answered.is_ok() && !over;
        (answered, again.then_some(connection))
    }
}

async fn connect(socket: &OwnedFd) -> Result<UnixStream, SessionError> {
    let path = meeting::path(socket.as_fd());
    for _ in 0..ATTEMPTS {
        match UnixStream::connect(&path).await {
            Ok(stream) => return Ok(stream),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::WouldBlock
                ) =>
            {
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => {
                tracing::debug!(%error, "a function's socket cannot be reached");
                break;
            }
        }
    }
    Err(SessionError::HungUp("the function does not listen on its socket"))
}

/// Sends a request and reads the whole answer.
async fn answer(
    sender: &mut SendRequest<Body>,
    request: Request<Body>,
    bounds: Bounds,
) -> Result<(Response<()>, Bytes), SessionError> {
    let response: Response<Incoming> = sender.send_request(request).await.map_err(|error| judge(&error))?;
    let (parts, body) = response.into_parts();
    // What is read at once may be more than the buffer's bound.
    let head: usize = parts
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if head > bounds.head {
        return Err(SessionError::Broken(failure(kinds::HEAD)));
    }
    match read_limited(body, bounds.body).await {
        Ok(bytes) => Ok((Response::from_parts(parts, ()), bytes)),
        Err(BodyError::TooLarge { limit }) => Err(SessionError::ResponseTooLarge(limit as u64)),
        Err(BodyError::Broken(_)) => Err(SessionError::HungUp("the function broke its answer off")),
    }
}

fn judge(error: &hyper::Error) -> SessionError {
    if error.is_parse_too_large() {
        SessionError::Broken(failure(kinds::HEAD))
    } else if error.is_parse() {
        SessionError::Violation("the answer of the function is no HTTP")
    } else {
        SessionError::HungUp("the function closed its connection")
    }
}

fn failure(kind: &str) -> FunctionError {
    FunctionError {
        kind: Some(kind.to_owned()),
        body: Vec::new(),
    }
}

/// The request as the agent of upstream sends it.
fn request(call: &Call) -> Request<Body> {
    let mut request = Request::new(body(call.payload.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static("/call");
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_static("localhost"));
    if call.payload.is_empty() {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    for (name, value) in attributes::headers(&call.attributes) {
        headers.append(name, value);
    }
    if !headers.contains_key(header::USER_AGENT) {
        headers.insert(header::USER_AGENT, HeaderValue::from_static("Go-http-client/1.1"));
    }
    let own = [
        ("fn-call-id", ids::write(call.invocation.as_uuid())),
        ("fn-deadline", deadline(call.deadline)),
    ];
    for (name, value) in own {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    request
}

/// Chunked, or nothing at all.
fn body(payload: Bytes) -> Body {
    if payload.is_empty() {
        return sonagi_wire::empty();
    }
    let frame = std::future::ready(Ok::<_, BoxError>(Frame::data(payload)));
    StreamBody::new(futures_util::stream::once(frame)).boxed_unsync()
}

/// RFC 3339, whole seconds.
fn deadline(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.as_secs()).map_or_else(|_| String::new(), |time| time.to_string())
}

#[async_trait]
impl Session for FnSession {
    async fn ready(&self) -> Result<(), InitFailure> {
        let met = self.closed.run_until_cancelled(self.meet()).await;
        met.unwrap_or(Err(InitFailure::Violation("the session was closed")))
    }

    async fn invoke(&self, call: Call) -> Result<Reply, SessionError> {
        let work = async {
            let mut place = self.connection.lock().await;
            let connection = self.connection(place.take()).await?;
            let (answered, connection) = self.exchange(connection, request(&call)).await;
            *place = connection;
            answered
        };
        let answered = self.closed.run_until_cancelled(work).await;
        let (head, body) = answered.ok_or(SessionError::Closed)??;
        let body = match head.status() {
            StatusCode::OK => {
                let mut headers = head.headers().clone();
                strip_hop_by_hop(&mut headers);
                headers.remove(header::CONTENT_LENGTH);
                Ok(envelope::seal(&headers, &body))
            }
            StatusCode::BAD_GATEWAY => Err(failure(kinds::FAILED)),
            StatusCode::GATEWAY_TIMEOUT => Err(failure(kinds::TIMED_OUT)),
            _ => return Err(SessionError::Broken(failure(kinds::INVALID))),
        };
        Ok(Reply {
            content_type: None,
            body: ReplyBody::Whole(body),
        })
    }

    /// Nothing is read beside an answer: who reads one has the connection.
    async fn drained(&self) {
        drop(self.connection.lock().await);
    }

    fn close(&self) {
        self.closed.cancel();
        drop(self.scratch.lock().take());
        drop(self.socket.lock().take());
        if let Ok(mut place) = self.connection.try_lock() {
            drop(place.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustix::fs::{Mode, OFlags};
    use sonagi_model::InvocationId;
    use sonagi_ports::Attributes;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        init: Duration::from_secs(5),
        body: 64,
        head: 8 * 1024,
    };

    fn session(path: &Path) -> FnSession {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let scratch = rustix::fs::open(path, flags, Mode::empty()).unwrap();
        FnSession::open(InstanceId::generate(), BOUNDS, Some(scratch))
    }

    fn call(body: &'static str, headers: &[(&str, &str)]) -> Call {
        let mut all = http::HeaderMap::new();
        for (name, value) in headers {
            all.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let mut given = Attributes::default();
        attributes::put(&all, &mut given);
        Call {
            invocation: InvocationId::from_uuid(uuid::Uuid::from_u128(1)),
            attempt: 1,
            payload: Bytes::from_static(body.as_bytes()),
            deadline: Timestamp::from_millis(1_795_425_645_999),
            attributes: given,
        }
    }

    /// Whether a request has come to its end: its last chunk, or the end of a head that promises nothing.
    fn is_whole(request: &[u8]) -> bool {
        let text = String::from_utf8_lossy(request).to_lowercase();
        text.ends_with("\r\n0\r\n\r\n") || (text.ends_with("\r\n\r\n") && text.contains("content-length: 0\r\n"))
    }

    /// A function that answers each connection's one request with these bytes; what it heard.
    async fn function(dir: &Path, answers: &[&str]) -> Vec<String> {
        std::fs::create_dir_all(dir.join("iofs")).unwrap();
        let listener = UnixListener::bind(dir.join("iofs/lsnr.sock")).unwrap();
        let mut heard = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = Vec::new();
            let mut buffer = [0; 4096];
            while !is_whole(&text) {
                let count = stream.read(&mut buffer).await.unwrap();
                assert!(count > 0, "{}", String::from_utf8_lossy(&text));
                text.extend_from_slice(&buffer[..count]);
            }
            heard.push(String::from_utf8(text).unwrap());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        heard
    }

    async fn exchange(answer: &str, call: Call) -> (Result<Reply, SessionError>, String) {
        let dir = tempfile::tempdir().unwrap();
        let session = session(dir.path());
        let work = async {
            session.ready().await.unwrap();
            session.invoke(call).await
        };
        let answers = [answer];
        let (reply, mut heard) = tokio::join!(work, function(dir.path(), &answers));
        (reply, heard.remove(0))
    }

    #[tokio::test]
    async fn a_call_is_the_agents_request() {
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nset-cookie: a\r\nset-cookie: b\r\nkeep-alive: 75\r\n\r\nhi";
        let (reply, heard) = exchange(
            ok,
            call(
                "body",
                &[("content-type", "text/plain"), ("x-two", "1"), ("x-two", "2")],
            ),
        )
        .await;
        let lines: Vec<&str> = heard.split("\r\n").collect();
        assert_eq!(lines[0], "POST /call HTTP/1.1");
        for line in [
            "Host: localhost",
            "Content-Type: text/plain",
            "X-Two: 1",
            "X-Two: 2",
            "User-Agent: Go-http-client/1.1",
            "Fn-Call-Id: 00000000000000000000000001",
            "Fn-Deadline: 2026-11-23T09:20:45Z",
            "Transfer-Encoding: chunked",
        ] {
            assert!(lines.contains(&line), "{line} is not in {heard}");
        }
        let ReplyBody::Whole(Ok(sealed)) = reply.unwrap().body else {
            panic!("a success");
        };
        let (head, body) = envelope::open(&sealed).unwrap();
        assert_eq!(
            (head.get_all("set-cookie").iter().count(), head.len(), &body[..]),
            (2, 2, &b"hi"[..])
        );
        let (_, heard) = exchange(ok, call("", &[])).await;
        assert!(heard.to_lowercase().contains("content-length: 0\r\n"), "{heard}");
    }

    #[tokio::test]
    async fn each_way_to_fail_is_told_apart() {
        let large = format!("HTTP/1.1 200 OK\r\ncontent-length: 65\r\n\r\n{}", "x".repeat(65));
        let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(20_000));
        for (answer, expected) in [
            (
                "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
                "Broken(FunctionError { kind: Some(\"invalid function response\"), bytes: 0 })",
            ),
            ("", "HungUp(\"the function closed its connection\")"),
            (
                "garbage\r\n\r\n",
                "Violation(\"the answer of the function is no HTTP\")",
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
                "HungUp(\"the function broke its answer off\")",
            ),
            (&large, "ResponseTooLarge(64)"),
            (
                &head,
                "Broken(FunctionError { kind: Some(\"function response header too large\"), bytes: 0 })",
            ),
        ] {
            let (reply, _) = exchange(answer, call("{}", &[])).await;
            assert_eq!(format!("{:?}", reply.unwrap_err()), expected);
        }
        for (status, kind) in [(502, kinds::FAILED), (504, kinds::TIMED_OUT)] {
            let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 4\r\n\r\nboom");
            let (reply, _) = exchange(&answer, call("{}", &[])).await;
            let ReplyBody::Whole(Err(error)) = reply.unwrap().body else {
                panic!("an error");
            };
            assert_eq!(error.kind.as_deref(), Some(kind));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_that_does_not_come_is_not_waited_for_long() {
        let dir = tempfile::tempdir().unwrap();
        let session = session(dir.path());
        let begun = Instant::now();
        let failure = session.ready().await.unwrap_err();
        assert!(
            matches!(failure, InitFailure::Reported(error) if error.kind.as_deref() == Some(kinds::INIT_TIMED_OUT))
        );
        assert_eq!(begun.elapsed().as_secs(), 5);
    }
}
