//! The Python bootstrap.

use sonagi_aws::runtime::attributes;
use sonagi_model::FunctionError;
use sonagi_ports::{InitFailure, Language, SessionError};

use crate::harness::{Gone, Source, call, runtime};

fn text(value: &serde_json::Value, key: &str) -> String {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key} in {value}"))
        .to_owned()
}

#[tokio::test]
async fn events_are_answered_one_after_the_other() {
    let running = Source::python(
        "app.handler",
        "def handler(event, context):\n    return {'got': event}\n",
    )
    .start();
    running.ready().await.unwrap();
    for event in [
        "{}",
        "null",
        "[1, 2.5, \"é\\u00e9\"]",
        "\"text\"",
        " {\"a\": {\"b\": null}} ",
    ] {
        let expected: serde_json::Value = serde_json::from_str(event).unwrap();
        assert_eq!(running.json(event).await["got"], expected, "{event}");
    }
    let large = format!("\"{}\"", "x".repeat(3_000_000));
    assert_eq!(running.json(&large).await["got"].as_str().unwrap().len(), 3_000_000);
    assert_eq!(running.json("1").await["got"], 1);
}

#[tokio::test]
async fn results_become_json_as_on_lambda() {
    let code = r#"
import collections, decimal, enum, datetime
Point = collections.namedtuple("Point", "x y")
class Color(enum.IntEnum):
    RED = 7
class Text(str):
    pass
RESULTS = {
    "none": None, "tuple": (1, (2,)), "point": Point(1, Point(2, 3)), "list": [Point(1, 2)],
    "decimal": {"d": decimal.Decimal("1.10")}, "bytes inside": {"b": b"x\xc3\xa9", b"k": 1},
    "keys": {1: "a", None: "b", True: "c", 1.5: "d"}, "enum": Color.RED, "subclass": Text("t"), "unicode": "é\u2028",
    "big": 10 ** 30, "set": {1}, "date": datetime.date(2020, 1, 1), "key": {(1, 2): 3}, "raw": b"\x00\xff",
}
LOOP = []
LOOP.append(LOOP)
RESULTS["loop"] = LOOP
def handler(event, context):
    return RESULTS[event]
"#;
    let running = Source::python("app.handler", code).start();
    let cases = [
        ("none", "null"),
        ("tuple", "[1, [2]]"),
        ("point", "{\"x\": 1, \"y\": {\"x\": 2, \"y\": 3}}"),
        ("list", "[{\"x\": 1, \"y\": 2}]"),
        ("decimal", "{\"d\": 1.10}"),
        ("enum", "7"),
        ("subclass", "\"t\""),
        ("big", "1000000000000000000000000000000"),
    ];
    for (name, expected) in cases {
        let answer = running.invoke(call(format!("\"{name}\""))).await.unwrap();
        assert_eq!(answer, expected, "{name}");
    }
    assert_eq!(
        running.json("\"bytes inside\"").await,
        serde_json::json!({"b": "xé", "k": 1})
    );
    assert_eq!(
        running.json("\"keys\"").await,
        serde_json::json!({"1": "c", "null": "b", "1.5": "d"})
    );
    assert_eq!(running.json("\"unicode\"").await, serde_json::json!("é\u{2028}"));
    let raw = running.reply(call("\"raw\"")).await.unwrap();
    assert_eq!(raw.content_type.as_deref(), Some("application/unknown"));
    for (name, message) in [
        ("set", "Object of type set is not JSON serializable"),
        ("date", "Object of type date is not JSON serializable"),
        ("key", "keys must be str, int, float, bool or None, not tuple"),
        ("loop", "Circular reference detected"),
    ] {
        let error = running.error(&format!("\"{name}\"")).await;
        assert_eq!(text(&error, "errorType"), "Runtime.MarshalError", "{name}");
        assert_eq!(
            text(&error, "errorMessage"),
            format!("Unable to marshal response: {message}")
        );
    }
}

