//! What is stored of apps, functions and triggers, and how clients see it.
//! Source: fnproject/fn 0.3.753, `api/models/app.go`, `fn.go`, `trigger.go`: members and their order.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::annotations::{Annotations, Config};

/// Annotation that says where a function is called.
const INVOKE_ENDPOINT: &str = "fnproject.io/fn/invokeEndpoint";
/// Annotation that says where a trigger is.
const HTTP_ENDPOINT: &str = "fnproject.io/trigger/httpEndpoint";

/// Version of these records.
pub(crate) const FORMAT: u32 = 1;

/// An app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct App {
    pub(crate) format: u32,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) config: Config,
    pub(crate) annotations: Annotations,
    pub(crate) syslog_url: Option<String>,
    pub(crate) shape: Option<String>,
    /// Milliseconds since the epoch.
    pub(crate) created: i64,
    pub(crate) updated: i64,
}

/// What a function's code runs with: made of its folder when that was uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recipe {
    /// `python3.11`, `node20`, `native`.
    pub(crate) runtime: String,
    /// For an interpreter: the script and its arguments; otherwise the program and its arguments. Paths are those inside.
    pub(crate) command: Vec<String>,
    /// Whether the FDK's own program starts the script.
    pub(crate) fdk: bool,
}

/// A function: the record of each of its revisions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FnRecord {
    pub(crate) format: u32,
    pub(crate) app: String,
    pub(crate) app_name: String,
    pub(crate) name: String,
    pub(crate) image: String,
    /// MB.
    pub(crate) memory: u32,
    /// Seconds.
    pub(crate) timeout: u32,
    /// Seconds.
    pub(crate) idle_timeout: u32,
    pub(crate) config: Config,
    pub(crate) annotations: Annotations,
    pub(crate) shape: Option<String>,
    pub(crate) created: i64,
    pub(crate) updated: i64,
    /// None for an image, which this platform does not run.
    pub(crate) recipe: Option<Recipe>,
}

/// A trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trigger {
    pub(crate) format: u32,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) app: String,
    /// The function's id, as clients see it.
    pub(crate) function: String,
    pub(crate) source: String,
    pub(crate) annotations: Annotations,
    pub(crate) created: i64,
    pub(crate) updated: i64,
}

/// Where a client reaches the platform: the beginning of the addresses that it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Base {
    /// `http://HOST:PORT`.
    pub(crate) url: String,
    /// What stands before an app's name in addresses of triggers: nothing for the first account.
    pub(crate) prefix: String,
}

impl Base {
    pub(crate) fn invoke(&self, id: &str) -> String {
        format!("{}/invoke/{id}", self.url)
    }

    pub(crate) fn trigger(&self, app: &str, source: &str) -> String {
        format!("{}/t/{}{app}{source}", self.url, self.prefix)
    }
}

impl App {
    pub(crate) fn shown(&self) -> Value {
        let mut shown = Map::new();
        shown.insert("id".to_owned(), json!(self.id));
        shown.insert("name".to_owned(), json!(self.name));
        if !self.config.is_empty() {
            shown.insert("config".to_owned(), json!(self.config));
        }
        if !self.annotations.is_empty() {
            shown.insert("annotations".to_owned(), json!(self.annotations));
        }
        for (name, value) in [("syslog_url", &self.syslog_url), ("shape", &self.shape)] {
            if let Some(value) = value {
                shown.insert(name.to_owned(), json!(value));
            }
        }
        times(&mut shown, self.created, self.updated);
        Value::Object(shown)
    }
}

impl FnRecord {
    /// With the address where it is called, if `base` is given.
    pub(crate) fn shown(&self, id: &str, base: Option<&Base>) -> Value {
        let mut annotations = self.annotations.clone();
        if let Some(base) = base {
            annotations.insert(INVOKE_ENDPOINT.to_owned(), json!(base.invoke(id)));
        }
        let mut shown = Map::new();
        for (name, value) in [
            ("id", json!(id)),
            ("name", json!(self.name)),
            ("app_id", json!(self.app)),
            ("image", json!(self.image)),
            ("memory", json!(self.memory)),
            ("timeout", json!(self.timeout)),
            ("idle_timeout", json!(self.idle_timeout)),
            ("config", json!(self.config)),
        ] {
            shown.insert(name.to_owned(), value);
        }
        if !annotations.is_empty() {
            shown.insert("annotations".to_owned(), json!(annotations));
        }
        if let Some(shape) = &self.shape {
            shown.insert("shape".to_owned(), json!(shape));
        }
        times(&mut shown, self.created, self.updated);
        Value::Object(shown)
    }
}

impl Trigger {
    pub(crate) fn shown(&self, app_name: &str, base: &Base) -> Value {
        let mut annotations = self.annotations.clone();
        annotations.insert(HTTP_ENDPOINT.to_owned(), json!(base.trigger(app_name, &self.source)));
        let mut shown = Map::new();
        for (name, value) in [
            ("id", json!(self.id)),
            ("name", json!(self.name)),
            ("app_id", json!(self.app)),
            ("fn_id", json!(self.function)),
            ("type", json!("http")),
            ("source", json!(self.source)),
            ("annotations", json!(annotations)),
        ] {
            shown.insert(name.to_owned(), value);
        }
        times(&mut shown, self.created, self.updated);
        Value::Object(shown)
    }
}

/// The annotations of a request without those that answers add: clients send back what they got.
pub(crate) fn without_endpoints(mut annotations: Annotations) -> Annotations {
    annotations.remove(INVOKE_ENDPOINT);
    annotations.remove(HTTP_ENDPOINT);
    annotations
}

fn times(shown: &mut Map<String, Value>, created: i64, updated: i64) {
    shown.insert("created_at".to_owned(), json!(time(created)));
    shown.insert("updated_at".to_owned(), json!(time(updated)));
}

/// `2026-11-23T09:18:31.931Z`.
pub(crate) fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds_and_addresses_their_account() {
        assert_eq!(time(1_795_425_511_931), "2026-11-23T09:18:31.931Z");
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        let base = Base {
            url: "http://h:1".to_owned(),
            prefix: "other:".to_owned(),
        };
        assert_eq!(base.trigger("shop", "/a/b"), "http://h:1/t/other:shop/a/b");
    }
}
