//! Attributes of queues: what may be set to what, and how they are shown.
//! Source: `SetQueueAttributes` and `GetQueueAttributes` of the SQS API reference.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use sonagi_ports::{Order, Queue, QueueCounts, QueueSettings, Redrive};

use super::Sqs;
use super::errors::{Kind, SqsError, shown};
use super::input::Values;
use super::names::QueueName;
use super::record::{QueueRecord, RedrivePolicy};

/// Every attribute that can be asked for.
const NAMES: &[&str] = &[
    "Policy",
    "VisibilityTimeout",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
    "ApproximateNumberOfMessagesDelayed",
    "DelaySeconds",
    "ReceiveMessageWaitTimeSeconds",
    "RedrivePolicy",
    "FifoQueue",
    "ContentBasedDeduplication",
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
    "DeduplicationScope",
    "FifoThroughputLimit",
    "RedriveAllowPolicy",
    "SqsManagedSseEnabled",
];

/// A policy as clients write it: the number may be a text.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenPolicy {
    dead_letter_target_arn: String,
    max_receive_count: Value,
}

fn invalid(name: &str) -> SqsError {
    SqsError::new(
        Kind::InvalidAttributeValue,
        format!("Invalid value for the parameter {name}."),
    )
}

fn unknown(name: &str) -> SqsError {
    SqsError::new(
        Kind::InvalidAttributeName,
        format!("Unknown Attribute {}.", shown(name)),
    )
}

fn number(name: &str, value: &str, range: RangeInclusive<u32>) -> Result<u32, SqsError> {
    let parsed = value.parse().ok().filter(|number| range.contains(number));
    parsed.ok_or_else(|| invalid(name))
}

fn truth(name: &str, value: &str) -> Result<bool, SqsError> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid(name)),
    }
}

fn one_of(name: &str, value: &str, no: &str, yes: &str) -> Result<bool, SqsError> {
    if value == no || value == yes {
        return Ok(value == yes);
    }
    Err(invalid(name))
}

/// A document, or nothing to remove it.
fn document(name: &str, value: &str) -> Result<Option<String>, SqsError> {
    if value.is_empty() {
        return Ok(None);
    }
    let parsed: Result<serde_json::Map<String, Value>, _> = serde_json::from_str(value);
    parsed.map(|_| Some(value.to_owned())).map_err(|_| invalid(name))
}

/// Sets attributes that need nothing but their value.
fn set(name: &str, value: &str, record: &mut QueueRecord, settings: &mut QueueSettings) -> Result<(), SqsError> {
    let grouped = settings.order == Order::Groups;
    match name {
        "VisibilityTimeout" => record.visibility = number(name, value, 0..=43_200)?,
        "DelaySeconds" => record.delay = number(name, value, 0..=900)?,
        "MaximumMessageSize" => record.largest = number(name, value, 1024..=1_048_576)?,
        "ReceiveMessageWaitTimeSeconds" => record.wait = number(name, value, 0..=20)?,
        "MessageRetentionPeriod" => {
            settings.retention = Duration::from_secs(number(name, value, 60..=1_209_600)?.into());
        }
        "Policy" => record.policy = document(name, value)?,
        "RedriveAllowPolicy" => record.redrive_allow = document(name, value)?,
        "SqsManagedSseEnabled" => record.managed_encryption = truth(name, value)?,
        "KmsMasterKeyId" => record.kms_key = (!value.is_empty()).then(|| value.to_owned()),
        "KmsDataKeyReusePeriodSeconds" => record.kms_reuse = number(name, value, 60..=86_400)?,
        "FifoQueue" if truth(name, value)? == grouped => {}
        "FifoQueue" => return Err(invalid(name)),
        "ContentBasedDeduplication" | "DeduplicationScope" | "FifoThroughputLimit" if !grouped => {
            return Err(unknown(name));
        }
        "ContentBasedDeduplication" => record.content_tokens = truth(name, value)?,
        "DeduplicationScope" => record.tokens_of_group = one_of(name, value, "queue", "messageGroup")?,
        "FifoThroughputLimit" => {
            record.throughput_of_group = one_of(name, value, "perQueue", "perMessageGroupId")?;
        }
        _ => return Err(unknown(name)),
    }
    Ok(())
}

impl Sqs {
    /// Sets attributes.
    pub(super) fn apply(
        &self,
        own: &QueueName,
        values: &Values,
        record: &mut QueueRecord,
        settings: &mut QueueSettings,
    ) -> Result<(), SqsError> {
        for (name, value) in values {
            if name == "RedrivePolicy" {
                let policy = self.redrive(own, value, settings.order)?;
                settings.redrive = policy.as_ref().map(|(_, redrive)| *redrive);
                record.redrive = policy.map(|(policy, _)| policy);
            } else {
                set(name, value, record, settings)?;
            }
        }
        Ok(())
    }

