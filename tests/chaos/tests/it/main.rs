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
    let findings = kill::run(numbers).await.expect("nothing is violated");
    assert_eq!(findings.acknowledged, 600);
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
