//! Every line a function writes, in order, per invocation, bounded.

use serde_json::json;
use sonagi_e2e::{call, deploy, log_lines, python};
use sonagi_testkit::platform::PATIENCE;
use sonagi_testkit::{Platform, Project, until};

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_kept_in_order_and_by_invocation() {
    let platform = Platform::up().await;
    let source = r"
import sys
def handler(event, context):
    for i in range(50):
        print('line', i, file=sys.stdout if i % 2 else sys.stderr, flush=True)
    return context.aws_request_id
";
    deploy(&platform, &Project::python("wordy", source), &[]).await;
    for _ in 0..2 {
        let id = call(&platform, "wordy", &json!({})).await;
        let lines = until("all lines", PATIENCE, async || {
            let lines = log_lines(&platform, "wordy").await;
            let own = lines
                .into_iter()
                .filter(|line| line["invocation"] == id && line["source"] == "function");
            Some(own.collect::<Vec<_>>()).filter(|own| own.len() >= 50)
        });
        let texts: Vec<_> = lines
            .await
            .iter()
            .map(|line| line["text"].as_str().unwrap().to_owned())
            .collect();
        let expected: Vec<_> = (0..50).map(|i| format!("line {i}")).collect();
        assert_eq!(texts, expected);
    }
    until("the report behind the lines", PATIENCE, async || {
        let shown = platform.cli().run(&["logs", "wordy"]).await.expect("logs");
        (shown.contains("line 49") && shown.contains("REPORT")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_cut_and_marked() {
    let platform = Platform::up().await;
    // More than one invocation may keep (4 MiB), in lines of about 1 KB.
    let source = "def handler(event, context):\n    for i in range(8000): print(i, 'x' * 1000)\n    return 'done'\n";
    deploy(
        &platform,
        &Project::python("flood", source),
        &["--timeout", "60s", "--memory", "256"],
    )
    .await;
    assert_eq!(call(&platform, "flood", &json!({})).await, json!("done"));
    let marked = until("the mark", PATIENCE, async || {
        let answer = platform
            .native_answer("GET", "/functions/flood/logs?limit=10000", "")
            .await;
        let text = answer.text();
        text.contains("\"truncated\":true").then_some(text)
    });
    assert!(marked.await.len() < 8_000_000);

    let long = python("long-line", "print('y' * 200000)");
    deploy(&platform, &long, &[]).await;
    call(&platform, "long-line", &json!({})).await;
    until("the cut line", PATIENCE, async || {
        let lines = log_lines(&platform, "long-line").await;
        lines.iter().any(|line| line["truncated"] == true).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn following_shows_lines_as_they_come() {
    use tokio::io::{AsyncBufReadExt, BufReader};

    let platform = Platform::up().await;
    deploy(
        &platform,
        &python("followed", "print('seen', event['n'], flush=True)"),
        &[],
    )
    .await;
    let mut command = platform.cli().command(&["logs", "followed", "-f"]);
    let mut follower = command
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("logs -f");
    let mut lines = BufReader::new(follower.stdout.take().expect("its output")).lines();
    for n in 0..3 {
        call(&platform, "followed", &json!({"n": n})).await;
        let wanted = format!("seen {n}");
        let seen = async {
            while let Some(line) = lines.next_line().await.expect("a line") {
                if line.contains(&wanted) {
                    return;
                }
            }
            panic!("logs -f ended")
        };
        tokio::time::timeout(PATIENCE, seen).await.expect("the line in time");
    }
    follower.kill().await.expect("it can be ended");
}
