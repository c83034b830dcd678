//! The listeners of one instance: accepting connections, and the Runtime API on them.
//!
//! The peer is function code, so nothing about it is trusted: connections, heads and bodies are bounded, and everything
//! here ends with the session. There is no idle limit: between an event and its answer a connection may rest for a
//! quarter of an hour.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sonagi_model::FunctionError;
use sonagi_ports::{Clock, ContractLimits, Entropy, Reply, ReplyBody, SessionError};
use sonagi_wire::{BodyError, read_limited};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answers::{self, Answer, Defaults};
use super::exchange::{AnswerKind, Exchange, Refusal};
use super::extensions::{ExtensionApi, is_extension_path};
use super::socket::{self, Socket};
use super::{stream, trace};

/// Connections of one instance to one listener at once; further ones wait in the kernel's queue. The Node client holds
/// two, the Rust client one per concurrent request.
pub(super) const CONNECTIONS: usize = 64;

/// Bytes of a request's head. An error comes with an X-Ray cause in a header of up to 1 MiB (observed with awslambdaric
/// 4.2.2), the rest is slack for the other headers.
const HEAD_BYTES: usize = 1024 * 1024 + 64 * 1024;

/// Version prefix of every path of the Runtime API. Source: AWS Lambda Runtime API.
const VERSION: &str = "/2018-06-01";

/// `Lambda-Runtime-Function-Error-Type`, beside an error or as a trailer of a stream.
pub(super) const ERROR_TYPE: &str = "lambda-runtime-function-error-type";

/// `Lambda-Runtime-Function-Response-Mode`: absent, or `streaming`.
const RESPONSE_MODE: &str = "lambda-runtime-function-response-mode";

/// What serves one instance.
#[derive(Debug)]
pub(super) struct RuntimeApi {
    pub(super) exchange: Arc<Exchange>,
    pub(super) limits: ContractLimits,
    pub(super) defaults: Defaults,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) extensions: ExtensionApi,
}

/// When a listener and its connections end.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    /// Everything ends at once.
    pub(super) stop: CancellationToken,
    /// The process is gone: what is in the kernel's queue is still accepted, then nothing more.
    pub(super) drain: CancellationToken,
    /// Where connections run.
    pub(super) tasks: TaskTracker,
}

/// Accepts connections until the end, each served as a task.
pub(super) async fn accept<F>(listener: TcpListener, ending: Ending, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let spawn = |stream: TcpStream, place: OwnedSemaphorePermit| {
        // Answers are written in one piece; waiting to join small segments would only delay them.
        let _ = stream.set_nodelay(true);
        let (connection, stop) = (serve(stream), ending.stop.clone());
        ending.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = connection => {}
            }
            drop(place);
        });
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = ending.stop.cancelled() => return,
            () = ending.drain.cancelled() => break,
            accepted = next_connection(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => spawn(stream, place),
            Err(error) => {
                tracing::debug!(%error, "a connection of an instance could not be accepted");
                // Descriptors used up, for instance: waiting is all that helps.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    // The reactor may not have heard yet of what the kernel queued last, so the listener itself is asked.
    let Ok(listener) = listener.into_std() else { return };
    while let Ok(place) = Arc::clone(&places).try_acquire_owned() {
        let Ok((stream, _)) = listener.accept() else { return };
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            spawn(stream, place);
        }
    }
}

