//! The Node bootstrap.

use sonagi_aws::runtime::attributes;
use sonagi_model::FunctionError;
use sonagi_ports::{InitFailure, Language, SessionError};

use crate::harness::{Gone, Source, call, collect, runtime};

fn node(handler: &str) -> Source {
    Source::new(&runtime(Language::Node), handler)
}

fn text(value: &serde_json::Value, key: &str) -> String {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key} in {value}"))
        .to_owned()
}

/// The nodejs24.x contract has no callbacks.
fn has_callbacks() -> bool {
    let runtime = runtime(Language::Node);
    let major: u32 = runtime
        .trim_start_matches("nodejs")
        .trim_end_matches(".x")
        .parse()
        .unwrap();
    major < 24
}

#[tokio::test]
async fn handlers_of_every_form_answer() {
    let cases = [
        ("async", "exports.handler = async (event) => ({ got: event })", true),
        (
            "promise",
            "exports.handler = (event) => Promise.resolve({ got: event })",
            true,
        ),
        (
            "thenable",
            "exports.handler = (event) => ({ then: (done) => done({ got: event }) })",
            true,
        ),
        (
            "timer",
            "exports.handler = (event) => new Promise((r) => setTimeout(() => r({ got: event }), 5))",
            true,
        ),
        (
            "callback",
            "exports.handler = (event, context, callback) => callback(null, { got: event })",
            has_callbacks(),
        ),
        (
            "late callback",
            "exports.handler = (event, context, callback) => { setTimeout(() => callback(null, { got: event }), 5) }",
            has_callbacks(),
        ),
        (
            "succeed",
            "exports.handler = (event, context) => context.succeed({ got: event })",
            true,
        ),
        (
            "done",
            "exports.handler = (event, context) => { setImmediate(() => context.done(null, { got: event })) }",
            true,
        ),
        (
            "class",
            "class H { static run = async (event) => ({ got: event }) }\nexports.handler = H.run",
            true,
        ),
    ];
    for (name, code, run) in cases {
        if !run {
            continue;
        }
        let running = node("index.handler").file("index.js", code).start();
        running
            .ready()
            .await
            .unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
        for event in ["1", "{\"é\":\"\u{1f600}\"}", "null"] {
            let expected: serde_json::Value = serde_json::from_str(event).unwrap();
            assert_eq!(running.json(event).await["got"], expected, "{name} {event}");
        }
    }
}

#[tokio::test]
async fn modules_are_found_as_on_lambda() {
    let esm = "export const handler = async () => 'esm'; export default { other: async () => 'default' };";
    let cjs = "exports.handler = async () => 'cjs'; exports.a = { b: { c: async () => 'nested' } };";
    let package = "{\"type\": \"module\"}";
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
    let cases: &[Case<'_>] = &[
        ("index.handler", &[("index.js", cjs)], "cjs"),
        ("index.a.b.c", &[("index.js", cjs)], "nested"),
        ("index.handler", &[("index.mjs", esm)], "esm"),
        ("index.other", &[("index.mjs", esm)], "default"),
        ("index.handler", &[("index.cjs", cjs)], "cjs"),
        ("index.handler", &[("index.js", esm), ("package.json", package)], "esm"),
        ("index.handler", &[("index.js", cjs), ("index.mjs", esm)], "cjs"),
        ("index.handler", &[("index.mjs", esm), ("index.cjs", cjs)], "esm"),
        ("src/app.handler", &[("src/app.js", cjs)], "cjs"),
        (
            "src/app.handler",
            &[("src/app.js", esm), ("package.json", package)],
            "esm",
        ),
        (
            "src/app.handler",
            &[
                ("src/app.js", cjs),
                ("src/package.json", "{}"),
                ("package.json", package),
            ],
            "cjs",
        ),
        ("pack.handler", &[("node_modules/pack/index.js", cjs)], "cjs"),
        (
            "folder.handler",
            &[
                ("folder/index.js", cjs),
                ("folder.js", "exports.handler = async () => 'file'"),
            ],
            "file",
        ),
    ];
    for (handler, files, expected) in cases {
        let source = files
            .iter()
            .fold(node(handler), |source, (path, text)| source.file(path, text));
        let running = source.start();
        running
            .ready()
            .await
            .unwrap_or_else(|failure| panic!("{handler} {files:?}: {failure:?}"));
        assert_eq!(running.json("{}").await, *expected, "{handler} {files:?}");
    }
}

