//! The router with a provider and stores in memory: once in process, once through the client over a socket.

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use sonagi_api::{self as api, Client, ClientError, LogFilter, RunFilter as Runs, Scope};
use tower_service::Service as _;

use super::testing::{Served, TestAdapter, serve, state};
use super::*;

fn small(adapter: &Arc<TestAdapter>) -> NativeState {
    NativeState {
        limits: Limits {
            archive: 1000,
            event: 100,
            document: 200,
        },
        ..state(adapter)
    }
}

/// One request in process: method, path, headers, body; status and body of the answer.
async fn ask(router: &mut Router, head: &str, headers: &[(&str, &str)], body: &str) -> (StatusCode, String) {
    let (method, path) = head.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response = router.call(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn nothing_is_answered_without_the_token() {
    let mut router = router(small(&TestAdapter::new()));
    for head in [
        "GET /sonagi/v1/status",
        "POST /sonagi/v1/deploy",
        "GET /sonagi/v1/nowhere",
        "GET /sonagi",
        "PUT /sonagi/v1/status",
    ] {
        for headers in [&[][..], &[("authorization", "Bearer wrong")]] {
            let (status, body) = ask(&mut router, head, headers, "").await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{head}");
            let document: api::ErrorDocument = serde_json::from_str(&body).unwrap();
            assert_eq!(document.error.code, api::ErrorCode::Unauthorized);
            assert!(document.error.hint.is_some());
        }
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn every_refusal_is_an_error_document() {
    let mut router = router(small(&TestAdapter::new()));
    let good = api::header::encode(&api::DeployRequest {
        name: "f".to_owned(),
        ..Default::default()
    })
    .unwrap();
    let elsewhere = api::header::encode(&api::DeployRequest {
        name: "f".to_owned(),
        namespace: Some("other/x".to_owned()),
        ..Default::default()
    });
    let elsewhere = elsewhere.unwrap();
    let large = "x".repeat(1001);
    let cases: &[(&str, &str, &str, u16, &str)] = &[
        ("GET /sonagi/v1/nowhere", "", "", 404, "has no path"),
        ("GET /sonagi/v1", "", "", 404, "has no path"),
        ("DELETE /sonagi/v1/status", "", "", 405, "does not take DELETE"),
        ("GET /sonagi/v1/functions?al=true", "", "", 400, "unknown field `al`"),
        ("GET /sonagi/v1/functions?namespace=a%20b", "", "", 400, "namespace"),
        (
            "GET /sonagi/v1/functions?namespace=other/x",
            "",
            "",
            404,
            "\"other\" is not served",
        ),
        (
            "GET /sonagi/v1/functions?account=nobody",
            "",
            "",
            404,
            "account \"nobody\" does not exist",
        ),
        (
            "GET /sonagi/v1/functions/none",
            "",
            "",
            404,
            "function none does not exist in test/one/here",
        ),
        (
            "PATCH /sonagi/v1/functions/f",
            "",
            "{\"memory\":1}",
            400,
            "unknown field `memory`",
        ),
        ("PATCH /sonagi/v1/functions/f", "", "[", 400, "cannot be read"),
        ("PATCH /sonagi/v1/functions/f", "", &large, 413, "more than 200 bytes"),
        ("POST /sonagi/v1/deploy", "", "zip", 400, "sonagi-deploy is missing"),
        ("POST /sonagi/v1/deploy", "&&", "zip", 400, "not base64"),
        ("POST /sonagi/v1/projects", "", "zip", 400, "sonagi-project is missing"),
        ("POST /sonagi/v1/deploy", &good, "", 400, "has no archive"),
        ("POST /sonagi/v1/deploy", &good, &large, 413, "more than 1000 bytes"),
        ("POST /sonagi/v1/deploy", &elsewhere, "zip", 404, "is not served"),
        (
            "POST /sonagi/v1/functions/f/invoke",
            "",
            &large,
            413,
            "more than 100 bytes",
        ),
        (
            "PUT /sonagi/v1/functions/f/aliases/a",
            "",
            "{\"version\":\"1\",\"split\":{\"version\":\"2\",\"share\":1.5}}",
            400,
            "share 1.5",
        ),
        ("GET /sonagi/v1/runs?limit=1001", "", "", 400, "more than 1000"),
        ("GET /sonagi/v1/runs?since=soon", "", "", 400, "is no moment"),
        ("GET /sonagi/v1/runs/x", "", "", 400, "no invocation's id"),
        (
            "GET /sonagi/v1/runs/00000000-0000-7000-8000-000000000000",
            "",
            "",
            404,
            "no attempt",
        ),
        (
            "GET /sonagi/v1/usage?since=1h&until=2h",
            "",
            "",
            400,
            "ends before it begins",
        ),
        ("GET /sonagi/v1/environment/other", "", "", 404, "is not served"),
        ("DELETE /sonagi/v1/accounts/nobody", "", "", 404, "account nobody"),
    ];
    for (head, deploy, body, status, message) in cases {
        let mut headers = vec![("authorization", "Bearer sonagi_test")];
        if !deploy.is_empty() {
            headers.push((api::header::DEPLOY, deploy));
        }
        let (found, text) = ask(&mut router, head, &headers, body).await;
        let document: api::ErrorDocument = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{head}: {text}"));
        assert_eq!(found.as_u16(), *status, "{head}: {text}");
        assert_eq!(document.error.code.status(), *status, "{head}: {text}");
        assert!(document.error.message.contains(message), "{head}: {text}");
    }
}

/// A client that holds the token.
fn client(served: &Served) -> Client {
    Client::new(served.endpoint(), Some(served.token())).unwrap()
}

async fn deploy(client: &Client, name: &str) -> api::Deployed {
    let request = api::DeployRequest {
        name: name.to_owned(),
        ..Default::default()
    };
    client.deploy(&request, "PK\x03\x04 a zip".into()).await.unwrap()
}

#[tokio::test]
async fn a_function_lives_through_the_client() {
    let served = serve().await;
    let (client, scope) = (&client(&served), Scope::default());
    let status = client.status().await.unwrap();
    assert_eq!(status.default_namespace.as_deref(), Some("test/one/here"));
    assert_eq!(status.interpreters[0].version, "3.11.2");

    // A name with every character that the core allows, so that paths are encoded all the way.
    let name = "a/b@c.d_e-f";
    let first = deploy(client, name).await;
    assert!(first.created);
    let settings = api::Settings {
        memory_mib: Some(256),
        set_environment: [("SECRET".to_owned(), "value".to_owned())].into(),
        reserved_concurrency: Some(Some(3)),
        ..Default::default()
    };
    let changed = client.configure(&scope, name, &settings).await.unwrap();
    assert_eq!((changed.memory_mib, changed.reserved_concurrency), (256, Some(3)));
    assert_eq!(changed.environment["SECRET"], None, "values are shown on request only");
    let shown = client.function_with_values(&scope, name).await.unwrap();
    assert_eq!(shown.environment["SECRET"].as_deref(), Some("value"));
    assert_eq!(client.functions(&scope).await.unwrap().functions.len(), 1);
    assert_eq!(client.all_functions().await.unwrap().functions.len(), 1);

    let version = client.publish(&scope, name).await.unwrap();
    assert_eq!(version.label, "1");
    let target = api::AliasTarget {
        version: "1".to_owned(),
        split: Some(api::Split {
            version: "live".to_owned(),
            share: 0.25,
        }),
    };
    let alias = client.put_alias(&scope, name, "prod", &target).await.unwrap();
    assert_eq!(alias.split, target.split);
    assert_eq!(client.aliases(&scope, name).await.unwrap().aliases, [alias]);
    assert_eq!(client.versions(&scope, name).await.unwrap().versions.len(), 2);
    client.remove_alias(&scope, name, "prod").await.unwrap();
    let back = client.roll_back(&scope, name, &api::Rollback::default()).await.unwrap();
    assert_eq!(back.revision, first.revision);

    client.remove(&scope, name).await.unwrap();
    let error = client.function(&scope, name).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().code, api::ErrorCode::NotFound);
}

#[tokio::test]
async fn calls_leave_runs_logs_and_usage() {
    let served = serve().await;
    let (client, scope) = (&client(&served), Scope::default());
    deploy(client, "f").await;
    let good = client.invoke(&scope, "f", None, "\"hello\"".into()).await.unwrap();
    assert_eq!((good.failed, &good.body[..]), (false, &b"\"hello\""[..]));
    assert_eq!(good.log_tail, b"got an event\ndone\n");
    assert_eq!(good.run.phases.unwrap().process_us, 4000);
    let bad = client.invoke(&scope, "f", None, "fail".into()).await.unwrap();
    assert!(bad.failed);
    let sent = client.send(&scope, "f", None, "later".into()).await.unwrap();

    let all = client
        .runs(
            &scope,
            &Runs {
                function: Some("f".to_owned()),
                ..Runs::default()
            },
        )
        .await
        .unwrap();
    assert_eq!(all.runs.len(), 3);
    let failed = client
        .runs(
            &scope,
            &Runs {
                failed: true,
                ..Runs::default()
            },
        )
        .await
        .unwrap();
    assert_eq!(
        failed.runs.iter().map(|run| &run.invocation).collect::<Vec<_>>(),
        [&bad.invocation]
    );
    assert_eq!(client.run(&sent.invocation).await.unwrap().runs.len(), 1);

    // The clock stands still: attempts that begin now are not before now.
    served.adapter().clock.advance(std::time::Duration::from_secs(1));
    let usage = client.usage(&scope, Some("24h"), None).await.unwrap();
    assert_eq!((usage.rows[0].attempts, usage.rows[0].errors), (3, 1));
    assert_eq!(
        (usage.totals[0].value.as_str(), usage.totals[0].currency.as_str()),
        ("3", "USD")
    );

    let filter = LogFilter {
        invocation: Some(good.invocation),
        ..LogFilter::default()
    };
    let mut lines = client.logs(&scope, "f", &filter).await.unwrap();
    let mut texts = Vec::new();
    while let Some(line) = lines.next().await.unwrap() {
        texts.push(line.text);
    }
    assert_eq!(texts, ["got an event", "done"]);
}

#[tokio::test]
async fn a_followed_log_goes_on_and_ends_with_the_platform() {
    let served = serve().await;
    let (client, scope) = (&client(&served), Scope::default());
    deploy(client, "f").await;
    client.invoke(&scope, "f", None, "1".into()).await.unwrap();
    let filter = LogFilter {
        limit: Some(1),
        follow: true,
        ..LogFilter::default()
    };
    let mut lines = client.logs(&scope, "f", &filter).await.unwrap();
    assert_eq!(lines.next().await.unwrap().unwrap().text, "done");
    let record = served.adapter().runs.all().pop().unwrap();
    served.adapter().print(&record, &["more"]);
    assert_eq!(lines.next().await.unwrap().unwrap().text, "more");

    served.adapter().clock.advance(std::time::Duration::from_secs(1));
    let many: Vec<String> = (0..2000).map(|number| number.to_string()).collect();
    served
        .adapter()
        .print(&record, &many.iter().map(String::as_str).collect::<Vec<_>>());
    let gap = lines.next().await.unwrap().unwrap();
    assert!(gap.truncated && gap.text.contains("lines are missing"), "{}", gap.text);
    assert_eq!(gap.source, api::LogSource::Platform);

    served.begin_stop();
    while lines.next().await.unwrap().is_some() {}
    served.stopped().await;
}

#[tokio::test]
async fn accounts_and_the_platform_answer() {
    let served = serve().await;
    let client = &client(&served);
    let made = client
        .add_account(
            None,
            &api::NewAccount {
                id: Some("two".to_owned()),
            },
        )
        .await
        .unwrap();
    assert_eq!(
        (made.provider.as_str(), made.namespace.as_str()),
        ("test", "test/two/here")
    );
    let conflict = client
        .add_account(
            Some("test"),
            &api::NewAccount {
                id: Some("two".to_owned()),
            },
        )
        .await
        .unwrap_err();
    assert_eq!(conflict.refusal().unwrap().code, api::ErrorCode::Conflict);
    let scope = Scope {
        account: Some("two".to_owned()),
        ..Scope::default()
    };
    assert!(client.functions(&scope).await.unwrap().functions.is_empty());
    let environment = client.environment("test", Some("two")).await.unwrap();
    assert_eq!(environment.variables[0].value, "KEYtwo");
    assert_eq!(
        environment.variables[2].value,
        client.endpoint(),
        "the address is the one that the client uses"
    );
    client.remove_account(None, "two").await.unwrap();
    assert_eq!(client.accounts(None).await.unwrap().accounts.len(), 1);
    assert_eq!(client.config().await.unwrap().settings[0].origin, api::Origin::Default);
    assert!(client.doctor().await.unwrap().checks.is_empty());

    let stranger = Client::new(client.endpoint(), Some("wrong")).unwrap();
    assert_eq!(
        stranger.status().await.unwrap_err().refusal().unwrap().code,
        api::ErrorCode::Unauthorized
    );
    let closed = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let nobody = Client::new(&closed.to_string(), None).unwrap();
    assert!(matches!(
        nobody.status().await.unwrap_err(),
        ClientError::Unreachable { .. }
    ));
}
