//! What a request says of a schedule, checked.

use serde::Deserialize;
use serde_json::Value;
use sonagi_model::Timestamp;
use sonagi_triggers::{Expression, Units, zone};

use super::super::reach::is_reachable;
use super::super::{ServiceError, is_name, moment};
use super::record::{AfterCompletion, Target};
use crate::place::Place;

/// `CreateSchedule` and `UpdateSchedule`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ScheduleInput {
    #[serde(default)]
    pub(super) group_name: Option<String>,
    pub(super) schedule_expression: String,
    #[serde(default)]
    start_date: Option<Value>,
    #[serde(default)]
    end_date: Option<Value>,
    #[serde(default)]
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) schedule_expression_timezone: Option<String>,
    #[serde(default)]
    pub(super) state: Option<String>,
    #[serde(default)]
    pub(super) kms_key_arn: Option<String>,
    pub(super) target: Value,
    flexible_time_window: Window,
    #[serde(default)]
    pub(super) client_token: Option<String>,
    #[serde(default)]
    pub(super) action_after_completion: AfterCompletion,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Window {
    mode: String,
    #[serde(default)]
    maximum_window_in_minutes: Option<i64>,
}

/// Longest input, bytes. Source: "Quotas for EventBridge Scheduler".
const INPUT_MAX: usize = 256 * 1024;

/// A name of a schedule or a group.
pub(super) fn check_name(name: &str, member: &str) -> Result<(), ServiceError> {
    if is_name(name, 64, "-_.") {
        return Ok(());
    }
    let constraint = "Member must satisfy regular expression pattern: ^[0-9a-zA-Z-_.]+$";
    Err(ServiceError::constraint(name, member, constraint))
}

impl ScheduleInput {
    /// Checks everything that can be checked alone.
    pub(super) fn check(&self, name: &str, place: &Place) -> Result<(), ServiceError> {
        check_name(name, "name")?;
        if let Some(group) = &self.group_name {
            check_name(group, "groupName")?;
        }
        if Expression::parse(&self.schedule_expression, Units::Any).is_err() {
            let text = format!("Invalid Schedule Expression {}.", self.schedule_expression);
            return Err(ServiceError::validation(text));
        }
        if let Some(name) = &self.schedule_expression_timezone
            && zone(name).is_none()
        {
            return Err(ServiceError::validation(format!(
                "Invalid ScheduleExpressionTimezone {name}."
            )));
        }
        if let Some(state) = &self.state
            && !["ENABLED", "DISABLED"].contains(&state.as_str())
        {
            let constraint = "Member must satisfy enum value set: [ENABLED, DISABLED]";
            return Err(ServiceError::constraint(state, "state", constraint));
        }
        if self.description.as_ref().is_some_and(|text| text.chars().count() > 512) {
            let constraint = "Member must have length less than or equal to 512";
            return Err(ServiceError::constraint("", "description", constraint));
        }
        if let (Some(start), Some(end)) = (self.start()?, self.end()?)
            && end <= start
        {
            return Err(ServiceError::validation(
                "The StartDate must be earlier than the EndDate.",
            ));
        }
        self.window()?;
        check_target(&self.target, place).map(drop)
    }

    pub(super) fn start(&self) -> Result<Option<Timestamp>, ServiceError> {
        date(self.start_date.as_ref(), "startDate")
    }

    pub(super) fn end(&self) -> Result<Option<Timestamp>, ServiceError> {
        date(self.end_date.as_ref(), "endDate")
    }

    /// Minutes; 0 is none.
    pub(super) fn window(&self) -> Result<u32, ServiceError> {
        let Window {
            mode,
            maximum_window_in_minutes: minutes,
        } = &self.flexible_time_window;
        match (mode.as_str(), minutes) {
            ("OFF", None) => Ok(0),
            ("OFF", Some(_)) => Err(ServiceError::validation(
                "MaximumWindowInMinutes must not be set when the flexible time window is OFF.",
            )),
            ("FLEXIBLE", Some(minutes @ 1..=1440)) => Ok(u32::try_from(*minutes).unwrap_or(1440)),
            ("FLEXIBLE", Some(minutes)) => Err(ServiceError::constraint(
                &minutes.to_string(),
                "flexibleTimeWindow.maximumWindowInMinutes",
                "Member must have value from 1 to 1440",
            )),
            ("FLEXIBLE", None) => Err(ServiceError::validation(
                "MaximumWindowInMinutes must be set when the flexible time window is FLEXIBLE.",
            )),
            (mode, _) => Err(ServiceError::constraint(
                mode,
                "flexibleTimeWindow.mode",
                "Member must satisfy enum value set: [OFF, FLEXIBLE]",
            )),
        }
    }
}

fn date(given: Option<&Value>, member: &str) -> Result<Option<Timestamp>, ServiceError> {
    given
        .filter(|value| !value.is_null())
        .map(|value| {
            moment(value).ok_or_else(|| ServiceError::constraint(&value.to_string(), member, "Member must be a time"))
        })
        .transpose()
}

fn check_target(target: &Value, place: &Place) -> Result<Target, ServiceError> {
    let read = Target::deserialize(target)
        .map_err(|error| ServiceError::validation(format!("Target is not of the operation's shape: {error}")))?;
    if !read.arn.starts_with("arn:") {
        return Err(ServiceError::validation("Provided Arn is not in correct format."));
    }
    if read.arn.starts_with("arn:aws:scheduler:::aws-sdk:") {
        return Err(ServiceError::validation(
            "Universal targets are not offered by this platform.",
        ));
    }
    if !is_reachable(&read.arn, place) {
        return Err(ServiceError::validation(
            "Provided Arn is none of a function, a queue or an event bus of this account and region.",
        ));
    }
    if !read.role_arn.contains(":role/") {
        let constraint =
            "Member must satisfy regular expression pattern: arn:aws[a-z-]*:iam::\\d{12}:role\\/[\\w+=,.@\\/-]+";
        return Err(ServiceError::constraint(&read.role_arn, "target.roleArn", constraint));
    }
    if read.arn.contains(":event-bus/") && read.event_bridge_parameters.is_none() {
        return Err(ServiceError::validation(
            "EventBridgeParameters must be set for an event bus.",
        ));
    }
    if read
        .input
        .as_ref()
        .is_some_and(|input| input.is_empty() || input.len() > INPUT_MAX)
    {
        return Err(ServiceError::validation(format!(
            "Input must have 1 to {INPUT_MAX} bytes."
        )));
    }
    if let Some(Err(reason)) = read.retry_policy.as_ref().map(super::super::bridge::RetryPolicy::check) {
        return Err(ServiceError::validation(format!("{reason}.")));
    }
    let queue = read
        .dead_letter_config
        .as_ref()
        .and_then(|config| config.arn.as_deref());
    if queue.is_some_and(|arn| !arn.contains(":sqs:") || !is_reachable(arn, place)) {
        return Err(ServiceError::validation(
            "The dead-letter queue must be a queue of this account and region.",
        ));
    }
    Ok(read)
}