#[tokio::test]
async fn a_function_that_cannot_be_loaded_says_why_and_ends() {
    let cases = [
        ("nodot", "", "Runtime.MalformedHandlerName", "Bad handler"),
        (
            "../x.handler",
            "",
            "Runtime.MalformedHandlerName",
            "'../x.handler' is not a valid handler name.",
        ),
        (
            "missing.handler",
            "",
            "Runtime.ImportModuleError",
            "Error: Cannot find module 'missing'",
        ),
        (
            "index.handler",
            "require('nothing-here')",
            "Runtime.ImportModuleError",
            "Error: Cannot find module 'nothing-here'",
        ),
        (
            "index.other",
            "exports.handler = () => {}",
            "Runtime.HandlerNotFound",
            "index.other is undefined or not exported",
        ),
        (
            "index.handler",
            "exports.handler = 5",
            "Runtime.HandlerNotFound",
            "index.handler is not a function",
        ),
        (
            "index.handler",
            "exports.handler = (",
            "Runtime.UserCodeSyntaxError",
            "SyntaxError: ",
        ),
        (
            "index.handler",
            "throw new RangeError('at import')",
            "RangeError",
            "at import",
        ),
        (
            "index.handler",
            "setTimeout(() => { throw new TypeError('later') }); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)",
            "Runtime.HandlerNotFound",
            "index.handler is undefined",
        ),
    ];
    for (handler, code, kind, message) in cases {
        let mut running = node(handler).file("index.js", code).start();
        let Err(InitFailure::Reported(error)) = running.ready().await else {
            panic!("{handler} {code}")
        };
        assert_eq!(error.kind.as_deref(), Some(kind), "{handler} {code}");
        let body: serde_json::Value = serde_json::from_slice(&error.body).unwrap();
        assert_eq!(text(&body, "errorType"), kind);
        assert!(text(&body, "errorMessage").starts_with(message), "{body}");
        assert!(body["trace"].is_array());
        let gone = running.gone().await;
        assert_eq!(gone.code, Some(129), "{gone:?}");
        assert!(
            gone.stdout
                .contains("\tundefined\tERROR\tUncaught Exception \t{\"errorType\":"),
            "{gone:?}"
        );
    }
}

#[tokio::test]
async fn errors_become_lambdas_documents() {
    let code = r#"
class Boom extends Error { constructor(m) { super(m); this.name = 'Boom'; this.code = 'E1' } }
const kinds = {
    throw: async () => { throw new Boom('no\nluck') },
    sync: () => { throw new Boom('now') },
    reject: () => Promise.reject('text'),
    undefined: () => Promise.reject(),
    loop: async () => { const a = {}; a.a = a; return a },
    big: async () => 10n,
    nothing: async () => undefined,
    fn: async () => () => 1,
}
exports.handler = (event, context) => event === 'fail' ? context.fail(new Boom('failed')) : kinds[event]()
"#;
    let mut running = node("index.handler").file("index.js", code).start();
    let cases = [
        ("throw", "Boom", "no\nluck"),
        ("sync", "Boom", "now"),
        ("reject", "string", "text"),
        ("undefined", "string", "handled"),
        (
            "loop",
            "Runtime.JSONStringifyError",
            "Unable to stringify response body",
        ),
        ("big", "Runtime.JSONStringifyError", "Unable to stringify response body"),
        ("fail", "Boom", "failed"),
    ];
    for (name, kind, message) in cases {
        let FunctionError { kind: header, body } = running.invoke(call(format!("\"{name}\""))).await.unwrap_err();
        assert_eq!(header, None);
        let error: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (
                text(&error, "errorType").as_str(),
                text(&error, "errorMessage").as_str()
            ),
            (kind, message)
        );
        assert!(error["trace"].is_array());
    }
    assert_eq!(running.invoke(call("\"nothing\"")).await.unwrap(), "null");
    assert_eq!(running.invoke(call("\"fn\"")).await.unwrap(), "null");
    let Gone { stdout, .. } = running.stop().await;
    let first = stdout.lines().next().unwrap();
    let parts: Vec<&str> = first.split('\t').collect();
    assert_eq!((parts[2], parts[3]), ("ERROR", "Invoke Error "));
    let logged: serde_json::Value = serde_json::from_str(parts[4]).unwrap();
    assert_eq!((&logged["errorType"], &logged["code"]), (&"Boom".into(), &"E1".into()));
    assert!(logged["stack"][0].as_str().unwrap().starts_with("Boom: no"));
}