async fn next_connection(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

impl RuntimeApi {
    /// Serves one connection to its end.
    pub(super) async fn serve(self: Arc<Self>, stream: TcpStream) {
        let stream = Arc::new(stream);
        let socket = Socket(Arc::clone(&stream));
        let service = service_fn(move |request| {
            let (api, stream) = (Arc::clone(&self), Arc::clone(&stream));
            async move { Ok::<_, Infallible>(api.answer(request, &stream).await) }
        });
        let served = http1::Builder::new()
            .max_buf_size(HEAD_BYTES)
            .max_header_size(HEAD_BYTES)
            .header_read_timeout(None)
            .half_close(true)
            .auto_date_header(false)
            .serve_connection(TokioIo::new(socket), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "a connection to a runtime API ended early");
        }
    }

    async fn answer(&self, request: Request<Incoming>, stream: &TcpStream) -> Answer {
        let path = request.uri().path();
        let Some(call) = path.strip_prefix(VERSION) else {
            return match path {
                "/ping" => only(&request, &Method::GET).unwrap_or_else(answers::pong),
                _ if is_extension_path(path) => Box::pin(self.extensions.answer(request, stream)).await,
                _ => answers::not_found(),
            };
        };
        let target = match Target::parse(call) {
            Some(target) => target,
            None => return answers::not_found(),
        };
        if let Some(refusal) = only(&request, target.method()) {
            return refusal;
        }
        match target {
            Target::Next => self.next(stream).await,
            Target::Ping => answers::pong(),
            Target::RestoreNext => self
                .exchange
                .restore()
                .map_or_else(answers::refused, |()| answers::restored()),
            Target::InitError | Target::RestoreError => self.init_error(request).await,
            Target::Answer(id, kind) => {
                // The id is copied out because the request moves on; it is a UUID in all but hostile requests.
                let id = id.to_owned();
                self.invocation_answer(&id, kind, request).await
            }
        }
    }

    async fn next(&self, stream: &TcpStream) -> Answer {
        let event = tokio::select! {
            biased;
            event = self.exchange.next() => event,
            // The answer goes nowhere; what matters is that no event is given to a peer that has left.
            () = socket::gone(stream) => Err(Refusal::Closed),
        };
        match event {
            Ok(call) => answers::event(&call, &self.defaults, || {
                trace::new(self.clock.now(), self.entropy.as_ref())
            }),
            Err(refusal) => answers::refused(refusal),
        }
    }

    async fn init_error(&self, request: Request<Incoming>) -> Answer {
        let kind = header(&request, ERROR_TYPE);
        let body = match read_limited(request.into_body(), self.whole_limit()).await {
            Ok(body) => body,
            Err(BodyError::TooLarge { .. }) => return answers::too_large(self.limits.response),
            Err(BodyError::Broken(_)) => return answers::truncated(),
        };
        let error = FunctionError {
            kind,
            body: body.into(),
        };
        self.exchange
            .init_error(error)
            .map_or_else(answers::refused, |()| answers::accepted())
    }

    async fn invocation_answer(&self, id: &str, kind: AnswerKind, request: Request<Incoming>) -> Answer {
        let answering = match self.exchange.begin_answer(id, kind) {
            Ok(answering) => answering,
            Err(refusal) => return answers::refused(refusal),
        };
        let error_type = header(&request, ERROR_TYPE);
        let content_type = header(&request, "content-type");
        let mode = match kind {
            AnswerKind::Response => header(&request, RESPONSE_MODE).filter(|mode| !mode.is_empty()),
            AnswerKind::Error => None,
        };
        if let Some(mode) = mode {
            if mode.eq_ignore_ascii_case("streaming") {
                return stream::forward(answering, content_type, request.into_body(), self.limits.stream).await;
            }
            let error = answers::invalid_response_mode_error(&mode);
            answering.send(Ok(Reply {
                content_type: None,
                body: ReplyBody::Whole(Err(error)),
            }));
            return answers::invalid_response_mode(&mode);
        }
        match read_limited(request.into_body(), self.whole_limit()).await {
            Ok(body) => {
                let result = match kind {
                    AnswerKind::Response => Ok(body),
                    AnswerKind::Error => Err(FunctionError {
                        kind: error_type,
                        body: body.into(),
                    }),
                };
                answering.send(Ok(Reply {
                    content_type,
                    body: ReplyBody::Whole(result),
                }));
                answers::accepted()
            }
            Err(BodyError::TooLarge { .. }) => {
                answering.send(Err(SessionError::ResponseTooLarge(self.limits.response)));
                answers::too_large(self.limits.response)
            }
            // The event stays open: the runtime may answer through another connection, or end, or reach its deadline.
            Err(BodyError::Broken(_)) => answers::truncated(),
        }
    }

    fn whole_limit(&self) -> usize {
        usize::try_from(self.limits.response).unwrap_or(usize::MAX)
    }
}

/// Where a request of the Runtime API goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target<'a> {
    Next,
    Answer(&'a str, AnswerKind),
    InitError,
    RestoreNext,
    RestoreError,
    Ping,
}

impl<'a> Target<'a> {
    /// From a path without its version.
    fn parse(path: &'a str) -> Option<Self> {
        match path {
            "/runtime/invocation/next" => return Some(Self::Next),
            "/runtime/init/error" => return Some(Self::InitError),
            "/runtime/restore/next" => return Some(Self::RestoreNext),
            "/runtime/restore/error" => return Some(Self::RestoreError),
            "/ping" => return Some(Self::Ping),
            _ => {}
        }
        let (id, action) = path.strip_prefix("/runtime/invocation/")?.split_once('/')?;
        match action {
            "response" => Some(Self::Answer(id, AnswerKind::Response)),
            "error" => Some(Self::Answer(id, AnswerKind::Error)),
            _ => None,
        }
    }

    const fn method(&self) -> &'static Method {
        match self {
            Self::Next | Self::RestoreNext | Self::Ping => &Method::GET,
            Self::Answer(..) | Self::InitError | Self::RestoreError => &Method::POST,
        }
    }
}

fn only(request: &Request<Incoming>, method: &Method) -> Option<Answer> {
    (request.method() != method).then(answers::method_not_allowed)
}

fn header(request: &Request<Incoming>, name: &str) -> Option<String> {
    request
        .headers()
        .get(name)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_their_calls_and_nowhere_else() {
        let cases = [
            ("/runtime/invocation/next", Some(Target::Next)),
            (
                "/runtime/invocation/a/response",
                Some(Target::Answer("a", AnswerKind::Response)),
            ),
            (
                "/runtime/invocation/a/error",
                Some(Target::Answer("a", AnswerKind::Error)),
            ),
            ("/runtime/init/error", Some(Target::InitError)),
            ("/runtime/restore/next", Some(Target::RestoreNext)),
            ("/runtime/restore/error", Some(Target::RestoreError)),
            ("/ping", Some(Target::Ping)),
            ("", None),
            ("/runtime/invocation/next/", None),
            ("/runtime/invocation//response/x", None),
            ("/runtime/invocation/a/b/response", None),
            ("/runtime/invocation/a", None),
            ("/runtime/init", None),
        ];
        for (path, expected) in cases {
            assert_eq!(Target::parse(path), expected, "{path}");
        }
    }
}
