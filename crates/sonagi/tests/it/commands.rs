//! Every command that asks the platform, against the native API.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use super::run::{Stage, run};

const PYTHON: &str = "def handler(event, context):\n    return event\n";

#[tokio::test]
async fn a_new_project_is_deployed_called_and_removed() {
    let stage = Stage::new().await;
    let made = stage.run(&["new", "hello", "--template", "python"]).await;
    assert!(made.stderr.contains("next: sonagi deploy hello"), "{}", made.stderr);
    let deployed = stage
        .run(&["deploy", "hello", "--memory", "256", "--env", "A=b=c"])
        .await;
    assert!(
        deployed.stderr.contains(
            "hello: read as an AWS Lambda function (python3.11, handler app.handler) because app.py defines handler"
        ),
        "{}",
        deployed.stderr
    );
    assert!(
        deployed.stderr.contains("next: curl http://hello.test.localhost/"),
        "{}",
        deployed.stderr
    );
    let text = deployed.good();
    assert!(text.starts_with("function  hello (new)\ndigest    sha256:"), "{text}");
    assert!(
        text.contains("\nlive in   ") && text.contains("\nurl       http://hello.test.localhost/"),
        "{text}"
    );

    let again = stage.json(&["deploy", "hello"]).await;
    assert_eq!(
        (again["created"].as_bool(), again["runtime"].as_str()),
        (Some(false), Some("python3.11"))
    );
    assert!(again["live_ms"].as_f64().unwrap() > 0.0);

    let called = stage.run(&["invoke", "hello", "{\"n\":1}", "--tail"]).await;
    assert!(
        called
            .stderr
            .contains("got an event\ndone\ncold: queue 0.01 ms · artifact 0.20 ms"),
        "{}",
        called.stderr
    );
    assert_eq!(called.good(), "{\"n\":1}\n", "the answer alone is on standard output");

    let shown = stage.json(&["show", "hello", "--values"]).await;
    assert_eq!(
        (shown["memory_mib"].as_u64(), shown["environment"]["A"].as_str()),
        (Some(256), Some("b=c"))
    );
    let shown = stage.run(&["show", "hello"]).await.good();
    assert!(
        shown.contains("env          A\n") && !shown.contains("b=c"),
        "values are shown on request only: {shown}"
    );
    assert!(
        stage
            .run(&["ls"])
            .await
            .good()
            .contains("hello     python3.11  256 MiB  3s")
    );
    assert_eq!(stage.json(&["ls", "--all"]).await["functions"][0]["name"], "hello");

    stage.run(&["rm", "hello"]).await.good();
    let gone = stage.run(&["show", "hello"]).await.failed(3);
    assert_eq!(
        gone,
        "error: function hello does not exist in test/one/here\nhint: `sonagi ls` lists functions, `sonagi show NAME` versions and aliases\n"
    );
}

#[tokio::test]
async fn events_come_from_everywhere_and_failures_have_their_code() {
    let stage = Stage::new().await;
    stage.write("echo.py", PYTHON);
    stage.run(&["deploy", "echo.py"]).await.good();
    assert_eq!(stage.run(&["invoke", "echo"]).await.good(), "{}\n");
    stage.write("event.json", "[1]\n");
    assert_eq!(stage.run(&["invoke", "echo", "@event.json"]).await.good(), "[1]\n");
    let mut piped = stage.command(&["call", "echo", "-"]);
    piped.stdin(std::process::Stdio::piped());
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"\"piped\"").await.unwrap();
    assert_eq!(child.wait_with_output().await.unwrap().stdout, b"\"piped\"\n");

    let failed = stage.run(&["invoke", "echo", "\"fail\""]).await;
    assert_eq!(failed.stdout, "{\"errorMessage\":\"it failed\"}\n");
    let id = stage.json(&["runs", "echo", "--failed"]).await["runs"][0]["invocation"]
        .as_str()
        .unwrap()
        .to_owned();
    let said = failed.failed(5);
    assert!(
        said.contains("function error (Failed)") && said.contains(&format!("sonagi logs echo --run {id}")),
        "{said}"
    );

    let json = stage.json(&["invoke", "echo", "{\"a\":2}"]).await;
    assert_eq!(
        (json["answer"]["a"].as_u64(), json["failed"].as_bool()),
        (Some(2), Some(false))
    );
    let later = stage.run(&["invoke", "echo", "--async", "{}"]).await.good();
    assert!(
        stage
            .run(&["runs", later.trim()])
            .await
            .good()
            .contains("  process       4.00 ms  ")
    );
    assert_eq!(
        stage
            .run(&["invoke", "echo", "@nowhere"])
            .await
            .failed(2)
            .lines()
            .count(),
        1
    );
    stage.run(&["invoke", "other"]).await.failed(3);
}

