//! Backups of a working platform, restored elsewhere.

use serde_json::json;
use sonagi_e2e::{call, deploy};
use sonagi_testkit::platform::PATIENCE;
use sonagi_testkit::{Platform, Project, Setup, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_platform_goes_on_where_the_backup_was_made() {
    let platform = Platform::up().await;
    let project = Project::python(
        "kept",
        "def handler(event, context):\n    return [event, 1 // event['n']]\n",
    );
    deploy(&platform, &project, &[]).await;
    let before = call(&platform, "kept", &json!({"n": 1})).await;
    let failing = platform.native("POST", "/functions/kept/send", r#"{"n":0}"#).await;
    let invocation = failing["invocation"].as_str().expect("an invocation").to_owned();
    until("the first attempt", PATIENCE, async || {
        let life = platform.native("GET", &format!("/events/{invocation}"), "").await;
        (life["event"]["state"] == "waiting" && life["event"]["attempts"] == 1).then_some(())
    })
    .await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (backup, data) = (folder.path().join("backup"), folder.path().join("data"));
    let report = platform.cli().json(&["backup", backup.to_str().expect("text")]).await;
    assert!(report["files"].as_u64() > Some(2), "{report}");
    let restored = platform
        .cli()
        .json(&[
            "restore",
            backup.to_str().expect("text"),
            "--data",
            data.to_str().expect("text"),
            "--key-file",
            platform.data().join("master.key").to_str().expect("text"),
        ])
        .await;
    assert_eq!(restored["bytes"], report["bytes"]);

    // Both run side by side: the copy is a node of its own.
    let copy = Setup::new().set("retry-delays", "10ms").data(&data).start().await;
    assert_eq!(call(&copy, "kept", &json!({"n": 1})).await, before);
    let life = copy.native("GET", &format!("/events/{invocation}"), "").await;
    assert_eq!(
        (&life["event"]["state"], &life["attempts"][0]["status"]),
        (&json!("waiting"), &json!("function_error"))
    );
    let cancelled = copy.native("DELETE", &format!("/events/{invocation}"), "").await;
    assert_eq!(cancelled["over"], true);
    let runs = copy.native("GET", "/runs?function=kept", "").await;
    assert!(runs["runs"].as_array().map(Vec::len) >= Some(3), "{runs}");
}
