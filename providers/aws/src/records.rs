//! What Lambda knows beyond the core's records, kept beside them as documents. Everything here is stored: fields are
//! added with a default, never renamed; `format` changes only if an older platform would misread it.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sonagi_model::{Document, Revision, Timestamp};
use uuid::Uuid;

use crate::arn::LATEST;
use crate::errors::{Code, LambdaError};

/// The format written today.
pub(crate) const FORMAT: u8 = 1;

/// Beside a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FunctionRecord {
    pub(crate) format: u8,
    /// The number of the newest version ever published; numbers are never used again.
    #[serde(default)]
    pub(crate) last_version: u64,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
    /// Resource policies by qualifier; that of the unqualified function under `$LATEST`.
    #[serde(default)]
    pub(crate) policies: BTreeMap<String, Vec<Statement>>,
    /// Function URLs by alias; that of the unqualified function under `$LATEST`.
    #[serde(default)]
    pub(crate) urls: BTreeMap<String, UrlRecord>,
    /// Configurations of asynchronous invocation by qualifier; that of the unqualified function under `$LATEST`.
    #[serde(default)]
    pub(crate) asynchronous: BTreeMap<String, AsyncRecord>,
    /// Provisioned concurrency by version or alias.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) provisioned: BTreeMap<String, ProvisionedRecord>,
    #[serde(default)]
    pub(crate) recursive_loop: RecursiveLoop,
    #[serde(default)]
    pub(crate) update_runtime_on: UpdateRuntimeOn,
}

impl Default for FunctionRecord {
    fn default() -> Self {
        Self {
            format: FORMAT,
            last_version: 0,
            tags: BTreeMap::new(),
            policies: BTreeMap::new(),
            urls: BTreeMap::new(),
            asynchronous: BTreeMap::new(),
            provisioned: BTreeMap::new(),
            recursive_loop: RecursiveLoop::default(),
            update_runtime_on: UpdateRuntimeOn::default(),
        }
    }
}

/// Instances of a version or alias that are kept loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProvisionedRecord {
    pub(crate) count: u32,
    pub(crate) modified: Timestamp,
}

/// How events of a function are run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AsyncRecord {
    /// Attempts after the first one that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retries: Option<u8>,
    /// Seconds after which an event is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_age: Option<u32>,
    /// Where the record of a success goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) on_success: Option<String>,
    /// Where the record of a failure goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) on_failure: Option<String>,
    pub(crate) modified: Timestamp,
}

impl AsyncRecord {
    /// One that says nothing.
    pub(crate) const fn new(modified: Timestamp) -> Self {
        Self {
            retries: None,
            max_age: None,
            on_success: None,
            on_failure: None,
            modified,
        }
    }
}

/// What happens to a function that calls itself through other services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum RecursiveLoop {
    #[default]
    Terminate,
    Allow,
}

/// When a function gets a newer runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum UpdateRuntimeOn {
    #[default]
    Auto,
    FunctionUpdate,
}

/// One statement of a resource policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Statement {
    pub(crate) sid: String,
    pub(crate) principal: PrincipalRule,
    pub(crate) action: String,
    #[serde(default)]
    pub(crate) conditions: Conditions,
}

/// For whom a statement holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PrincipalRule {
    /// `*`.
    Everyone,
    /// An AWS service, for instance `events.amazonaws.com`.
    Service(String),
    /// An ARN of an account, user or role.
    Aws(String),
}

/// Under which conditions a statement holds: all that are present.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Conditions {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source_arn: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source_account: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) organization: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) event_source_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) url_auth: Option<UrlAuth>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) via_url: Option<bool>,
}

/// Who may use a function URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum UrlAuth {
    /// Everybody whom the resource policy allows.
    #[serde(rename = "NONE")]
    None,
    /// Those who sign.
    #[serde(rename = "AWS_IAM")]
    Iam,
}

impl UrlAuth {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Iam => "AWS_IAM",
        }
    }
}

/// How a function URL answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum UrlMode {
    #[default]
    #[serde(rename = "BUFFERED")]
    Buffered,
    #[serde(rename = "RESPONSE_STREAM")]
    Stream,
}

/// A function URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UrlRecord {
    /// 32 characters of `[a-z0-9]`.
    pub(crate) id: String,
    pub(crate) auth: UrlAuth,
    pub(crate) mode: UrlMode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cors: Option<Cors>,
    pub(crate) created: Timestamp,
    pub(crate) modified: Timestamp,
}

/// Cross-origin settings of a function URL, in the API's own shape.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Cors {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) allow_credentials: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) allow_headers: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) allow_methods: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) allow_origins: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expose_headers: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_age: Option<i64>,
}

/// Beside a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RevisionRecord {
    pub(crate) format: u8,
    /// Lambda's `RevisionId`: new at every change, an optimistic lock.
    pub(crate) revision_id: Uuid,
    pub(crate) modified: Timestamp,
    pub(crate) settings: Settings,
    /// On published versions: the description that `$LATEST` had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) published_from: Option<String>,
}

impl RevisionRecord {
    pub(crate) fn new(settings: Settings, now: Timestamp) -> Self {
        Self {
            format: FORMAT,
            revision_id: Uuid::new_v4(),
            modified: now,
            settings,
            published_from: None,
        }
    }
}

