//! AWS's own runtime interface clients, unmodified, as custom runtimes.

use sonagi_aws::runtime::attributes;
use sonagi_ports::{InitFailure, Language, SessionError};

use crate::harness::{Running, Source, call, collect, runtime};
use crate::packages::{node_client, python_client};

/// A function run by the official Python client.
fn python(code: &str) -> Running {
    let (program, packages) = python_client();
    Source::new("provided.al2023", "app.handler")
        .file("app.py", code)
        .file("bootstrap", "#!/bin/sh\n")
        // By this it knows from which version on text is written as it is.
        .env(
            "AWS_EXECUTION_ENV",
            &format!("AWS_Lambda_{}", runtime(Language::Python)),
        )
        .env("PYTHONPATH", &format!("{}:/var/task", packages.display()))
        .program(vec![
            program,
            "-m".to_owned(),
            "awslambdaric".to_owned(),
            "app.handler".to_owned(),
        ])
        .start()
}

/// A function run by the official Node client.
fn node(code: &str) -> Running {
    let (program, entry) = node_client();
    Source::new("provided.al2023", "index.handler")
        .file("index.mjs", code)
        .file("bootstrap", "#!/bin/sh\n")
        .program(vec![program.display().to_string(), entry.display().to_string()])
        .start()
}

#[tokio::test]
async fn the_python_client_runs_unmodified() {
    let code = r#"
import os
def handler(event, context):
    if event == "fail":
        raise KeyError("k")
    if event == "bytes":
        return b"\x00raw"
    return [event, type(event).__name__, context.aws_request_id, context.invoked_function_arn, context.tenant_id,
            context.client_context and context.client_context.custom, os.environ["_X_AMZN_TRACE_ID"][:7],
            context.get_remaining_time_in_millis() > 0]
"#;
    let running = python(code);
    running.ready().await.unwrap();
    let mut event = call("{\"a\": 1}");
    event
        .attributes
        .set(attributes::CLIENT_CONTEXT, "{\"custom\": {\"c\": 2}}");
    event.attributes.set(attributes::TENANT_ID, "blue");
    let id = event.invocation.to_string();
    let found: serde_json::Value = serde_json::from_slice(&running.invoke(event).await.unwrap()).unwrap();
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:hello";
    assert_eq!(
        found,
        serde_json::json!([{"a": 1}, "dict", id, arn, "blue", {"c": 2}, "Root=1-", true])
    );
    let error = running.error("\"fail\"").await;
    assert_eq!(
        (&error["errorType"], &error["errorMessage"]),
        (&"KeyError".into(), &"'k'".into())
    );
    let raw = running.reply(call("\"bytes\"")).await.unwrap();
    assert_eq!(raw.content_type.as_deref(), Some("application/unknown"));
    let large = format!("\"{}\"", "x".repeat(6_000_000));
    assert_eq!(running.invoke(call(large)).await.unwrap().len() / 6_000_000, 1);
}

#[tokio::test]
async fn the_python_client_reports_what_it_cannot_load() {
    let mut running = python("import nothing_here");
    let Err(InitFailure::Reported(error)) = running.ready().await else {
        panic!("ready")
    };
    assert_eq!(error.kind.as_deref(), Some("Runtime.ImportModuleError"));
    assert_eq!(running.gone().await.code, Some(1));
}

#[tokio::test]
async fn the_python_client_is_ended_by_a_refused_answer() {
    let mut running = python("def handler(event, context):\n    return 'x' * 7000000\n");
    let error = running.reply(call("1")).await.unwrap_err();
    assert_eq!(error, SessionError::ResponseTooLarge(6_291_556));
    assert_eq!(running.gone().await.code, Some(1));
}

