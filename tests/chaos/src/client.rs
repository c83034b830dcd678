//! A client that remembers what it was told. Its history is written before each request and after each answer; nobody
//! kills the client, so its file needs no flush.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;
use sonagi_testkit::Http;

use crate::NAME;

/// What became of each event that was meant to be sent, by its number.
#[derive(Debug, Default)]
pub struct History {
    file: Option<File>,
    /// The invocation of each event that was acknowledged.
    pub acknowledged: BTreeMap<u64, String>,
    /// Requests that got another answer, or none.
    pub unknown: u64,
}

impl History {
    /// Begins a history, as lines of JSON in this file.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn new(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self {
            file: Some(file),
            ..Self::default()
        })
    }

    /// What is known of these events, and nothing else; kept nowhere.
    #[must_use]
    pub fn of(acknowledged: BTreeMap<u64, String>) -> Self {
        Self {
            acknowledged,
            ..Self::default()
        }
    }

    fn note(&mut self, line: &serde_json::Value) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        writeln!(file, "{line}").context("write the history")
    }

    /// The numbers are about to be sent.
    ///
    /// # Errors
    /// The history cannot be written.
    pub fn intend(&mut self, numbers: &[u64]) -> Result<()> {
        self.note(&json!({ "intend": numbers }))
    }

    /// What came of them.
    ///
    /// # Errors
    /// The history cannot be written, or an event has two invocations.
    pub fn conclude(&mut self, answers: Vec<(u64, Option<String>)>) -> Result<()> {
        self.note(&json!({ "answers": answers }))?;
        for (number, invocation) in answers {
            match invocation {
                None => self.unknown += 1,
                Some(invocation) => {
                    let before = self.acknowledged.insert(number, invocation.clone());
                    if let Some(before) = before
                        && before != invocation
                    {
                        anyhow::bail!("event {number} is {before} and {invocation}");
                    }
                }
            }
        }
        Ok(())
    }
}

/// What of an event is sent.
#[must_use]
pub fn payload(number: u64, fails: bool, padding: usize) -> String {
    json!({ "n": number, "fails": fails, "padding": "x".repeat(padding) }).to_string()
}

/// Sends one event; its invocation, if it was acknowledged.
pub async fn send(http: &Http, token: &str, number: u64, payload: String) -> Option<String> {
    let bearer = format!("Bearer {token}");
    let key = format!("event {number}");
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", key.as_str())];
    let path = format!("/sonagi/v1/functions/{NAME}/send");
    let answer = http.send("POST", &path, &headers, payload).await.ok()?;
    if answer.status != 202 {
        return None;
    }
    Some(answer.json().ok()?["invocation"].as_str()?.to_owned())
}
