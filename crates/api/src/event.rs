//! Accepted events: where each is in its life, and dead letters.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Run;

/// One accepted event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its id.
    pub id: String,
    /// The invocation that its attempts belong to.
    pub invocation: String,
    /// Where its destination is named.
    pub namespace: String,
    /// Its function, or whatever else it goes to.
    pub name: String,
    /// For an event that goes to something else than a function: what kind of thing that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// The event by whose end, or for whose repetition, it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// When it was accepted, RFC 3339.
    pub accepted: String,
    /// `waiting`, `running`, or how it ended: `succeeded`, `retries_exhausted`, `expired`, `target_gone`, `disabled`,
    /// `loop_stopped`, `cancelled`.
    pub state: String,
    /// Why it did not succeed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Attempts that have begun.
    pub attempts: u32,
    /// When its next attempt is due, while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Bytes of its content.
    pub bytes: u64,
    /// Whether the content is still stored: then it can be run again.
    pub kept: bool,
    /// Whether it lies among the dead letters.
    pub dead: bool,
}

/// Events, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// The events.
    pub events: Vec<Event>,
}

/// The life of one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLife {
    /// The event.
    pub event: Event,
    /// Its attempts that have ended, oldest first.
    pub attempts: Vec<Run>,
    /// What its end or its repetition made.
    pub sent: Vec<Event>,
}

/// An event was accepted once more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeated {
    /// The new event.
    pub id: String,
    /// Its invocation.
    pub invocation: String,
    /// The event that it repeats.
    pub origin: String,
}

/// What cancelling did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelledEvent {
    /// The event.
    pub id: String,
    /// Whether it is over; otherwise it is when the attempt under way is.
    pub over: bool,
}

/// Sums over the life of the state directory. `accepted` is `pending` plus all of `ended`; `missing` says by how much it
/// is not, and is always 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTotals {
    /// Ever accepted.
    pub accepted: u64,
    /// Not over.
    pub pending: u64,
    /// Bytes of their contents.
    pub pending_bytes: u64,
    /// Over, by how they ended.
    pub ended: BTreeMap<String, u64>,
    /// Dead letters that are kept.
    pub letters: u64,
    /// Accepted, and neither pending nor over.
    pub missing: i64,
}