/// Our bootstrap and the official client give the same answers, documents included, where paths do not matter.
#[tokio::test]
async fn our_python_bootstrap_answers_as_the_official_client() {
    let code = r#"
import collections, decimal, enum
P = collections.namedtuple("P", "x y")
class E(enum.IntEnum):
    A = 1
CASES = [lambda: None, lambda: {"é": [1, 2.5, True, None]}, lambda: P(1, [P(2, 3)]), lambda: decimal.Decimal("1.10"),
         lambda: {"b": b"x", 1: 2, None: 3, 2.5: 4}, lambda: (1, (2,)), lambda: E.A, lambda: {1, 2}, lambda: object(),
         lambda: {(1, 2): 3}, lambda: 1 / 0, lambda: float("nan"), lambda: b"raw", lambda: "\u2028\x7f\\", lambda: 10 ** 40,
         lambda: [decimal.Decimal("NaN"), float("inf")], lambda: {b"k": 1}, lambda: [].pop(), lambda: {"d": {E.A: E.A}}]
def handler(event, context):
    return CASES[event]()
"#;
    let official = python(code);
    let ours = Source::python("app.handler", code).start();
    for index in 0..19 {
        let mut answers = Vec::new();
        for running in [&official, &ours] {
            let mut event = call(index.to_string());
            event.invocation = uuid::Uuid::nil().to_string().parse().unwrap();
            let answer = running.invoke(event).await;
            let place = running.code.path().display().to_string();
            answers.push(answer.map_err(|error| String::from_utf8_lossy(&error.body).replace(&place, "")));
        }
        assert_eq!(answers[0], answers[1], "case {index}");
    }
}

#[tokio::test]
async fn the_node_client_runs_unmodified() {
    let code = r#"
export const handler = async (event, context) => {
    if (event === 'fail') throw new RangeError('no')
    return [event, context.awsRequestId, context.functionName, context.tenantId, context.clientContext]
}
"#;
    let running = node(code);
    running.ready().await.unwrap();
    let mut event = call("{\"a\": 1}");
    event.attributes.set(attributes::TENANT_ID, "blue");
    event.attributes.set(attributes::CLIENT_CONTEXT, "{\"custom\": 1}");
    let id = event.invocation.to_string();
    let found: serde_json::Value = serde_json::from_slice(&running.invoke(event).await.unwrap()).unwrap();
    assert_eq!(found, serde_json::json!([{"a": 1}, id, "hello", "blue", {"custom": 1}]));
    let error = running.error("\"fail\"").await;
    assert_eq!(
        (&error["errorType"], &error["errorMessage"]),
        (&"RangeError".into(), &"no".into())
    );
    assert_eq!(running.json("[2]").await[0], serde_json::json!([2]));
}

#[tokio::test]
async fn the_node_client_streams_unmodified() {
    let code = r#"
export const handler = awslambda.streamifyResponse(async (event, out) => {
    if (event === 'early') throw new RangeError('early')
    const stream = awslambda.HttpResponseStream.from(out, { statusCode: 201 })
    stream.write('one')
    if (event === 'late') throw new RangeError('late')
    stream.write('two')
    stream.end()
})
"#;
    let running = node(code);
    let prelude = "{\"statusCode\":201}\0\0\0\0\0\0\0\0";
    for (event, body, failure) in [
        ("ok", "onetwo", None),
        ("late", "one", Some("RangeError")),
        ("early", "", Some("RangeError")),
        ("ok", "onetwo", None),
    ] {
        let reply = running.reply(call(format!("\"{event}\""))).await.unwrap();
        let (bytes, end) = collect(reply).await;
        let expected = if event == "early" {
            String::new()
        } else {
            format!("{prelude}{body}")
        };
        assert_eq!(String::from_utf8_lossy(&bytes), expected, "{event}");
        let error = end.unwrap().err();
        assert_eq!(
            error.as_ref().and_then(|error| error.kind.as_deref()),
            failure,
            "{event}"
        );
        assert!(error.is_none_or(|error| String::from_utf8_lossy(&error.body).contains("\"errorMessage\"")));
    }
}

#[tokio::test]
async fn the_node_client_reports_what_it_cannot_load() {
    let mut running = node("throw new TypeError('at import')");
    let Err(InitFailure::Reported(error)) = running.ready().await else {
        panic!("ready")
    };
    assert_eq!(error.kind.as_deref(), Some("TypeError"));
    assert_ne!(running.gone().await.code, Some(0));
}
