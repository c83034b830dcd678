//! Fn beside Lambda on one platform: a folder becomes app, function and triggers; what is acknowledged survives.

use serde_json::{Value, json};
use sonagi_testkit::platform::PATIENCE;
use sonagi_testkit::{Answer, Client, Platform, Project, Setup, until};

const FUNC: &str = "\
schema_version: 20180708
name: hello
version: 0.0.1
runtime: python
entrypoint: /python/bin/fdk /function/func.py handler
idle_timeout: 20
config:
  GREETING: hello # of the function
triggers:
- name: hello
  type: http
  source: /hello
";
const APP: &str = "name: shop\nconfig:\n  PLACE: shop\n  GREETING: none\n";
const HELLO: &str = "\
import time
def handler(ctx, data=None):
    config, body = ctx.Config(), data.getvalue().decode()
    print('said', body)
    time.sleep(float(body) if body.replace('.', '').isdigit() else 0)
    return config['GREETING'] + ' ' + config['PLACE'] + ' ' + body
";

/// An account's client: plain requests with its token.
struct Fn {
    platform: Platform,
    authorization: String,
}

impl Fn {
    async fn start(setup: Setup) -> Self {
        let platform = setup.start().await;
        let clients = platform.clients_of("fn", None).await;
        let token = clients.into_iter().find(|(name, _)| name == "FN_TOKEN");
        Self {
            authorization: format!("Bearer {}", token.expect("FN_TOKEN is set").1),
            platform,
        }
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut all = vec![("authorization", self.authorization.as_str())];
        all.extend_from_slice(headers);
        let sent = self.platform.http().send(method, path, &all, body.to_owned()).await;
        sent.unwrap_or_else(|error| panic!("{method} {path}: {error:#}"))
    }

    async fn ok(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let answer = self.send(method, path, &[], &body).await;
        assert!(answer.status.is_success(), "{method} {path}: {}", answer.text());
        answer.json().expect("JSON")
    }

    /// The one function of the app of this name.
    async fn function(&self, app: &str) -> String {
        let apps = self.ok("GET", &format!("/v2/apps?name={app}"), &Value::Null).await;
        let app = apps["items"][0]["id"].as_str().expect("an app").to_owned();
        let fns = self.ok("GET", &format!("/v2/fns?app_id={app}"), &Value::Null).await;
        fns["items"][0]["id"].as_str().expect("a function").to_owned()
    }
}

