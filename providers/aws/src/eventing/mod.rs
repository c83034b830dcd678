//! EventBridge (buses, rules, targets) and EventBridge Scheduler (schedules, groups): the services `events` and
//! `scheduler`. Both hand what they make to functions, queues and buses through [`reach`]; rules and schedules tick by the
//! platform's clockwork, buses are the platform's bus.
//! Sources: the service models of botocore 1.44.5; "Amazon EventBridge API Reference"; "EventBridge Scheduler API
//! Reference"; both user guides.

mod answer;
mod bridge;
pub(crate) mod delivery;
mod path;
mod reach;
mod scheduler;
mod transform;

use sha2::{Digest as _, Sha256};
use sonagi_model::Timestamp;
use uuid::Uuid;

use crate::place::Place;

use answer::{ServiceError, empty, json, page};
pub use bridge::BusDeliveries;
pub(crate) use bridge::{Bridge, BridgeParts};
pub(crate) use reach::Reach;
pub(crate) use scheduler::{Scheduler, SchedulerParts};

/// Bytes of a request to either service.
pub(crate) const REQUEST_MAX: usize = 2 * 1024 * 1024;

/// Between the parts of keys: no name has it.
const SEPARATOR: char = '\u{1f}';

/// A key of records in a place.
fn key_of(place: &Place, names: &[&str]) -> String {
    let mut key = format!("{}{SEPARATOR}{}", place.account, place.region);
    for name in names {
        key.push(SEPARATOR);
        key.push_str(name);
    }
    key
}

/// What all keys below others begin with.
fn prefix_of(place: &Place, names: &[&str]) -> String {
    let mut key = key_of(place, names);
    key.push(SEPARATOR);
    key
}

/// An id that is the same whenever it is made of the same things.
fn id_of(parts: &[&str]) -> Uuid {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
        hasher.update([0]);
    }
    let digest: [u8; 32] = hasher.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// `2026-11-24T12:00:00Z`, as the services write times into events.
fn second(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_second(at.as_secs()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Seconds since the epoch, as the JSON protocols write times.
fn epoch(at: Timestamp) -> f64 {
    at.as_millis() as f64 / 1000.0
}

/// A moment of the JSON protocols: seconds since the epoch, whole or not; also RFC 3339.
fn moment(value: &serde_json::Value) -> Option<Timestamp> {
    match value.as_f64() {
        Some(seconds) if seconds.abs() < 1e11 => Some(Timestamp::from_millis((seconds * 1000.0) as i64)),
        Some(_) => None,
        None => {
            let at: jiff::Timestamp = value.as_str()?.parse().ok()?;
            Some(Timestamp::from_micros(at.as_microsecond()))
        }
    }
}

/// A name: 1 to `max` letters, digits and what else is allowed.
fn is_name(text: &str, max: usize, besides: &str) -> bool {
    (1..=max).contains(&text.len())
        && text
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || besides.contains(character))
}