    fn redrive(&self, own: &QueueName, text: &str, order: Order) -> Result<Option<(RedrivePolicy, Redrive)>, SqsError> {
        if text.is_empty() || text == "{}" {
            return Ok(None);
        }
        let wrong = |reason: &str| SqsError::value("RedrivePolicy", text, reason);
        let given: GivenPolicy = serde_json::from_str(text)
            .map_err(|_| wrong("Redrive policy must contain deadLetterTargetArn and maxReceiveCount."))?;
        let count = match &given.max_receive_count {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let after = count
            .and_then(|count| u32::try_from(count).ok())
            .filter(|count| (1..=1000).contains(count));
        let after = after.ok_or_else(|| {
            let given = &given.max_receive_count;
            wrong(&format!(
                "Invalid value for maxReceiveCount: {given}, valid values are from 1 to 1000 both inclusive."
            ))
        })?;
        let target = QueueName::of_arn(&given.dead_letter_target_arn)
            .ok_or_else(|| wrong("Invalid value for deadLetterTargetArn."))?;
        // A queue of another account or region does not exist from here.
        let found = (target.place == own.place).then(|| target.find(&self.queues)).flatten();
        let found = found.ok_or_else(|| wrong("Dead letter target does not exist."))?;
        if found.settings.order != order {
            return Err(wrong("Dead-letter queue must be same type of queue as the source."));
        }
        if target == *own {
            return Err(wrong("Dead letter queue cannot be the queue itself."));
        }
        let redrive = Redrive {
            target: found.id,
            after,
        };
        let target = given.dead_letter_target_arn;
        Ok(Some((RedrivePolicy { target, after }, redrive)))
    }
}

/// Which attributes a request asks for.
///
/// # Errors
/// One that does not exist.
pub(super) fn wanted(names: &[String]) -> Result<impl Fn(&str) -> bool + '_, SqsError> {
    let all = names.iter().any(|name| name == "All");
    if let Some(name) = names
        .iter()
        .find(|name| *name != "All" && !NAMES.contains(&name.as_str()))
    {
        return Err(unknown(name));
    }
    Ok(move |name: &str| all || names.iter().any(|wanted| wanted == name))
}

/// Everything that can be shown of a queue.
pub(super) fn all(queue: &Queue, record: &QueueRecord, counts: QueueCounts) -> Vec<(&'static str, String)> {
    let arn = QueueName::of(queue).map(|name| name.arn()).unwrap_or_default();
    let mut values = vec![
        ("QueueArn", arn),
        ("ApproximateNumberOfMessages", counts.visible.to_string()),
        ("ApproximateNumberOfMessagesNotVisible", counts.in_flight.to_string()),
        ("ApproximateNumberOfMessagesDelayed", counts.delayed.to_string()),
        ("CreatedTimestamp", queue.created.as_secs().to_string()),
        ("LastModifiedTimestamp", record.modified.as_secs().to_string()),
        ("VisibilityTimeout", record.visibility.to_string()),
        ("MaximumMessageSize", record.largest.to_string()),
        ("MessageRetentionPeriod", queue.settings.retention.as_secs().to_string()),
        ("DelaySeconds", record.delay.to_string()),
        ("ReceiveMessageWaitTimeSeconds", record.wait.to_string()),
        ("SqsManagedSseEnabled", record.managed_encryption.to_string()),
    ];
    if queue.settings.order == Order::Groups {
        let scope = if record.tokens_of_group {
            "messageGroup"
        } else {
            "queue"
        };
        let limit = if record.throughput_of_group {
            "perMessageGroupId"
        } else {
            "perQueue"
        };
        values.extend([
            ("FifoQueue", "true".to_owned()),
            ("ContentBasedDeduplication", record.content_tokens.to_string()),
            ("DeduplicationScope", scope.to_owned()),
            ("FifoThroughputLimit", limit.to_owned()),
        ]);
    }
    let redrive = record
        .redrive
        .as_ref()
        .and_then(|policy| serde_json::to_string(policy).ok());
    let optional = [
        ("RedrivePolicy", redrive),
        ("Policy", record.policy.clone()),
        ("RedriveAllowPolicy", record.redrive_allow.clone()),
        ("KmsMasterKeyId", record.kms_key.clone()),
        (
            "KmsDataKeyReusePeriodSeconds",
            record.kms_key.as_ref().map(|_| record.kms_reuse.to_string()),
        ),
    ];
    values.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    values
}

#[cfg(test)]
mod tests {
    use sonagi_model::Timestamp;

    use super::*;

    #[test]
    fn values_are_checked() {
        let attempt = |order: Order, name: &str, value: &str| {
            let mut settings = QueueSettings {
                order,
                retention: Duration::from_secs(60),
                window: Duration::from_secs(300),
                redrive: None,
            };
            set(
                name,
                value,
                &mut QueueRecord::new(Timestamp::from_millis(0)),
                &mut settings,
            )
        };
        for (name, good, bad) in [
            ("VisibilityTimeout", "43200", "43201"),
            ("DelaySeconds", "0", "-1"),
            ("MaximumMessageSize", "1048576", "1023"),
            ("ReceiveMessageWaitTimeSeconds", "20", "x"),
            ("MessageRetentionPeriod", "60", "59"),
            ("Policy", "{}", "[]"),
            ("ContentBasedDeduplication", "true", "yes"),
            ("DeduplicationScope", "messageGroup", "group"),
            ("FifoQueue", "true", "false"),
        ] {
            assert!(attempt(Order::Groups, name, good).is_ok(), "{name} {good}");
            assert_eq!(
                attempt(Order::Groups, name, bad).unwrap_err().kind,
                Kind::InvalidAttributeValue,
                "{name} {bad}"
            );
        }
        for (order, name) in [
            (Order::Loose, "DeduplicationScope"),
            (Order::Groups, "QueueArn"),
            (Order::Groups, "x"),
        ] {
            assert_eq!(
                attempt(order, name, "1").unwrap_err().kind,
                Kind::InvalidAttributeName,
                "{name}"
            );
        }
        assert!(wanted(&["x".to_owned()]).is_err());
        let names = ["QueueArn".to_owned()];
        let wanted = wanted(&names).unwrap();
        assert!(wanted("QueueArn") && !wanted("Policy"));
    }
}
