//! Bindings: functions that run by a schedule, or by the events of a bus.

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
    /// When it was made, RFC 3339.
    pub created: String,
    /// When its schedule ticks next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
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
