//! What a function finds inside: the platform's own API through the real SDK, and nothing else.

use serde_json::json;
use sonagi_e2e::{attempt, call, deploy, python};
use sonagi_testkit::{Platform, Project, installed};

#[tokio::test(flavor = "multi_thread")]
async fn a_function_calls_another_with_the_real_sdk() {
    let platform = Platform::up().await;
    deploy(&platform, &python("callee", "{'called with': event}"), &[]).await;
    let source = r"
import json, boto3
client = boto3.client('lambda')
def handler(event, context):
    answer = client.invoke(FunctionName='callee', Payload=json.dumps(event))
    return json.loads(answer['Payload'].read())
";
    let caller = Project::python("caller", source).with_copy(&installed("python/boto3-bundle"), ".");
    deploy(&platform, &caller, &["--memory", "512", "--timeout", "30s"]).await;
    assert_eq!(
        call(&platform, "caller", &json!({"n": 1})).await,
        json!({"called with": {"n": 1}})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_other_network_and_no_way_to_write_elsewhere() {
    let platform = Platform::up().await;
    let source = r"
import os, socket
def tried(what):
    try:
        what()
        return 'done'
    except OSError as error:
        return 'refused'
def handler(event, context):
    return {
        'outside': tried(lambda: socket.create_connection(('198.51.100.1', 80), 2)),
        'platform': tried(lambda: socket.create_connection(('127.0.0.1', event['port']), 2)),
        'task': tried(lambda: open('/var/task/x', 'w')),
        'root': tried(lambda: open('/x', 'w')),
        'tmp': tried(lambda: open('/tmp/x', 'w')),
        'uid': os.getuid() != 0,
        'pids': sorted(int(p) for p in os.listdir('/proc') if p.isdigit())[:1],
    }
";
    deploy(&platform, &Project::python("walled", source), &[]).await;
    let seen = call(&platform, "walled", &json!({"port": platform.port()})).await;
    let expected = json!({
        "outside": "refused", "platform": "refused", "task": "refused", "root": "refused", "tmp": "done", "uid": true,
        "pids": seen["pids"],
    });
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn scratch_space_is_limited() {
    let platform = Platform::up().await;
    let source = r"
def handler(event, context):
    with open('/tmp/big', 'wb') as out:
        for _ in range(event['mib']):
            out.write(b'x' * 1048576)
    return 'written'
";
    deploy(
        &platform,
        &Project::python("scratch", source),
        &["--memory", "1769", "--timeout", "60s"],
    )
    .await;
    assert_eq!(call(&platform, "scratch", &json!({"mib": 400})).await, json!("written"));
    let (failed, error) = attempt(&platform, "scratch", &json!({"mib": 600})).await;
    assert!(
        failed && error["errorMessage"].as_str().unwrap_or_default().contains("No space"),
        "{error}"
    );
}
