//! One function from its first deployment to its removal, with the command line.

use serde_json::json;
use sonagi_e2e::{call, deploy, python, runs};
use sonagi_testkit::platform::PATIENCE;
use sonagi_testkit::{Platform, Project, until};

#[tokio::test(flavor = "multi_thread")]
async fn deploy_call_change_and_remove() {
    let platform = Platform::up().await;
    let project = python("story", "{'one': event.get('n'), 'v': context.function_version}");
    let first = deploy(&platform, &project, &[]).await;
    assert_eq!(
        (first["name"].as_str(), first["created"].as_bool()),
        (Some("story"), Some(true)),
        "{first}"
    );
    assert!(
        first["digest"].as_str().is_some_and(|digest| digest.len() >= 64),
        "{first}"
    );

    // Inline, from a file, from standard input; the answer alone on standard output.
    let answer = platform
        .cli()
        .run(&["invoke", "story", r#"{"n":1}"#])
        .await
        .expect("invoke");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&answer).unwrap(),
        json!({"one": 1, "v": "$LATEST"})
    );
    let url = first["url"].as_str().expect("a URL");
    let called = platform.http().call_url(url, "/", r#"{"n":2}"#).await.unwrap();
    assert_eq!(called.status, 200, "{}", called.text());

    project.write("app.py", "def handler(event, context):\n    return 'two'\n");
    let second = deploy(&platform, &project, &[]).await;
    assert_eq!(second["created"].as_bool(), Some(false));
    assert_ne!(first["revision"], second["revision"]);
    assert_eq!(call(&platform, "story", &json!({})).await, json!("two"));

    let shown = platform.cli().json(&["show", "story"]).await;
    assert_eq!(shown["digest"], second["digest"], "{shown}");
    let listed = platform.cli().run(&["ls"]).await.expect("ls");
    assert!(listed.contains("story"), "{listed}");

    let _ = platform.cli().run(&["rm", "story"]).await.expect("rm");
    let gone = platform
        .cli()
        .run(&["invoke", "story", "{}"])
        .await
        .expect_failure("invoke of a removed function");
    assert!(gone.contains("story"), "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_source_is_the_same_digest() {
    let platform = Platform::up().await;
    let source = "'x'";
    let first = deploy(&platform, &python("twice", source), &[]).await;
    let second = deploy(&platform, &python("twice", source), &[]).await;
    assert_eq!(first["digest"], second["digest"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_aliases_and_rollback() {
    let platform = Platform::up().await;
    let project = python("moved", "'one'");
    deploy(&platform, &project, &[]).await;
    let _ = platform
        .cli()
        .run(&["versions", "moved", "--publish"])
        .await
        .expect("publish");
    project.write("app.py", "def handler(event, context):\n    return 'two'\n");
    deploy(&platform, &project, &[]).await;
    let _ = platform
        .cli()
        .run(&["versions", "moved", "--publish"])
        .await
        .expect("publish");
    let versions = platform.native("GET", "/functions/moved/versions", "").await;
    let labels: Vec<_> = versions["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["label"].clone())
        .collect();
    assert!(
        labels.contains(&json!("1")) && labels.contains(&json!("2")),
        "{versions}"
    );

    let alias = json!({"version": "1"}).to_string();
    platform.native("PUT", "/functions/moved/aliases/live", alias).await;
    let by_alias = platform
        .cli()
        .run(&["invoke", "moved", "--qualifier", "live", "{}"])
        .await
        .expect("invoke by alias");
    assert_eq!(by_alias.trim(), "\"one\"");

    assert_eq!(call(&platform, "moved", &json!({})).await, json!("two"));
    let _ = platform.cli().run(&["rollback", "moved"]).await.expect("rollback");
    assert_eq!(call(&platform, "moved", &json!({})).await, json!("one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_and_usage_count_every_attempt_once() {
    let platform = Platform::up().await;
    deploy(&platform, &python("counted", "1 // event['n']"), &["--memory", "256"]).await;
    for n in [1, 1, 1] {
        call(&platform, "counted", &json!({"n": n})).await;
    }
    let (failed, error) = sonagi_e2e::attempt(&platform, "counted", &json!({"n": 0})).await;
    assert!(failed && error["errorType"] == "ZeroDivisionError", "{error}");

    let runs = runs(&platform, "counted").await;
    let starts: Vec<_> = runs.iter().map(|run| run["start"].as_str().unwrap()).collect();
    assert_eq!(starts, ["warm", "warm", "warm", "cold"], "{runs:?}");
    assert_eq!(runs[0]["status"], "function_error");
    let cold = &runs[3];
    assert!(cold["phases"]["init_us"].as_u64().unwrap() > 0, "{cold}");
    assert!(
        cold["init_us"].as_u64().unwrap() > 0 && cold["memory_mib"] == 256,
        "{cold}"
    );

    let usage = platform.cli().json(&["usage"]).await;
    let row = usage["rows"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["name"] == "counted")
        .expect("a row")
        .clone();
    assert_eq!(
        (
            row["attempts"].as_u64(),
            row["errors"].as_u64(),
            row["cold_starts"].as_u64()
        ),
        (Some(4), Some(1), Some(1))
    );
    let billed: u64 = runs.iter().map(|run| run["billed_ms"].as_u64().unwrap()).sum();
    assert_eq!(row["billed_ms"].as_u64(), Some(billed));
    assert_eq!(row["amount"]["currency"], "USD", "{row}");

    // One invocation by its id: where the time went, for people and for programs.
    let id = cold["invocation"].as_str().unwrap();
    let text = platform.cli().run(&["runs", id]).await.expect("runs ID");
    assert!(text.contains("init"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_are_set_and_removed() {
    let platform = Platform::up().await;
    let project = python("varied", "[os.environ.get('AA'), os.environ.get('BB')]");
    deploy(&platform, &project, &["--env", "AA=1"]).await;
    assert_eq!(call(&platform, "varied", &json!({})).await, json!(["1", null]));
    deploy(&platform, &project, &["--env", "BB=x=y"]).await;
    assert_eq!(call(&platform, "varied", &json!({})).await, json!(["1", "x=y"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_event_runs_and_is_retried() {
    let platform = sonagi_testkit::Setup::new()
        .set("retry-delays", "100ms,200ms")
        .start()
        .await;
    deploy(&platform, &python("later", "1 // event['n']"), &[]).await;
    platform.native("POST", "/functions/later/send", r#"{"n":1}"#).await;
    platform.native("POST", "/functions/later/send", r#"{"n":0}"#).await;
    let seen = until("four attempts", PATIENCE, async || {
        let seen = runs(&platform, "later").await;
        (seen.len() >= 4).then_some(seen)
    });
    let seen = seen.await;
    let failed: Vec<_> = seen.iter().filter(|run| run["status"] == "function_error").collect();
    assert_eq!(failed.len(), 3, "{seen:?}");
    let mut attempts: Vec<_> = failed.iter().map(|run| run["attempt"].as_u64().unwrap()).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [1, 2, 3]);
    assert!(failed.iter().all(|run| run["invocation"] == failed[0]["invocation"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn node_and_bash_projects_are_recognized() {
    let platform = Platform::up().await;
    let node = Project::node("in-node", "export const handler = async (event) => ({ got: event });\n");
    deploy(&platform, &node, &[]).await;
    assert_eq!(
        call(&platform, "in-node", &json!({"a": 1})).await,
        json!({"got": {"a": 1}})
    );
    let bash = Project::new("in-bash").with_copy(
        &sonagi_testkit::checkout("examples/bash-bootstrap/bootstrap"),
        "bootstrap",
    );
    deploy(&platform, &bash, &[]).await;
    assert_eq!(
        call(&platform, "in-bash", &json!({"a": 1})).await,
        json!({"echo": {"a": 1}})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_answers_for_help() {
    let platform = Platform::up().await;
    for command in [
        "up",
        "new",
        "deploy",
        "invoke",
        "logs",
        "runs",
        "events",
        "replay",
        "dlq",
        "show",
        "ls",
        "rm",
        "env",
        "config",
        "usage",
        "versions",
        "alias",
        "rollback",
        "account",
        "backup",
        "restore",
        "doctor",
        "completions",
    ] {
        let help = platform.cli().run(&[command, "--help"]).await.expect(command);
        assert!(help.contains("Usage:"), "{command}: {help}");
    }
    let doctor = platform.cli().json(&["doctor"]).await;
    assert!(
        doctor.to_string().contains("cgroup") || doctor.to_string().contains("control group"),
        "{doctor}"
    );
}
