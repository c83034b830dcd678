//! The platform from end to end, as a person and their functions see it. What tests share: steps that every story has.

pub mod blocks;

use serde_json::Value;
use sonagi_testkit::{Platform, Project};

/// Deploys a project with more arguments for the command line, and returns what it says as JSON.
///
/// # Panics
/// It cannot be deployed.
pub async fn deploy(platform: &Platform, project: &Project, more: &[&str]) -> Value {
    platform
        .cli()
        .json(&[&["deploy", project.as_str()], more].concat())
        .await
}

/// Calls a function and returns its answer, which must be a success.
///
/// # Panics
/// It fails; the answer is shown.
pub async fn call(platform: &Platform, name: &str, event: &Value) -> Value {
    let (failed, answer) = attempt(platform, name, event).await;
    assert!(!failed, "{name}: {answer}");
    answer
}

/// Calls a function; whether it failed, and its answer or error document.
///
/// # Panics
/// Nothing ran.
pub async fn attempt(platform: &Platform, name: &str, event: &Value) -> (bool, Value) {
    let path = format!("/functions/{name}/invoke");
    let answer = platform.native_answer("POST", &path, event.to_string()).await;
    assert!(
        answer.status.is_success(),
        "{name}: {} {}",
        answer.status,
        answer.text()
    );
    let failed = answer.headers.get("sonagi-failed").is_some_and(|value| value == "true");
    (failed, answer.json().unwrap_or(Value::Null))
}

/// The attempts of a function, newest first.
///
/// # Panics
/// The platform does not tell.
pub async fn runs(platform: &Platform, name: &str) -> Vec<Value> {
    let answer = platform
        .native("GET", &format!("/runs?function={name}&limit=1000"), "")
        .await;
    answer["runs"].as_array().expect("a list").clone()
}

/// The lines of a function's log.
///
/// # Panics
/// The platform does not tell.
pub async fn log_lines(platform: &Platform, name: &str) -> Vec<Value> {
    let answer = platform
        .native_answer("GET", &format!("/functions/{name}/logs?limit=10000"), "")
        .await;
    assert!(answer.status.is_success(), "{} {}", answer.status, answer.text());
    answer
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect()
}

/// A Python function that answers with this expression over `event` and `context`.
#[must_use]
pub fn python(name: &str, expression: &str) -> Project {
    Project::python(
        name,
        &format!("import os, sys, time\ndef handler(event, context):\n    return {expression}\n"),
    )
}
