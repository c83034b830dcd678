//! The platform's lines in a function's log, in Lambda's text format, or in JSON (`system.rs`) for functions that log so.
//!
//! Source: lines recorded from AWS Lambda, published as test snapshots in the LocalStack repository (commit 8b9a79f), and
//! AWS documentation for `INIT_REPORT`.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use sonagi_model::{Revision, RunRecord, RunStatus, Timestamp};
use sonagi_ports::Moment;

use super::system::{self, RuntimeVersion, Told, iso_millis};
use crate::place::Place;
use crate::records::SystemLevel;

/// How detailed the platform's lines of a revision are in JSON; `None`: they are text.
pub(super) fn json_level(revision: &Revision) -> Option<SystemLevel> {
    // Looked up key by key: this is asked several times for every event, and a pointer would be taken apart each time.
    let logging = revision.document.0.get("settings")?.get("logging")?;
    let json = logging.get("format")?.as_str()? == "JSON";
    json.then(|| SystemLevel::read(logging.get("system_level").and_then(serde_json::Value::as_str)))
}

/// The revision that a moment is about.
fn revision_of<'a>(moment: &Moment<'a>) -> &'a Revision {
    match moment {
        Moment::InitStart { revision, .. }
        | Moment::InitFailed { revision, .. }
        | Moment::Start { revision, .. }
        | Moment::TimedOut { revision, .. }
        | Moment::End { revision, .. } => revision,
    }
}

/// The lines for one moment. `runtime_version` says what really runs, for instance `3.11.7`; empty for custom runtimes.
pub(super) fn lines(
    moment: &Moment<'_>,
    runtime_version: impl FnOnce() -> String,
    now: impl FnOnce() -> Timestamp,
) -> Vec<String> {
    match json_level(revision_of(moment)) {
        Some(level) => {
            let told = records(moment, runtime_version);
            let now = now();
            let told = told.iter().filter(|told| told.level >= level);
            told.map(|told| told.at(now).to_string()).collect()
        }
        None => texts(moment, runtime_version),
    }
}

fn records(moment: &Moment<'_>, runtime_version: impl FnOnce() -> String) -> Vec<Told> {
    match moment {
        Moment::InitStart {
            revision,
            instance,
            purpose,
        } => {
            let version = version_of(revision, &runtime_version());
            vec![system::init_start(revision, &version, *instance, *purpose)]
        }
        Moment::InitFailed {
            purpose, took, status, ..
        } => {
            let (status, kind) = match *status {
                "exit" => ("error", Some("Runtime.ExitError")),
                other => (other, None),
            };
            vec![
                system::init_runtime_done(*purpose, status),
                system::init_report(*purpose, *took, status, kind),
            ]
        }
        Moment::Start { invocation, revision } => vec![system::start(*invocation, &revision.label, None)],
        // The records at the end say so.
        Moment::TimedOut { .. } => Vec::new(),
        Moment::End { record, .. } => {
            vec![system::Done::of(record).told(), system::report(record, None)]
        }
    }
}

fn texts(moment: &Moment<'_>, runtime_version: impl FnOnce() -> String) -> Vec<String> {
    match moment {
        Moment::InitStart { revision, .. } => vec![init_start(revision, &runtime_version())],
        Moment::InitFailed { took, status, .. } => vec![init_report(*took, status)],
        Moment::Start { invocation, revision } => {
            vec![format!("START RequestId: {invocation} Version: {}", revision.label)]
        }
        Moment::TimedOut {
            invocation,
            at,
            timeout,
            ..
        } => {
            vec![format!(
                "{} {invocation} Task timed out after {:.2} seconds",
                iso_millis(*at),
                timeout.as_secs_f64()
            )]
        }
        Moment::End { record, .. } => vec![format!("END RequestId: {}", record.invocation), report(record)],
    }
}

/// Lambda names an internal build here (`python:3.12.v12`); this is the version of the interpreter that really runs.
fn init_start(revision: &Revision, runtime_version: &str) -> String {
    let RuntimeVersion { text, arn } = version_of(revision, runtime_version);
    format!("INIT_START Runtime Version: {text}\tRuntime Version ARN: {arn}")
}

/// The same as what it is made of.
pub(super) fn version_of(revision: &Revision, runtime_version: &str) -> RuntimeVersion {
    let runtime = &revision.spec.runtime;
    let (language, version) = match runtime.find(|c: char| c.is_ascii_digit()) {
        Some(at) if !runtime_version.is_empty() => (&runtime[..at], runtime_version),
        Some(_) | None => runtime.split_once('.').unwrap_or((runtime, "")),
    };
    let separator = if version.is_empty() { "" } else { ":" };
    let text = format!("{language}{separator}{version}");
    let place = Place::of(&revision.namespace);
    let region = place.as_ref().map_or("", |place| place.region.as_str());
    let hash = hex::encode(Sha256::digest(text.as_bytes()));
    let arn = format!("arn:aws:lambda:{region}::runtime:{hash}");
    RuntimeVersion { text, arn }
}

