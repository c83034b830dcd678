//! Parameters, annotations and limits, as manifests write them, in the form that requests have.
//! Source: apache/openwhisk-wskdeploy 1.2.0, `specification/html/spec_parameters.md`, `parsers/manifest_parser.go`,
//! `webaction/webaction.go`.

use serde_json::{Map, Value, json};

use super::ProjectError;
use super::node::Node;

/// What the description of a parameter may say.
const DESCRIBED: [&str; 9] = [
    "type",
    "description",
    "value",
    "default",
    "required",
    "init",
    "encryption",
    "status",
    "schema",
];

/// The parameters below a node: for each its value, and whether it is one of initialization.
pub(super) fn parameters(node: Option<Node<'_>>) -> Result<Vec<Value>, ProjectError> {
    let Some(node) = node else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for (key, member) in node.members()? {
        let mut entry = Map::from_iter([("key".to_owned(), json!(key)), ("value".to_owned(), value(&member)?)]);
        if is_described(&member)
            && let Some(init) = member.get("init")
        {
            entry.insert("init".to_owned(), json!(init.truth()?));
        }
        all.push(Value::Object(entry));
    }
    Ok(all)
}

/// The same as members of an object.
pub(super) fn arguments(node: Option<Node<'_>>) -> Result<Map<String, Value>, ProjectError> {
    let Some(node) = node else { return Ok(Map::new()) };
    let members = node.members()?.into_iter();
    members
        .map(|(key, member)| Ok((key.to_owned(), value(&member)?)))
        .collect()
}

/// Whether a member describes a parameter rather than being its value.
fn is_described(node: &Node<'_>) -> bool {
    let Value::Object(members) = node.value else {
        return false;
    };
    let tells = ["type", "value", "default", "required"]
        .iter()
        .any(|key| members.contains_key(*key));
    tells && members.keys().all(|key| DESCRIBED.contains(&&**key))
}

/// The value of a parameter: written out, or described.
fn value(node: &Node<'_>) -> Result<Value, ProjectError> {
    if let Value::String(text) = node.value {
        // A type alone stands for its empty value.
        return Ok(empty(text).unwrap_or_else(|| json!(text)));
    }
    if !is_described(node) {
        return Ok(node.value.clone());
    }
    let kind = node.get("type").map(|kind| kind.text()).transpose()?;
    let given = node.any(&["value", "default"]);
    if let Some(kind) = kind
        && empty(kind).is_none()
    {
        let hint = "string, integer, number, float, boolean, object, json, array";
        return Err(node.wrong(format!("type {kind:?} is not known"), hint));
    }
    match (given, kind) {
        (Some(given), Some(kind)) => typed(&given, kind),
        (Some(given), None) => Ok(given.value.clone()),
        (None, _) if node.get("required").is_some_and(|node| node.truth().unwrap_or(false)) => Err(node.wrong(
            "the parameter is required and has no value",
            "give it one with `value:`",
        )),
        (None, kind) => Ok(kind.and_then(empty).unwrap_or_else(|| json!(""))),
    }
}

/// The value of a type for which none is given; `None`: there is no such type.
fn empty(kind: &str) -> Option<Value> {
    Some(match kind {
        "string" => json!(""),
        "integer" | "int" | "number" => json!(0),
        "float" => json!(0.0),
        "boolean" | "bool" => json!(false),
        "object" | "json" => json!({}),
        "array" | "list" => json!([]),
        _ => return None,
    })
}

/// A text from a variable becomes what its type says.
fn typed(given: &Node<'_>, kind: &str) -> Result<Value, ProjectError> {
    let Value::String(text) = given.value else {
        let fits = match kind {
            "string" => false,
            "integer" | "int" => given.value.is_i64(),
            "number" | "float" => given.value.is_number(),
            "boolean" | "bool" => given.value.is_boolean(),
            "object" => given.value.is_object(),
            "array" | "list" => given.value.is_array(),
            _ => true,
        };
        return match given.value {
            _ if fits => Ok(given.value.clone()),
            Value::Number(_) | Value::Bool(_) if kind == "string" => Ok(json!(given.value.to_string())),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                Err(given.wrong(format!("{} is not of type {kind}", given.value), ""))
            }
        };
    };
    if kind == "string" {
        return Ok(json!(text));
    }
    let read: Option<Value> = serde_json::from_str(text).ok();
    let fits = |read: &Value| match kind {
        "integer" | "int" => read.is_i64(),
        "number" | "float" => read.is_number(),
        "boolean" | "bool" => read.is_boolean(),
        "object" => read.is_object(),
        "array" | "list" => read.is_array(),
        _ => true,
    };
    let found = read.filter(fits);
    found.ok_or_else(|| given.wrong(format!("{text:?} is not of type {kind}"), ""))
}

