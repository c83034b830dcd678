//! OpenWhisk beside Lambda on one platform: what is acknowledged survives, limits are told, tenants see their own only.

use serde_json::{Value, json};
use sonagi_testkit::platform::PATIENCE;
use sonagi_testkit::{Answer, Client, Environment, Platform, Project, Setup, until};

/// A namespace's client: plain requests with its key.
struct Whisk {
    platform: Platform,
    authorization: String,
}

impl Whisk {
    async fn start(setup: Setup) -> Self {
        let platform = setup.start().await;
        let clients = platform.clients_of("ow", None).await;
        let auth = variable(&clients, "OW_AUTH");
        // Encoded by hand: the kit has no need of base64 otherwise.
        let authorization = format!("Basic {}", base64(auth.as_bytes()));
        Self {
            platform,
            authorization,
        }
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let headers = [
            ("authorization", self.authorization.as_str()),
            ("content-type", "application/json"),
        ];
        let path = format!("/api/v1/namespaces/_/{path}");
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let sent = self.platform.http().send(method, &path, &headers, body).await;
        sent.unwrap_or_else(|error| panic!("{method} {path}: {error:#}"))
    }

    async fn ok(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.send(method, path, body).await;
        assert!(answer.status.is_success(), "{method} {path}: {}", answer.text());
        answer.json().expect("JSON")
    }

    async fn action(&self, name: &str, code: &str) {
        let exec = json!({ "exec": { "kind": "python:default", "code": code } });
        self.ok("PUT", &format!("actions/{name}?overwrite=true"), &exec).await;
    }

    async fn record(&self, id: &str) -> Value {
        until("the record of an activation", PATIENCE, async || {
            let answer = self.send("GET", &format!("activations/{id}"), &Value::Null).await;
            answer.status.is_success().then(|| answer.json().expect("JSON"))
        })
        .await
    }
}

