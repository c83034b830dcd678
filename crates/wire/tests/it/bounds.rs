//! Slow clients, many connections, HTTP/2 used against its server.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use sonagi_wire::HttpLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::raw::{PATIENCE, Server, statuses};

fn quick() -> HttpLimits {
    HttpLimits {
        head_timeout: Some(Duration::from_millis(400)),
        idle_timeout: Some(Duration::from_millis(400)),
        ..HttpLimits::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_drips_is_given_up() {
    let server = Server::start(quick()).await;
    // Of the first request on a connection and of a later one, with and without anything sent.
    for (before, expected) in [("", vec![408]), ("GET /a HTTP/1.1\r\nHost: a\r\n\r\n", vec![200, 408])] {
        let mut stream = server.connect().await;
        stream.write_all(before.as_bytes()).await.unwrap();
        let (mut reading, mut writing) = stream.into_split();
        let dripping = async {
            for byte in b"GET /slow HTTP/1.1\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
                .iter()
                .cycle()
            {
                if writing.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let mut answers = String::new();
        let begun = Instant::now();
        tokio::select! {
            () = dripping => {}
            read = reading.read_to_string(&mut answers) => { read.unwrap(); }
        }
        assert_eq!(statuses(&answers), expected, "{answers}");
        assert!(begun.elapsed() >= Duration::from_millis(300) && begun.elapsed() < PATIENCE);
    }
    assert_eq!(server.seen(), ["/a  "]);
    let silent = server.connect().await;
    assert_eq!(server.rest(silent).await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_without_requests_are_closed() {
    let server = Server::start(quick()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(statuses(&server.rest(stream).await), [200]);
    let mut framed = server.connect().await;
    framed
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, framed.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(!answer.is_empty());
    server.tasks.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_wait() {
    let limits = HttpLimits {
        connections: 2,
        ..HttpLimits::default()
    };
    let server = Server::start(limits).await;
    let (first, mut second) = (server.connect().await, server.connect().await);
    second
        .write_all(b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    second.read_u8().await.unwrap();
    let mut third = server.connect().await;
    third
        .write_all(b"GET /third HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(server.seen(), ["/second  "]);
    assert!(
        tokio::time::timeout(Duration::from_millis(200), third.read_u8())
            .await
            .is_err()
    );
    drop(first);
    tokio::time::timeout(PATIENCE, third.read_u8()).await.unwrap().unwrap();
    assert_eq!(server.seen(), ["/third  "]);
}

type Client = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

/// A client, and its connection.
async fn http2(server: &Server) -> (Client, JoinSet<hyper::Result<()>>) {
    let stream = TokioIo::new(server.connect().await);
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    (sender, tasks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_has_the_same_bounds() {
    let server = Server::start(HttpLimits::default()).await;
    let (mut client, _connection) = http2(&server).await;
    let mut get = async |target: String, headers: usize| {
        let mut request = Request::builder().uri(format!("http://a{target}"));
        for _ in 0..headers {
            request = request.header("x", "y");
        }
        let answer = client.send_request(request.body(Empty::new()).unwrap()).await.unwrap();
        let status = answer.status();
        answer.into_body().collect().await.unwrap();
        status
    };
    assert_eq!(get("/a".to_owned(), 0).await, StatusCode::OK);
    assert_eq!(get(format!("/{}", "a".repeat(8192)), 0).await, StatusCode::URI_TOO_LONG);
    assert_eq!(
        get("/b".to_owned(), 101).await,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
    assert_eq!(get("/c".to_owned(), 100).await, StatusCode::OK);
}

/// Streams that are opened and reset at once, in one go: HEADERS of `GET /` with `:authority a`, and RST_STREAM.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_resets_end_the_connection_and_harm_no_other() {
    let server = Server::start(HttpLimits::default()).await;
    let mut stream = server.connect().await;
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for number in 0..20_000_u32 {
        let id = (number * 2 + 1).to_be_bytes();
        // HPACK: :method GET, :scheme http, :path / (indexed), :authority "a" (literal, without indexing).
        sent.extend_from_slice(&[0, 0, 6, 1, 0x5]);
        sent.extend_from_slice(&id);
        sent.extend_from_slice(&[0x82, 0x86, 0x84, 0x01, 0x01, b'a']);
        sent.extend_from_slice(&[0, 0, 4, 3, 0]);
        sent.extend_from_slice(&id);
        sent.extend_from_slice(&8_u32.to_be_bytes());
    }
    let mut answer = Vec::new();
    let (_, read) = tokio::join!(stream.write_all(&sent), async {
        let (mut client, _connection) = http2(&server).await;
        let request = Request::builder().uri("http://a/fine").body(Empty::new()).unwrap();
        client.send_request(request).await.unwrap().status()
    });
    assert_eq!(read, StatusCode::OK);
    // It ends with a GOAWAY or a reset, long before all are served.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("it ends");
    assert!(server.seen().len() < 10_000);
}