/// Annotations below a node.
pub(super) fn annotations(node: Option<Node<'_>>) -> Result<Vec<Value>, ProjectError> {
    let Some(node) = node else { return Ok(Vec::new()) };
    let members = node.members()?.into_iter();
    Ok(members
        .map(|(key, member)| json!({ "key": key, "value": member.value }))
        .collect())
}

/// What `web` adds to an action's annotations.
pub(super) fn web(node: Option<Node<'_>>) -> Result<Vec<Value>, ProjectError> {
    let Some(node) = node else { return Ok(Vec::new()) };
    let raw = node.value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("raw"));
    if !raw && !node.truth().map_err(|_| node.wrong("web is true, false or raw", ""))? {
        return Ok(vec![json!({ "key": "web-export", "value": false })]);
    }
    let all = [("web-export", true), ("raw-http", raw), ("final", true)];
    Ok(all.map(|(key, value)| json!({ "key": key, "value": value })).to_vec())
}

/// Limits that requests have, by the names that manifests have for them.
const LIMITS: [(&str, &[&str]); 4] = [
    ("timeout", &["timeout"]),
    ("memory", &["memorySize", "memory"]),
    ("logs", &["logSize", "logs"]),
    ("concurrency", &["concurrency"]),
];
/// Limits that manifests may name and that are a namespace's, not an action's: wskdeploy leaves them out too.
const OTHER_LIMITS: [&str; 5] = [
    "concurrentActivations",
    "userInvocationRate",
    "codeSize",
    "parameterSize",
    "instances",
];

/// Limits below a node; those that have no effect are told.
pub(super) fn limits(node: Option<Node<'_>>, notes: &mut Vec<String>) -> Result<Map<String, Value>, ProjectError> {
    let mut limits = Map::new();
    let Some(node) = node else { return Ok(limits) };
    let mut known: Vec<&str> = LIMITS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    known.extend(OTHER_LIMITS);
    node.only(&known)?;
    for (name, names) in LIMITS {
        if let Some(given) = node.any(names) {
            if !given.value.is_i64() {
                return Err(given.wrong(
                    "a whole number is expected here",
                    "timeout is in milliseconds, sizes in MB",
                ));
            }
            limits.insert(name.to_owned(), given.value.clone());
        }
    }
    for (key, member) in node.members()? {
        if OTHER_LIMITS.contains(&key) {
            notes.push(
                member
                    .wrong("this limit is a namespace's, and has no effect here", "")
                    .to_string(),
            );
        }
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_values_or_described() {
        for (given, expected) in [
            (json!("text"), Ok(json!("text"))),
            (json!("string"), Ok(json!(""))),
            (json!(5), Ok(json!(5))),
            (json!({"a": 1}), Ok(json!({"a": 1}))),
            (json!({"value": 1}), Ok(json!(1))),
            (json!({"type": "integer", "value": "12"}), Ok(json!(12))),
            (json!({"type": "string", "value": 12}), Ok(json!("12"))),
            (json!({"type": "json", "value": "{\"a\": [1]}"}), Ok(json!({"a": [1]}))),
            (json!({"type": "boolean"}), Ok(json!(false))),
            (
                json!({"type": "string", "default": "d", "description": "x"}),
                Ok(json!("d")),
            ),
            (
                json!({"type": "integer", "value": "x"}),
                Err("m: v.value: \"x\" is not of type integer"),
            ),
            (json!({"type": "thing"}), Err("m: v: type \"thing\" is not known")),
            (
                json!({"type": "string", "required": true}),
                Err("m: v: the parameter is required and has no value"),
            ),
        ] {
            let document = json!({ "v": given });
            let root = Node::root("m", &document);
            let found = value(&root.get("v").unwrap()).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{given}");
        }
    }

    #[test]
    fn web_is_an_annotation() {
        let check = |web_value: Value| {
            let document = json!({ "web": web_value });
            web(Node::root("m", &document).get("web"))
        };
        assert_eq!(
            check(json!("raw")).unwrap()[1],
            json!({"key": "raw-http", "value": true})
        );
        assert_eq!(
            check(json!("yes")).unwrap()[1],
            json!({"key": "raw-http", "value": false})
        );
        assert_eq!(
            check(json!(false)).unwrap(),
            [json!({"key": "web-export", "value": false})]
        );
        assert!(check(json!(1)).is_err());
    }
}