#[tokio::test]
async fn what_is_easily_mistyped_is_explained() {
    let stage = Stage::new().await;
    stage.write("f.py", PYTHON);
    stage.write("event.json", "[1]\n");
    stage.run(&["deploy", "f.py", "--env", "A=1"]).await.good();
    let said = stage.run(&["invoke", "f", "event.json"]).await.failed(2);
    assert!(
        said.contains("\"event.json\" is not JSON, but the name of a file")
            && said.contains("sonagi invoke f @event.json"),
        "{said}"
    );
    assert_eq!(
        stage.run(&["invoke", "f", "--file", "event.json"]).await.good(),
        "[1]\n"
    );
    stage
        .run(&["invoke", "f", "--file", "event.json", "{}"])
        .await
        .failed(2);
    stage.json(&["versions", "f", "--publish"]).await;
    assert_eq!(stage.run(&["invoke", "f:1", "3"]).await.good(), "3\n");
    stage.run(&["invoke", "f:1", "3", "--qualifier", "2"]).await.failed(2);
    let said = stage.run(&["rollback", "f:1"]).await.failed(2);
    assert!(said.contains("`sonagi rollback f VERSION`"), "{said}");
    let said = stage.run(&["rollback", "f", "9"]).await.failed(3);
    assert!(said.contains("hint: `sonagi versions f`"), "{said}");
    let said = stage.run(&["alias", "f", "prod", "9"]).await.failed(3);
    assert!(said.contains("hint: `sonagi alias f` lists aliases"), "{said}");
    stage.run(&["runs", "--limit", "0"]).await.failed(2);

    let said = stage
        .run(&["config", "f", "--memory", "256", "--unset", "NOPE"])
        .await
        .failed(3);
    assert!(
        said.contains("function f has no variable NOPE") && said.contains("it has A; nothing was changed"),
        "{said}"
    );
    assert_eq!(stage.json(&["config", "f"]).await["memory_mib"], 128);
}

#[tokio::test]
async fn removal_goes_on_after_one_that_cannot_be_removed() {
    let stage = Stage::new().await;
    stage.write("a.py", PYTHON);
    stage.write("b.py", PYTHON);
    stage.run(&["deploy", "a.py"]).await.good();
    stage.run(&["deploy", "b.py"]).await.good();
    let removed = stage.run(&["rm", "a", "missing", "b", "--output", "json"]).await;
    let report: serde_json::Value = serde_json::from_str(&removed.stdout).unwrap();
    assert_eq!(report["removed"], serde_json::json!(["a", "b"]));
    assert_eq!(report["failed"][0]["function"], "missing");
    let said = removed.failed(3);
    assert!(said.contains("function missing does not exist"), "{said}");
}