#[tokio::test]
async fn the_event_loop_decides_when_nobody_else_does() {
    let code = r#"
exports.handler = (event, context, callback) => {
    if (event === 'never') return
    if (event === 'wait') { setTimeout(() => { globalThis.ran = true }, 20); return callback(null, 'waited') }
    if (event === 'go') {
        context.callbackWaitsForEmptyEventLoop = false
        setTimeout(() => {}, 100000)
        return callback(null, globalThis.ran)
    }
    if (event === 'twice') { callback(null, 1); callback(null, 2) }
}
"#;
    let never = "exports.handler = () => new Promise(() => {})";
    if !has_callbacks() {
        let mut running = node("index.handler").file("index.js", never).start();
        let session = std::sync::Arc::clone(&running.session);
        let (answer, gone) = tokio::join!(session.invoke(call("{}")), async {
            let gone = running.gone().await;
            session.drained().await;
            gone
        });
        assert_eq!((answer.unwrap_err(), gone.code), (SessionError::Closed, Some(0)));
        let deprecated = node("index.handler").file("index.js", code).start();
        let Err(InitFailure::Reported(error)) = deprecated.ready().await else {
            panic!("ready")
        };
        assert_eq!(error.kind.as_deref(), Some("Runtime.CallbackHandlerDeprecated"));
        return;
    }
    let running = node("index.handler").file("index.js", code).start();
    assert_eq!(running.json("\"never\"").await, serde_json::Value::Null);
    assert_eq!(running.json("\"wait\"").await, "waited");
    assert_eq!(running.json("\"twice\"").await, 1);
    // The timer of the event before has run: it was waited for.
    assert_eq!(running.json("\"go\"").await, true);
    let settled = node("index.handler").file("index.js", never).start();
    assert_eq!(settled.json("{}").await, serde_json::Value::Null);
}

#[tokio::test]
async fn the_context_is_complete() {
    let code = r#"
exports.handler = async (event, context) => ({
    ...context, keys: Object.keys(context).sort(), remaining: context.getRemainingTimeInMillis(),
    waits: context.callbackWaitsForEmptyEventLoop, trace: process.env._X_AMZN_TRACE_ID,
    store: [awslambda.InvokeStore.getRequestId(), awslambda.InvokeStore.getXRayTraceId(), awslambda.InvokeStore.getTenantId()],
    env: process.env.AWS_EXECUTION_ENV, cwd: process.cwd(), heap: process.execArgv,
})
"#;
    let running = node("index.handler").file("index.js", code).start();
    let trace = "Root=1-5e1b4151-5ac6c58f3a3a0f8c4b4f8b3a;Parent=53995c3f42cd8ad8;Sampled=1";
    let mut event = call("{}");
    for (key, value) in [
        (
            attributes::INVOKED_ARN,
            "arn:aws:lambda:us-east-1:000000000000:function:hello:live",
        ),
        (attributes::TRACE_ID, trace),
        (attributes::TENANT_ID, "blue"),
        (attributes::COGNITO_IDENTITY, "{\"cognitoIdentityId\":\"i\"}"),
        (attributes::CLIENT_CONTEXT, "{\"custom\":{\"é\":1}}"),
    ] {
        event.attributes.set(key, value);
    }
    let id = event.invocation.to_string();
    let found: serde_json::Value = serde_json::from_slice(&running.invoke(event).await.unwrap()).unwrap();
    let expected = [
        ("awsRequestId", serde_json::json!(id)),
        ("functionName", "hello".into()),
        ("functionVersion", "$LATEST".into()),
        ("memoryLimitInMB", "256".into()),
        ("logGroupName", "/aws/lambda/hello".into()),
        (
            "invokedFunctionArn",
            "arn:aws:lambda:us-east-1:000000000000:function:hello:live".into(),
        ),
        ("tenantId", "blue".into()),
        ("identity", serde_json::json!({"cognitoIdentityId": "i"})),
        ("clientContext", serde_json::json!({"custom": {"é": 1}})),
        ("waits", true.into()),
        ("trace", trace.into()),
        ("store", serde_json::json!([id, trace, "blue"])),
        ("env", format!("AWS_Lambda_{}", runtime(Language::Node)).into()),
        ("cwd", running.code.path().to_str().unwrap().into()),
        (
            "heap",
            serde_json::json!(["--max-semi-space-size=12", "--max-old-space-size=230"]),
        ),
    ];
    for (key, value) in expected {
        assert_eq!(found[key], value, "{key}");
    }
    for key in [
        "callbackWaitsForEmptyEventLoop",
        "done",
        "fail",
        "succeed",
        "getRemainingTimeInMillis",
        "logStreamName",
    ] {
        assert!(found["keys"].as_array().unwrap().contains(&key.into()), "{key}");
    }
    assert!((1..=3000).contains(&found["remaining"].as_i64().unwrap()));
    let bare = running.json("{}").await;
    assert!(bare.get("clientContext").is_none() && bare.get("tenantId").is_none());
    let mut broken = call("{}");
    broken.attributes.set(attributes::CLIENT_CONTEXT, "{broken");
    let error = running.invoke(broken).await.unwrap_err();
    assert!(String::from_utf8_lossy(&error.body).contains("Cannot parse ClientContext as json"));
}

