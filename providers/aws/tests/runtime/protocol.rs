//! The Runtime API under clients that break its rules, over raw sockets, and the session's own promises.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sonagi_model::InstanceId;
use sonagi_ports::{
    Contract, InitFailure, Launch, Opening, Purpose, Reply, ReplyBody, Session, SessionError, StreamPart,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{NoLog, Source, call, collect, host, listener, within};

const LIMIT: u64 = 6 * 1024 * 1024 + 100;
const NEXT: &str = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n";

/// A session without a process.
struct Served {
    session: Arc<dyn Session>,
    instance: InstanceId,
    runtime: SocketAddr,
    platform: SocketAddr,
}

fn serve() -> Served {
    let revision = Arc::new(Source::new("provided.al2023", "x").revision());
    let (runtime, platform) = (listener(), listener());
    let addresses = (runtime.local_addr().unwrap(), platform.local_addr().unwrap());
    let instance = InstanceId::generate();
    let session = host().contract.open(Opening {
        revision,
        instance,
        listeners: vec![runtime, platform],
        channel: None,
        scratch: None,
        purpose: Purpose::Demand,
        log: Arc::new(NoLog),
    });
    Served {
        session,
        instance,
        runtime: addresses.0,
        platform: addresses.1,
    }
}

/// A client that writes what it is told.
struct Raw(TcpStream);

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Raw {
    async fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    async fn send(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.0.write_all(text.as_ref()).await.unwrap();
        self
    }

    /// One answer; its body is as long as it says.
    async fn answer(&mut self) -> Answer {
        within("an answer", async {
            let mut bytes = Vec::new();
            let end = loop {
                if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                    break end + 4;
                }
                let mut one = [0];
                assert_eq!(
                    self.0.read(&mut one).await.unwrap(),
                    1,
                    "closed: {}",
                    String::from_utf8_lossy(&bytes)
                );
                bytes.push(one[0]);
            };
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length:")
                        .map(|v| v.trim().parse::<usize>())
                })
                .map_or(0, Result::unwrap);
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).await.unwrap();
            let status = head[9..12].parse().unwrap();
            Answer {
                status,
                head,
                body: String::from_utf8_lossy(&body).into_owned(),
            }
        })
        .await
    }

    async fn closed(&mut self) {
        let mut rest = Vec::new();
        let _ = within("the end of the connection", self.0.read_to_end(&mut rest)).await;
    }
}