#[tokio::test]
async fn projects_say_what_they_are() {
    let stage = Stage::new().await;
    stage.write("app/main.py", PYTHON);
    stage.write(
        "app/sonagi.toml",
        "name = \"shop\"\nmemory = \"1GiB\"\ntimeout = \"90s\"\nurl = \"none\"\n[env]\nMODE = \"slow\"\nKEPT = \"1\"\n",
    );
    let deployed = stage
        .json(&["deploy", "app", "--env", "MODE=fast", "--timeout", "5s"])
        .await;
    assert_eq!(
        (deployed["name"].as_str(), deployed["url"].as_str()),
        (Some("shop"), None)
    );
    let shown = stage.json(&["config", "shop", "--values"]).await;
    assert_eq!(
        (shown["memory_mib"].as_u64(), shown["timeout_ms"].as_u64()),
        (Some(1024), Some(5000))
    );
    assert_eq!(
        (
            shown["environment"]["MODE"].as_str(),
            shown["environment"]["KEPT"].as_str()
        ),
        (Some("fast"), Some("1"))
    );

    stage.write("app/sonagi.toml", "memroy = 1\n");
    let error = stage.run(&["deploy", "app"]).await.failed(7);
    assert!(
        error.contains("app/sonagi.toml") && error.contains("unknown field `memroy`"),
        "{error}"
    );
    stage.write("small/app.py", PYTHON);
    let refused = stage.run(&["deploy", "small", "--memory", "1"]).await.failed(4);
    assert_eq!(
        refused.lines().skip(1).collect::<Vec<_>>(),
        ["error: memory is below 128 MiB", "hint: a hint of the provider"]
    );
    // In JSON, errors are documents too.
    let refused = stage
        .run(&["deploy", "small", "--memory", "1", "--output", "json"])
        .await
        .failed(4);
    let document: serde_json::Value = serde_json::from_str(refused.lines().last().unwrap()).unwrap();
    assert_eq!(document["error"]["exit"], 4);

    stage.write("boot/bootstrap", "#!/bin/sh\n");
    fs::set_permissions(
        stage.home.path().join("boot/bootstrap"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    let deployed = stage.json(&["deploy", "boot"]).await;
    assert_eq!(deployed["runtime"], "provided.al2023");
}

#[tokio::test]
async fn a_zip_is_sent_as_it_is() {
    let stage = Stage::new().await;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer
        .start_file("lambda_function.py", zip::write::SimpleFileOptions::default())
        .unwrap();
    std::io::Write::write_all(&mut writer, b"def lambda_handler(event, context): pass").unwrap();
    let bytes = writer.finish().unwrap().into_inner();
    fs::write(stage.home.path().join("ready.zip"), &bytes).unwrap();
    let deployed = stage.json(&["deploy", "ready.zip"]).await;
    assert_eq!(
        (deployed["name"].as_str(), deployed["size"].as_u64()),
        (Some("ready"), Some(bytes.len() as u64))
    );
    assert_eq!(deployed["handler"], "lambda_function.lambda_handler");
    stage.write("broken.zip", "nothing");
    assert!(
        stage
            .run(&["deploy", "broken.zip"])
            .await
            .failed(7)
            .contains("no readable zip archive")
    );
}

#[tokio::test]
async fn versions_aliases_and_settings_change() {
    let stage = Stage::new().await;
    stage.write("f.py", PYTHON);
    let first = stage.json(&["deploy", "f.py"]).await;
    assert_eq!(stage.json(&["versions", "f", "--publish"]).await["label"], "1");
    stage.write("f.py", &format!("{PYTHON}# changed\n"));
    stage.run(&["deploy", "f.py"]).await.good();
    let alias = stage.json(&["alias", "f", "prod", "1", "--split", "live=0.25"]).await;
    assert_eq!(
        (alias["version"].as_str(), alias["split"]["share"].as_f64()),
        (Some("1"), Some(0.25))
    );
    assert_eq!(
        stage.run(&["alias", "f"]).await.good(),
        "ALIAS  VERSION  SPLIT\nprod   1        live=0.25\n"
    );
    stage.run(&["alias", "f", "--rm", "prod"]).await.good();
    stage.run(&["alias", "f", "--rm", "prod"]).await.failed(3);
    let back = stage.json(&["rollback", "f", "1"]).await;
    assert_eq!(back["digest"], first["digest"]);

    let changed = stage
        .json(&["config", "f", "--memory", "1GiB", "--env", "A=1", "--concurrency", "3"])
        .await;
    assert_eq!(
        (changed["memory_mib"].as_u64(), changed["reserved_concurrency"].as_u64()),
        (Some(1024), Some(3))
    );
    let changed = stage
        .json(&["config", "f", "--unset", "A", "--concurrency", "none"])
        .await;
    assert!(changed["environment"].as_object().unwrap().is_empty() && changed["reserved_concurrency"].is_null());
    let platform = stage.run(&["config"]).await.good();
    assert_eq!(
        platform,
        "SETTING  VALUE           FROM\nlisten   127.0.0.1:4747  default\n"
    );
}

#[tokio::test]
async fn accounts_have_their_own_functions_and_keys() {
    let stage = Stage::new().await;
    stage.run(&["account", "add", "two"]).await.good();
    stage.run(&["account", "add", "two"]).await.failed(4);
    let listed = stage.run(&["account", "ls"]).await.good();
    assert!(listed.contains("test      two      KEYtwo  test/two/here"), "{listed}");
    let exports = stage.run(&["env", "test", "--account", "two"]).await.good();
    let endpoint = stage.served.endpoint();
    assert_eq!(
        exports,
        format!("export TEST_KEY='KEYtwo'\nexport TEST_SECRET='it'\\''s $ecret'\nexport TEST_ENDPOINT='{endpoint}'\n")
    );
    // A shell takes them as they are.
    let script = format!("{exports}printf %s \"$TEST_SECRET\"");
    let mut shell = tokio::process::Command::new("/bin/sh");
    let said = run({
        shell
            .args(["-c", &script])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        shell
    });
    assert_eq!(said.await.good(), "it's $ecret");
    stage.run(&["env", "nobody"]).await.failed(3);
    stage.run(&["account", "rm", "two"]).await.good();
    stage.run(&["account", "rm", "two"]).await.failed(3);
}

#[tokio::test]
async fn logs_runs_and_usage_are_readable() {
    let stage = Stage::new().await;
    stage.write("f.py", PYTHON);
    stage.run(&["deploy", "f.py"]).await.good();
    for event in ["1", "\"fail\""] {
        stage.run(&["invoke", "f", event]).await;
    }
    let lines = stage.run(&["logs", "f", "--limit", "3"]).await.good();
    assert_eq!(
        lines
            .lines()
            .map(|line| line.split("   ").last().unwrap())
            .collect::<Vec<_>>(),
        ["done", "got an event", "done"]
    );
    let one: serde_json::Value = serde_json::from_str(
        stage
            .run(&["logs", "f", "--limit", "1", "--output", "json"])
            .await
            .good()
            .trim(),
    )
    .unwrap();
    assert_eq!(one["text"], "done");
    assert!(
        stage
            .run(&["logs", "f", "--since", "soon"])
            .await
            .failed(4)
            .contains("hint: write an age")
    );

    let mut following = stage.command(&["logs", "f", "-f", "--limit", "0"]).spawn().unwrap();
    let mut live = BufReader::new(following.stdout.take().unwrap()).lines();
    // Whenever the reader begins to listen: what is printed after that comes.
    let next = tokio::time::timeout(std::time::Duration::from_secs(60), async {
        loop {
            stage.run(&["invoke", "f", "1"]).await;
            let line = tokio::time::timeout(std::time::Duration::from_millis(200), live.next_line()).await;
            if let Ok(line) = line {
                return line.unwrap().unwrap();
            }
        }
    });
    assert!(next.await.unwrap().contains("got an event"));
    stage.served.begin_stop();
    assert!(
        following.wait().await.unwrap().success(),
        "a followed log ends with the platform"
    );
}

#[tokio::test]
async fn usage_has_amounts() {
    let stage = Stage::new().await;
    stage.write("f.py", PYTHON);
    stage.run(&["deploy", "f.py"]).await.good();
    stage.run(&["invoke", "f", "1"]).await.good();
    stage.served.adapter().clock.advance(std::time::Duration::from_secs(1));
    let usage = stage.run(&["usage"]).await;
    assert!(
        usage
            .stderr
            .starts_with("from 2025-12-02T00:00:01Z until 2026-01-01T00:00:01Z"),
        "{}",
        usage.stderr
    );
    let rows: Vec<String> = usage
        .good()
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        rows,
        [
            "FUNCTION MEMORY RUNS ERRORS COLD TIME BILLED AMOUNT",
            "f 128 MiB 1 0 1 0.002 s 0.002 s 1 USD",
            "total 1 USD"
        ]
    );
    stage.run(&["usage", "--since", "2026-02-01"]).await.failed(4);
}

#[tokio::test]
async fn a_wrong_token_and_a_reader_that_leaves() {
    let stage = Stage::new().await;
    let mut wrong = stage.command(&["ls"]);
    wrong.env("SONAGI_TOKEN", "sonagi_wrong");
    let error = run(wrong).await.failed(4);
    assert!(
        error.starts_with("error: the bearer token is not this platform's\nhint: "),
        "{error}"
    );

    let mut listing = stage.command(&["completions", "bash"]).spawn().unwrap();
    drop(listing.stdout.take());
    assert!(
        listing.wait().await.unwrap().success(),
        "nobody reads: no reason to complain"
    );
}

#[tokio::test]
async fn the_doctor_works_with_and_without_a_platform() {
    let stage = Stage::new().await;
    let with = stage.run(&["doctor", "--output", "json"]).await;
    let report: serde_json::Value = serde_json::from_str(&with.stdout).unwrap();
    let state = |name: &str| {
        report["checks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|check| check["name"] == name)
            .unwrap()["state"]
            .clone()
    };
    assert_eq!(
        (state("kernel"), state("cgroups"), state("platform")),
        ("ok".into(), "ok".into(), "ok".into())
    );
    fs::remove_file(stage.home.path().join("data/endpoint")).unwrap();
    let without = stage.run(&["doctor"]).await.good();
    assert!(without.contains("warn  platform"), "{without}");
}

#[tokio::test]
async fn events_are_followed_replayed_and_redriven() {
    let stage = Stage::new().await;
    stage.write("echo.py", PYTHON);
    stage.run(&["deploy", "echo.py"]).await.good();
    let good = stage.run(&["invoke", "echo", "--async", "[1]"]).await.good();
    let bad = stage.run(&["invoke", "echo", "--async", "\"fail\""]).await.good();
    let life = stage.json(&["events", good.trim()]).await;
    assert_eq!(
        (life["event"]["state"].as_str(), life["attempts"][0]["status"].as_str()),
        (Some("succeeded"), Some("success"))
    );
    assert_eq!(stage.run(&["events", good.trim(), "--content"]).await.good(), "[1]");
    let listed = stage.json(&["events", "echo"]).await;
    assert_eq!(listed["events"].as_array().unwrap().len(), 2);
    let replayed = stage.json(&["replay", good.trim()]).await;
    assert_eq!(replayed["origin"], life["event"]["id"]);
    let new = replayed["id"].as_str().unwrap();
    assert_eq!(stage.json(&["events", new]).await["event"]["state"], "waiting");
    let cancelled = stage.run(&["events", new, "--cancel"]).await.good();
    assert_eq!(cancelled, format!("cancelled {new}\n"));
    stage.run(&["events", new, "--cancel"]).await.failed(4);

    let letters = stage.json(&["dlq", "ls"]).await;
    let letter = letters["events"][0]["id"].as_str().unwrap();
    assert_eq!(letters["events"][0]["state"], "retries_exhausted");
    let shown = stage.run(&["dlq", "show", bad.trim()]).await;
    assert!(
        shown.stderr.contains(&format!("next: sonagi dlq redrive {letter}")),
        "{}",
        shown.stderr
    );
    assert!(shown.good().ends_with("\n\n\"fail\"\n"));
    stage
        .run(&["dlq", "redrive", "--all", "--function", "echo"])
        .await
        .good();
    assert_eq!(stage.json(&["dlq", "ls"]).await["events"], serde_json::json!([]));
    stage.run(&["dlq", "redrive", letter]).await.failed(3);
    stage.run(&["dlq", "drop", letter]).await.failed(3);
    stage.run(&["dlq", "show", good.trim()]).await.failed(3);
    stage.run(&["invoke", "echo", "--async", "\"fail\""]).await.good();
    assert_eq!(stage.run(&["dlq", "drop", "--all"]).await.good(), "dropped 1\n");
    let totals = stage.json(&["events", "--totals"]).await;
    assert_eq!(
        (totals["missing"].as_i64(), totals["letters"].as_u64()),
        (Some(0), Some(0))
    );
}