#[tokio::test]
async fn an_exception_becomes_lambdas_document_and_log_line() {
    let code = "class Boom(Exception):\n    pass\ndef inner():\n    raise Boom('no\\n  luck')\n\
                def handler(event, context):\n    print('before')\n    inner()\n";
    let mut running = Source::python("app.handler", code).start();
    let event = call("{}");
    let id = event.invocation.to_string();
    let FunctionError { kind, body } = running.invoke(event).await.unwrap_err();
    assert_eq!(
        kind, None,
        "the official client sends no type beside an invocation error"
    );
    let error: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(text(&error, "errorType"), "Boom");
    assert_eq!(text(&error, "errorMessage"), "no\n  luck");
    assert_eq!(text(&error, "requestId"), id);
    let path = running.code.path().join("app.py").display().to_string();
    let trace = [
        format!("  File \"{path}\", line 7, in handler\n    inner()\n"),
        format!("  File \"{path}\", line 4, in inner\n    raise Boom('no\\n  luck')\n"),
    ];
    let found: Vec<String> = error["stackTrace"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(found, trace);
    assert_eq!(running.error("{}").await["errorType"], "Boom", "the process goes on");
    let Gone { stdout, .. } = running.stop().await;
    let lines: Vec<&str> = stdout.split('\n').collect();
    assert_eq!(lines[0], "before");
    let nbsp = "\u{a0}";
    let expected = format!(
        "[ERROR] Boom: no\r  luck\rTraceback (most recent call last):\r{nbsp}{nbsp}File \"{path}\", line 7, in handler\r{}inner()\r",
        nbsp.repeat(4)
    );
    assert!(lines[1].starts_with(&expected), "{:?}", lines[1]);
}

#[tokio::test]
async fn a_function_that_cannot_be_loaded_says_why_and_ends() {
    let cases = [
        ("nodot", "", "Runtime.MalformedHandlerName", "Bad handler 'nodot'"),
        (
            "missing.handler",
            "",
            "Runtime.ImportModuleError",
            "Unable to import module 'missing': No module named 'missing'",
        ),
        (
            "app.handler",
            "import nothing_here",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'nothing_here'",
        ),
        (
            "app.other",
            "def handler(e, c): pass",
            "Runtime.HandlerNotFound",
            "Handler 'other' missing on module 'app'",
        ),
        (
            "app.handler",
            "def handler(:",
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module 'app': ",
        ),
        (
            "sys.handler",
            "",
            "Runtime.BuiltInModuleConflict",
            "Cannot use built-in module sys as a handler module",
        ),
        (
            "app.handler",
            "raise ValueError('at import')",
            "ValueError",
            "at import",
        ),
    ];
    for (handler, code, kind, message) in cases {
        let mut running = Source::python(handler, code).start();
        let Err(InitFailure::Reported(error)) = running.ready().await else {
            panic!("{handler} {code}")
        };
        assert_eq!(error.kind.as_deref(), Some(kind), "{handler} {code}");
        let body: serde_json::Value = serde_json::from_slice(&error.body).unwrap();
        assert!(text(&body, "errorMessage").starts_with(message), "{body}");
        assert_eq!(text(&body, "requestId"), "");
        let gone = running.gone().await;
        assert_eq!(gone.code, Some(1), "{gone:?}");
        assert!(
            gone.stdout.starts_with(&format!("[ERROR] {kind}: {message}")),
            "{gone:?}"
        );
    }
}

#[tokio::test]
async fn handlers_are_found_in_packages_and_folders() {
    let code = "def handler(event, context):\n    return __name__\n";
    for (handler, path, name) in [
        ("a.b.handler", "a/b.py", "a.b"),
        ("dir/mod.handler", "dir/mod.py", "dir.mod"),
        ("json_.handler", "json_.py", "json_"),
    ] {
        let running = Source::new(&runtime(Language::Python), handler)
            .file(path, code)
            .start();
        assert_eq!(running.json("{}").await, name, "{handler}");
    }
}

#[expect(clippy::too_many_lines, reason = "one table of everything that a context has")]
#[tokio::test]
async fn the_context_is_complete() {
    let code = r#"
import os, time
def handler(event, context):
    time.sleep(0.01)
    names = ("aws_request_id log_group_name log_stream_name function_name memory_limit_in_mb function_version "
             "invoked_function_arn tenant_id")
    out = {name: getattr(context, name) for name in names.split()}
    out["remaining"] = context.get_remaining_time_in_millis()
    out["identity"] = [context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id]
    client = context.client_context
    out["client"] = client and [client.custom, client.env, client.client and client.client.app_title]
    out["w3c"] = context.w3c()
    out["trace"] = os.environ.get("_X_AMZN_TRACE_ID")
    out["repr"] = repr(context)
    context.log("logged")
    return out
"#;
    let running = Source::python("app.handler", code).start();
    let mut event = call("{}");
    for (key, value) in [
        (
            attributes::INVOKED_ARN,
            "arn:aws:lambda:us-east-1:000000000000:function:hello:live",
        ),
        (
            attributes::TRACE_ID,
            "Root=1-5e1b4151-5ac6c58f3a3a0f8c4b4f8b3a;Parent=53995c3f42cd8ad8;Sampled=1",
        ),
        (attributes::TENANT_ID, "blue"),
        (
            attributes::COGNITO_IDENTITY,
            "{\"cognitoIdentityId\":\"i\",\"cognitoIdentityPoolId\":\"p\"}",
        ),
        (
            attributes::CLIENT_CONTEXT,
            "{\"custom\":{\"é\":1},\"env\":{\"e\":2},\"client\":{\"app_title\":\"t\"},\"w3c\":{\"traceparent\":\"tp\",\"x\":\"y\"}}",
        ),
    ] {
        event.attributes.set(key, value);
    }
    let id = event.invocation.to_string();
    let found: serde_json::Value = serde_json::from_slice(&running.invoke(event).await.unwrap()).unwrap();
    let expected = [
        ("aws_request_id", serde_json::json!(id)),
        ("log_group_name", "/aws/lambda/hello".into()),
        ("function_name", "hello".into()),
        ("memory_limit_in_mb", "256".into()),
        ("function_version", "$LATEST".into()),
        (
            "invoked_function_arn",
            "arn:aws:lambda:us-east-1:000000000000:function:hello:live".into(),
        ),
        ("tenant_id", "blue".into()),
        ("identity", serde_json::json!(["i", "p"])),
        ("client", serde_json::json!([{"é": 1}, {"e": 2}, "t"])),
        ("w3c", serde_json::json!({"traceparent": "tp"})),
        (
            "trace",
            "Root=1-5e1b4151-5ac6c58f3a3a0f8c4b4f8b3a;Parent=53995c3f42cd8ad8;Sampled=1".into(),
        ),
    ];
    for (key, value) in expected {
        assert_eq!(found[key], value, "{key}");
    }
    let remaining = found["remaining"].as_i64().unwrap();
    assert!((1..=2990).contains(&remaining), "{remaining}");
    let bare = running.json("{}").await;
    assert_eq!(bare["client"], serde_json::Value::Null);
    assert_eq!(bare["identity"], serde_json::json!([null, null]));
    assert_eq!(
        bare["invoked_function_arn"],
        "arn:aws:lambda:us-east-1:000000000000:function:hello"
    );
    assert!(bare["trace"].as_str().unwrap().starts_with("Root=1-"));
    let mut broken = call("{}");
    broken.attributes.set(attributes::CLIENT_CONTEXT, "{broken");
    let error = running.invoke(broken).await.unwrap_err();
    assert!(String::from_utf8_lossy(&error.body).contains("Runtime.LambdaContextUnmarshalError"));
}

#[tokio::test]
async fn logging_is_set_up_as_on_lambda() {
    let code = r#"
import logging
log = logging.getLogger("mine")
logging.getLogger().setLevel(logging.INFO)
logging.warning("at import")
def handler(event, context):
    log.info("hello %s", "you")
    log.debug("not shown")
    log.warning("two\nlines")
    print("printed", end="")
    return len(logging.getLogger().handlers)
"#;
    let mut running = Source::python("app.handler", code).start();
    let event = call("{}");
    let id = event.invocation.to_string();
    assert_eq!(running.invoke(event).await.unwrap(), "1");
    let stdout = running.stdout_until("printed").await;
    let lines: Vec<Vec<&str>> = stdout.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!((lines[0][0], lines[0][2], lines[0][3]), ("[WARNING]", "", "at import"));
    assert_eq!(
        (lines[1][0], lines[1][2], lines[1][3]),
        ("[INFO]", id.as_str(), "hello you")
    );
    assert_eq!(lines[2][3], "two\rlines");
    assert_eq!(lines[3], ["printed"]);
    let stamp = lines[1][1];
    assert!(
        stamp.len() == 24 && stamp.ends_with('Z') && stamp.as_bytes()[19] == b'.',
        "{stamp}"
    );
}

#[tokio::test]
async fn json_logs_carry_lambdas_fields() {
    let code = r#"
import logging
log = logging.getLogger("mine")
def handler(event, context):
    log.info("hidden")
    log.warning("shown %d", 1, extra={"order": 7})
    try:
        raise KeyError("k")
    except KeyError:
        log.exception("caught")
    raise ValueError("end")
"#;
    let document = serde_json::json!({"settings": {"logging": {"format": "JSON", "application_level": "WARN"}}});
    let mut running = Source::python("app.handler", code).document(document).start();
    running.error("{}").await;
    let Gone { stdout, .. } = running.stop().await;
    let lines: Vec<serde_json::Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{stdout}");
    assert_eq!(
        (&lines[0]["message"], &lines[0]["order"]),
        (&"shown 1".into(), &7.into())
    );
    assert_eq!(
        (&lines[0]["level"], &lines[0]["logger"]),
        (&"WARNING".into(), &"mine".into())
    );
    assert_eq!(
        (&lines[1]["errorType"], &lines[1]["errorMessage"]),
        (&"KeyError".into(), &"'k'".into())
    );
    assert!(lines[1]["location"].as_str().unwrap().contains("app.py:handler:"));
    assert_eq!(
        (&lines[2]["level"], &lines[2]["errorType"]),
        (&"ERROR".into(), &"ValueError".into())
    );
    assert!(lines[2]["requestId"].as_str().unwrap().len() == 36);
}

#[tokio::test]
async fn a_process_that_leaves_is_seen_to_leave() {
    for (code, status) in [
        (
            "import sys\ndef handler(e, c):\n    print('bye', end='')\n    sys.exit(3)",
            3,
        ),
        ("def handler(e, c):\n    exit()", 0),
        ("import os\ndef handler(e, c):\n    os._exit(9)", 9),
    ] {
        let mut running = Source::python("app.handler", code).start();
        running.ready().await.unwrap();
        let session = std::sync::Arc::clone(&running.session);
        let (answer, gone) = tokio::join!(session.invoke(call("{}")), async {
            let gone = running.gone().await;
            session.drained().await;
            gone
        });
        assert_eq!(gone.code, Some(status), "{gone:?}");
        assert_eq!(gone.stdout, if status == 3 { "bye" } else { "" });
        assert_eq!(answer.unwrap_err(), SessionError::Closed);
    }
}

#[tokio::test]
async fn the_search_path_is_lambdas() {
    let code = r#"
import sys, os
import json, string, queue
def handler(event, context):
    return {"path": sys.path, "cwd": os.getcwd(), "json": json.__file__, "string": string.__file__, "queue": queue.__file__,
            "site": "site" in sys.modules, "env": dict(os.environ), "runtime": sys.modules["_sonagi_runtime"].__cached__}
"#;
    let running = Source::python("app.handler", code)
        .file("string.py", "")
        .file("json.py", "")
        .file("queue.py", "")
        .env("PYTHONPATH", "/var/runtime:/var/task/vendored")
        .start();
    let found = running.json("{}").await;
    let code = running.code.path().display().to_string();
    let path: Vec<&str> = found["path"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry.as_str().unwrap())
        .collect();
    assert_eq!(path[0], code);
    assert!(path[1].starts_with("/opt/python/lib/python3.") && path[1].ends_with("/site-packages"));
    assert_eq!(path[2], "/opt/python");
    assert_eq!(
        path[3],
        running.plan.cell.mounts.last().unwrap().source.display().to_string()
    );
    assert_eq!(path[4], format!("{code}/vendored"));
    assert!(path[5..].iter().all(|entry| entry.contains("/lib/python3")), "{path:?}");
    assert_eq!(found["cwd"].as_str().unwrap(), code);
    // Loaded by Lambda's runtime before the function's code, so they are the standard library's; others are shadowed.
    for name in ["json", "string"] {
        assert!(!found[name].as_str().unwrap().starts_with(&code), "{name}: {found}");
    }
    assert!(found["queue"].as_str().unwrap().starts_with(&code));
    assert_eq!(found["site"], false);
    assert_eq!(
        found["env"]["AWS_EXECUTION_ENV"],
        format!("AWS_Lambda_{}", runtime(Language::Python))
    );
    let compiled = found["runtime"].as_str().unwrap();
    assert!(
        std::path::Path::new(compiled).exists(),
        "the bootstrap is compiled ahead: {compiled}"
    );
}

#[tokio::test]
async fn errors_are_told_whatever_the_search_path() {
    let code = "def handler(event, context):\n    raise KeyError('k')\n";
    let running = Source::python("app.handler", code)
        .file("traceback.py", "raise SystemExit(9)")
        .env("PYTHONPATH", "/none")
        .start();
    assert_eq!(running.error("{}").await["errorType"], "KeyError");
}

#[tokio::test]
async fn an_answer_that_is_too_large_costs_only_itself() {
    let code = "def handler(event, context):\n    return 'x' * event\n";
    let running = Source::python("app.handler", code).start();
    running.ready().await.unwrap();
    let limit = 6 * 1024 * 1024 + 100;
    for size in [limit - 1, limit + 5_000_000, 7_000_000] {
        let error = running.reply(call(size.to_string())).await.unwrap_err();
        assert_eq!(error, SessionError::ResponseTooLarge(limit), "{size}");
        assert_eq!(running.json("3").await, "xxx");
    }
    assert_eq!(
        running.invoke(call((limit - 2).to_string())).await.unwrap().len() as u64,
        limit
    );
}

#[tokio::test]
async fn a_wrapper_script_starts_the_runtime() {
    let code = "import os\ndef handler(event, context):\n    return [os.environ['WRAPPED'], len(os.environ['ARGS'].split())]\n";
    let wrapper = "#!/bin/sh\nexport WRAPPED=yes ARGS=\"$*\"\nexec \"$@\"\n";
    let running = Source::python("app.handler", code)
        .file("wrap", wrapper)
        .env("AWS_LAMBDA_EXEC_WRAPPER", "/var/task/wrap")
        .start();
    assert_eq!(running.json("{}").await, serde_json::json!(["yes", 3]));
    let mut missing = Source::python("app.handler", code)
        .env("AWS_LAMBDA_EXEC_WRAPPER", "/var/task/none")
        .start();
    assert_eq!(missing.gone().await.code, Some(127));
}

#[tokio::test]
async fn snapshot_hooks_run_though_no_snapshot_is_taken() {
    let code = r#"
from snapshot_restore_py import register_before_snapshot, register_after_restore
seen = []
register_before_snapshot(seen.append, "first")
@register_before_snapshot
def second():
    seen.append("second")
register_after_restore(seen.append, "after")
def handler(event, context):
    return seen
"#;
    let plain = Source::python("app.handler", code).start();
    assert_eq!(plain.json("{}").await, serde_json::json!([]));
}
