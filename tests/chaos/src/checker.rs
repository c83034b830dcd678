//! Compares a client's history with what the platform says after everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sonagi_testkit::{Platform, until};

use crate::NAME;
use crate::client::History;

/// Longest time until nothing is pending any more.
const REST: Duration = Duration::from_secs(60);

/// What was found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Findings {
    /// Events that were acknowledged.
    pub acknowledged: usize,
    /// Events of the function that the platform has ended, by how.
    pub ended: BTreeMap<String, usize>,
    /// Attempts that were under way when a process ended.
    pub lost_attempts: usize,
    /// Attempts beyond the first that ran to an end, of events that succeeded.
    pub repeated: usize,
    /// Attempts, all together.
    pub attempts: usize,
}

/// Looks whether everything that was acknowledged is known, and the totals add up; nothing needs to be at rest.
///
/// # Errors
/// What is violated.
///
/// # Panics
/// The platform does not answer.
pub async fn check_presence(platform: &Platform, history: &History) -> Result<()> {
    let totals = platform.native("GET", "/event-totals", "").await;
    ensure!(totals["missing"] == 0, "accepted is not pending plus ended: {totals}");
    let events = all_events(platform).await?;
    let known: BTreeSet<&str> = events.iter().filter_map(|event| event["invocation"].as_str()).collect();
    for (number, invocation) in &history.acknowledged {
        ensure!(
            known.contains(invocation.as_str()),
            "event {number} ({invocation}) is lost"
        );
    }
    Ok(())
}

/// Waits until nothing is pending, and looks for violations in the life of every event.
///
/// # Errors
/// What is violated.
///
/// # Panics
/// Something stays pending, or the platform does not answer.
pub async fn check(platform: &Platform, history: &History) -> Result<Findings> {
    until("rest", REST, async || {
        let totals = platform.native("GET", "/event-totals", "").await;
        (totals["pending"] == 0).then_some(())
    })
    .await;
    let totals = platform.native("GET", "/event-totals", "").await;
    ensure!(totals["missing"] == 0, "accepted is not pending plus ended: {totals}");
    let events = all_events(platform).await?;
    let known: BTreeMap<&str, &Value> = events
        .iter()
        .filter_map(|event| Some((event["invocation"].as_str()?, event)))
        .collect();
    ensure!(known.len() == events.len(), "an event is listed twice");
    let mut findings = Findings {
        acknowledged: history.acknowledged.len(),
        ..Findings::default()
    };
    let mut distinct = BTreeSet::new();
    for (number, invocation) in &history.acknowledged {
        ensure!(
            known.contains_key(invocation.as_str()),
            "event {number} ({invocation}) is lost"
        );
        ensure!(distinct.insert(invocation), "{invocation} stands for two events");
    }
    for event in &events {
        if event["name"] == NAME {
            let state = event["state"].as_str().context("an event has a state")?;
            *findings.ended.entry(state.to_owned()).or_default() += 1;
        }
        look_at(platform, event, &mut findings).await?;
    }
    Ok(findings)
}

/// One event and its attempts: numbered without gaps, one record each, an end that they explain.
async fn look_at(platform: &Platform, event: &Value, findings: &mut Findings) -> Result<()> {
    let id = event["id"].as_str().context("an event has an id")?;
    let begun = event["attempts"].as_u64().context("an event has attempts")?;
    let life = platform.native("GET", &format!("/events/{id}"), "").await;
    let attempts = life["attempts"].as_array().context("a life has attempts")?;
    let numbers: Vec<u64> = attempts.iter().filter_map(|run| run["attempt"].as_u64()).collect();
    let expected: Vec<u64> = (1..=begun).collect();
    ensure!(
        numbers == expected,
        "{id} began {begun} attempts and has records of {numbers:?}"
    );
    let with = |status: &str| attempts.iter().filter(|run| run["status"] == status).count();
    let (lost, good) = (with("lost"), with("success"));
    let free = attempts
        .iter()
        .filter(|run| run["status"] == "lost")
        .all(|run| run["billed_ms"] == 0);
    ensure!(free, "{id}: a lost attempt is billed");
    ensure!(good <= 1, "{id} succeeded {good} times");
    if event["state"] == "succeeded" {
        ensure!(good == 1, "{id} succeeded without an attempt that did");
        findings.repeated += attempts.len() - lost - 1;
    }
    findings.lost_attempts += lost;
    findings.attempts += attempts.len();
    Ok(())
}

/// Every event that the platform knows.
async fn all_events(platform: &Platform) -> Result<Vec<Value>> {
    let mut events: Vec<Value> = Vec::new();
    loop {
        let before = events.last().and_then(|event| event["id"].as_str()).map(str::to_owned);
        let path = match &before {
            None => "/events?limit=1000".to_owned(),
            Some(id) => format!("/events?limit=1000&before={id}"),
        };
        let page = platform.native("GET", &path, "").await;
        let page = page["events"].as_array().context("a page of events")?.clone();
        let last = page.len() < 1000;
        events.extend(page);
        if last {
            return Ok(events);
        }
    }
}
