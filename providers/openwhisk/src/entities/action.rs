//! Actions: what a request may say of one, the record that is kept, what answers show.
//! Source: apache/openwhisk (commit 1fae641), `WhiskAction.scala`, `Exec.scala`, `ActionLimits.scala`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Head, KeyValues};
use crate::errors::WhiskError;
use crate::limits::{Range, WhiskLimits};
use crate::names::FullName;

/// How an action's code is kept in its artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    /// The text of one source file.
    Source,
    /// One file that was sent as base64.
    File,
    /// An archive.
    Archive,
    /// There is none.
    None,
}

/// What an action is made of, without its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exec {
    pub(crate) kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) main: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<String>,
    /// Of a sequence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) components: Vec<FullName>,
    pub(crate) binary: bool,
    pub(crate) form: Form,
}

/// The kind of sequences.
pub(crate) const SEQUENCE: &str = "sequence";
/// The kind of actions with an image of their own.
pub(crate) const BLACKBOX: &str = "blackbox";
/// The hidden parameter of sequences.
pub(crate) const SEQUENCE_PARAMETER: &str = "_actions";

impl Exec {
    pub(crate) fn is_sequence(&self) -> bool {
        self.kind == SEQUENCE
    }

    /// As answers show it.
    pub(crate) fn shown(&self, code: Option<String>) -> Value {
        let mut shown = Map::new();
        shown.insert("kind".to_owned(), Value::String(self.kind.clone()));
        if self.is_sequence() {
            let names = self.components.iter().map(|name| Value::String(format!("/{name}")));
            shown.insert("components".to_owned(), Value::Array(names.collect()));
            return Value::Object(shown);
        }
        if let Some(image) = &self.image {
            shown.insert("image".to_owned(), Value::String(image.clone()));
        }
        if let Some(code) = code {
            shown.insert("code".to_owned(), Value::String(code));
        }
        shown.insert("binary".to_owned(), Value::Bool(self.binary));
        if let Some(main) = &self.main {
            shown.insert("main".to_owned(), Value::String(main.clone()));
        }
        Value::Object(shown)
    }
}

/// Limits of one action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limits {
    pub(crate) timeout_ms: u64,
    pub(crate) memory_mb: u64,
    pub(crate) logs_mb: u64,
    pub(crate) concurrency: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instances: Option<u64>,
}

impl Limits {
    pub(crate) const fn standard(limits: &WhiskLimits) -> Self {
        Self {
            timeout_ms: limits.timeout_ms.standard,
            memory_mb: limits.memory_mb.standard,
            logs_mb: limits.logs_mb.standard,
            concurrency: limits.concurrency.standard,
            instances: None,
        }
    }

    /// These with what a request says over them.
    ///
    /// # Errors
    /// 400 for a limit out of its range, in upstream's words.
    pub(crate) fn with(mut self, body: &Value, limits: &WhiskLimits) -> Result<Self, WhiskError> {
        let body = body
            .as_object()
            .ok_or_else(|| WhiskError::malformed("limits malformed!"))?;
        if let Some(timeout) = number(body, "timeout")? {
            let Range { min, max, .. } = limits.timeout_ms;
            let told = |relation: &str, bound: u64| {
                format!("duration {timeout} milliseconds {relation} allowed threshold of {bound} milliseconds")
            };
            self.timeout_ms = within(timeout, min, max, told)?;
        }
        if let Some(memory) = number(body, "memory")? {
            let Range { min, max, .. } = limits.memory_mb;
            let told = |relation: &str, bound: u64| {
                format!("memory size {memory} MB {relation} allowed threshold of {bound} MB")
            };
            self.memory_mb = within(memory, min, max, told)?;
        }
        if let Some(logs) = number(body, "logs")? {
            let Range { min, max, .. } = limits.logs_mb;
            let told =
                |relation: &str, bound: u64| format!("log size {logs} MB {relation} allowed threshold of {bound} MB");
            self.logs_mb = within(logs, min, max, told)?;
        }
        if let Some(concurrency) = number(body, "concurrency")? {
            let Range { min, max, .. } = limits.concurrency;
            let told = |relation: &str, bound: u64| {
                format!("concurrency {concurrency} {relation} allowed threshold of {bound}")
            };
            self.concurrency = within(concurrency, min, max, told)?;
        }
        if let Some(instances) = number(body, "instances")? {
            let told =
                |relation: &str, bound: u64| format!("instances {instances} {relation} allowed threshold of {bound}");
            self.instances = Some(within(instances, 0, u64::from(limits.concurrent), told)?);
        }
        Ok(self)
    }