fn init_report(took: Duration, status: &str) -> String {
    let start = format!(
        "INIT_REPORT Init Duration: {:.2} ms\tPhase: init\t",
        took.as_secs_f64() * 1000.0
    );
    match status {
        "exit" => format!("{start}Status: error\tError Type: Runtime.ExitError"),
        other => format!("{start}Status: {other}"),
    }
}

fn report(record: &RunRecord) -> String {
    let mut line = format!(
        "REPORT RequestId: {}\tDuration: {:.2} ms\tBilled Duration: {} ms\tMemory Size: {} MB\tMax Memory Used: {} MB\t",
        record.invocation,
        millis(record.duration_us),
        record.billed_ms,
        record.memory.0,
        record.memory_peak.0
    );
    if record.init_us > 0 {
        line.push_str(&format!("Init Duration: {:.2} ms\t", millis(record.init_us)));
    }
    if let Some((status, fallback)) = status(record.status) {
        line.push_str("Status: ");
        line.push_str(status);
        if let Some(kind) = record.error_kind.as_deref().or(fallback).filter(|_| status == "error") {
            line.push_str("\tError Type: ");
            line.push_str(kind);
        }
    }
    line
}

/// How the line names the end of a failed environment, and the error's type if the record has none. An error that the
/// function reported itself is no failure of its environment.
const fn status(status: RunStatus) -> Option<(&'static str, Option<&'static str>)> {
    match status {
        RunStatus::Success | RunStatus::FunctionError | RunStatus::ResponseTooLarge | RunStatus::CallerGone => None,
        RunStatus::Timeout => Some(("timeout", None)),
        RunStatus::Crash => Some(("error", Some("Runtime.ExitError"))),
        RunStatus::OutOfMemory => Some(("error", Some("Runtime.OutOfMemory"))),
        // Errors that the function reported have their own type; what is left are ends of its process.
        RunStatus::InitError => Some(("error", Some("Runtime.ExitError"))),
        RunStatus::ProtocolViolation | RunStatus::Platform | RunStatus::Lost => {
            Some(("error", Some("Sandbox.Failure")))
        }
    }
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonagi_model::{
        ArtifactRef, Digest, Document, FunctionId, FunctionName, InstanceId, InvocationId, Mebibytes, Namespace,
        RevisionId, RevisionSpec, Start, TenantId,
    };
    use sonagi_ports::Purpose;

    const ID: &str = "8286a188-ba32-4475-8077-530cd35c09a9";

    fn id() -> InvocationId {
        ID.parse().unwrap()
    }

    fn revision(runtime: &str) -> Revision {
        let digest = Digest::from_bytes([0; 32]);
        Revision {
            id: RevisionId::generate(),
            function: FunctionId::generate(),
            namespace: Namespace::parse("aws/000000000000/us-east-1").unwrap(),
            tenant: TenantId::parse("t").unwrap(),
            name: FunctionName::parse("f").unwrap(),
            label: "$LATEST".to_owned(),
            artifact: ArtifactRef {
                digest,
                size: 0,
                tree: digest,
                unpacked_size: 0,
            },
            beside: None,
            spec: RevisionSpec {
                contract: String::new(),
                runtime: runtime.to_owned(),
                handler: String::new(),
                memory: Mebibytes(128),
                timeout: Duration::from_secs(3),
                scratch: Mebibytes(512),
                environment: std::collections::BTreeMap::new(),
                concurrency: std::num::NonZeroU32::MIN,
                outside: sonagi_model::Outside::Open,
            },
            created: Timestamp::EPOCH,
            document: Document::default(),
        }
    }

    fn record(status: RunStatus, init_us: u64, error_kind: Option<&str>) -> RunRecord {
        RunRecord {
            invocation: id(),
            attempt: 1,
            function: FunctionId::generate(),
            namespace: Namespace::parse("aws/0/r").unwrap(),
            tenant: TenantId::parse("t").unwrap(),
            name: FunctionName::parse("f").unwrap(),
            revision: RevisionId::generate(),
            label: "$LATEST".to_owned(),
            instance: None,
            started: Timestamp::EPOCH,
            start: Start::Cold,
            phases: None,
            init_us,
            duration_us: 1_234,
            billed_ms: 46,
            memory: Mebibytes(128),
            memory_peak: Mebibytes(30),
            scratch: Mebibytes(512),
            response_bytes: 0,
            status,
            error_kind: error_kind.map(str::to_owned),
        }
    }

    #[test]
    fn report_ends_as_lambda_ends_it() {
        let start = format!(
            "REPORT RequestId: {ID}\tDuration: 1.23 ms\tBilled Duration: 46 ms\tMemory Size: 128 MB\tMax Memory Used: 30 MB\t"
        );
        let cases = [
            (record(RunStatus::Success, 0, None), ""),
            (record(RunStatus::Success, 43_840, None), "Init Duration: 43.84 ms\t"),
            (record(RunStatus::FunctionError, 0, Some("KeyError")), ""),
            (
                record(RunStatus::Timeout, 0, Some("Sandbox.Timedout")),
                "Status: timeout",
            ),
            (
                record(RunStatus::Crash, 0, None),
                "Status: error\tError Type: Runtime.ExitError",
            ),
            (
                record(RunStatus::InitError, 5_000, Some("Boom")),
                "Init Duration: 5.00 ms\tStatus: error\tError Type: Boom",
            ),
        ];
        for (record, end) in cases {
            let python = revision("python3.11");
            let lines = texts(
                &Moment::End {
                    revision: &python,
                    record: &record,
                },
                String::new,
            );
            assert_eq!(lines, [format!("END RequestId: {ID}"), format!("{start}{end}")]);
        }
    }

    #[test]
    fn other_moments_have_their_lines() {
        let python = revision("python3.11");
        let node = revision("nodejs20.x");
        let custom = revision("provided.al2023");
        let first = |moment: &Moment<'_>, version: &str| texts(moment, || version.to_owned()).remove(0);
        let begun = |revision| Moment::InitStart {
            revision,
            instance: InstanceId::generate(),
            purpose: Purpose::Demand,
        };
        let line = first(&begun(&python), "3.11.7");
        assert!(line.starts_with(
            "INIT_START Runtime Version: python:3.11.7\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:"
        ));
        assert!(first(&begun(&node), "20.9.0").contains("Version: nodejs:20.9.0\t"));
        assert!(first(&begun(&custom), "").contains("Version: provided:al2023\t"));
        assert!(first(&begun(&revision("provided")), "").contains("Version: provided\t"));
        assert_eq!(
            first(
                &Moment::Start {
                    invocation: id(),
                    revision: &python
                },
                ""
            ),
            format!("START RequestId: {ID} Version: $LATEST")
        );
        let timeout = Moment::TimedOut {
            revision: &python,
            invocation: id(),
            at: Timestamp::from_micros(1_700_000_000_123_456),
            timeout: Duration::from_secs(3),
        };
        assert_eq!(
            first(&timeout, ""),
            format!("2023-11-14T22:13:20.123Z {ID} Task timed out after 3.00 seconds")
        );
        for (status, end) in [
            ("timeout", "Status: timeout"),
            ("error", "Status: error"),
            ("exit", "Status: error\tError Type: Runtime.ExitError"),
        ] {
            let moment = Moment::InitFailed {
                revision: &python,
                purpose: Purpose::Demand,
                took: Duration::from_micros(10_000_120),
                status,
            };
            assert_eq!(
                first(&moment, ""),
                format!("INIT_REPORT Init Duration: 10000.12 ms\tPhase: init\t{end}")
            );
        }
    }

    #[test]
    fn json_lines_are_records_of_the_wanted_detail() {
        let kinds = |level: Option<&str>, moment: &dyn Fn(&Revision) -> Vec<String>| {
            let mut python = revision("python3.11");
            python.document = Document(serde_json::json!({
                "settings": { "logging": { "format": "JSON", "system_level": level } }
            }));
            let lines = moment(&python);
            let lines = lines
                .iter()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            let kinds: Vec<String> = lines.map(|line| line["type"].as_str().unwrap().to_owned()).collect();
            kinds.join(" ")
        };
        let now = || Timestamp::from_micros(1_700_000_000_123_456);
        let end = |status| {
            move |revision: &Revision| {
                let record = &record(status, 0, None);
                lines(&Moment::End { revision, record }, String::new, now)
            }
        };
        let start = |revision: &Revision| {
            let invocation = id();
            let lines = lines(&Moment::Start { invocation, revision }, String::new, now);
            if let Some(line) = lines.first() {
                assert_eq!(
                    line.parse::<serde_json::Value>().unwrap(),
                    serde_json::json!({
                        "time": "2023-11-14T22:13:20.123Z", "type": "platform.start",
                        "record": { "requestId": ID, "version": "$LATEST" }
                    })
                );
            }
            lines
        };
        assert_eq!(kinds(None, &start), "platform.start");
        assert_eq!(kinds(Some("WARN"), &start), "");
        assert_eq!(kinds(None, &end(RunStatus::Success)), "platform.report");
        assert_eq!(kinds(Some("WARN"), &end(RunStatus::Success)), "");
        let both = "platform.runtimeDone platform.report";
        assert_eq!(kinds(Some("DEBUG"), &end(RunStatus::Success)), both);
        assert_eq!(kinds(Some("WARN"), &end(RunStatus::Timeout)), both);
    }
}
