//! What the platform tells about instances and invocations, as records: the lines of functions that log in JSON, and
//! what subscribers of the Telemetry API get.
//!
//! Source: "Lambda Telemetry API Event schema reference" and "Log-level filtering" of the Lambda developer guide.

use std::time::Duration;

use serde_json::{Value, json};
use sonagi_model::{InstanceId, InvocationId, Revision, RunRecord, RunStatus, Timestamp};
use sonagi_ports::Purpose;

use crate::records::SystemLevel;

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    /// For instance `platform.report`.
    pub(super) kind: &'static str,
    /// From which detail on it is logged.
    pub(super) level: SystemLevel,
    /// What it says.
    pub(super) record: Value,
}

impl Told {
    fn new(kind: &'static str, level: SystemLevel, record: Value) -> Self {
        Self { kind, level, record }
    }

    /// As a line of a log, or an item of telemetry.
    pub(super) fn at(&self, time: Timestamp) -> Value {
        json!({ "time": iso_millis(time), "type": self.kind, "record": self.record })
    }
}

/// What runs a revision, as the platform names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RuntimeVersion {
    /// For instance `python:3.11.7`.
    pub(super) text: String,
    pub(super) arn: String,
}

/// `2026-11-23T09:00:00.123Z`.
pub(super) fn iso_millis(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_microsecond(at.as_micros()).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// Source: AWS Lambda, "Defined runtime environment variables", `AWS_LAMBDA_INITIALIZATION_TYPE`.
pub(super) const fn initialization(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Demand => "on-demand",
        Purpose::Floor => "provisioned-concurrency",
    }
}

/// An instance begins to initialize.
pub(super) fn init_start(
    revision: &Revision,
    version: &RuntimeVersion,
    instance: InstanceId,
    purpose: Purpose,
) -> Told {
    let record = json!({
        "initializationType": initialization(purpose),
        "phase": "init",
        "runtimeVersion": version.text,
        "runtimeVersionArn": version.arn,
        "functionName": revision.name.as_str(),
        "functionVersion": revision.label,
        "instanceId": instance.as_uuid().simple().to_string(),
        "instanceMaxMemory": u64::from(revision.spec.memory.0) * 1024 * 1024,
    });
    Told::new("platform.initStart", SystemLevel::Info, record)
}

/// The runtime has initialized, or not: `success`, `error` or `timeout`.
pub(super) fn init_runtime_done(purpose: Purpose, status: &str) -> Told {
    let record = json!({ "initializationType": initialization(purpose), "phase": "init", "status": status });
    Told::new("platform.initRuntimeDone", level_of(status, SystemLevel::Debug), record)
}

/// The initialization is over.
pub(super) fn init_report(purpose: Purpose, took: Duration, status: &str, kind: Option<&str>) -> Told {
    let mut record = json!({
        "initializationType": initialization(purpose),
        "phase": "init",
        "status": status,
        "metrics": { "durationMs": rounded(took.as_secs_f64() * 1000.0) },
    });
    put(&mut record, "errorType", kind);
    let usual = match purpose {
        Purpose::Demand => SystemLevel::Debug,
        Purpose::Floor => SystemLevel::Info,
    };
    Told::new("platform.initReport", level_of(status, usual), record)
}

/// An invocation begins.
pub(super) fn start(invocation: InvocationId, version: &str, trace: Option<&str>) -> Told {
    let mut record = json!({ "requestId": invocation.to_string(), "version": version });
    put_trace(&mut record, trace);
    Told::new("platform.start", SystemLevel::Info, record)
}

/// How a runtime is done with an event.
#[derive(Debug, Clone)]
pub(super) struct Done<'a> {
    pub(super) invocation: InvocationId,
    pub(super) started: Timestamp,
    pub(super) took: Duration,
    pub(super) bytes: u64,
    pub(super) status: &'a str,
    pub(super) error_kind: Option<&'a str>,
    pub(super) trace: Option<&'a str>,
}

