//! What the API says of itself: versions, limits, runtimes, namespaces.

use http::Method;
use serde_json::{Value, json};
use sonagi_ports::Interpreters;

use super::{Answer, Api, Call, ok, own_only, page};
use crate::errors::WhiskError;
use crate::kinds;
use crate::limits::WhiskLimits;

/// `GET /` on the host.
pub(crate) fn root(limits: &WhiskLimits, interpreters: &dyn Interpreters) -> Value {
    const MB: u64 = 1024 * 1024;
    json!({
        "description": "OpenWhisk",
        "support": { "github": "https://github.com/apache/openwhisk/issues", "slack": "http://slack.openwhisk.org" },
        "api_paths": ["/api/v1"],
        "limits": {
            "actions_per_minute": limits.invocations_per_minute,
            "triggers_per_minute": limits.fires_per_minute,
            "concurrent_actions": limits.concurrent,
            "sequence_length": limits.sequence,
            "default_min_action_duration": limits.timeout_ms.min,
            "default_max_action_duration": limits.timeout_ms.max,
            "default_min_action_memory": limits.memory_mb.min * MB,
            "default_max_action_memory": limits.memory_mb.max * MB,
            "default_min_action_logs": limits.logs_mb.min * MB,
            "default_max_action_logs": limits.logs_mb.max * MB,
            "min_action_duration": limits.timeout_ms.min,
            "max_action_duration": limits.timeout_ms.max,
            "min_action_memory": limits.memory_mb.min * MB,
            "max_action_memory": limits.memory_mb.max * MB,
            "min_action_logs": limits.logs_mb.min * MB,
            "max_action_logs": limits.logs_mb.max * MB,
        },
        "runtimes": kinds::manifest(interpreters),
    })
}

/// `GET /api/v1`.
pub(super) fn version() -> Value {
    json!({
        "description": "OpenWhisk API",
        "api_version": "1.0.0",
        "api_version_path": "v1",
        "build": env!("CARGO_PKG_VERSION"),
        "buildno": env!("CARGO_PKG_VERSION"),
        "swagger_paths": { "ui": "/docs", "api-docs": "/api-docs" },
    })
}

/// `GET /api/v1/api-docs`: paths and methods.
pub(super) fn api_docs() -> Value {
    let operations = |methods: &[&str]| {
        let operations = methods.iter().map(|method| {
            (
                (*method).to_owned(),
                json!({ "responses": { "200": { "description": "OK" } } }),
            )
        });
        Value::Object(operations.collect())
    };
    let mut paths = serde_json::Map::new();
    paths.insert("/namespaces".to_owned(), operations(&["get"]));
    for (collection, methods) in [
        ("actions", &["get", "put", "delete", "post"][..]),
        ("packages", &["get", "put", "delete"]),
        ("triggers", &["get", "put", "delete", "post"]),
        ("rules", &["get", "put", "delete", "post"]),
        ("activations", &["get"]),
    ] {
        paths.insert(format!("/namespaces/{{namespace}}/{collection}"), operations(&["get"]));
        paths.insert(
            format!("/namespaces/{{namespace}}/{collection}/{{name}}"),
            operations(methods),
        );
    }
    json!({
        "swagger": "2.0",
        "info": { "title": "OpenWhisk REST API", "version": "1.0.0" },
        "basePath": "/api/v1",
        "paths": paths,
    })
}

impl Api {
    /// `GET namespaces/NS`: everything in it.
    pub(super) fn namespace(&self, call: &Call, namespace: &str) -> Answer {
        if call.method != Method::GET {
            return Err(WhiskError::method("GET"));
        }
        own_only(call, namespace, "")?;
        let estate = &self.estate;
        let actions = estate.actions(namespace);
        let packages = estate.packages.of(namespace);
        ok(&json!({
            "actions": actions.iter().map(|action| action.listed()).collect::<Vec<_>>(),
            "packages": packages.iter().map(|package| package.listed()).collect::<Vec<_>>(),
            "triggers": estate.triggers.of(namespace).iter().map(|trigger| trigger.listed()).collect::<Vec<_>>(),
            "rules": estate.rules.of(namespace).iter().map(|rule| rule.shown(None)).collect::<Vec<_>>(),
        }))
    }

    /// `GET namespaces/_/limits`.
    pub(super) fn namespace_limits(&self, call: &Call, namespace: &str) -> Answer {
        if call.method != Method::GET {
            return Err(WhiskError::method("GET"));
        }
        own_only(call, namespace, "")?;
        let limits = &self.limits;
        ok(&json!({
            "invocationsPerMinute": limits.invocations_per_minute,
            "concurrentInvocations": limits.concurrent,
            "firesPerMinute": limits.fires_per_minute,
            "minActionMemory": limits.memory_mb.min,
            "maxActionMemory": limits.memory_mb.max,
            "minActionLogs": limits.logs_mb.min,
            "maxActionLogs": limits.logs_mb.max,
            "minActionTimeout": limits.timeout_ms.min,
            "maxActionTimeout": limits.timeout_ms.max,
            "minActionConcurrency": limits.concurrency.min,
            "maxActionConcurrency": limits.concurrency.max,
            "maxActionInstances": limits.concurrent,
            "maxParameterSize": format!("{} B", limits.payload),
        }))
    }

    /// A list that others may see too.
    pub(super) fn listed(&self, call: &Call, collection: &str, rows: Vec<(i64, Value)>) -> Answer {
        page(&call.query, &self.limits, collection, rows)
    }
}