/// A folder with a function, in one that describes its app.
fn shop() -> Project {
    let project = Project::new("hello")
        .with("func.yaml", FUNC)
        .with("func.py", HELLO)
        .with("requirements.txt", "fdk\n");
    let above = project.path().parent().expect("it is in a folder").join("app.yaml");
    std::fs::write(above, APP).expect("the app's file");
    project
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_becomes_app_function_and_triggers() {
    let client = Fn::start(Setup::new()).await;
    let project = shop();
    let cli = client.platform.cli();
    let deployed = cli.json(&["deploy", project.as_str()]).await;
    assert_eq!(
        (&deployed["name"], &deployed["created"]),
        (&json!("shop/hello"), &json!(true))
    );
    let url = deployed["url"].as_str().expect("a URL").to_owned();
    let path = url
        .strip_prefix(client.platform.endpoint())
        .expect("an address here")
        .to_owned();
    assert_eq!(path, "/t/shop/hello");
    let http = client.platform.http();
    let called = async || http.send("POST", &path, &[], "you").await.expect("an answer").text();
    assert_eq!(called().await, "hello shop you");
    // Again, otherwise; and back.
    project.write("func.py", HELLO.replace("config['GREETING']", "'good day'"));
    let again = cli.json(&["deploy", project.as_str()]).await;
    assert_eq!(again["created"], json!(false));
    assert_eq!(called().await, "good day shop you");
    drop(cli.run(&["rollback", "shop/hello"]).await.expect("rollback"));
    assert_eq!(called().await, "hello shop you");
    drop(
        cli.run(&["config", "shop/hello", "--env", "GREETING=hi"])
            .await
            .expect("config"),
    );
    assert_eq!(called().await, "hi shop you");
    let invoked = cli.run(&["invoke", "shop/hello", "me"]).await.expect("invoke");
    assert_eq!(invoked.trim(), "hi shop me");
    let logs = cli.run(&["logs", "shop/hello"]).await.expect("logs");
    assert!(logs.contains("said you") && logs.contains("said me"), "{logs}");
    let usage = cli.json(&["usage"]).await;
    assert_eq!(
        (&usage["rows"][0]["namespace"], &usage["rows"][0]["attempts"]),
        (&json!("fn/default"), &json!(5))
    );
    // Lambda's clients see nothing of it.
    let listing = "import boto3; print(boto3.client('lambda').list_functions()['Functions'])";
    let listed = Client::Boto3.text(listing, &client.platform.aws().await).await;
    assert_eq!(listed.expect("list_functions").trim(), "[]");
    drop(cli.run(&["rm", "shop/hello", "--yes"]).await.expect("rm"));
    assert_eq!(
        http.send("POST", &path, &[], "you").await.expect("an answer").status,
        404
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_and_other_providers_see_nothing_of_it() {
    let client = Fn::start(Setup::new()).await;
    let project = shop();
    let cli = client.platform.cli();
    drop(cli.json(&["deploy", project.as_str()]).await);
    let id = client.function("shop").await;
    drop(
        cli.run(&["account", "add", "other", "--provider", "fn"])
            .await
            .expect("an account"),
    );
    let other = client.platform.clients_of("fn", Some("other")).await;
    let token = other
        .into_iter()
        .find(|(name, _)| name == "FN_TOKEN")
        .expect("FN_TOKEN is set")
        .1;
    let stranger = format!("Bearer {token}");
    let headers = [("authorization", stranger.as_str())];
    let http = client.platform.http();
    for (method, path, expected) in [
        ("GET", format!("/v2/fns/{id}"), "{\"message\":\"Fn not found\"}"),
        ("POST", format!("/invoke/{id}"), "{\"message\":\"Fn not found\"}"),
        ("GET", "/v2/apps".to_owned(), "{\"items\":[]}"),
    ] {
        let answer = http.send(method, &path, &headers, "").await.expect("an answer");
        assert_eq!(answer.text().trim(), expected, "{method} {path}");
    }
    // Nor does a namespace of another provider, under the same names.
    let listed = cli.json(&["ls", "--namespace", "openwhisk/guest"]).await;
    assert_eq!(listed["functions"], json!([]));
    let missing = cli
        .run(&["invoke", "shop/hello", "1", "--namespace", "openwhisk/guest"])
        .await;
    assert!(!missing.success, "{}", missing.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_survives_a_kill() {
    let mut client = Fn::start(Setup::new()).await;
    let project = shop();
    drop(client.platform.cli().json(&["deploy", project.as_str()]).await);
    let id = client.function("shop").await;
    let path = format!("/invoke/{id}");
    let done = client.send("POST", &path, &[], "1").await;
    assert_eq!(done.text(), "hello shop 1");
    let detached = client.send("POST", &path, &[("fn-invoke-type", "detached")], "2").await;
    assert_eq!((detached.status.as_u16(), detached.body.len()), (202, 0));
    assert_eq!(detached.headers["fn-call-id"].len(), 26);
    // What is recorded of the first is there for good; it may be written behind the answer.
    until("the record of the first call", PATIENCE, async || {
        let runs = client.platform.cli().json(&["runs", "shop/hello"]).await;
        (!runs["runs"].as_array().expect("rows").is_empty()).then_some(())
    })
    .await;
    client.platform.kill().await;
    client.platform.start().await;
    // The record of the first, and the whole of the second.
    let runs = async || client.platform.cli().json(&["runs", "shop/hello"]).await;
    until("the detached call", PATIENCE, async || {
        let runs = runs().await;
        let rows = runs["runs"].as_array().expect("rows").clone();
        let succeeded = rows.iter().filter(|row| row["status"] == "success").count();
        (succeeded == 2).then_some(())
    })
    .await;
    assert_eq!(client.function("shop").await, id);
    // The attempt that the kill cut, if it had begun, is counted too: as one that failed.
    let usage = client.platform.cli().json(&["usage"]).await;
    let number = |name: &str| usage["rows"][0][name].as_u64().expect("a number");
    assert_eq!(number("attempts") - number("errors"), 2, "{usage}");
    assert_eq!(client.send("POST", &path, &[], "0").await.text(), "hello shop 0");
}
