//! Lists of keys and values: parameters and annotations.
//! Source: apache/openwhisk (commit 1fae641), `Parameter.scala`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::errors::WhiskError;

/// One key with its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeyValue {
    pub(crate) key: String,
    pub(crate) value: Value,
    /// For the environment of initialization rather than the arguments.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) init: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) encryption: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Keys with values, each key once, in the order in which they came.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct KeyValues(pub(crate) Vec<KeyValue>);

impl KeyValues {
    /// Reads a list as requests send it.
    ///
    /// # Errors
    /// 400 for anything but an array of objects with `key` and `value`.
    pub(crate) fn read(value: &Value, what: &str) -> Result<Self, WhiskError> {
        let wrong = || WhiskError::malformed(format!("{what} malformed!"));
        let mut list = Self::default();
        for entry in value.as_array().ok_or_else(wrong)? {
            let entry = entry.as_object().ok_or_else(wrong)?;
            let key = entry.get("key").and_then(Value::as_str).ok_or_else(wrong)?;
            let init = match entry.get("init") {
                None | Some(Value::Null) => false,
                Some(Value::Bool(init)) => *init,
                Some(_) => return Err(wrong()),
            };
            let encryption = match entry.get("encryption") {
                None | Some(Value::Null) => None,
                Some(Value::String(text)) => Some(text.clone()),
                Some(_) => return Err(wrong()),
            };
            list.put(KeyValue {
                key: key.to_owned(),
                value: entry.get("value").cloned().unwrap_or(Value::Null),
                init,
                encryption,
            });
        }
        Ok(list)
    }

    /// Reads a member of a request that may be absent, and checks its size.
    ///
    /// # Errors
    /// 400, or 413 when names and values together are over the limit.
    pub(crate) fn member(body: &Map<String, Value>, what: &str, limit: usize) -> Result<Option<Self>, WhiskError> {
        let Some(value) = body.get(what).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let list = Self::read(value, what)?;
        let size = list.size();
        if size > limit {
            return Err(WhiskError::too_large(what, size, limit));
        }
        Ok(Some(list))
    }

    /// Bytes of names and compact values together.
    pub(crate) fn size(&self) -> usize {
        let one = |entry: &KeyValue| entry.key.len() + entry.value.to_string().len();
        self.0.iter().map(one).sum()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// Whether an annotation is there and counts as true: anything but `false`, `null`, 0 and the empty text.
    pub(crate) fn is_truthy(&self, key: &str) -> bool {
        self.get(key).is_some_and(truthy)
    }

    /// Inserts, or replaces in place.
    pub(crate) fn put(&mut self, entry: KeyValue) {
        match self.0.iter_mut().find(|found| found.key == entry.key) {
            Some(found) => *found = entry,
            None => self.0.push(entry),
        }
    }

    /// Sets a key to a plain value.
    pub(crate) fn set(&mut self, key: &str, value: Value) {
        self.put(KeyValue {
            key: key.to_owned(),
            value,
            init: false,
            encryption: None,
        });
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.0.retain(|entry| entry.key != key);
    }

    /// These, and those of `other` over them.
    pub(crate) fn under(mut self, other: &Self) -> Self {
        for entry in &other.0 {
            self.put(entry.clone());
        }
        self
    }

    /// As answers show it.
    pub(crate) fn shown(&self) -> Value {
        let entries = self.0.iter().map(|entry| {
            let mut shown = json!({ "key": entry.key, "value": entry.value });
            if entry.init {
                shown["init"] = Value::Bool(true);
            }
            if let Some(encryption) = &entry.encryption {
                shown["encryption"] = Value::String(encryption.clone());
            }
            shown
        });
        Value::Array(entries.collect())
    }
}

/// Whether a value counts as true.
pub(crate) fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(value: Value) -> KeyValues {
        KeyValues::read(&value, "parameters").unwrap()
    }

    #[test]
    fn the_last_of_equal_keys_wins_and_flags_round_trip() {
        let given = json!([
            { "key": "a", "value": 1 },
            { "key": "b", "value": 2, "init": true },
            { "key": "a", "value": { "x": [] } },
        ]);
        let shown = json!([
            { "key": "a", "value": { "x": [] } },
            { "key": "b", "value": 2, "init": true },
        ]);
        assert_eq!(list(given).shown(), shown);
        assert!(KeyValues::read(&json!({ "a": 1 }), "parameters").is_err());
        assert!(KeyValues::read(&json!([{ "value": 1 }]), "parameters").is_err());
    }

    #[test]
    fn truth_is_that_of_scripts() {
        for (value, expected) in [
            (json!(true), true),
            (json!(false), false),
            (json!("false"), true),
            (json!(""), false),
            (json!(0), false),
            (json!(null), false),
            (json!({}), true),
        ] {
            assert_eq!(truthy(&value), expected, "{value}");
        }
    }
}