fn post(path: &str, body: &str) -> String {
    format!(
        "POST /2018-06-01/runtime/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn error_type(answer: &Answer) -> String {
    serde_json::from_str::<serde_json::Value>(&answer.body).unwrap()["errorType"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn whole(reply: Result<Reply, SessionError>) -> Bytes {
    match reply.unwrap().body {
        ReplyBody::Whole(Ok(bytes)) => bytes,
        other @ (ReplyBody::Whole(_) | ReplyBody::Stream(_)) => panic!("{other:?}"),
    }
}

/// Brings a session to the point where one connection has an event; runs `act` on it and returns what the caller got.
async fn with_event<F>(served: &Served, act: impl FnOnce(Raw, String) -> F) -> Result<Reply, SessionError>
where
    F: Future<Output = ()>,
{
    let mut raw = Raw::open(served.runtime).await;
    let event = call("{\"n\":1}");
    let id = event.invocation.to_string();
    let (reply, ()) = tokio::join!(within("the answer", served.session.invoke(event)), async {
        let next = raw.send(NEXT).await.answer().await;
        assert_eq!((next.status, next.body.as_str()), (200, "{\"n\":1}"));
        act(raw, id).await;
    });
    reply
}

#[tokio::test]
async fn an_answer_is_accepted_once() {
    let served = serve();
    let reply = with_event(&served, |mut raw, id| async move {
        let first = raw
            .send(post(&format!("invocation/{id}/response"), "\"yes\""))
            .await
            .answer()
            .await;
        assert_eq!((first.status, first.body.as_str()), (202, "{\"status\":\"OK\"}\n"));
        for kind in ["response", "error"] {
            let again = raw
                .send(post(&format!("invocation/{id}/{kind}"), "\"no\""))
                .await
                .answer()
                .await;
            assert_eq!(
                (again.status, error_type(&again).as_str()),
                (403, "InvalidStateTransition"),
                "{again:?}"
            );
        }
    })
    .await;
    assert_eq!(whole(reply), "\"yes\"");
    // After the next `next` the id is not known any more.
    let mut raw = Raw::open(served.runtime).await;
    let event = call("{}");
    let (reply, ()) = tokio::join!(served.session.invoke(event.clone()), async {
        raw.send(NEXT).await.answer().await;
        let other = uuid::Uuid::nil().to_string();
        for stale in [other.as_str(), "nonsense", "..", "%2e%2e"] {
            let refused = raw
                .send(post(&format!("invocation/{stale}/response"), "1"))
                .await
                .answer()
                .await;
            assert_eq!(
                (refused.status, error_type(&refused).as_str()),
                (400, "InvalidRequestID"),
                "{stale}"
            );
        }
        raw.send(post(&format!("invocation/{}/error", event.invocation), "{}"))
            .await
            .answer()
            .await;
    });
    assert!(matches!(reply.unwrap().body, ReplyBody::Whole(Err(_))));
}

#[tokio::test]
async fn nothing_is_accepted_before_the_first_event() {
    let served = serve();
    let mut raw = Raw::open(served.runtime).await;
    let id = uuid::Uuid::nil();
    let early = raw
        .send(post(&format!("invocation/{id}/response"), "1"))
        .await
        .answer()
        .await;
    assert_eq!((early.status, error_type(&early).as_str()), (400, "InvalidRequestID"));
    let pong = raw
        .send("GET /2018-06-01/ping HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .answer()
        .await;
    assert_eq!((pong.status, pong.body.as_str()), (200, "pong"));
    assert_eq!(
        raw.send("GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .answer()
            .await
            .body,
        "pong"
    );
    let restored = raw
        .send("GET /2018-06-01/runtime/restore/next HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .answer()
        .await;
    assert_eq!((restored.status, restored.body.as_str()), (200, ""));
    for (request, status, kind) in [
        ("PUT /2022-07-01/telemetry", 403, "Extension.MissingExtensionIdentifier"),
        ("PUT /2020-08-15/logs", 403, "Extension.MissingExtensionIdentifier"),
        (
            "POST /2020-01-01/extension/register",
            403,
            "Extension.InvalidExtensionName",
        ),
        (
            "GET /2020-01-01/extension/event/next",
            403,
            "Extension.MissingExtensionIdentifier",
        ),
    ] {
        let text = format!("{request} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}");
        let answer = raw.send(text).await.answer().await;
        assert_eq!(
            (answer.status, error_type(&answer).as_str()),
            (status, kind),
            "{request}"
        );
    }
    for (request, status) in [
        ("GET /", 404),
        ("GET /2018-06-01/runtime/invocation", 404),
        ("POST /2018-06-01/runtime/invocation/next", 405),
        ("GET /2018-06-01/runtime/init/error", 405),
    ] {
        let answer = raw
            .send(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n"))
            .await
            .answer()
            .await;
        assert_eq!(answer.status, status, "{request}");
    }
}

#[tokio::test]
async fn next_carries_the_headers_that_clients_need() {
    let served = serve();
    let mut raw = Raw::open(served.runtime).await;
    raw.send(NEXT).await;
    within("readiness", served.session.ready()).await.unwrap();
    let event = call("{}");
    let (id, deadline) = (event.invocation.to_string(), event.deadline.as_millis());
    let (reply, ()) = tokio::join!(served.session.invoke(event), async {
        let next = raw.answer().await;
        let head = next.head.to_ascii_lowercase();
        for line in [
            "content-type: application/json\r\n".to_owned(),
            format!("lambda-runtime-aws-request-id: {id}\r\n"),
            format!("lambda-runtime-deadline-ms: {deadline}\r\n"),
            "lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:000000000000:function:hello\r\n".to_owned(),
            "lambda-runtime-trace-id: root=1-".to_owned(),
        ] {
            assert!(head.contains(&line), "{line} in {head}");
        }
        // Asked again, on another connection, the same event comes again.
        let mut other = Raw::open(served.runtime).await;
        let again = other.send(NEXT).await.answer().await;
        assert!(again.head.to_ascii_lowercase().contains(&id));
        other
            .send(post(&format!("invocation/{id}/response"), "2"))
            .await
            .answer()
            .await;
    });
    assert_eq!(whole(reply), "2");
}

#[tokio::test]
async fn sizes_are_bounded_whatever_is_declared() {
    let big = "x".repeat(100_000);
    let served = serve();
    // Declared too large: refused without reading it.
    let reply = with_event(&served, |mut raw, id| async move {
        let head = format!(
            "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            LIMIT + 1
        );
        let answer = raw.send(head).await.answer().await;
        assert_eq!(
            (answer.status, error_type(&answer).as_str()),
            (413, "RequestEntityTooLarge")
        );
        assert!(
            answer
                .body
                .contains("Exceeded maximum allowed payload size (6291556 bytes).")
        );
    })
    .await;
    assert_eq!(reply.unwrap_err(), SessionError::ResponseTooLarge(LIMIT));
    // Chunks without end: cut at the limit.
    let reply = with_event(&served, |mut raw, id| async move {
        let head = format!("POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        raw.send(head).await;
        for _ in 0..1000 {
            if raw.0.write_all(format!("{:x}\r\n{big}\r\n", big.len()).as_bytes()).await.is_err() {
                return;
            }
        }
        panic!("an endless body was read");
    })
    .await;
    assert_eq!(reply.unwrap_err(), SessionError::ResponseTooLarge(LIMIT));
    // Exactly the limit passes.
    let reply = with_event(&served, |mut raw, id| async move {
        let body = "y".repeat(usize::try_from(LIMIT).unwrap());
        assert_eq!(
            raw.send(post(&format!("invocation/{id}/response"), &body))
                .await
                .answer()
                .await
                .status,
            202
        );
    })
    .await;
    assert_eq!(whole(reply).len() as u64, LIMIT);
}

#[tokio::test]
async fn a_header_of_a_megabyte_is_allowed_and_two_are_not() {
    let served = serve();
    let cause = |bytes: usize| format!("Lambda-Runtime-Function-Xray-Error-Cause: {}\r\n", "c".repeat(bytes));
    let reply = with_event(&served, |mut raw, id| async move {
        let text = format!(
            "POST /2018-06-01/runtime/invocation/{id}/error HTTP/1.1\r\nHost: x\r\n{}Content-Length: 2\r\n\r\n{{}}",
            cause(1_048_000)
        );
        assert_eq!(raw.send(text).await.answer().await.status, 202);
        let mut greedy = Raw::open(raw.0.peer_addr().unwrap()).await;
        let text = format!("GET /2018-06-01/ping HTTP/1.1\r\nHost: x\r\n{}\r\n", cause(2_100_000));
        let _ = greedy.0.write_all(text.as_bytes()).await;
        greedy.closed().await;
    })
    .await;
    assert!(matches!(reply.unwrap().body, ReplyBody::Whole(Err(_))));
}

#[tokio::test]
async fn malformed_requests_are_refused_and_the_event_stays_open() {
    let served = serve();
    let reply = with_event(&served, |mut raw, id| async move {
        let address = raw.0.peer_addr().unwrap();
        let path = format!("/2018-06-01/runtime/invocation/{id}/response");
        let start = format!("POST {path} HTTP/1.1\r\nHost: x\r\n");
        for broken in [
            format!("{start}Content-Length: 1\r\nContent-Length: 2\r\n\r\n11"),
            format!("{start}Content-Length: -1\r\n\r\n"),
            format!("{start}Content-Length: 1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n1"),
            format!("{start}Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
            format!("{start}Bad Header: 1\r\n\r\n"),
            format!("POST {path} HTTP/9.9\r\n\r\n"),
            "\0\0\0\0 garbage\r\n\r\n".to_owned(),
        ] {
            let mut other = Raw::open(address).await;
            let _ = other.0.write_all(broken.as_bytes()).await;
            let _ = other.0.shutdown().await;
            other.closed().await;
        }
        // A body that breaks off is no answer either.
        let mut other = Raw::open(address).await;
        other.send(format!("{start}Content-Length: 10\r\n\r\nhalf")).await;
        other.0.shutdown().await.unwrap();
        other.closed().await;
        // The wrong mode, by contrast, is an answer: a wrong one.
        let text = format!("{start}Lambda-Runtime-Function-Response-Mode: sideways\r\nContent-Length: 1\r\n\r\n1");
        let answer = raw.send(text).await.answer().await;
        assert_eq!(
            (answer.status, error_type(&answer).as_str()),
            (400, "InvalidFunctionResponseMode")
        );
    })
    .await;
    let ReplyBody::Whole(Err(error)) = reply.unwrap().body else {
        panic!("not an error")
    };
    assert_eq!(error.kind.as_deref(), Some("Runtime.InvalidResponseModeHeader"));
}

#[tokio::test]
async fn pipelined_answers_are_taken_in_order() {
    let served = serve();
    let reply = with_event(&served, |mut raw, id| async move {
        let answer = post(&format!("invocation/{id}/response"), "1");
        raw.send(format!("{answer}{answer}{NEXT}")).await;
        assert_eq!(raw.answer().await.status, 202);
        assert_eq!(raw.answer().await.status, 403);
    })
    .await;
    assert_eq!(whole(reply), "1");
}

#[tokio::test]
async fn streams_are_forwarded_with_their_end() {
    let head = |id: &str, more: &str| {
        format!(
            "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\
             Lambda-Runtime-Function-Response-Mode: Streaming\r\nContent-Type: text/x\r\n{more}\r\n"
        )
    };
    let served = serve();
    let trailers = "Trailer: Lambda-Runtime-Function-Error-Type\r\nTrailer: Lambda-Runtime-Function-Error-Body\r\n";
    // An error body far over the 16 KiB that HTTP servers usually grant trailers.
    let long = format!("{{\"errorMessage\":\"{}\"}}", "m".repeat(200_000));
    let encoded = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(&long)
    };
    for (end, expected) in [
        ("0\r\n\r\n".to_owned(), Some(None)),
        (
            format!(
                "0\r\nLambda-Runtime-Function-Error-Type: Boom\r\nLambda-Runtime-Function-Error-Body: {encoded}\r\n\r\n"
            ),
            Some(Some("Boom")),
        ),
        ("5\r\nab".to_owned(), None),
    ] {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let reply = with_event(&served, |mut raw, id| async move {
            raw.send(head(&id, trailers)).await.send("3\r\none\r\n").await;
            let _ = sender.send(raw);
        })
        .await
        .unwrap();
        assert_eq!(reply.content_type.as_deref(), Some("text/x"));
        let mut raw = receiver.await.unwrap();
        let (parts, ()) = tokio::join!(collect(reply), async {
            raw.send("3\r\ntwo\r\n").await.send(&end).await;
            if expected.is_some() {
                assert_eq!(raw.answer().await.status, 202);
            } else {
                raw.0.shutdown().await.unwrap();
            }
        });
        let (bytes, found) = parts;
        assert!(bytes.starts_with(b"onetwo"), "{bytes:?}");
        match expected {
            None => assert_eq!(found, None),
            Some(None) => assert_eq!(found, Some(Ok(()))),
            Some(Some(kind)) => {
                let error = found.unwrap().unwrap_err();
                assert_eq!((error.kind.as_deref(), error.body.len()), (Some(kind), long.len()));
            }
        }
    }
}

#[tokio::test]
async fn a_slow_reader_slows_the_stream_and_one_that_leaves_does_not_stop_it() {
    let served = serve();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let reply = with_event(&served, |mut raw, id| async move {
        let head = format!(
            "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\
             Lambda-Runtime-Function-Response-Mode: streaming\r\n\r\n"
        );
        raw.send(head).await;
        let _ = sender.send(raw);
    })
    .await
    .unwrap();
    let mut raw = receiver.await.unwrap();
    let ReplyBody::Stream(mut parts) = reply.body else {
        panic!("not a stream")
    };
    let chunk = format!("{:x}\r\n{}\r\n", 65536, "z".repeat(65536));
    // Nobody reads: writing must come to a halt long before everything is written.
    let written = async {
        for _ in 0..4000 {
            raw.0.write_all(chunk.as_bytes()).await.unwrap();
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_millis(300), written).await.is_err(),
        "an unread stream was not held up"
    );
    assert!(matches!(parts.recv().await, Some(StreamPart::Data(_))));
    drop(parts);
    // What is written from here on is a part of a chunk cut by the timeout, so only its being read is looked at.
    within("the rest of the stream", async {
        for _ in 0..200 {
            if raw.0.write_all(chunk.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_event_given_up_cannot_be_answered() {
    let served = serve();
    let mut raw = Raw::open(served.runtime).await;
    let event = call("{}");
    let id = event.invocation.to_string();
    let invoke = served.session.invoke(event);
    let taken = async {
        raw.send(NEXT).await.answer().await;
    };
    tokio::select! {
        biased;
        reply = invoke => panic!("answered: {reply:?}"),
        () = taken => {}
    }
    let late = raw
        .send(post(&format!("invocation/{id}/response"), "1"))
        .await
        .answer()
        .await;
    assert_eq!((late.status, error_type(&late).as_str()), (400, "InvalidRequestID"));
    // A runtime that asks again does not get it again.
    raw.send(NEXT).await;
    let next_event = call("\"another\"");
    let next_id = next_event.invocation;
    let (reply, ()) = tokio::join!(within("the answer", served.session.invoke(next_event)), async {
        let next = raw.answer().await;
        assert_eq!(next.body, "\"another\"");
        raw.send(post(&format!("invocation/{next_id}/response"), "1"))
            .await
            .answer()
            .await;
    });
    assert_eq!(whole(reply), "1");
}

#[tokio::test]
async fn init_errors_end_the_initialization() {
    let served = serve();
    let mut raw = Raw::open(served.runtime).await;
    let text = "POST /2018-06-01/runtime/init/error HTTP/1.1\r\nHost: x\r\nLambda-Runtime-Function-Error-Type: Runtime.X\r\n\
                Content-Length: 2\r\n\r\n{}";
    assert_eq!(raw.send(text).await.answer().await.status, 202);
    let Err(InitFailure::Reported(error)) = served.session.ready().await else {
        panic!("ready")
    };
    assert_eq!(
        (error.kind.as_deref(), error.body.as_slice()),
        (Some("Runtime.X"), b"{}".as_slice())
    );
    for request in [text, NEXT] {
        let refused = raw.send(request).await.answer().await;
        assert_eq!(
            (refused.status, error_type(&refused).as_str()),
            (403, "InvalidStateTransition")
        );
    }
    assert_eq!(
        served.session.invoke(call("{}")).await.unwrap_err(),
        SessionError::NotDelivered
    );
}

#[tokio::test]
async fn an_event_that_nobody_took_is_handed_back() {
    // Closed before the runtime asked.
    let served = serve();
    let (reply, ()) = tokio::join!(served.session.invoke(call("{}")), async { served.session.close() });
    assert_eq!(reply.unwrap_err(), SessionError::NotDelivered);
    assert!(matches!(served.session.ready().await, Err(InitFailure::Violation(_))));
    // The process ended before it asked.
    let served = serve();
    drop(Raw::open(served.runtime).await);
    let (reply, ()) = tokio::join!(
        served.session.invoke(call("{}")),
        within("draining", served.session.drained())
    );
    assert_eq!(reply.unwrap_err(), SessionError::NotDelivered);
    // Taken, then closed: it may have had effects.
    let served = serve();
    let reply = with_event(&served, |_raw, _id| async { served.session.close() }).await;
    assert_eq!(reply.unwrap_err(), SessionError::Closed);
}

#[tokio::test]
async fn a_second_event_at_once_is_refused() {
    let served = serve();
    let reply = with_event(&served, |mut raw, id| {
        let session = Arc::clone(&served.session);
        async move {
            assert_eq!(
                session.invoke(call("{}")).await.unwrap_err(),
                SessionError::NotDelivered
            );
            raw.send(post(&format!("invocation/{id}/response"), "1"))
                .await
                .answer()
                .await;
        }
    })
    .await;
    assert_eq!(whole(reply), "1");
}

#[tokio::test]
async fn draining_reads_what_was_sent_before_the_end() {
    let served = serve();
    let reply = with_event(&served, |raw, id| {
        let session = Arc::clone(&served.session);
        async move {
            // Through a connection that nobody has accepted yet, and closed at once.
            let stream = std::net::TcpStream::connect(raw.0.peer_addr().unwrap()).unwrap();
            let text = post(&format!("invocation/{id}/response"), "\"last words\"");
            std::io::Write::write_all(&mut &stream, text.as_bytes()).unwrap();
            drop((stream, raw));
            within("draining", session.drained()).await;
        }
    })
    .await;
    assert_eq!(whole(reply), "\"last words\"");
}

#[tokio::test]
async fn connections_of_one_instance_are_bounded_and_end_with_it() {
    let served = serve();
    let mut held = Vec::new();
    for _ in 0..80 {
        held.push(Raw::open(served.runtime).await);
    }
    // The first are served; the last wait in the kernel's queue until others leave.
    let mut last = held.pop().unwrap();
    last.send("GET /ping HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let silence = tokio::time::timeout(Duration::from_millis(200), last.0.readable()).await;
    assert!(silence.is_err(), "connection 80 was served");
    held.drain(..40);
    assert_eq!(last.answer().await.body, "pong");
    served.session.close();
    last.closed().await;
    for mut raw in held.drain(..20) {
        raw.closed().await;
    }
}

#[tokio::test]
async fn a_connection_that_leaves_while_waiting_does_not_take_an_event_with_it() {
    let served = serve();
    let mut first = Raw::open(served.runtime).await;
    first.send(NEXT).await;
    within("readiness", served.session.ready()).await.unwrap();
    drop(first);
    let reply = with_event(&served, |mut raw, id| async move {
        raw.send(post(&format!("invocation/{id}/response"), "1"))
            .await
            .answer()
            .await;
    })
    .await;
    assert_eq!(whole(reply), "1");
}

#[tokio::test]
async fn credentials_live_as_long_as_the_session() {
    let served = serve();
    let revision = Source::new("provided.al2023", "x").revision();
    let dir = tempfile::tempdir().unwrap();
    let bootstrap = dir.path().join("bootstrap");
    std::fs::write(&bootstrap, "").unwrap();
    std::fs::set_permissions(&bootstrap, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let launch = Launch {
        revision: &revision,
        instance: served.instance,
        tree: dir.path(),
        beside: None,
        purpose: Purpose::Demand,
    };
    let plan = host().contract.plan(&launch).unwrap();
    let variable = |name: &str| {
        plan.environment
            .iter()
            .find(|(known, _)| known == name)
            .unwrap()
            .1
            .clone()
    };
    let found = host().credentials.lookup(&variable("AWS_ACCESS_KEY_ID")).unwrap();
    assert_eq!(
        (found.secret.as_str(), found.token.as_str()),
        (
            variable("AWS_SECRET_ACCESS_KEY").as_str(),
            variable("AWS_SESSION_TOKEN").as_str()
        )
    );
    assert_eq!(found.instance, served.instance);
    assert_eq!(
        found.function_arn,
        "arn:aws:lambda:us-east-1:000000000000:function:hello"
    );
    // Nobody has attached a front in these tests.
    let mut raw = Raw::open(served.platform).await;
    assert_eq!(
        raw.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .answer()
            .await
            .status,
        503
    );
    served.session.close();
    assert!(host().credentials.lookup(&variable("AWS_ACCESS_KEY_ID")).is_none());
    raw.closed().await;
}
