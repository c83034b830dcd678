//! An idle instance does not run.

use std::time::Duration;

use serde_json::json;
use sonagi_e2e::{call, deploy};
use sonagi_testkit::{Project, Setup};

/// Counts in the background and answers with the count.
const SOURCE: &str = r"
import threading, time
count = 0
def work():
    global count
    while True:
        count += 1
        time.sleep(0.001)
threading.Thread(target=work, daemon=True).start()
def handler(event, context):
    return count
";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_between_calls() {
    let platform = Setup::new().set("freeze-after", "20ms").start().await;
    deploy(&platform, &Project::python("frozen", SOURCE), &[]).await;
    let before = call(&platform, "frozen", &json!({})).await.as_u64().unwrap();
    // Time itself is what is tested: two seconds in which a running thread would count to some thousand.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = call(&platform, "frozen", &json!({})).await.as_u64().unwrap();
    assert!(
        after - before < 500,
        "it counted from {before} to {after} while it was idle"
    );
    assert_eq!(sonagi_e2e::runs(&platform, "frozen").await[0]["start"], "warm");
}
