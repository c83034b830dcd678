//! From a request's payload to what an action is given: parameters merged, protected ones kept, those of initialization
//! apart.
//! Source: apache/openwhisk (commit 1fae641), `Actions.scala`, `Parameters.scala`.

use serde_json::{Map, Value};

use crate::entities::KeyValues;
use crate::errors::{NOT_ALLOWED, WhiskError};
use crate::estate::Callable;

/// What an action is given.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Arguments {
    /// An object, or an array that a sequence passes on.
    pub(crate) value: Value,
    /// Variables of initialization.
    pub(crate) init: Map<String, Value>,
}

/// Parameters with a payload over them. The payload wins, except over parameters of an action whose annotation `final` is
/// true, unless those are null.
///
/// # Errors
/// 400 for a payload that defines what it may not.
pub(crate) fn arguments(callable: &Callable, payload: Value) -> Result<Arguments, WhiskError> {
    if let Value::Object(payload) = &payload
        && callable.record.head.annotations.is_truthy("final")
    {
        let redefined = |key: &String| callable.parameters.get(key).is_some_and(|value| !value.is_null());
        if payload.keys().any(redefined) {
            return Err(WhiskError::bad(NOT_ALLOWED));
        }
    }
    Ok(given(callable, payload))
}

/// What an action is given for a payload. A sequence has no parameters of its own: its input is the payload.
pub(crate) fn given(callable: &Callable, payload: Value) -> Arguments {
    if callable.record.exec.is_sequence() {
        merge(&KeyValues::default(), payload)
    } else {
        merge(&callable.parameters, payload)
    }
}

/// Parameters with a payload over them.
fn merge(parameters: &KeyValues, payload: Value) -> Arguments {
    let mut init = Map::new();
    let payload = match payload {
        Value::Object(payload) => payload,
        Value::Null => Map::new(),
        // An array takes no parameters.
        other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            let flagged = parameters.0.iter().filter(|entry| entry.init);
            init.extend(flagged.map(|entry| (entry.key.clone(), variable(&entry.value))));
            return Arguments { value: other, init };
        }
    };
    let mut value = Map::new();
    for entry in parameters.0.iter().filter(|entry| !entry.init) {
        value.insert(entry.key.clone(), entry.value.clone());
    }
    value.extend(payload);
    for entry in parameters.0.iter().filter(|entry| entry.init) {
        let given = value.shift_remove(&entry.key);
        init.insert(
            entry.key.clone(),
            variable(&given.unwrap_or_else(|| entry.value.clone())),
        );
    }
    Arguments {
        value: Value::Object(value),
        init,
    }
}

/// A value as a variable.
fn variable(value: &Value) -> Value {
    Value::String(match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn payloads_go_over_parameters_and_variables_apart() {
        let parameters = KeyValues::read(
            &json!([
                { "key": "a", "value": 1 },
                { "key": "b", "value": 2 },
                { "key": "E", "value": { "x": 1 }, "init": true },
                { "key": "F", "value": null, "init": true },
            ]),
            "parameters",
        )
        .unwrap();
        let merged = merge(&parameters, json!({ "b": 3, "c": 4, "F": true }));
        assert_eq!(merged.value, json!({ "a": 1, "b": 3, "c": 4 }));
        assert_eq!(Value::Object(merged.init), json!({ "E": "{\"x\":1}", "F": "true" }));
        let passed = merge(&parameters, json!([1]));
        assert_eq!((passed.value, passed.init.len()), (json!([1]), 2));
    }
}