fn variable(environment: &Environment, name: &str) -> String {
    let found = environment.iter().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("{name} is not set")).1.clone()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let bits = part.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= part.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn activations_survive_a_kill() {
    let mut whisk = Whisk::start(Setup::new()).await;
    whisk
        .action("echo", "def main(args):\n    print('said', args)\n    return args")
        .await;
    let done = whisk.ok("POST", "actions/echo?blocking=true", &json!({ "n": 1 })).await;
    let id = done["activationId"].as_str().expect("an id").to_owned();
    // Records are written behind the answer: one that could be read is there for good.
    whisk.record(&id).await;
    // What is accepted runs, whatever happens next.
    let slow = "import time\ndef main(args):\n    time.sleep(1)\n    return args";
    whisk.action("slow", slow).await;
    let accepted = whisk.ok("POST", "actions/slow", &json!({ "n": 2 })).await;
    whisk.platform.kill().await;
    whisk.platform.start().await;
    let record = whisk.record(&id).await;
    assert_eq!(record["response"]["result"], json!({ "n": 1 }));
    let line = record["logs"][0].as_str().expect("a line").to_owned();
    assert!(line.ends_with("stdout: said {'n': 1}"), "{line}");
    let later = whisk.record(accepted["activationId"].as_str().expect("an id")).await;
    assert_eq!(later["response"]["result"], json!({ "n": 2 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_told_in_upstreams_words() {
    let limits = "openwhisk.invocations-per-minute=3,openwhisk.fires-per-minute=1,openwhisk.memory-max-mb=1024";
    let whisk = Whisk::start(Setup::new().set("set", limits)).await;
    let large = json!({ "exec": { "kind": "python:default", "code": "def main(a):\n    return a" }, "limits": { "memory": 1024 } });
    whisk.ok("PUT", "actions/large", &large).await;
    whisk.ok("PUT", "triggers/t", &json!({})).await;
    // The minute may turn over between two requests, once.
    let mut refused = Vec::new();
    for _ in 0..8 {
        let answer = whisk.send("POST", "actions/large?blocking=true", &json!({})).await;
        if answer.status == 429 {
            refused.push(answer.json().expect("JSON"));
        }
    }
    let text = refused.last().expect("a refusal")["error"]
        .as_str()
        .expect("a text")
        .to_owned();
    assert!(
        text.starts_with("Too many requests in the last minute (count: ") && text.ends_with(", allowed: 3)."),
        "{text}"
    );
    assert!(refused[0]["code"].is_string());
    let mut fires = 0;
    for _ in 0..4 {
        fires += u32::from(whisk.send("POST", "triggers/t", &json!({})).await.status == 429);
    }
    assert!(fires > 0);
    let told = whisk.ok("GET", "limits", &Value::Null).await;
    assert_eq!(
        (&told["invocationsPerMinute"], &told["maxActionMemory"]),
        (&json!(3), &json!(1024))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_at_once_are_refused() {
    let whisk = Whisk::start(Setup::new().set("set", "openwhisk.concurrent=1")).await;
    whisk
        .action(
            "slow",
            "import time\ndef main(args):\n    time.sleep(6)\n    return args",
        )
        .await;
    let empty = json!({});
    let call = || whisk.send("POST", "actions/slow?blocking=true", &empty);
    let (one, two, three) = tokio::join!(call(), call(), call());
    let refused: Vec<_> = [one, two, three]
        .into_iter()
        .filter(|answer| answer.status == 429)
        .collect();
    assert_eq!(refused.len(), 2, "one runs");
    let text = refused[0].json().expect("JSON")["error"]
        .as_str()
        .expect("a text")
        .to_owned();
    assert!(
        text.starts_with("Too many concurrent requests in flight (count: ") && text.ends_with(", allowed: 1)."),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_share_a_platform_and_nothing_else() {
    let whisk = Whisk::start(Setup::new()).await;
    whisk.action("shared-name", "def main(args):\n    return args").await;
    whisk.ok("POST", "actions/shared-name?blocking=true", &json!({})).await;
    let listing = "import boto3; print(boto3.client('lambda').list_functions()['Functions'])";
    let listed = Client::Boto3.text(listing, &whisk.platform.aws().await).await;
    assert_eq!(listed.expect("list_functions").trim(), "[]");
    let usage = whisk.platform.cli().json(&["usage"]).await;
    assert_eq!(usage["rows"][0]["namespace"], "openwhisk/guest");
    assert_eq!(usage["rows"][0]["billed_ms"].as_u64().expect("a number") % 100, 0);
    let shown = whisk.platform.cli().json(&["show", "shared-name"]).await;
    assert_eq!(shown["provider_name"], "/guest/shared-name");
    let invoked = whisk.platform.cli().run(&["invoke", "shared-name", "{\"a\": 1}"]).await;
    assert_eq!(invoked.expect("invoke").trim(), "{\"a\":1}");
}

const MANIFEST: &str = "\
project:
  name: demo
  packages:
    demo:
      inputs: {greeting: $GREETING}
      actions:
        hello:
          function: src/hello.js
          web: true
          inputs: {place: {type: string, value: here}}
        count:
          function: count
          limits: {timeout: 20000}
      sequences:
        both: {actions: 'count, hello'}
      triggers:
        tick:
          feed: /whisk.system/alarms/alarm
          inputs: {cron: '* * * * * *', trigger_payload: {text: ticked}, maxTriggers: 2}
      rules:
        on-tick: {trigger: tick, action: count}
      apis:
        demo: {demo: {hello: {hello: GET}}}
";

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one story")]
async fn a_manifest_becomes_all_that_it_describes() {
    let whisk = Whisk::start(Setup::new()).await;
    let project = Project::new("demo")
        .with("manifest.yaml", MANIFEST)
        .with(
            "src/hello.js",
            "const main = (p) => ({ body: `${p.greeting} ${p.place} ${p.n || 0}` });",
        )
        .with(
            "count/__main__.py",
            "import helper\ndef main(args):\n    return {'n': helper.length(args)}\n",
        )
        .with("count/helper.py", "def length(args):\n    return len(args['text'])\n");
    let cli = whisk.platform.cli();
    let unset = cli.run(&["deploy", project.as_str()]).await;
    let part = "packages.demo.inputs.greeting: the variable GREETING is not set";
    assert!(!unset.success && unset.stderr.contains(part), "{}", unset.stderr);
    let arguments = ["deploy", project.as_str(), "--env", "GREETING=good day"];
    let deployed = cli.json(&arguments).await;
    let names: Vec<_> = deployed["made"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|made| &made["name"])
        .collect();
    let expected = [
        "demo",
        "demo/hello",
        "demo/count",
        "demo/both",
        "tick",
        "on-tick",
        "GET /demo/hello",
    ];
    assert_eq!(names, expected);
    let both = whisk
        .ok(
            "POST",
            "actions/demo/both?blocking=true&result=true",
            &json!({ "text": "abc" }),
        )
        .await;
    assert_eq!(both, json!({ "body": "good day here 3" }));
    // The web action by its URL, and by the API's.
    for made in [1, 6] {
        let url = deployed["made"][made]["url"].as_str().expect("a URL");
        let path = url.strip_prefix(whisk.platform.endpoint()).expect("an address here");
        let answer = whisk
            .platform
            .http()
            .send("GET", path, &[], "")
            .await
            .expect("an answer");
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "good day here 0".into()));
    }
    until("the alarm", PATIENCE, async || {
        let listed = whisk
            .ok("GET", "activations?name=demo/count&docs=true", &Value::Null)
            .await;
        let ticked = listed
            .as_array()
            .expect("a list")
            .iter()
            .filter(|one| one["response"]["result"]["n"] == 6)
            .count();
        (ticked == 2).then_some(())
    })
    .await;
    // Again: nothing is new.
    let again = cli.json(&arguments).await;
    assert!(
        again["made"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|made| made["created"] == false),
        "{again}"
    );
    project.write("manifest.yaml", MANIFEST.replace("function: count", "funktion: count"));
    let refused = cli.run(&arguments).await;
    let part = "manifest.yaml: project.packages.demo.actions.count.funktion: this key is not known here";
    assert!(!refused.success && refused.stderr.contains(part), "{}", refused.stderr);
}

#[test]
fn keys_are_encoded() {
    for (text, expected) in [
        ("", ""),
        ("a", "YQ=="),
        ("ab", "YWI="),
        ("abc", "YWJj"),
        ("a:b?", "YTpiPw=="),
    ] {
        assert_eq!(base64(text.as_bytes()), expected);
    }
}
