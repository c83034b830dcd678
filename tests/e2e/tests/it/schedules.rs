//! Schedules and buses across sudden ends.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use sonagi_e2e::{deploy, python};
use sonagi_testkit::platform::PATIENCE;
use sonagi_testkit::{Platform, until};

/// The moments, in seconds, of the ticks that were accepted for a function, as often as they were.
async fn ticks(platform: &Platform, function: &str) -> Vec<i64> {
    let events = platform
        .native("GET", &format!("/events?function={function}&limit=1000"), "")
        .await;
    let mut moments = Vec::new();
    for event in events["events"].as_array().expect("a list of events") {
        let id = event["id"].as_str().expect("an id");
        let content = platform.native("GET", &format!("/events/{id}/content"), "").await;
        let time: jiff::Timestamp = content["time"].as_str().expect("a time").parse().expect("a time");
        moments.push(time.as_second());
    }
    moments.sort_unstable();
    moments
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_come_once_each_whenever_the_platform_dies() {
    let mut platform = Platform::up().await;
    deploy(&platform, &python("clock", "event"), &[]).await;
    let bound = platform
        .cli()
        .json(&["on", "cron", "* * * * * *", "clock", "--missed", "all"])
        .await;
    assert!(bound["next"].is_string(), "{bound}");
    for (round, after) in [130_u64, 370, 610, 890].into_iter().enumerate() {
        // Dies at another part of a second each time, with a tick about to come or just handed over.
        let wanted = (round + 1) * 2;
        until("ticks", PATIENCE, async || {
            (ticks(&platform, "clock").await.len() >= wanted).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(after)).await;
        platform.kill().await;
        platform.start().await;
    }
    let seen = until("ticks after the last end", PATIENCE, async || {
        let seen = ticks(&platform, "clock").await;
        (seen.len() >= 12).then_some(seen)
    })
    .await;
    let unique: BTreeSet<i64> = seen.iter().copied().collect();
    assert_eq!(unique.len(), seen.len(), "twice: {seen:?}");
    let (first, last) = (seen[0], seen[seen.len() - 1]);
    assert_eq!(seen, (first..=last).collect::<Vec<_>>(), "missing");
    platform.cli().json(&["on", "rm", "clock"]).await;
    assert_eq!(platform.cli().json(&["on", "ls"]).await["bindings"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_bus_reaches_its_functions_once() {
    let mut platform = Platform::up().await;
    deploy(&platform, &python("buyer", "event"), &[]).await;
    let filter = r#"{"type":["order"],"data":{"total":[{"numeric":[">",10]}]}}"#;
    platform.cli().json(&["on", "bus", "buyer", "--filter", filter]).await;
    platform.stop().await;
    platform.start().await;
    let order = |id: &str, total: u32| json!({ "specversion": "1.0", "id": id, "source": "/shop", "type": "order", "data": { "total": total } });
    let answer = platform
        .native_answer("POST", "/bus/default/events", r#"{"specversion":"1.0"}"#)
        .await;
    assert_eq!(answer.status, 400);
    let batch = Value::from(vec![order("1", 5), order("2", 50), order("2", 50)]).to_string();
    let client = platform.http();
    let token = std::fs::read_to_string(platform.data().join("token")).expect("the token");
    let headers = [
        ("authorization", format!("Bearer {}", token.trim())),
        ("content-type", "application/cloudevents-batch+json".to_owned()),
    ];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let published = client
        .send("POST", "/sonagi/v1/bus/default/events", &headers, batch)
        .await
        .and_then(|answer| answer.json())
        .expect("an answer");
    let events = published["events"].as_array().expect("what became of each").clone();
    assert!(
        events[0].is_null() && events[1].is_string() && events[1] == events[2],
        "{events:?}"
    );
    until("the event handed over", PATIENCE, async || {
        let events = platform.native("GET", "/events?function=buyer", "").await;
        let events = events["events"].as_array().cloned().unwrap_or_default();
        assert!(events.len() <= 1, "{events:?}");
        (events.first()?["state"] == "succeeded").then_some(())
    })
    .await;
}