#[tokio::test]
async fn the_console_is_set_up_as_on_lambda() {
    let code = r#"
console.log('at import')
exports.handler = async () => {
    console.log('two\nlines %d', 5, { a: 1 })
    for (const level of ['trace', 'debug', 'info', 'warn', 'error']) console[level](level)
    process.stdout.write('raw\n')
    console.log(new Error('shown'))
}
"#;
    let mut running = node("index.handler").file("index.js", code).start();
    let event = call("{}");
    let id = event.invocation.to_string();
    running.invoke(event).await.unwrap();
    let stdout = running.stdout_until("Error: shown").await;
    let lines: Vec<Vec<&str>> = stdout.lines().map(|line| line.splitn(4, '\t').collect()).collect();
    assert_eq!(lines[0][1..], ["undefined", "INFO", "at import"]);
    assert_eq!(lines[1][1..], [id.as_str(), "INFO", "two\rlines 5 { a: 1 }"]);
    for (line, level) in lines[2..7].iter().zip(["TRACE", "DEBUG", "INFO", "WARN", "ERROR"]) {
        assert_eq!(line[2..], [level, &level.to_lowercase()]);
    }
    assert_eq!(lines[7], ["raw"]);
    assert!(lines[8][3].starts_with("Error: shown\r    at "), "{:?}", lines[8]);
    assert!(lines[1][0].len() == 24 && lines[1][0].ends_with('Z'));
}

#[tokio::test]
async fn json_logs_carry_lambdas_fields() {
    let code = r#"
exports.handler = async () => {
    console.info('hidden')
    console.warn('shown %d', 1)
    console.error({ a: 1 })
    console.error('with', new TypeError('t'))
    throw new RangeError('end')
}
"#;
    let document = serde_json::json!({"settings": {"logging": {"format": "JSON", "application_level": "WARN"}}});
    let mut running = node("index.handler").file("index.js", code).document(document).start();
    running.error("{}").await;
    let Gone { stdout, .. } = running.stop().await;
    let lines: Vec<serde_json::Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4, "{stdout}");
    assert_eq!(
        (&lines[0]["level"], &lines[0]["message"]),
        (&"WARN".into(), &"shown 1".into())
    );
    assert_eq!(lines[1]["message"], serde_json::json!({"a": 1}));
    assert_eq!(
        (&lines[2]["errorType"], &lines[2]["errorMessage"]),
        (&"TypeError".into(), &"t".into())
    );
    assert_eq!(lines[3]["message"]["errorType"], "RangeError");
    assert_eq!(text(&lines[0], "requestId").len(), 36);
}

