//! An idle instance goes, and nothing of it stays.

use serde_json::json;
use sonagi_e2e::{call, deploy, python};
use sonagi_testkit::platform::PATIENCE;
use sonagi_testkit::{Leftovers, Platform, Setup, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_instance_is_reclaimed_entirely() {
    let platform = Setup::new().set("keep-alive", "300ms").set("cells", 0).start().await;
    let before = settled(&platform).await;
    let project = python(
        "passing",
        "(open('/tmp/left', 'wb').write(b'x' * 1048576), context.aws_request_id)[1]",
    );
    deploy(&platform, &project, &[]).await;
    let first = call(&platform, "passing", &json!({})).await;
    assert!(first.is_string());
    until("nothing left of the instance", PATIENCE, async || {
        (platform.leftovers() == before).then_some(())
    })
    .await;
    // The next call is cold again and finds an empty /tmp.
    let project = python("passing", "os.listdir('/tmp')");
    deploy(&platform, &project, &[]).await;
    assert_eq!(call(&platform, "passing", &json!({})).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_an_old_revision_go() {
    let platform = Setup::new().set("cells", 0).start().await;
    let before = settled(&platform).await;
    let project = python("renewed", "'one'");
    deploy(&platform, &project, &[]).await;
    call(&platform, "renewed", &json!({})).await;
    assert!(platform.leftovers().processes.len() > before.processes.len());
    let _ = platform.cli().run(&["rm", "renewed"]).await.expect("rm");
    until("the instance of a removed function gone", PATIENCE, async || {
        (platform.leftovers() == before).then_some(())
    })
    .await;
}

/// What a platform has when it has nothing to do: its own groups. Taken once it no longer changes.
async fn settled(platform: &Platform) -> Leftovers {
    let mut last = platform.leftovers();
    until("a platform at rest", PATIENCE, async || {
        let now = platform.leftovers();
        let same = now == last && now.processes.is_empty();
        last = now.clone();
        same.then_some(now)
    })
    .await
}
