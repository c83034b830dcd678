//! The record that every activation leaves.
//! Source: apache/openwhisk (commit 1fae641), `WhiskActivation.scala`.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use sonagi_model::{InvocationId, RunRecord, Timestamp};
use sonagi_ports::Filing;

use crate::entities::Version;
use crate::names::FullName;
use crate::runtime::classify::{Status, Verdict};

/// The id of an activation as clients see it: 32 hexadecimal digits.
pub(crate) fn id_text(id: InvocationId) -> String {
    id.as_uuid().as_simple().to_string()
}

/// What the platform says of an activation.
pub(crate) type Annotated = Vec<(&'static str, Value)>;

/// One activation that is over (of a trigger: that has begun).
#[derive(Debug, Clone)]
pub(crate) struct Activation {
    pub(crate) id: InvocationId,
    /// The namespace that pays.
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// What lists are filtered by: `action`, or `package/action`.
    pub(crate) label: String,
    pub(crate) version: Version,
    pub(crate) cause: Option<InvocationId>,
    pub(crate) start: i64,
    /// Absent for triggers.
    pub(crate) end: Option<i64>,
    /// Milliseconds; of a sequence the sum of its parts.
    pub(crate) duration: i64,
    pub(crate) verdict: Verdict,
    pub(crate) logs: Vec<String>,
    pub(crate) annotations: Annotated,
    /// The engine's record of what ran last.
    pub(crate) run: Option<Arc<RunRecord>>,
    /// Highest memory limit of what ran, for the record of what calls it.
    pub(crate) memory_mb: u64,
}

/// Where the activation's log is in its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logs {
    /// Not collected yet, as far as the caller of a blocking invocation is concerned.
    Omitted,
    /// In the record.
    Included,
}

impl Activation {
    /// The label of an action.
    pub(crate) fn label(name: &FullName) -> String {
        match &name.package {
            Some(package) => format!("{package}/{}", name.name),
            None => name.name.clone(),
        }
    }

    fn annotations(&self) -> Value {
        let all = self.annotations.iter();
        Value::Array(all.map(|(key, value)| json!({ "key": key, "value": value })).collect())
    }

    /// The `response` block.
    pub(crate) fn response(&self) -> Value {
        json!({
            "status": self.verdict.status.text(),
            "success": self.verdict.status == Status::Success,
            "result": self.verdict.result,
            "size": self.verdict.result.to_string().len(),
        })
    }

    /// The whole record.
    pub(crate) fn shown(&self, logs: Logs) -> Value {
        let mut shown = Map::new();
        let mut set = |key: &str, value: Value| shown.insert(key.to_owned(), value);
        set("namespace", json!(self.namespace));
        set("name", json!(self.name));
        set("version", json!(self.version.to_string()));
        set("subject", json!(self.namespace));
        set("activationId", json!(id_text(self.id)));
        if let Some(cause) = self.cause {
            set("cause", json!(id_text(cause)));
        }
        set("start", json!(self.start));
        if let Some(end) = self.end {
            set("end", json!(end));
            set("duration", json!(self.duration));
        }
        set("publish", json!(false));
        set("response", self.response());
        let lines = match logs {
            Logs::Omitted => json!([]),
            Logs::Included => json!(self.logs),
        };
        set("logs", lines);
        set("annotations", self.annotations());
        Value::Object(shown)
    }

    fn summary(&self) -> Value {
        let mut shown = json!({
            "namespace": self.namespace,
            "name": self.name,
            "version": self.version.to_string(),
            "publish": false,
            "annotations": self.annotations(),
            "activationId": id_text(self.id),
            "start": self.start,
        });
        if let Some(end) = self.end {
            shown["end"] = json!(end);
            shown["duration"] = json!(end - self.start);
            shown["statusCode"] = json!(self.verdict.status.code());
        }
        if let Some(cause) = self.cause {
            shown["cause"] = json!(id_text(cause));
        }
        shown
    }

    /// The record for the archive.
    pub(super) fn filing(&self) -> Filing {
        Filing {
            scope: scope(&self.namespace),
            id: id_text(self.id),
            at: Timestamp::from_millis(self.start),
            label: self.label.clone(),
            summary: Bytes::from(self.summary().to_string()),
            body: Bytes::from(self.shown(Logs::Included).to_string()),
        }
    }
}

/// The archive's scope of a namespace.
pub(crate) fn scope(namespace: &str) -> String {
    format!("{}/{namespace}", crate::names::PROVIDER)
}
