//! Start, stop, restart and sudden death of the platform.

use std::time::Duration;

use serde_json::json;
use sonagi_e2e::{call, deploy, python, runs};
use sonagi_testkit::platform::PATIENCE;
use sonagi_testkit::{Client, Platform, until};
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_brings_everything_back() {
    let mut platform = Platform::up().await;
    deploy(&platform, &python("kept", "'here'"), &["--env", "AA=1"]).await;
    call(&platform, "kept", &json!({})).await;
    let before = platform.cli().json(&["show", "kept"]).await;
    let usage = platform.native("GET", "/usage", "").await["rows"].clone();
    platform.stop().await;
    assert!(platform.leftovers().is_empty(), "{:?}", platform.leftovers());
    platform.start().await;
    let mut after = platform.cli().json(&["show", "kept"]).await;
    // The URL names the port, which is another one now.
    after["url"] = before["url"].clone();
    assert_eq!(after, before);
    assert_eq!(platform.native("GET", "/usage", "").await["rows"], usage);
    assert_eq!(call(&platform, "kept", &json!({})).await, json!("here"));
    assert_eq!(runs(&platform, "kept").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_directory_is_refused() {
    let platform = Platform::up().await;
    deploy(&platform, &python("undisturbed", "'here'"), &[]).await;
    let refused = platform.start_second().await.expect_failure("a second process");
    assert!(
        refused.contains("in use") || refused.contains("already") || refused.contains("another"),
        "{refused}"
    );
    assert_eq!(call(&platform, "undisturbed", &json!({})).await, json!("here"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_calls_finish() {
    let mut platform = Platform::up().await;
    let project = python("slow", "(print('begun', flush=True), time.sleep(2), 'finished')[2]");
    deploy(&platform, &project, &["--timeout", "20s"]).await;
    let stopped = async {
        until("the call under way", PATIENCE, async || {
            let lines = sonagi_e2e::log_lines(&platform, "slow").await;
            lines.iter().any(|line| line["text"] == "begun").then_some(())
        })
        .await;
        platform.ask_to_stop();
    };
    let event = json!({});
    let (answer, ()) = tokio::join!(call(&platform, "slow", &event), stopped);
    assert_eq!(answer, json!("finished"));
    assert!(platform.ended().await.success());
    assert!(platform.leftovers().is_empty(), "{:?}", platform.leftovers());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_at_once() {
    let mut platform = Platform::up().await;
    let project = python("endless", "(print('begun', flush=True), time.sleep(300))");
    deploy(&platform, &project, &["--timeout", "600s"]).await;
    platform.native("POST", "/functions/endless/send", "{}").await;
    until("the call under way", PATIENCE, async || {
        let lines = sonagi_e2e::log_lines(&platform, "endless").await;
        lines.iter().any(|line| line["text"] == "begun").then_some(())
    })
    .await;
    let begun = Instant::now();
    platform.ask_to_stop();
    until("the first signal noticed", PATIENCE, async || {
        platform.log().contains("stopping").then_some(())
    })
    .await;
    platform.ask_to_stop();
    platform.ended().await;
    // Far from the end of the call.
    assert!(begun.elapsed() < Duration::from_secs(200));
    assert!(platform.leftovers().is_empty(), "{:?}", platform.leftovers());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_sudden_death_the_next_start_removes_everything() {
    let mut platform = Platform::up().await;
    deploy(
        &platform,
        &python("victim", "(open('/tmp/x', 'w').write('x'), os.getpid())[1]"),
        &[],
    )
    .await;
    call(&platform, "victim", &json!({})).await;
    assert!(!platform.leftovers().processes.is_empty(), "an instance is idle");
    platform.kill().await;
    platform.start().await;
    assert_eq!(
        runs(&platform, "victim").await.len(),
        1,
        "the run of the earlier life is recorded"
    );
    call(&platform, "victim", &json!({})).await;
    platform.stop().await;
    assert!(platform.leftovers().is_empty(), "{:?}", platform.leftovers());
}

/// Creates, updates, publishes and tags in a loop and prints each name only after the platform has acknowledged it.
const WRITER: &str = r#"
import io, sys, zipfile, boto3, botocore.config
def zipped(text):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        out.writestr("app.py", "def handler(event, context):\n    return %r\n" % text)
    return buffer.getvalue()
client = boto3.client("lambda", config=botocore.config.Config(retries={"total_max_attempts": 1}))
for number in range(10000):
    name = "%s-%d" % (sys.argv[1], number)
    try:
        client.create_function(FunctionName=name, Runtime="python3.11", Handler="app.handler",
            Role="arn:aws:iam::000000000000:role/r", Code={"ZipFile": zipped(name)})
        print("made", name, flush=True)
        client.publish_version(FunctionName=name)
        print("published", name, flush=True)
        client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
        print("aliased", name, flush=True)
        client.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
        print("sent", name, flush=True)
    except Exception:
        sys.exit(0)
"#;

/// What must be there after the restart.
const READER: &str = r#"
import sys, boto3
client = boto3.client("lambda")
for line in sys.argv[1].split(";"):
    what, name = line.split(" ")
    if what == "made":
        client.get_function(FunctionName=name)
    elif what == "published":
        assert client.get_function(FunctionName=name, Qualifier="1")
    elif what == "aliased":
        assert client.get_alias(FunctionName=name, Name="live")["FunctionVersion"] == "1"
names = [line.split(" ")[1] for line in sys.argv[1].split(";") if line.startswith("made ")]
for name in names[:3] + names[-3:]:
    assert name in client.invoke(FunctionName=name)["Payload"].read().decode()
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_sudden_death() {
    let mut platform = Platform::up().await;
    for (life, millis) in [150, 420, 730].into_iter().enumerate() {
        let environment = platform.aws().await;
        let prefix = format!("life{life}");
        let arguments = ["-c", WRITER, prefix.as_str()];
        let death = async {
            // The moment differs from life to life, counted from the second function: by then the writer has said that the
            // first one was acknowledged.
            let second = format!("/functions/{prefix}-1");
            until("the second function", PATIENCE, async || {
                platform
                    .native_answer("GET", &second, "")
                    .await
                    .status
                    .is_success()
                    .then_some(())
            })
            .await;
            tokio::time::sleep(Duration::from_millis(millis)).await;
            platform.kill_now();
        };
        let (written, ()) = tokio::join!(Client::Boto3.run(arguments, &environment), death);
        platform.ended().await;
        let acknowledged: Vec<_> = written.stdout.lines().map(str::to_owned).collect();
        assert!(!acknowledged.is_empty(), "{}", written.stderr);
        platform.start().await;
        let list = acknowledged.join(";");
        let _ = Client::Boto3
            .run(["-c", READER, list.as_str()], &platform.aws().await)
            .await
            .expect("what was acknowledged");
        for name in acknowledged.iter().filter_map(|line| line.strip_prefix("sent ")) {
            until(&format!("the run of the event for {name}"), PATIENCE, async || {
                (!runs(&platform, name).await.is_empty()).then_some(())
            })
            .await;
        }
    }
}
