//! Function URLs over raw HTTP.

use http::Response;
use http_body_util::BodyExt;
use serde_json::Value;
use sonagi_ports::{Adapter, Settings};

use crate::clients;
use crate::native::deploy;
use crate::world::{World, request};

const ECHO: &str = "import json\ndef handler(e, c): return {'statusCode': 200, 'body': json.dumps(e)}";

/// Deploys a function with a public URL; its host name.
async fn public(world: &World, name: &str, source: &str) -> String {
    let url = deploy(world, name, source).await.url.expect("a URL");
    url.trim_start_matches("http://").trim_end_matches('/').to_owned()
}

/// Lets a function be played.
async fn play(world: &World, name: &str, play: &str) {
    let settings = Settings {
        handler: Some(format!("play.{play}")),
        ..Settings::default()
    };
    let space = world.aws.accounts()[0].namespace.clone();
    world.aws.configure(&space, name, settings).await.expect("a change");
}

fn shown(answer: &Response<bytes::Bytes>) -> (u16, &[u8]) {
    (answer.status().as_u16(), answer.body())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_becomes_an_event_by_host_and_by_path() {
    let world = World::start().await;
    let host = public(&world, "f", ECHO).await;
    let id = host.split('.').next().unwrap();
    let headers = [
        ("x-forwarded-for", "6.6.6.6"),
        ("cookie", "a=1; b=2"),
        ("content-type", "application/octet-stream"),
    ];
    let by_path = format!("/_url/{id}/a%20b?q=1");
    for (host, path) in [(host.as_str(), "/a%20b?q=1"), ("127.0.0.1", by_path.as_str())] {
        let answer = world.send(request("PUT", host, path, &headers, b"\0\x01")).await;
        assert_eq!(answer.status().as_u16(), 200, "{:?}", answer.body());
        let event: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(
            (&event["rawPath"], &event["rawQueryString"]),
            (&"/a%20b".into(), &"q=1".into())
        );
        assert_eq!(
            (&event["body"], &event["isBase64Encoded"]),
            (&"AAE=".into(), &true.into())
        );
        assert_eq!(event["headers"]["x-forwarded-for"], "127.0.0.1");
        assert_eq!(event["cookies"], serde_json::json!(["a=1", "b=2"]));
        assert_eq!(event["requestContext"]["domainPrefix"], id);
        assert_eq!(
            event["requestContext"]["requestId"],
            answer.headers()["x-amzn-requestid"].to_str().unwrap()
        );
        assert_eq!(
            event["headers"]["x-amzn-trace-id"],
            answer.headers()["x-amzn-trace-id"].to_str().unwrap()
        );
    }
    let root = world
        .send(request("GET", "127.0.0.1", &format!("/_url/{id}"), &[], b""))
        .await;
    let event: Value = serde_json::from_slice(root.body()).unwrap();
    assert_eq!(event["rawPath"], "/");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_urls_and_wrong_answers() {
    let world = World::start().await;
    let host = public(
        &world,
        "f",
        "def handler(e, c): return {'statusCode': 200, 'headers': {'a': 'x\\r\\ny: z'}}",
    )
    .await;
    let unknown = format!("{}.lambda-url.us-east-1.localhost", "a".repeat(32));
    for host in [unknown.as_str(), "x.lambda-url.us-east-1.localhost"] {
        let answer = world.send(request("GET", host, "/", &[], b"")).await;
        assert_eq!(shown(&answer), (403, b"{\"Message\":null}".as_slice()));
        assert_eq!(answer.headers()["x-amzn-errortype"], "AccessDeniedException");
    }
    let injected = world.send(request("GET", &host, "/", &[], b"")).await;
    assert_eq!(shown(&injected), (502, b"Internal Server Error".as_slice()));
    for (name, status) in [
        ("text", 502),
        ("oom", 502),
        ("reserved", 429),
        ("node", 503),
        ("platform", 500),
    ] {
        play(&world, "f", name).await;
        let answer = world.send(request("GET", &host, "/", &[], b"")).await;
        assert_eq!(answer.status().as_u16(), status, "{name}");
    }
    let large = vec![b'x'; 6_291_457];
    let answer = world.send(request("POST", &host, "/", &[], &large)).await;
    assert_eq!(answer.status().as_u16(), 413);
    // Base64 makes it a third larger than the limit.
    let binary = [("content-type", "application/octet-stream")];
    let answer = world
        .send(request("POST", &host, "/", &binary, &large[..5_000_000]))
        .await;
    assert_eq!(answer.status().as_u16(), 413);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_flow_through_and_break_off_visibly() {
    let world = World::start().await;
    let host = public(&world, "f", ECHO).await;
    play(&world, "f", "http").await;
    let buffered = world.send(request("GET", &host, "/", &[], b"")).await;
    assert_eq!(
        (shown(&buffered), &buffered.headers()["x-kind"]),
        ((203, b"one;two".as_slice()), &"stream".parse().unwrap())
    );
    clients::own("stream_mode.py", &[], &world).await;
    let answer = world.open(request("GET", &host, "/", &[], b"")).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["set-cookie"]),
        (203, &"a=b".parse().unwrap())
    );
    let mut body = answer.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "one;", "the first part is here before the second is written");
    assert_eq!(body.collect().await.unwrap().to_bytes(), "two");

    play(&world, "f", "stream").await;
    let plain = world.send(request("GET", &host, "/", &[], b"")).await;
    assert_eq!(
        (shown(&plain), &plain.headers()["content-type"]),
        ((200, b"one;two".as_slice()), &"text/plain".parse().unwrap())
    );
    for name in ["late", "cut"] {
        play(&world, "f", name).await;
        let answer = world.open(request("GET", &host, "/", &[], b"")).await;
        assert_eq!(answer.status().as_u16(), 200);
        assert!(
            answer.into_body().collect().await.is_err(),
            "{name}: a broken answer must not look whole"
        );
    }
    for (name, status) in [("early", 502), ("oom", 502), ("damaged", 502), ("reserved", 429)] {
        play(&world, "f", name).await;
        let answer = world.send(request("GET", &host, "/", &[], b"")).await;
        assert_eq!(answer.status().as_u16(), status, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn access_cors_and_aliases() {
    let world = World::start().await;
    let other = world.aws.add_account(Some("111111111111")).await.unwrap();
    let environment = world.environment(Some(&other.id));
    let find = |name: &str| environment.iter().find(|(key, _)| key == name).unwrap().1.clone();
    let more = [
        ("OTHER_KEY", find("AWS_ACCESS_KEY_ID")),
        ("OTHER_SECRET", find("AWS_SECRET_ACCESS_KEY")),
    ];
    clients::own("urls.py", &more, &world).await;
}

#[tokio::test]
async fn without_authentication_web_pages_and_foreign_names_are_refused() {
    let world = World::with(crate::world::Disk::new(), |options| options.insecure_dev = true).await;
    let list = "/2015-03-31/functions";
    for (host, headers, status) in [
        ("127.0.0.1:1", vec![], 200),
        ("localhost", vec![], 200),
        ("x.localhost", vec![], 200),
        ("[::1]:1", vec![], 200),
        ("evil.example", vec![], 403),
        ("evillocalhost", vec![], 403),
        ("localhost", vec![("origin", "https://evil.example")], 403),
    ] {
        let answer = world.send(request("GET", host, list, &headers, b"")).await;
        assert_eq!(answer.status().as_u16(), status, "{host} {headers:?}");
    }
}
