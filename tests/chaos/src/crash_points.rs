//! Every crash point in turn: a short script runs until the platform ends at the point, then it is started clean and the
//! script's events are sent again under their names.

use std::time::Duration;

use anyhow::{Context as _, Result};
use sonagi_testkit::{Platform, Setup, until};

use crate::checker::check;
use crate::client::{History, payload, send};
use crate::kill::deploy;

/// Events of the script. One in three fails for good, one is larger than what is kept in the database.
const EVENTS: u64 = 12;
/// Bytes of the large one.
const LARGE: usize = 300_000;
/// Seconds of an attempt that a kill is to meet.
const LONG: u32 = 2;

/// What happened at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The platform ended there, and the next start made everything good.
    Held,
    /// The script never came there as often as that.
    NotReached,
}

/// Ends a platform at the `hit`th time that it reaches a point, and checks what comes after.
///
/// # Errors
/// What is violated.
///
/// # Panics
/// The platform does not come up without the point.
pub async fn run(point: &str, hit: u32) -> Result<Outcome> {
    let mut platform = Setup::new()
        .set("retry-delays", "50ms")
        .variable("SONAGI_CRASH", &format!("{point}:{hit}"))
        .stopped();
    let mut history = History::default();
    if platform.try_start().await {
        script(&platform, &mut history).await;
        if !platform.has_ended() {
            // What only a start reaches is reached by one that has something to take over.
            leave_one_running(&platform).await;
            platform.kill().await;
            platform.try_start().await;
        }
    }
    let reached = platform.log().contains(&format!("ends at {point}"));
    if platform.has_ended() {
        platform.forget_ended();
    } else {
        platform.kill().await;
    }
    platform.set_environment(Vec::new());
    platform.start().await;
    // What was not acknowledged is sent again: under the same names, so that nothing is accepted twice.
    script(&platform, &mut history).await;
    anyhow::ensure!(
        history.acknowledged.len() as u64 == EVENTS,
        "{point}:{hit}: {} of {EVENTS} events were acknowledged by a platform that runs",
        history.acknowledged.len()
    );
    let checked = check(&platform, &history).await;
    checked.with_context(|| format!("{point}:{hit}"))?;
    platform.stop().await;
    Ok(if reached { Outcome::Held } else { Outcome::NotReached })
}

/// Deploys, sends events, and does what else has crash points. Whatever fails is left: the platform may be gone.
async fn script(platform: &Platform, history: &mut History) {
    let token = std::fs::read_to_string(platform.data().join("token")).unwrap_or_default();
    let (http, token) = (platform.http(), token.trim().to_owned());
    let native = async |method: &str, path: &str| {
        let bearer = format!("Bearer {token}");
        let sent = http
            .send(method, &format!("/sonagi/v1{path}"), &[("authorization", &bearer)], "")
            .await;
        sent.ok().filter(|answer| answer.status.is_success())?.json().ok()
    };
    if native("GET", "/functions/witness").await.is_none() && !deploy(platform).await {
        return;
    }
    for number in 0..EVENTS {
        if history.acknowledged.contains_key(&number) {
            continue;
        }
        let padding = if number == 5 { LARGE } else { 0 };
        let text = payload(number, number.is_multiple_of(3), padding);
        let invocation = send(&http, &token, number, text).await;
        let answers = vec![(number, invocation)];
        history.conclude(answers).expect("one event, one invocation");
    }
    // A call that is metered through the ledger, a letter that is redriven, one that is dropped, one event cancelled.
    native("POST", "/functions/witness/invoke").await;
    native("GET", "/runs").await;
    let letters = async || {
        // A platform that is gone has none, and is not waited for.
        let Some(letters) = native("GET", "/dlq").await else {
            return Some(Vec::new());
        };
        letters["events"]
            .as_array()
            .filter(|letters| letters.len() >= 2)
            .cloned()
    };
    let letters = until("two dead letters or the end", Duration::from_secs(60), letters).await;
    if letters.len() >= 2 {
        let id = |place: usize| letters[place]["id"].as_str().unwrap_or_default().to_owned();
        native("POST", &format!("/dlq/{}/redrive", id(0))).await;
        native("DELETE", &format!("/dlq/{}", id(1))).await;
    }
    if let Some(waiting) = native("GET", "/events").await {
        let events = waiting["events"].as_array().cloned().unwrap_or_default();
        let running = events.iter().find(|event| event["state"] == "waiting");
        if let Some(id) = running.and_then(|event| event["id"].as_str()) {
            native("DELETE", &format!("/events/{id}")).await;
        }
    }
}

/// Sends one more event, whose attempt is certainly under way when this returns, unless the platform ends meanwhile.
async fn leave_one_running(platform: &Platform) {
    let token = std::fs::read_to_string(platform.data().join("token")).unwrap_or_default();
    let (http, token) = (platform.http(), token.trim().to_owned());
    let long = serde_json::json!({ "n": EVENTS, "seconds": LONG }).to_string();
    let Some(invocation) = send(&http, &token, EVENTS, long).await else {
        return;
    };
    let bearer = format!("Bearer {token}");
    until("a running attempt", Duration::from_secs(30), async || {
        let path = format!("/sonagi/v1/events/{invocation}");
        let sent = http.send("GET", &path, &[("authorization", &bearer)], "").await;
        let Ok(answer) = sent else { return Some(()) };
        (answer.json().ok()?["event"]["state"] == "running").then_some(())
    })
    .await;
}

/// Every point with its hits.
#[must_use]
pub fn all() -> Vec<(String, u32)> {
    let points = sonagi_crash::all().into_iter();
    points
        .flat_map(|point| [1, 2, 5].map(|hit| (point.clone(), hit)))
        .collect()
}
