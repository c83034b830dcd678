//! What is kept of schedules and groups. Stored: fields are added with a default, never renamed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sonagi_model::Timestamp;
use sonagi_triggers::{Expression, Plan, Timing, Units, zone};

use super::super::bridge::{DeadLetterConfig, RetryPolicy, SqsParameters};
use crate::place::Place;

/// The group that every account has.
pub(super) const DEFAULT_GROUP: &str = "default";

/// A group, beside the default one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::eventing) struct GroupRecord {
    pub(super) name: String,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
    pub(super) created: Timestamp,
    pub(super) modified: Timestamp,
    #[serde(default)]
    pub(super) client_token: Option<String>,
}

/// What becomes of a schedule after its last tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum AfterCompletion {
    #[default]
    None,
    Delete,
}

/// A schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::eventing) struct ScheduleRecord {
    pub(super) name: String,
    pub(super) group: String,
    pub(super) expression: String,
    pub(super) zone: String,
    #[serde(default)]
    pub(super) start: Option<Timestamp>,
    #[serde(default)]
    pub(super) end: Option<Timestamp>,
    #[serde(default)]
    pub(super) description: Option<String>,
    pub(super) enabled: bool,
    /// As it was given.
    pub(super) target: Value,
    /// Minutes after its moment within which a tick comes; 0 is at its moment.
    #[serde(default)]
    pub(super) window: u32,
    #[serde(default)]
    pub(super) after: AfterCompletion,
    #[serde(default)]
    pub(super) kms: Option<String>,
    pub(super) created: Timestamp,
    pub(super) modified: Timestamp,
    /// What the client called its request, and the digest of that.
    #[serde(default)]
    pub(super) client: Option<(String, String)>,
    /// The name of the schedule in the clockwork: another one whenever it begins anew.
    pub(super) generation: String,
}

impl ScheduleRecord {
    pub(super) fn arn(&self, place: &Place) -> String {
        let Place { account, region } = place;
        format!(
            "arn:aws:scheduler:{region}:{account}:schedule/{}/{}",
            self.group, self.name
        )
    }

    pub(super) const fn state(&self) -> &'static str {
        if self.enabled { "ENABLED" } else { "DISABLED" }
    }

    /// When it ticks. `None`: its expression or zone cannot be read.
    pub(super) fn plan(&self) -> Option<Plan> {
        let timing = match Expression::parse(&self.expression, Units::Any).ok()? {
            // Begins at once where no start is given.
            Expression::Rate(period) => Timing::Every {
                period,
                first: self.start.unwrap_or(self.modified),
            },
            Expression::Cron(cron) => Timing::Cron(cron),
            Expression::At(date) => Timing::Once(date),
        };
        let once = matches!(timing, Timing::Once(_));
        Some(Plan {
            timing,
            zone: zone(&self.zone)?,
            // Both are without meaning for a schedule that ticks once.
            start: self.start.filter(|_| !once),
            end: self.end.filter(|_| !once),
        })
    }

    pub(super) fn window(&self) -> Duration {
        Duration::from_secs(u64::from(self.window) * 60)
    }
}

/// What of a target is understood.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Target {
    pub(super) arn: String,
    pub(super) role_arn: String,
    #[serde(default)]
    pub(super) input: Option<String>,
    #[serde(default)]
    pub(super) sqs_parameters: Option<SqsParameters>,
    #[serde(default)]
    pub(super) dead_letter_config: Option<DeadLetterConfig>,
    #[serde(default)]
    pub(super) retry_policy: Option<RetryPolicy>,
    #[serde(default)]
    pub(super) event_bridge_parameters: Option<EventBridgeParameters>,
}

/// `EventBridgeParameters`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EventBridgeParameters {
    pub(super) detail_type: String,
    pub(super) source: String,
}

/// The ARN of a group.
pub(super) fn group_arn(place: &Place, group: &str) -> String {
    format!(
        "arn:aws:scheduler:{}:{}:schedule-group/{group}",
        place.region, place.account
    )
}
