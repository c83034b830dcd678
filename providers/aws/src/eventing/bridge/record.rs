//! What is kept of buses and rules. Stored: fields are added with a default, never renamed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sonagi_model::Timestamp;

use super::super::transform::Shaping;
use crate::place::Place;

/// The bus that every account has.
pub(super) const DEFAULT_BUS: &str = "default";

/// A bus, beside the default one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::eventing) struct BusRecord {
    pub(in crate::eventing) name: String,
    #[serde(default)]
    pub(in crate::eventing) description: Option<String>,
    #[serde(default)]
    pub(in crate::eventing) tags: BTreeMap<String, String>,
    pub(in crate::eventing) created: Timestamp,
    pub(in crate::eventing) modified: Timestamp,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::eventing) struct RuleRecord {
    pub(in crate::eventing) name: String,
    pub(in crate::eventing) bus: String,
    #[serde(default)]
    pub(in crate::eventing) pattern: Option<String>,
    #[serde(default)]
    pub(in crate::eventing) schedule: Option<String>,
    pub(in crate::eventing) enabled: bool,
    #[serde(default)]
    pub(in crate::eventing) description: Option<String>,
    #[serde(default)]
    pub(in crate::eventing) role: Option<String>,
    #[serde(default)]
    pub(in crate::eventing) tags: BTreeMap<String, String>,
    /// As they were given.
    #[serde(default)]
    pub(in crate::eventing) targets: Vec<Value>,
    /// The name of its schedule; another one whenever its schedule begins anew.
    pub(in crate::eventing) generation: String,
    /// When that was.
    pub(in crate::eventing) since: Timestamp,
}

impl RuleRecord {
    pub(in crate::eventing) fn arn(&self, place: &Place) -> String {
        let below = if self.bus == DEFAULT_BUS {
            self.name.clone()
        } else {
            format!("{}/{}", self.bus, self.name)
        };
        format!("arn:aws:events:{}:{}:rule/{below}", place.region, place.account)
    }

    pub(in crate::eventing) const fn state(&self) -> &'static str {
        if self.enabled { "ENABLED" } else { "DISABLED" }
    }
}

/// What of a target is understood.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Target {
    pub(super) id: String,
    pub(super) arn: String,
    #[serde(flatten)]
    pub(super) shaping: Shaping,
    #[serde(default)]
    pub(super) sqs_parameters: Option<SqsParameters>,
    #[serde(default)]
    pub(super) dead_letter_config: Option<DeadLetterConfig>,
    #[serde(default)]
    pub(super) retry_policy: Option<RetryPolicy>,
}

/// `SqsParameters`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(in crate::eventing) struct SqsParameters {
    pub(in crate::eventing) message_group_id: Option<String>,
}

/// `DeadLetterConfig`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(in crate::eventing) struct DeadLetterConfig {
    pub(in crate::eventing) arn: Option<String>,
}

/// `RetryPolicy`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(in crate::eventing) struct RetryPolicy {
    pub(in crate::eventing) maximum_retry_attempts: Option<i64>,
    pub(in crate::eventing) maximum_event_age_in_seconds: Option<i64>,
}

impl RetryPolicy {
    /// Says which of its numbers is out of range.
    pub(in crate::eventing) fn check(&self) -> Result<(), &'static str> {
        if self
            .maximum_retry_attempts
            .is_some_and(|attempts| !(0..=185).contains(&attempts))
        {
            return Err("MaximumRetryAttempts must be from 0 to 185");
        }
        if self
            .maximum_event_age_in_seconds
            .is_some_and(|age| !(60..=86_400).contains(&age))
        {
            return Err("MaximumEventAgeInSeconds must be from 60 to 86400");
        }
        Ok(())
    }
}

/// The ARN of a bus.
pub(super) fn bus_arn(place: &Place, bus: &str) -> String {
    format!("arn:aws:events:{}:{}:event-bus/{bus}", place.region, place.account)
}
