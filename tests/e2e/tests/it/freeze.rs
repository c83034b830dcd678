//! An idle instance does not run.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use sonagi_e2e::{call, deploy};
use sonagi_testkit::platform::PATIENCE;
use sonagi_testkit::{Project, Setup, until};
use tokio::time::Instant;

/// Counts in the background, at most once a millisecond, and answers with the count.
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

/// How far below the platform's groups those of instances are at most.
const DEPTH: usize = 4;

/// Whether the kernel says that a group or one below it is frozen, by either version of control groups.
fn has_frozen(group: &Path, depth: usize) -> bool {
    let read = |name: &str| fs::read_to_string(group.join(name)).unwrap_or_default();
    let is_frozen =
        read("freezer.state").trim() == "FROZEN" || read("cgroup.events").lines().any(|line| line == "frozen 1");
    let below = || fs::read_dir(group).into_iter().flatten().flatten();
    is_frozen || depth > 0 && below().any(|entry| entry.path().is_dir() && has_frozen(&entry.path(), depth - 1))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_between_calls() {
    // Nothing prepared: the only group that can be frozen is the instance's.
    let platform = Setup::new().set("freeze-after", "20ms").set("cells", 0).start().await;
    deploy(&platform, &Project::python("frozen", SOURCE), &[]).await;
    let begun = Instant::now();
    let before = call(&platform, "frozen", &json!({})).await.as_u64().unwrap();
    until("a frozen instance", PATIENCE, async || {
        let groups = platform.leftovers().groups;
        groups.iter().any(|group| has_frozen(group, DEPTH)).then_some(())
    })
    .await;
    let awake = begun.elapsed();
    // Time itself is what is tested: three seconds in which a running thread would count to some thousand.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let begun = Instant::now();
    let after = call(&platform, "frozen", &json!({})).await.as_u64().unwrap();
    let most = (awake + begun.elapsed()).as_millis() as u64 + 50;
    assert!(
        after - before <= most,
        "it counted from {before} to {after}, more than in the {most} ms in which it was awake"
    );
    assert_eq!(sonagi_e2e::runs(&platform, "frozen").await[0]["start"], "warm");
}