#[tokio::test]
async fn a_process_that_leaves_is_seen_to_leave() {
    let cases = [
        ("process.exit(3)", 3, None),
        ("process.kill(process.pid, 'SIGKILL')", -1, None),
        (
            "Promise.reject(new Error('lost')); await new Promise((r) => setTimeout(r, 5000))",
            128,
            Some("Runtime.UnhandledPromiseRejection"),
        ),
        (
            "setImmediate(() => { throw new TypeError('loose') }); await new Promise((r) => setTimeout(r, 5000))",
            129,
            Some("TypeError"),
        ),
    ];
    for (code, status, kind) in cases {
        let code = format!("exports.handler = async () => {{ {code} }}");
        let mut running = node("index.handler").file("index.js", &code).start();
        running.ready().await.unwrap();
        let session = std::sync::Arc::clone(&running.session);
        let (answer, gone) = tokio::join!(session.invoke(call("{}")), async {
            let gone = running.gone().await;
            session.drained().await;
            gone
        });
        assert_eq!(gone.code.unwrap_or(-1), status, "{code} {gone:?}");
        match kind {
            None => assert_eq!(answer.unwrap_err(), SessionError::Closed),
            Some(kind) => {
                let sonagi_ports::ReplyBody::Whole(Err(error)) = answer.unwrap().body else {
                    panic!("{code}")
                };
                assert_eq!(
                    serde_json::from_slice::<serde_json::Value>(&error.body).unwrap()["errorType"],
                    kind
                );
                assert!(gone.stdout.contains(if status == 128 {
                    "Unhandled Promise Rejection"
                } else {
                    "Uncaught Exception"
                }));
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_costs_only_itself() {
    let running = node("index.handler")
        .file("index.js", "exports.handler = async (n) => 'x'.repeat(n)")
        .start();
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

const STREAMS: &str = r#"
const { pipeline } = require('stream/promises')
const { Readable } = require('stream')
const wait = (ms) => new Promise((r) => setTimeout(r, ms))
const kinds = {
    plain: async (out) => { out.setContentType('text/plain'); out.write('a'); await wait(20); out.write('b'); out.end('c') },
    http: async (out) => {
        out = awslambda.HttpResponseStream.from(out, { statusCode: 201, headers: { k: 'v' } })
        out.write('body'); out.end()
    },
    bare: async (out) => { awslambda.HttpResponseStream.from(out, { statusCode: 204 }).end() },
    pipe: async (out) => { await pipeline(Readable.from(['x', 'y', 'z']), out) },
    object: async (out) => { out.write({ a: 1 }); out.end() },
    empty: async (out) => { out.end() },
    large: async (out) => { for (let i = 0; i < 64; i++) if (!out.write(Buffer.alloc(65536, 'l'))) await new Promise((r) => out.once('drain', r)); out.end() },
    early: async () => { throw new RangeError('before') },
    late: async (out) => { out.write('some'); await wait(5); throw new RangeError('after') },
    open: async (out) => { out.write('some') },
    broken: async (out) => { await pipeline(Readable.from((async function* () { yield 'p'; throw new RangeError('pipe') })()), out) },
    destroyed: async (out) => { out.write('d'); await wait(5); out.destroy() },
    value: async (out) => { out.end('v'); return 5 },
    sync: (out) => { out.write('s') },
    after: async (out) => { out.end('early end'); await wait(30); globalThis.ran = true },
    ran: async (out) => { out.end(String(globalThis.ran)) },
    type: async (out) => { out.write('x'); out.setContentType('text/plain') },
}
exports.handler = awslambda.streamifyResponse((event, out, context) => kinds[event](out, context))
"#;

#[tokio::test]
async fn streams_flow_through_and_end_as_they_should() {
    let mut running = node("index.handler").file("index.js", STREAMS).start();
    let prelude = "application/vnd.awslambda.http-integration-response";
    let cases: &[(&str, &str, &str, Option<&str>)] = &[
        ("plain", "text/plain", "abc", None),
        (
            "http",
            prelude,
            "{\"statusCode\":201,\"headers\":{\"k\":\"v\"}}\0\0\0\0\0\0\0\0body",
            None,
        ),
        ("bare", prelude, "{\"statusCode\":204}\0\0\0\0\0\0\0\0", None),
        ("pipe", "application/octet-stream", "xyz", None),
        ("object", "application/octet-stream", "{\"a\":1}", None),
        ("empty", "application/octet-stream", "", None),
        ("early", "application/octet-stream", "", Some("RangeError")),
        ("late", "application/octet-stream", "some", Some("RangeError")),
        ("open", "application/octet-stream", "some", Some("Error")),
        ("broken", "application/octet-stream", "p", Some("RangeError")),
        ("destroyed", "application/octet-stream", "d", Some("Error")),
        ("value", "application/octet-stream", "v", None),
        ("sync", "application/octet-stream", "s", Some("Error")),
        ("after", "application/octet-stream", "early end", None),
        ("ran", "application/octet-stream", "true", None),
        (
            "type",
            "application/octet-stream",
            "x",
            Some("Runtime.InvalidStreamingOperation"),
        ),
        ("plain", "text/plain", "abc", None),
    ];
    for (name, content_type, body, failure) in cases {
        let reply = running.reply(call(format!("\"{name}\""))).await.unwrap();
        assert_eq!(reply.content_type.as_deref(), Some(*content_type), "{name}");
        let (bytes, end) = collect(reply).await;
        assert_eq!(String::from_utf8_lossy(&bytes), *body, "{name}");
        let end = end.unwrap_or_else(|| panic!("{name} broke off"));
        assert_eq!(
            end.as_ref().err().and_then(|error| error.kind.as_deref()),
            *failure,
            "{name}"
        );
        if let Err(error) = end {
            let document: serde_json::Value = serde_json::from_slice(&error.body).unwrap();
            assert_eq!(document["errorType"].as_str(), *failure);
        }
    }
    let (bytes, end) = collect(running.reply(call("\"large\"")).await.unwrap()).await;
    assert_eq!((bytes.len(), end), (64 * 65536, Some(Ok(()))));
    let Gone { stdout, .. } = running.stop().await;
    assert!(
        stdout.contains("WARN\tStreaming handlers ignore return values."),
        "{stdout}"
    );
}

#[tokio::test]
async fn a_node_without_the_handle_that_we_use_works_through_its_streams() {
    let running = node("index.handler")
        .file("index.js", STREAMS)
        .file("none.js", "process.binding = () => { throw new Error('gone') }")
        .env("NODE_OPTIONS", "--require ./none.js")
        .start();
    for (name, body) in [("plain", "abc"), ("late", "some"), ("pipe", "xyz")] {
        let (bytes, _) = collect(running.reply(call(format!("\"{name}\""))).await.unwrap()).await;
        assert_eq!(String::from_utf8_lossy(&bytes), body);
    }
    let (bytes, end) = collect(running.reply(call("\"large\"")).await.unwrap()).await;
    assert_eq!((bytes.len(), end), (64 * 65536, Some(Ok(()))));
    let echo = node("index.handler")
        .file(
            "index.js",
            "exports.handler = async (n) => [process.moduleLoadList.includes('NativeModule net'), 'x'.repeat(n)]",
        )
        .file("none.js", "process.binding = () => { throw new Error('gone') }")
        .env("NODE_OPTIONS", "--require ./none.js")
        .start();
    assert_eq!(echo.json("2").await, serde_json::json!([true, "xx"]));
    assert!(echo.reply(call("7000000")).await.is_err());
    assert_eq!(echo.json("3").await[1], "xxx");
}

#[tokio::test]
async fn nothing_is_loaded_that_a_small_function_does_not_need() {
    let code = "exports.handler = async () => process.moduleLoadList.filter((name) => /NativeModule (net|stream|http|tty)$/.test(name))";
    let running = node("index.handler").file("index.js", code).start();
    assert_eq!(running.json("{}").await, serde_json::json!([]));
}

#[tokio::test]
async fn the_first_chunk_does_not_wait_for_the_last() {
    let code = "exports.handler = awslambda.streamifyResponse(async (event, out) => { out.write('first'); \
                await new Promise((r) => setTimeout(r, 60000)) })";
    let running = node("index.handler").file("index.js", code).start();
    let reply = running.reply(call("{}")).await.unwrap();
    let sonagi_ports::ReplyBody::Stream(mut parts) = reply.body else {
        panic!("not a stream")
    };
    let Some(sonagi_ports::StreamPart::Data(data)) = parts.recv().await else {
        panic!("no data")
    };
    assert_eq!(data, "first");
}

#[tokio::test]
async fn a_process_that_dies_while_streaming_breaks_its_stream_off() {
    let code = "exports.handler = awslambda.streamifyResponse(async (event, out) => { \
                await new Promise((r) => out.write('some', r)); process.exit(7) })";
    let mut running = node("index.handler").file("index.js", code).start();
    let reply = running.reply(call("{}")).await.unwrap();
    let (bytes, end) = collect(reply).await;
    assert_eq!((bytes.as_slice(), end), (b"some".as_slice(), None));
    assert_eq!(running.gone().await.code, Some(7));
    running.session.drained().await;
}
