//! The quick attacks, on one platform.

use sonagi_attacks::{ATTACKS, Arena, Report, Tier, story};

#[tokio::test(flavor = "multi_thread")]
async fn no_attack_gets_through() {
    let mut arena = Arena::open().await;
    let mut reports = Vec::new();
    for attack in ATTACKS.iter().filter(|attack| attack.tier == Tier::Quick) {
        reports.push(arena.run(attack).await);
    }
    reports.extend(story::run_all(&mut arena, "").await);
    let wrong: Vec<_> = reports.iter().filter_map(line).collect();
    let afterwards = arena.close().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let seen = afterwards.expect("a host and a neighbor that noticed nothing");
    assert!(!seen.took.is_empty(), "the neighbor was called");
}

fn line(report: &Report) -> Option<String> {
    let wrong = report.wrong.as_ref()?;
    Some(format!("{} {}: {wrong}", report.number, report.name))
}
