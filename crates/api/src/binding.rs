//! Bindings: functions that run by a schedule, by the events of a bus, by a queue or a bucket.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where a function's events come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BindingSource {
    /// The ticks of a schedule.
    Schedule {
        /// Five or six fields of cron, `cron(…)`, `rate(…)` or `at(…)`.
        expression: String,
        /// A time zone's name; UTC if nothing is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
        /// What the function gets; the moment and the binding's name if nothing is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payload: Option<Value>,
        /// What becomes of ticks that were missed: `skip`, `once` (if nothing is given), `all`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        missed: Option<String>,
    },
    /// The events of a bus.
    Bus {
        /// The bus.
        bus: String,
        /// Which of them: an event pattern for the CloudEvent's JSON document; all if nothing is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filter: Option<Value>,
    },
    /// The messages of a queue of the function's provider.
    Queue {
        /// The queue; made if there is none.
        queue: String,
        /// Most messages of one call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        batch: Option<u32>,
        /// Seconds that a batch waits to become full.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window: Option<u32>,
        /// Most calls at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        concurrency: Option<u32>,
        /// Which messages: a pattern, in the provider's words; all if nothing is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filter: Option<Value>,
        /// Whether the function's answer names the messages that failed.
        #[serde(default)]
        partial: bool,
    },
    /// The changes of objects in a bucket of the function's provider.
    Objects {
        /// The bucket; made if there is none.
        bucket: String,
        /// Which changes, in the provider's words; new and overwritten objects if nothing is given.
        #[serde(default)]
        events: Vec<String>,
        /// What keys begin with.
        #[serde(default)]
        prefix: String,
        /// What keys end with.
        #[serde(default)]
        suffix: String,
    },
}

/// A binding to make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewBinding {
    /// Its name; made of the function's if nothing is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The function.
    pub function: String,
    /// Version or alias; the live one if nothing is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qualifier: Option<String>,
    /// Where its events come from.
    pub source: BindingSource,
}

/// A binding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// Its name.
    pub name: String,
    /// The function's namespace.
    pub namespace: String,
    /// The function.
    pub function: String,
    /// Version or alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qualifier: Option<String>,
    /// Where its events come from.
    pub source: BindingSource,
    /// When it was made, RFC 3339; of queues and buckets that is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// When its schedule ticks next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How it is doing, of queues and buckets, in the provider's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// Bindings, by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bindings {
    /// The bindings.
    pub bindings: Vec<Binding>,
}

/// What became of events that were put on a bus, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Ids of the events that carry them; `null` for those that nobody wants.
    pub events: Vec<Option<String>>,
}
