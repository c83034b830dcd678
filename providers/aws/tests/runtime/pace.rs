//! Many events in a row through each of our bootstraps: every one gets its own answer, and the pace is printed
//! (`--nocapture`). Nothing is promised about it here; benchmarks do that.

use std::time::Duration;

use sonagi_ports::{Language, ReplyBody};

use crate::harness::{Source, call, runtime};

const EVENTS: u32 = 2000;

async fn check(name: &str, source: Source) {
    let running = source.start();
    running.ready().await.unwrap();
    let mut times = Vec::new();
    for n in 0..EVENTS {
        let begin = tokio::time::Instant::now();
        let reply = running.session.invoke(call(format!("{{\"n\": {n}}}"))).await.unwrap();
        times.push(begin.elapsed());
        let ReplyBody::Whole(Ok(answer)) = reply.body else {
            panic!("{name}: event {n} failed")
        };
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["n"], n, "{name}");
    }
    times.sort();
    let at = |share: usize| times[times.len() * share / 100];
    let mean = times.iter().sum::<Duration>() / EVENTS;
    println!(
        "{name}: {EVENTS} events, mean {mean:?}, median {:?}, 99 % {:?}",
        at(50),
        at(99)
    );
}

#[tokio::test]
async fn python_answers_every_event_with_its_own() {
    check(
        "python",
        Source::python("app.handler", "def handler(event, context):\n    return event\n"),
    )
    .await;
}

#[tokio::test]
async fn node_answers_every_event_with_its_own() {
    let node = Source::new(&runtime(Language::Node), "index.handler");
    check(
        "node",
        node.file("index.js", "exports.handler = async (event) => event"),
    )
    .await;
}
