//! `AddPermission` and `RemovePermission`: statements of a queue's policy. The policy is kept and shown; who may use a queue
//! is decided by account.
//! Source: both operations of the SQS API reference.

use serde::Deserialize;
use serde_json::{Value, json};

use super::errors::{Kind, SqsError};
use super::names::QueueName;
use super::record::QueueRecord;
use super::{Call, Nothing, Sqs};

/// What others can be allowed.
const ACTIONS: &[&str] = &[
    "*",
    "ChangeMessageVisibility",
    "DeleteMessage",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListDeadLetterSourceQueues",
    "PurgeQueue",
    "ReceiveMessage",
    "SendMessage",
];
/// Statements of a policy that were added so, at most. Source: "Quotas related to policies".
const STATEMENTS_MAX: usize = 20;

#[derive(Debug, Deserialize)]
struct Permission {
    #[serde(default, rename = "QueueUrl")]
    queue_url: Option<String>,
    #[serde(default, rename = "Label")]
    label: String,
    #[serde(default, rename = "AWSAccountIds")]
    accounts: Vec<String>,
    #[serde(default, rename = "Actions")]
    actions: Vec<String>,
}

/// One value as itself, several as a list: as policies are written.
fn one_or_many(mut values: Vec<Value>) -> Value {
    match values.len() {
        1 => values.remove(0),
        _ => Value::Array(values),
    }
}

impl Permission {
    fn check(&self) -> Result<(), SqsError> {
        for (parameter, is_missing) in [
            ("Label", self.label.is_empty()),
            ("AWSAccountIds", self.accounts.is_empty()),
            ("Actions", self.actions.is_empty()),
        ] {
            if is_missing {
                return Err(SqsError::missing(parameter));
            }
        }
        if let Some(unknown) = self.actions.iter().find(|action| !ACTIONS.contains(&action.as_str())) {
            let reason = "Only the queue owner is allowed to invoke this action.";
            return Err(SqsError::value("ActionName", &format!("SQS:{unknown}"), reason));
        }
        let is_account = |id: &String| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit());
        match self.accounts.iter().find(|id| !is_account(id)) {
            Some(id) => Err(SqsError::value("PrincipalId", id, "Unable to verify.")),
            None => Ok(()),
        }
    }

    fn statement(&self, arn: &str) -> Value {
        let accounts = self.accounts.iter().map(|id| json!(format!("arn:aws:iam::{id}:root")));
        let actions = self.actions.iter().map(|action| json!(format!("SQS:{action}")));
        json!({
            "Sid": self.label,
            "Effect": "Allow",
            "Principal": { "AWS": one_or_many(accounts.collect()) },
            "Action": one_or_many(actions.collect()),
            "Resource": arn,
        })
    }
}

fn policy_of(record: &QueueRecord, arn: &str) -> Value {
    let known = record.policy.as_ref().and_then(|text| serde_json::from_str(text).ok());
    known
        .unwrap_or_else(|| json!({ "Version": "2008-10-17", "Id": format!("{arn}/SQSDefaultPolicy"), "Statement": [] }))
}

fn statements(policy: &mut Value) -> &mut Vec<Value> {
    if !policy["Statement"].is_array() {
        let alone = policy["Statement"].take();
        policy["Statement"] = Value::Array((!alone.is_null()).then_some(alone).into_iter().collect());
    }
    policy["Statement"].as_array_mut().expect("it was made a list")
}

fn add(record: &mut QueueRecord, permission: &Permission, arn: &str) -> Result<(), SqsError> {
    let mut policy = policy_of(record, arn);
    let statements = statements(&mut policy);
    if statements.iter().any(|known| known["Sid"] == permission.label.as_str()) {
        return Err(SqsError::value("Label", &permission.label, "Already exists."));
    }
    if statements.len() >= STATEMENTS_MAX {
        let text = format!("A queue's policy has at most {STATEMENTS_MAX} statements.");
        return Err(SqsError::new(Kind::OverLimit, text));
    }
    statements.push(permission.statement(arn));
    record.policy = Some(policy.to_string());
    Ok(())
}

fn remove(record: &mut QueueRecord, label: &str, arn: &str) -> Result<(), SqsError> {
    let mut policy = policy_of(record, arn);
    let statements = statements(&mut policy);
    let before = statements.len();
    statements.retain(|known| known["Sid"] != label);
    if statements.len() == before {
        return Err(SqsError::value("Label", label, "can't find label on existing policy."));
    }
    record.policy = (!statements.is_empty()).then(|| policy.to_string());
    Ok(())
}

impl Sqs {
    pub(super) async fn add_permission(&self, call: &Call<'_>) -> Result<Nothing, SqsError> {
        let input: Permission = call.input()?;
        let queue = self.queue(call, input.queue_url.as_deref())?;
        input.check()?;
        let arn = QueueName::of(&queue).map(|name| name.arn()).unwrap_or_default();
        self.alter(queue.id, |record, _| add(record, &input, &arn)).await
    }

    pub(super) async fn remove_permission(&self, call: &Call<'_>) -> Result<Nothing, SqsError> {
        let input: Permission = call.input()?;
        let queue = self.queue(call, input.queue_url.as_deref())?;
        if input.label.is_empty() {
            return Err(SqsError::missing("Label"));
        }
        let arn = QueueName::of(&queue).map(|name| name.arn()).unwrap_or_default();
        self.alter(queue.id, |record, _| remove(record, &input.label, &arn))
            .await
    }
}

#[cfg(test)]
mod tests {
    use sonagi_model::Timestamp;

    use super::*;

    #[test]
    fn statements_come_and_go_by_label() {
        let mut record = QueueRecord::new(Timestamp::from_millis(0));
        let permission = Permission {
            queue_url: None,
            label: "l".to_owned(),
            accounts: vec!["111111111111".to_owned()],
            actions: vec!["SendMessage".to_owned()],
        };
        permission.check().unwrap();
        add(&mut record, &permission, "arn").unwrap();
        let policy: Value = serde_json::from_str(record.policy.as_ref().unwrap()).unwrap();
        assert_eq!(policy["Statement"][0]["Action"], "SQS:SendMessage");
        assert_eq!(
            policy["Statement"][0]["Principal"]["AWS"],
            "arn:aws:iam::111111111111:root"
        );
        assert!(add(&mut record, &permission, "arn").is_err());
        assert!(remove(&mut record, "x", "arn").is_err());
        remove(&mut record, "l", "arn").unwrap();
        assert_eq!(record.policy, None);
        let odd = Permission {
            actions: vec!["DeleteQueue".to_owned()],
            ..permission
        };
        assert!(odd.check().is_err());
    }
}