impl<'a> Done<'a> {
    /// From the record of a finished attempt.
    pub(super) fn of(record: &'a RunRecord) -> Self {
        let (status, error_kind) = status(record);
        Self {
            invocation: record.invocation,
            started: record.started,
            took: Duration::from_micros(record.duration_us),
            bytes: record.response_bytes,
            status,
            error_kind,
            trace: None,
        }
    }

    /// As a record.
    pub(super) fn told(&self) -> Told {
        let millis = rounded(self.took.as_secs_f64() * 1000.0);
        let mut told = json!({
            "requestId": self.invocation.to_string(),
            "status": self.status,
            "metrics": { "durationMs": millis, "producedBytes": self.bytes },
            "spans": [{ "name": "responseLatency", "start": iso_millis(self.started), "durationMs": millis }],
        });
        put(&mut told, "errorType", self.error_kind);
        put_trace(&mut told, self.trace);
        Told::new("platform.runtimeDone", level_of(self.status, SystemLevel::Debug), told)
    }
}

/// An extension is there, and what it wants.
pub(super) fn extension(name: &str, events: &[&str]) -> Told {
    let record = json!({ "name": name, "state": "Ready", "events": events });
    Told::new("platform.extension", SystemLevel::Info, record)
}

/// An extension has subscribed.
pub(super) fn subscription(kind: &'static str, name: &str, types: &[&str]) -> Told {
    let record = json!({ "name": name, "state": "Subscribed", "types": types });
    Told::new(kind, SystemLevel::Info, record)
}

/// Items that had no room.
pub(super) fn logs_dropped(records: u64, bytes: u64) -> Told {
    let record = json!({
        "reason": "Consumer seems to have fallen behind as it has not acknowledged receipt of logs.",
        "droppedRecords": records,
        "droppedBytes": bytes,
    });
    Told::new("platform.logsDropped", SystemLevel::Warn, record)
}

/// An invocation is over and metered.
pub(super) fn report(record: &RunRecord, trace: Option<&str>) -> Told {
    let (status, kind) = status(record);
    let mut metrics = json!({
        "durationMs": millis(record.duration_us),
        "billedDurationMs": record.billed_ms,
        "memorySizeMB": record.memory.0,
        "maxMemoryUsedMB": record.memory_peak.0,
    });
    if record.init_us > 0 {
        metrics["initDurationMs"] = millis(record.init_us).into();
    }
    let mut told = json!({ "requestId": record.invocation.to_string(), "status": status, "metrics": metrics });
    put(&mut told, "errorType", kind);
    put_trace(&mut told, trace);
    Told::new("platform.report", level_of(status, SystemLevel::Info), told)
}

/// How an invocation ended, in the words of these records, and the error's type.
fn status(record: &RunRecord) -> (&'static str, Option<&str>) {
    let kind = record.error_kind.as_deref();
    match record.status {
        RunStatus::Success | RunStatus::CallerGone => ("success", None),
        RunStatus::FunctionError => ("error", kind),
        RunStatus::ResponseTooLarge => ("error", kind.or(Some("Function.ResponseSizeTooLarge"))),
        RunStatus::Timeout => ("timeout", None),
        RunStatus::Crash | RunStatus::InitError => ("error", kind.or(Some("Runtime.ExitError"))),
        RunStatus::OutOfMemory => ("error", kind.or(Some("Runtime.OutOfMemory"))),
        RunStatus::ProtocolViolation | RunStatus::Platform | RunStatus::Lost => {
            ("failure", kind.or(Some("Sandbox.Failure")))
        }
    }
}

fn level_of(status: &str, usual: SystemLevel) -> SystemLevel {
    if status == "success" { usual } else { SystemLevel::Warn }
}

fn put(record: &mut Value, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        record[key] = value.into();
    }
}

fn put_trace(record: &mut Value, trace: Option<&str>) {
    if let Some(value) = trace {
        record["tracing"] = json!({ "type": "X-Amzn-Trace-Id", "value": value });
    }
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

/// To a thousandth.
fn rounded(millis: f64) -> f64 {
    (millis * 1000.0).round() / 1000.0
}
