//! Triggers and rules. A rule's status lives with its trigger.
//! Source: apache/openwhisk (commit 1fae641), `WhiskTrigger.scala`, `WhiskRule.scala`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Head, KeyValues};
use crate::names::FullName;

/// Whether a rule passes on what its trigger fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RuleStatus {
    Active,
    Inactive,
}

impl RuleStatus {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "active" => Some(Self::Active),
            "inactive" => Some(Self::Inactive),
            _ => None,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
        }
    }
}

/// What a trigger knows of one of its rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TriggerRule {
    pub(crate) action: FullName,
    pub(crate) status: RuleStatus,
}

/// A trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trigger {
    #[serde(flatten)]
    pub(crate) head: Head,
    pub(crate) parameters: KeyValues,
    /// By `namespace/rule`.
    #[serde(default)]
    pub(crate) rules: BTreeMap<String, TriggerRule>,
}

fn path_and_name(name: &FullName) -> Value {
    json!({ "path": name.path(), "name": name.name })
}

impl Trigger {
    /// As answers show it.
    pub(crate) fn shown(&self) -> Value {
        let mut shown = self.listed();
        shown["parameters"] = self.parameters.shown();
        shown["limits"] = json!({});
        if !self.rules.is_empty() {
            let rules: Map<String, Value> = self
                .rules
                .iter()
                .map(|(name, rule)| {
                    let shown = json!({ "action": path_and_name(&rule.action), "status": rule.status.as_str() });
                    (name.clone(), shown)
                })
                .collect();
            shown["rules"] = Value::Object(rules);
        }
        shown
    }

    /// As lists show it.
    pub(crate) fn listed(&self) -> Value {
        json!({
            "namespace": self.head.namespace,
            "name": self.head.name,
            "version": self.head.version.to_string(),
            "publish": self.head.publish,
            "updated": self.head.updated,
            "annotations": self.head.annotations.shown(),
        })
    }
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rule {
    #[serde(flatten)]
    pub(crate) head: Head,
    pub(crate) trigger: FullName,
    pub(crate) action: FullName,
}

impl Rule {
    /// As answers and lists show it, with its status where that is known.
    pub(crate) fn shown(&self, status: Option<RuleStatus>) -> Value {
        let mut shown = json!({
            "namespace": self.head.namespace,
            "name": self.head.name,
            "version": self.head.version.to_string(),
            "publish": self.head.publish,
            "updated": self.head.updated,
            "annotations": self.head.annotations.shown(),
            "trigger": path_and_name(&self.trigger),
            "action": path_and_name(&self.action),
        });
        if let Some(status) = status {
            shown["status"] = Value::String(status.as_str().to_owned());
        }
        shown
    }
}
