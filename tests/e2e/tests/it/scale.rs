//! From one instance to many and to the limits.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use sonagi_e2e::{deploy, log_lines, python, runs};
use sonagi_testkit::platform::PATIENCE;
use sonagi_testkit::{Platform, Setup, until};
use tokio::task::JoinSet;

/// Calls a function many times at once; statuses and bodies.
async fn at_once(platform: &Arc<Platform>, name: &str, number: usize, event: &Value) -> Vec<(u16, String)> {
    let mut calls = JoinSet::new();
    for _ in 0..number {
        let (platform, path, event) = (
            Arc::clone(platform),
            format!("/functions/{name}/invoke"),
            event.to_string(),
        );
        calls.spawn(async move {
            let answer = platform.native_answer("POST", &path, event).await;
            (answer.status.as_u16(), answer.text())
        });
    }
    calls.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_concurrent_call_has_an_instance_of_its_own() {
    let platform = Arc::new(Platform::up().await);
    deploy(
        &platform,
        &python("wide", "(time.sleep(event['s']), 'done')[1]"),
        &["--timeout", "60s"],
    )
    .await;
    let answers = at_once(&platform, "wide", 20, &json!({"s": 3})).await;
    assert!(
        answers.iter().all(|answer| *answer == (200, "\"done\"".to_owned())),
        "{answers:?}"
    );
    let instances: BTreeSet<_> = runs(&platform, "wide")
        .await
        .iter()
        .map(|run| run["instance"].to_string())
        .collect();
    assert_eq!(instances.len(), 20);

    // Warm again: no new instance, the one used last first.
    for _ in 0..3 {
        at_once(&platform, "wide", 1, &json!({"s": 0})).await;
    }
    let newest: Vec<_> = runs(&platform, "wide").await.into_iter().take(3).collect();
    assert!(
        newest
            .iter()
            .all(|run| run["start"] == "warm" && run["instance"] == newest[0]["instance"]),
        "{newest:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_reserved_is_refused_at_once() {
    let platform = Arc::new(Platform::up().await);
    // Longer than the test: its first two calls are under way until the platform ends.
    let endless = python("capped", "(print('begun', flush=True), time.sleep(600))");
    deploy(&platform, &endless, &["--timeout", "900s"]).await;
    let settings = json!({"reserved_concurrency": 2}).to_string();
    platform.native("PATCH", "/functions/capped", settings).await;
    let (held, begun) = (Arc::clone(&platform), Arc::clone(&platform));
    let refused = async {
        until("two calls under way", PATIENCE, async || {
            let lines = log_lines(&begun, "capped").await;
            (lines.iter().filter(|line| line["text"] == "begun").count() == 2).then_some(())
        })
        .await;
        at_once(&platform, "capped", 4, &json!({})).await
    };
    let nothing = json!({});
    let answers = tokio::select! {
        ended = at_once(&held, "capped", 2, &nothing) => panic!("{ended:?}"),
        answers = refused => answers,
    };
    assert!(answers.iter().all(|(status, _)| *status == 429), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_has_a_limit_too() {
    let platform = Arc::new(Setup::new().set("account-concurrency", 101).start().await);
    deploy(
        &platform,
        &python("one", "(time.sleep(event['s']), 'done')[1]"),
        &["--timeout", "20s"],
    )
    .await;
    platform
        .native(
            "PATCH",
            "/functions/one",
            json!({"reserved_concurrency": 1}).to_string(),
        )
        .await;
    let over = platform
        .native_answer(
            "PATCH",
            "/functions/one",
            json!({"reserved_concurrency": 2}).to_string(),
        )
        .await;
    assert_eq!(over.status, 400, "{}", over.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_instances_make_room_for_others() {
    // Room for two instances of 256 MiB: the third evicts an idle one, and a busy one is never touched.
    let platform = Arc::new(Setup::new().set("node-memory", 600).start().await);
    for name in ["a", "b", "c"] {
        deploy(&platform, &python(name, "'here'"), &["--memory", "256"]).await;
    }
    for name in ["a", "b", "c", "a"] {
        let answers = at_once(&platform, name, 1, &json!({})).await;
        assert_eq!(answers, [(200, "\"here\"".to_owned())], "{name}");
    }
}
