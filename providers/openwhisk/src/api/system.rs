//! The namespace `whisk.system`: what the platform itself offers, as public packages.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Answer, Api, Call, document, ok, with_activation};
use crate::alarms::FEEDS;
use crate::entities::Version;
use crate::errors::WhiskError;
use crate::invoke::{self, Activation, id_text};
use crate::names::{FullName, SYSTEM};
use crate::runtime::classify::{Status, Verdict};

/// The package of feeds by time.
const ALARMS: &str = "alarms";

fn feed_annotations(description: &str) -> Value {
    json!([
        { "key": "feed", "value": true },
        { "key": "description", "value": description },
        { "key": "provide-api-key", "value": true },
        { "key": "exec", "value": "nodejs:default" },
    ])
}

fn package() -> Value {
    let feeds = FEEDS.map(
        |(name, description)| json!({ "name": name, "version": "0.0.1", "annotations": feed_annotations(description) }),
    );
    json!({
        "namespace": SYSTEM, "name": ALARMS, "version": "0.0.1", "publish": true, "updated": 0,
        "annotations": [{ "key": "description", "value": "Alarms and periodic utility" }],
        "parameters": [], "binding": {}, "actions": [], "feeds": feeds,
    })
}

fn action(name: &str, description: &str) -> Value {
    json!({
        "namespace": format!("{SYSTEM}/{ALARMS}"), "name": name, "version": "0.0.1", "publish": true, "updated": 0,
        "exec": { "kind": "nodejs:default", "binary": false }, "parameters": [],
        "limits": { "timeout": 60_000, "memory": 256, "logs": 10, "concurrency": 1 },
        "annotations": feed_annotations(description),
    })
}

impl Api {
    pub(super) async fn system(&self, call: &Call, collection: &str, rest: &[&str]) -> Answer {
        let feed = |name: &str| FEEDS.iter().find(|(known, _)| *known == name);
        match (&call.method, collection, rest) {
            (&Method::GET, "packages", []) => {
                let mut listed = package();
                if let Some(listed) = listed.as_object_mut() {
                    listed.retain(|key, _| !matches!(key.as_str(), "actions" | "feeds" | "parameters"));
                    listed.insert("binding".to_owned(), json!(false));
                }
                ok(&json!([listed]))
            }
            (&Method::GET, "packages", [ALARMS]) => ok(&package()),
            (&Method::GET, "actions", [ALARMS]) if call.slash => {
                let listed = FEEDS.map(|(name, description)| action(name, description));
                ok(&json!(listed))
            }
            (&Method::GET, "actions", [ALARMS, name]) => {
                let (name, description) = feed(name).ok_or_else(WhiskError::missing)?;
                ok(&action(name, description))
            }
            (&Method::POST, "actions", [ALARMS, name]) => {
                let (name, _) = feed(name).ok_or_else(WhiskError::missing)?;
                self.invoke_feed(call, name).await
            }
            _ => Err(WhiskError::forbidden(if rest.is_empty() {
                SYSTEM.to_owned()
            } else {
                format!("{SYSTEM}/{}", rest.join("/"))
            })),
        }
    }

    /// A feed is an action to its callers: it leaves an activation, and is waited for if that is asked.
    async fn invoke_feed(&self, call: &Call, feed: &str) -> Answer {
        let blocking = call.query.flag("blocking", false)?;
        let result = call.query.flag("result", false)?;
        let arguments = call.document()?;
        let own = &call.account.namespace;
        let _running = self
            .invoker
            .throttle
            .invoke(own, self.estate.clock.now(), &self.limits)?;
        let start = self.estate.now_ms();
        let verdict = match self.alarms.step(feed, own, &arguments).await {
            Ok(result) => Verdict {
                status: Status::Success,
                result,
            },
            Err(error) if error.status.is_client_error() => Verdict::error(
                Status::ApplicationError,
                json!({ "statusCode": error.status.as_u16(), "error": error.text }),
            ),
            Err(error) => return Err(error),
        };
        let activation = self.feed_activation(own, feed, start, verdict);
        self.invoker.file(&activation);
        let id = id_text(activation.id);
        if !blocking {
            return Ok(with_activation(
                document(StatusCode::ACCEPTED, &json!({ "activationId": id })),
                &id,
            ));
        }
        Ok(with_activation(
            super::actions::blocking_answer(&activation, result),
            &id,
        ))
    }

    fn feed_activation(&self, own: &str, feed: &str, start: i64, verdict: Verdict) -> Activation {
        let end = self.estate.now_ms();
        let name = FullName::new(SYSTEM, Some(ALARMS), feed);
        Activation {
            id: invoke::new_id(),
            namespace: own.to_owned(),
            name: feed.to_owned(),
            label: Activation::label(&name),
            version: Version::default(),
            cause: None,
            start,
            end: Some(end),
            duration: end - start,
            verdict,
            logs: Vec::new(),
            annotations: vec![
                ("path", json!(name.to_string())),
                ("kind", json!("nodejs:default")),
                ("timeout", json!(false)),
                ("waitTime", json!(0)),
            ],
            run: None,
            memory_mb: 0,
        }
    }
}
