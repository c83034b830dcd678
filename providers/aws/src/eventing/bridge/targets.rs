//! Targets of rules.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json as document};

use super::super::reach::is_reachable;
use super::super::{is_name, page, prefix_of};
use super::record::{RuleRecord, Target};
use super::{Answer, Bridge, Call, ServiceError, TARGETS_MAX, limit, shown};
use crate::place::Place;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TargetsInput {
    rule: String,
    event_bus_name: Option<String>,
    targets: Vec<Value>,
    ids: Vec<String>,
    next_token: Option<String>,
    limit: Option<i64>,
    target_arn: String,
}

fn id_of(target: &Value) -> &str {
    target.get("Id").and_then(Value::as_str).unwrap_or_default()
}

/// What is wrong with a target; `Ok` otherwise.
fn check(target: &Value, place: &Place) -> Result<Target, ServiceError> {
    let read = Target::deserialize(target).map_err(|error| {
        ServiceError::new(
            400,
            "SerializationException",
            format!("A target is not of the operation's shape: {error}"),
        )
    })?;
    let wrong = |reason: &str| {
        Err(ServiceError::validation(format!(
            "Parameter {} is not valid. Reason: {reason}",
            read.arn
        )))
    };
    if !is_name(&read.id, 64, ".-_") {
        let constraint = "Member must satisfy regular expression pattern: [\\.\\-_A-Za-z0-9]+";
        return Err(ServiceError::constraint(&read.id, "targets.member.id", constraint));
    }
    if !read.arn.starts_with("arn:") {
        return wrong("Provided Arn is not in correct format.");
    }
    if !is_reachable(&read.arn, place) {
        return wrong("Provided Arn is none of a function, a queue or an event bus of this account and region.");
    }
    if let Err(reason) = read.shaping.check() {
        return Err(ServiceError::validation(format!("{reason} for target {}.", read.id)));
    }
    if let Some(Err(reason)) = read.retry_policy.as_ref().map(super::RetryPolicy::check) {
        return Err(ServiceError::validation(format!("{reason} for target {}.", read.id)));
    }
    let queue = read
        .dead_letter_config
        .as_ref()
        .and_then(|config| config.arn.as_deref());
    if queue.is_some_and(|arn| !arn.contains(":sqs:") || !is_reachable(arn, place)) {
        return wrong("The dead-letter queue must be a queue of this account and region.");
    }
    Ok(read)
}

impl Bridge {
    pub(super) async fn put_targets(self: &Arc<Self>, call: &Call<'_>) -> Answer {
        let input: TargetsInput = call.input()?;
        let _turn = self.turn.lock().await;
        let (key, known) = self.rule(call.place, input.event_bus_name.as_deref(), &input.rule)?;
        let mut rule = RuleRecord::clone(&known);
        for target in input.targets {
            check(&target, call.place)?;
            match rule.targets.iter_mut().find(|other| id_of(other) == id_of(&target)) {
                Some(other) => *other = target,
                None => rule.targets.push(target),
            }
        }
        if rule.targets.len() > TARGETS_MAX {
            let text =
                format!("The requested resource exceeds the maximum number allowed: {TARGETS_MAX} targets of a rule.");
            return Err(ServiceError::new(400, "LimitExceededException", text));
        }
        self.keep(&key, Some(&known), rule).await?;
        Ok(shown(document!({ "FailedEntryCount": 0, "FailedEntries": [] })))
    }

    pub(super) async fn remove_targets(self: &Arc<Self>, call: &Call<'_>) -> Answer {
        let input: TargetsInput = call.input()?;
        let _turn = self.turn.lock().await;
        let (key, known) = self.rule(call.place, input.event_bus_name.as_deref(), &input.rule)?;
        let mut rule = RuleRecord::clone(&known);
        let mut failed = Vec::new();
        for id in &input.ids {
            let before = rule.targets.len();
            rule.targets.retain(|target| id_of(target) != id);
            if rule.targets.len() == before {
                failed.push(document!({
                    "TargetId": id,
                    "ErrorCode": "ResourceNotFoundException",
                    "ErrorMessage": format!("Rule {} does not have a target with the Id {id}.", rule.name),
                }));
            }
        }
        if failed.len() < input.ids.len() {
            self.keep(&key, Some(&known), rule).await?;
        }
        Ok(shown(
            document!({ "FailedEntryCount": failed.len(), "FailedEntries": failed }),
        ))
    }

    pub(super) fn list_targets(&self, call: &Call<'_>) -> Answer {
        let input: TargetsInput = call.input()?;
        let (_, rule) = self.rule(call.place, input.event_bus_name.as_deref(), &input.rule)?;
        let mut targets: Vec<(String, Value)> = rule
            .targets
            .iter()
            .map(|target| (id_of(target).to_owned(), target.clone()))
            .collect();
        targets.sort_by(|one, other| one.0.cmp(&other.0));
        let (targets, next) = page(targets, input.next_token.as_deref(), limit(input.limit)?)?;
        Ok(shown(document!({ "Targets": targets, "NextToken": next })))
    }

    pub(super) fn list_rule_names(&self, call: &Call<'_>) -> Answer {
        let input: TargetsInput = call.input()?;
        let bus = self.bus_of(call.place, input.event_bus_name.as_deref())?;
        let mut found = self.rules.with_prefix(&prefix_of(call.place, &[&bus]));
        let goes_there = |target: &Value| target.get("Arn").and_then(Value::as_str) == Some(input.target_arn.as_str());
        found.retain(|(_, rule)| rule.targets.iter().any(goes_there));
        let (rules, next) = page(found, input.next_token.as_deref(), limit(input.limit)?)?;
        let names: Vec<&String> = rules.iter().map(|rule| &rule.name).collect();
        Ok(shown(document!({ "RuleNames": names, "NextToken": next })))
    }
}
