//! Functions built with the Rust crate `lambda_runtime`, as custom runtimes. The process is this test binary itself.

use lambda_runtime::streaming::{Body, Response, channel};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use sonagi_ports::InitFailure;

use crate::harness::{Running, Source, call, collect};

/// Which function the process is to be; set for child processes only.
const FUNCTION: &str = "SONAGI_TEST_FUNCTION";

fn start(function: &str) -> Running {
    let program = std::env::current_exe().unwrap().display().to_string();
    let arguments = ["rust::function_process", "--exact", "--nocapture"].map(str::to_owned);
    Source::new("provided.al2023", "bootstrap")
        .file("bootstrap", "#!/bin/sh\n")
        .env(FUNCTION, function)
        .program([vec![program], arguments.to_vec()].concat())
        .start()
}

/// Not a test by itself: in a process started by [`start`] it is the function; otherwise it does nothing.
#[test]
fn function_process() {
    let Ok(function) = std::env::var(FUNCTION) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        match function.as_str() {
            "echo" => lambda_runtime::run(service_fn(echo)).await,
            "stream" => lambda_runtime::run(service_fn(stream)).await,
            other => panic!("no function {other}"),
        }
        .unwrap();
    });
}

async fn echo(event: LambdaEvent<Value>) -> Result<Value, Error> {
    match event.payload.as_str() {
        Some("fail") => Err("it failed".into()),
        Some("exit") => std::process::exit(4),
        _ => Ok(serde_json::json!([
            event.payload,
            event.context.request_id,
            event.context.invoked_function_arn
        ])),
    }
}

async fn stream(_event: LambdaEvent<Value>) -> Result<Response<Body>, Error> {
    let (mut sender, body) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for part in ["one", "two", "three"] {
                sender.send_data(part.into()).await.unwrap();
            }
        });
    });
    Ok(Response::from(body))
}

#[tokio::test]
async fn a_rust_function_answers_and_fails() {
    let running = start("echo");
    running.ready().await.unwrap();
    let event = call("{\"a\":1}");
    let id = event.invocation.to_string();
    let found: Value = serde_json::from_slice(&running.invoke(event).await.unwrap()).unwrap();
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:hello";
    assert_eq!(found, serde_json::json!([{"a": 1}, id, arn]));
    let error = running.invoke(call("\"fail\"")).await.unwrap_err();
    assert_eq!(error.kind.as_deref(), Some("unhandled"));
    assert!(String::from_utf8_lossy(&error.body).contains("it failed"));
    assert_eq!(running.json("2").await[0], 2);
}

#[tokio::test]
async fn a_rust_function_streams() {
    let running = start("stream");
    for _ in 0..3 {
        let reply = running.reply(call("{}")).await.unwrap();
        let (bytes, end) = collect(reply).await;
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.ends_with("\0\0\0\0\0\0\0\0onetwothree"), "{text:?}");
        assert_eq!(end, Some(Ok(())));
    }
}

#[tokio::test]
async fn a_rust_function_that_leaves_is_seen_to_leave() {
    let mut running = start("echo");
    running.ready().await.unwrap();
    let session = std::sync::Arc::clone(&running.session);
    let (answer, gone) = tokio::join!(session.invoke(call("\"exit\"")), async {
        let gone = running.gone().await;
        session.drained().await;
        gone
    });
    assert_eq!(gone.code, Some(4));
    assert!(answer.is_err());
}

#[tokio::test]
async fn a_shell_bootstrap_is_a_runtime_too() {
    let script = r#"#!/bin/sh
# A custom runtime in the least that a shell offers, with the tools of the host's Python for HTTP.
exec "$PYTHON" -c '
import http.client, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
if os.environ["_HANDLER"] == "broken":
    api.request("POST", "/2018-06-01/runtime/init/error", b"{}", {"Lambda-Runtime-Function-Error-Type": "Runtime.Mine"})
    raise SystemExit(api.getresponse().status - 200)
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    event = api.getresponse()
    body, request_id = event.read(), event.headers["Lambda-Runtime-Aws-Request-Id"]
    api.request("POST", f"/2018-06-01/runtime/invocation/{request_id}/response", body.upper())
    api.getresponse().read()
'
"#;
    let (python, _) = crate::packages::python_client();
    let source = |handler: &str| {
        let source = Source::new("provided.al2023", handler).file("bootstrap", script);
        source
            .env("PYTHON", &python)
            .program(vec!["/var/task/bootstrap".to_owned()])
    };
    let running = source("any").start();
    assert_eq!(running.json("\"loud\"").await, "LOUD");
    assert_eq!(running.json("\"louder\"").await, "LOUDER");
    let mut broken = source("broken").start();
    let Err(InitFailure::Reported(error)) = broken.ready().await else {
        panic!("ready")
    };
    assert_eq!(error.kind.as_deref(), Some("Runtime.Mine"));
    assert_eq!(broken.gone().await.code, Some(2));
}
