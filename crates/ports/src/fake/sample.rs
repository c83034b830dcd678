//! Ordinary records for tests, each valid and unlike the others of its kind.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use sonagi_model::{
    Alias, AliasName, ArtifactRef, ColdPhases, Digest, Document, EventId, Function, FunctionId, FunctionName,
    InstanceId, InvocationId, Mebibytes, Namespace, Revision, RevisionId, RevisionSpec, Route, RunRecord, RunStatus,
    Start, TenantId, Timestamp,
};

use crate::{Attributes, EventRoute, LogLine, LogSource, QueuedEvent};

/// The moment at which samples were made.
pub const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// A function of this name.
///
/// # Panics
/// When the name is none.
#[must_use]
pub fn function(name: &str) -> Function {
    Function {
        id: FunctionId::generate(),
        namespace: Namespace::parse("test/tenant").expect("a namespace"),
        tenant: TenantId::parse("tenant").expect("a tenant"),
        name: FunctionName::parse(name).expect("a function name"),
        latest: RevisionId::generate(),
        reserved_concurrency: Some(7),
        created: NOW,
        document: Document(serde_json::json!({"z": 1, "a": [null, "é", 1.5]})),
    }
}

/// The newest revision of a function.
#[must_use]
pub fn revision(function: &Function) -> Revision {
    Revision {
        id: function.latest,
        function: function.id,
        namespace: function.namespace.clone(),
        tenant: function.tenant.clone(),
        name: function.name.clone(),
        label: "1".to_owned(),
        artifact: ArtifactRef {
            digest: Digest::from_bytes([1; 32]),
            size: 10,
            tree: Digest::from_bytes([2; 32]),
            unpacked_size: 20,
        },
        beside: Some(ArtifactRef {
            digest: Digest::from_bytes([3; 32]),
            size: 11,
            tree: Digest::from_bytes([4; 32]),
            unpacked_size: 21,
        }),
        spec: RevisionSpec {
            contract: "test".to_owned(),
            runtime: "test1".to_owned(),
            handler: "main.handler".to_owned(),
            memory: Mebibytes(128),
            timeout: Duration::from_secs(3),
            scratch: Mebibytes(512),
            environment: BTreeMap::from([("KEY".to_owned(), "value".to_owned())]),
            concurrency: NonZeroU32::MIN,
            outside: sonagi_model::Outside::Open,
        },
        created: NOW,
        document: Document::default(),
    }
}

/// An alias of a function that points at its newest revision.
///
/// # Panics
/// When the name is none.
#[must_use]
pub fn alias(function: &Function, name: &str) -> Alias {
    Alias {
        function: function.id,
        name: AliasName::parse(name).expect("an alias name"),
        route: Route {
            primary: function.latest,
            secondary: Some((RevisionId::generate(), 0.25)),
        },
        document: Document(serde_json::json!({"description": "of a test"})),
    }
}

/// A successful warm first attempt of a function.
#[must_use]
pub fn run(function: &Function, started: Timestamp) -> RunRecord {
    RunRecord {
        invocation: InvocationId::generate(),
        attempt: 1,
        function: function.id,
        namespace: function.namespace.clone(),
        tenant: function.tenant.clone(),
        name: function.name.clone(),
        revision: function.latest,
        label: "1".to_owned(),
        instance: Some(InstanceId::generate()),
        started,
        start: Start::Warm,
        phases: None,
        init_us: 0,
        duration_us: 1500,
        billed_ms: 2,
        memory: Mebibytes(128),
        memory_peak: Mebibytes(30),
        scratch: Mebibytes(512),
        response_bytes: 11,
        status: RunStatus::Success,
        error_kind: None,
    }
}

/// A cold first attempt of a function that failed.
#[must_use]
pub fn failed_run(function: &Function, started: Timestamp) -> RunRecord {
    RunRecord {
        start: Start::Cold,
        phases: Some(ColdPhases {
            queue_us: 1,
            artifact_us: 2,
            cell_us: 3,
            process_us: 4,
            init_us: 5,
        }),
        init_us: 5,
        status: RunStatus::FunctionError,
        error_kind: Some("Unhandled".to_owned()),
        ..run(function, started)
    }
}

/// An accepted event for a function, due at `due`.
#[must_use]
pub fn event(function: &Function, due: Timestamp) -> QueuedEvent {
    let mut attributes = Attributes::default();
    attributes.set("trace", "Root=1");
    QueuedEvent {
        id: EventId::generate(),
        route: EventRoute::Function {
            contract: "test".to_owned(),
            function: function.id,
            qualifier: Some("live".to_owned()),
        },
        namespace: function.namespace.clone(),
        name: function.name.to_string(),
        payload: Bytes::from_static(b"{\"key\": \"\xff\x00\"}"),
        attributes,
        origin: None,
        accepted: NOW,
        due,
    }
}

/// A line that a function printed.
#[must_use]
pub fn line(function: &Function, time: Timestamp, text: &str) -> LogLine {
    LogLine {
        time,
        function: function.id,
        label: "1".to_owned(),
        instance: InstanceId::generate(),
        invocation: None,
        source: LogSource::Function,
        text: text.to_owned(),
        truncated: false,
    }
}
