//! The campaigns at small numbers.

use sonagi_chaos::crash_points::{self, Outcome};
use sonagi_chaos::kill;

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing() {
    let numbers = kill::Numbers {
        events: 600,
        kills: 4,
        rate: 200,
        seed: 7,
    };
    let outcome = kill::run(numbers).await.expect("nothing is violated");
    assert_eq!(outcome.events.acknowledged, 600);
    assert!(outcome.messages > 0 && outcome.ticks > 0, "{outcome:?}");
}

/// Without a crash nothing is tried more often than its rules say.
#[tokio::test(flavor = "multi_thread")]
async fn without_kills_nothing_runs_twice() {
    let numbers = kill::Numbers {
        events: 300,
        kills: 0,
        rate: 300,
        seed: 1,
    };
    let outcome = kill::run(numbers).await.expect("nothing is violated");
    // Every fiftieth fails three times.
    assert_eq!(
        (outcome.events.attempts, outcome.events.lost_attempts),
        (300 + 6 * 2 + outcome.ticks, 0)
    );
}

/// Campaigns on a disk of their own run in a mount namespace of their own: in the program that `cargo xtask chaos` runs.
async fn on_a_disk(arguments: &[&str]) {
    let mut campaign = tokio::process::Command::new("unshare");
    campaign.args(["--mount", "--propagation", "private", "--"]);
    campaign.arg(env!("CARGO_BIN_EXE_sonagi-chaos")).args(arguments);
    campaign.env("SONAGI_BIN", sonagi_testkit::platform::binary());
    let output = campaign
        .kill_on_drop(true)
        .output()
        .await
        .expect("unshare can be started");
    assert!(
        output.status.success(),
        "{arguments:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn power_cuts_lose_nothing() {
    on_a_disk(&["power-cut", "--cuts=3"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_and_is_recovered_from() {
    on_a_disk(&["disk-full", "--rounds=1"]).await;
}

/// One point of each kind: the others are for `cargo xtask chaos crash-points`.
#[tokio::test(flavor = "multi_thread")]
async fn crash_points_lose_nothing() {
    for (point, hit) in [
        ("accept an event/flushed", 2),
        ("settle an event/applied", 1),
        ("event/answered", 2),
        ("body/written", 1),
        ("event/orphan-metered", 1),
    ] {
        let outcome = crash_points::run(point, hit).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("{point}:{hit}: {error:#}"));
        assert_eq!(outcome, Outcome::Held, "{point}:{hit}");
    }
}
