//! The ways in which a function ends badly are told apart, and none harms the next call.

use serde_json::{Value, json};
use sonagi_e2e::{attempt, call, deploy, runs};
use sonagi_testkit::{Platform, Project};

const SOURCE: &str = r"
import os, signal, sys, time
def handler(event, context):
    how = event.get('how')
    if how == 'raise':
        raise ValueError('no')
    if how == 'hang':
        time.sleep(60)
    if how == 'exit':
        os._exit(3)
    if how == 'signal':
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == 'memory':
        hold = [b'x' * 1048576 for _ in range(1024)]
    return 'fine'
";

#[tokio::test(flavor = "multi_thread")]
async fn each_end_has_its_name() {
    let platform = Platform::up().await;
    deploy(
        &platform,
        &Project::python("ends", SOURCE),
        &["--timeout", "60s", "--memory", "128"],
    )
    .await;
    // Only where a time-out is meant may there be a short one.
    deploy(&platform, &Project::python("hangs", SOURCE), &["--timeout", "2s"]).await;
    let cases: [(&str, &str, &str); 5] = [
        ("raise", "function_error", "ValueError"),
        ("hang", "timeout", "Sandbox.Timedout"),
        ("exit", "crash", "Runtime.ExitError"),
        ("signal", "crash", "Runtime.ExitError"),
        ("memory", "out_of_memory", "Runtime.OutOfMemory"),
    ];
    for (how, status, kind) in cases {
        let name = if how == "hang" { "hangs" } else { "ends" };
        let (failed, error) = attempt(&platform, name, &json!({"how": how})).await;
        assert!(failed, "{how}: {error}");
        assert_eq!(error["errorType"], *kind, "{how}: {error}");
        assert_eq!(runs(&platform, name).await[0]["status"], *status, "{how}");
        assert_eq!(call(&platform, name, &json!({})).await, json!("fine"), "after {how}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_cannot_start_says_why() {
    let platform = Platform::up().await;
    let cases: [(&str, &str, &str); 3] = [
        (
            "import-fails",
            "import nothing_of_this_name\ndef handler(e, c): pass",
            "Runtime.ImportModuleError",
        ),
        ("no-handler", "x = 1", "Runtime.HandlerNotFound"),
        (
            "init-exits",
            "import os\nos._exit(7)\ndef handler(e, c): pass",
            "Runtime.ExitError",
        ),
    ];
    for (name, source, kind) in cases {
        deploy(&platform, &Project::python(name, source), &["--handler", "app.handler"]).await;
        let (failed, error) = attempt(&platform, name, &Value::Null).await;
        assert!(failed, "{name}: {error}");
        assert_eq!(error["errorType"], *kind, "{name}: {error}");
    }
}