    pub(crate) fn shown(&self) -> Value {
        let mut shown = json!({
            "timeout": self.timeout_ms,
            "memory": self.memory_mb,
            "logs": self.logs_mb,
            "concurrency": self.concurrency,
        });
        if let Some(instances) = self.instances {
            shown["instances"] = json!(instances);
        }
        shown
    }
}

fn number(body: &Map<String, Value>, name: &str) -> Result<Option<i64>, WhiskError> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_i64()
            .map(Some)
            .ok_or_else(|| WhiskError::malformed(format!("{name} must be a whole number"))),
    }
}

fn within(value: i64, min: u64, max: u64, told: impl Fn(&str, u64) -> String) -> Result<u64, WhiskError> {
    match u64::try_from(value) {
        Ok(value) if value > max => Err(WhiskError::malformed(told("exceeds", max))),
        Ok(value) if value >= min => Ok(value),
        Ok(_) | Err(_) => Err(WhiskError::malformed(told("below", min))),
    }
}

/// What is kept of an action, beside the core's record of its function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ActionRecord {
    /// Format of this record.
    pub(crate) format: u32,
    #[serde(flatten)]
    pub(crate) head: Head,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) package: Option<String>,
    pub(crate) exec: Exec,
    pub(crate) parameters: KeyValues,
    pub(crate) limits: Limits,
}

/// The format that is written.
pub(crate) const FORMAT: u32 = 1;

impl ActionRecord {
    pub(crate) fn full_name(&self) -> FullName {
        FullName::new(&self.head.namespace, self.package.as_deref(), &self.head.name)
    }

    /// The function that is called.
    pub(crate) fn main(&self) -> &str {
        self.exec.main.as_deref().unwrap_or("main")
    }

    /// As `GET` and `PUT` answer it.
    pub(crate) fn shown(&self, parameters: &KeyValues, code: Option<String>) -> Value {
        json!({
            "namespace": self.full_name().path(),
            "name": self.head.name,
            "version": self.head.version.to_string(),
            "publish": self.head.publish,
            "updated": self.head.updated,
            "exec": self.exec.shown(code),
            "parameters": parameters.shown(),
            "limits": self.limits.shown(),
            "annotations": self.head.annotations.shown(),
        })
    }

    /// As lists show it.
    pub(crate) fn listed(&self) -> Value {
        json!({
            "namespace": self.full_name().path(),
            "name": self.head.name,
            "version": self.head.version.to_string(),
            "publish": self.head.publish,
            "annotations": self.head.annotations.shown(),
            "updated": self.head.updated,
            "limits": self.limits.shown(),
            "exec": { "binary": self.exec.binary },
        })
    }

    /// As packages list it.
    pub(crate) fn in_package(&self) -> Value {
        json!({
            "name": self.head.name,
            "version": self.head.version.to_string(),
            "annotations": self.head.annotations.shown(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_out_of_range_are_told_in_upstreams_words() {
        let limits = WhiskLimits::default();
        let told = |body: Value| Limits::standard(&limits).with(&body, &limits).unwrap_err().text;
        assert!(
            told(json!({ "timeout": 300_001 }))
                .ends_with("duration 300001 milliseconds exceeds allowed threshold of 300000 milliseconds")
        );
        assert!(told(json!({ "memory": 127 })).ends_with("memory size 127 MB below allowed threshold of 128 MB"));
        assert!(told(json!({ "concurrency": 501 })).contains("concurrency"));
        assert!(told(json!({ "logs": -1 })).contains("below"));
        let good = json!({ "memory": 512, "instances": 0 });
        let good = Limits::standard(&limits).with(&good, &limits).unwrap();
        assert_eq!(
            (good.memory_mb, good.timeout_ms, good.instances),
            (512, 60_000, Some(0))
        );
    }
}