/// The configuration beyond what the core runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) role: String,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) architecture: Architecture,
    #[serde(default)]
    pub(crate) tracing: TracingMode,
    /// Whether `Environment` was ever given: only then is it shown when empty.
    #[serde(default)]
    pub(crate) environment_given: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) vpc: Option<Vpc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dead_letter: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kms_key: Option<String>,
    #[serde(default)]
    pub(crate) logging: Logging,
    #[serde(default)]
    pub(crate) snap_start: SnapStart,
    /// In the order in which they were given; their tree is beside the revision's code.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) layers: Vec<crate::control::LayerUse>,
}

impl Settings {
    pub(crate) fn new(role: String) -> Self {
        Self {
            role,
            description: String::new(),
            architecture: Architecture::host(),
            tracing: TracingMode::default(),
            environment_given: false,
            vpc: None,
            dead_letter: None,
            kms_key: None,
            logging: Logging::default(),
            snap_start: SnapStart::default(),
            layers: Vec::new(),
        }
    }
}

/// Instruction set that the code was built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum Architecture {
    #[default]
    #[serde(rename = "x86_64")]
    X86,
    #[serde(rename = "arm64")]
    Arm,
}

impl Architecture {
    /// The default for new functions: what this host is. Lambda's own default is `x86_64`.
    pub(crate) const fn host() -> Self {
        if cfg!(target_arch = "aarch64") {
            Self::Arm
        } else {
            Self::X86
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::X86 => "x86_64",
            Self::Arm => "arm64",
        }
    }
}

/// Whether calls are traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum TracingMode {
    #[default]
    PassThrough,
    Active,
}

/// Stored and shown; instances have no network of that kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Vpc {
    pub(crate) subnets: Vec<String>,
    pub(crate) security_groups: Vec<String>,
    pub(crate) dual_stack: bool,
}

/// How a function logs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Logging {
    #[serde(default)]
    pub(crate) format: LogFormat,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) application_level: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) system_level: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum LogFormat {
    #[default]
    Text,
    #[serde(rename = "JSON")]
    Json,
}

/// How detailed lines of the platform are, in functions that log in JSON.
/// Source: the service model of Lambda in botocore 1.44.5, `SystemLogLevel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SystemLevel {
    Debug,
    Info,
    Warn,
}

impl SystemLevel {
    /// From its name; the default is `INFO`.
    pub(crate) fn read(name: Option<&str>) -> Self {
        match name {
            Some("DEBUG") => Self::Debug,
            Some("WARN") => Self::Warn,
            Some(_) | None => Self::Info,
        }
    }
}

/// Which revisions are snapshotted. Stored and shown; functions behave the same without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum SnapStart {
    #[default]
    None,
    PublishedVersions,
}

/// Beside an alias. Where it points is in the core's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AliasRecord {
    pub(crate) format: u8,
    pub(crate) revision_id: Uuid,
    #[serde(default)]
    pub(crate) description: String,
}

impl AliasRecord {
    pub(crate) fn new(description: String) -> Self {
        Self {
            format: FORMAT,
            revision_id: Uuid::new_v4(),
            description,
        }
    }
}

/// Reads a record from its document.
///
/// # Errors
/// 500: written by a newer platform, or damaged.
pub(crate) fn read<T: DeserializeOwned>(document: &Document) -> Result<T, LambdaError> {
    let format = document.0.get("format").and_then(serde_json::Value::as_u64);
    if format.is_some_and(|format| format > u64::from(FORMAT)) {
        tracing::error!(?format, "a record was written by a newer platform");
        return Err(LambdaError::new(
            Code::Service,
            "The function was stored by a newer version of the platform.",
        ));
    }
    T::deserialize(&document.0).map_err(|error| {
        tracing::error!(%error, "a record cannot be read");
        LambdaError::new(Code::Service, "The function's stored record cannot be read.")
    })
}

/// Writes a record into a document.
pub(crate) fn write<T: Serialize>(record: &T) -> Document {
    Document(serde_json::to_value(record).expect("records have text keys and no failing serializer"))
}

/// Whether a revision is a published version.
pub(crate) fn is_published(revision: &Revision) -> bool {
    revision.label != LATEST
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Bytes as format 1 wrote them first: they must be readable for ever.
    #[test]
    fn records_of_yesterday_are_read() {
        let function: FunctionRecord = read(&Document(json!({
            "format": 1, "last_version": 2, "tags": {"a": "b"},
            "policies": {"$LATEST": [{"sid": "s", "principal": "Everyone", "action": "lambda:InvokeFunctionUrl",
                                      "conditions": {"url_auth": "NONE"}}],
                         "prod": [{"sid": "t", "principal": {"Aws": "arn:aws:iam::111111111111:root"},
                                   "action": "lambda:*"}]},
            "urls": {"$LATEST": {"id": "x", "auth": "NONE", "mode": "BUFFERED", "created": 1, "modified": 2,
                                 "cors": {"AllowOrigins": ["*"]}}},
        })))
        .unwrap();
        assert_eq!(function.last_version, 2);
        assert_eq!(function.policies["$LATEST"][0].conditions.url_auth, Some(UrlAuth::None));
        assert_eq!(read::<FunctionRecord>(&write(&function)).unwrap(), function);

        let revision: RevisionRecord = read(&Document(json!({
            "format": 1, "revision_id": "67e55044-10b1-426f-9247-bb680e5fe0c8", "modified": 5,
            "settings": {"role": "arn:aws:iam::000000000000:role/r"},
        })))
        .unwrap();
        assert_eq!(revision.settings.logging.format, LogFormat::Text);
        assert_eq!(read::<RevisionRecord>(&write(&revision)).unwrap(), revision);
        assert!(read::<FunctionRecord>(&Document(json!({"format": 2}))).is_err());
        assert!(read::<RevisionRecord>(&Document(json!({"format": 1}))).is_err());
    }
}
