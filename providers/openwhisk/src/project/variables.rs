//! Variables in a manifest: `$NAME` as a whole text, `${NAME}` anywhere in one. The command line sends those of its
//! environment that the manifest names.
//! Source: apache/openwhisk-wskdeploy 1.2.0, `wskenv/environment.go`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::ProjectError;
use super::node::Node;

/// The member whose text is code, in which a dollar sign is the language's.
const CODE: &str = "code";

fn is_name(text: &str) -> bool {
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    first && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A document with its variables' values in place of their names.
///
/// # Errors
/// A variable that is not set.
pub(super) fn filled(node: &Node<'_>, variables: &BTreeMap<String, String>) -> Result<Value, ProjectError> {
    match node.value {
        Value::String(text) => fill(node, text, variables).map(Value::String),
        Value::Array(items) => {
            // Items of lists have no names of their own in messages.
            let items = items.iter().map(|item| match item {
                Value::String(text) => fill(node, text, variables).map(Value::String),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                    Ok(item.clone())
                }
            });
            items.collect::<Result<_, _>>().map(Value::Array)
        }
        Value::Object(_) => {
            let mut members = Map::new();
            for (key, member) in node.members()? {
                let value = if key == CODE {
                    member.value.clone()
                } else {
                    filled(&member, variables)?
                };
                members.insert(fill(&member, key, variables)?, value);
            }
            Ok(Value::Object(members))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(node.value.clone()),
    }
}

fn fill(node: &Node<'_>, text: &str, variables: &BTreeMap<String, String>) -> Result<String, ProjectError> {
    let value = |name: &str| {
        variables.get(name).cloned().ok_or_else(|| {
            let hint = format!("export {name}=... and deploy again");
            node.wrong(format!("the variable {name} is not set"), hint)
        })
    };
    if let Some(name) = text.strip_prefix('$').filter(|name| is_name(name)) {
        return value(name);
    }
    let (mut whole, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        whole.push_str(before);
        match after.split_once('}').filter(|(name, _)| is_name(name)) {
            Some((name, after)) => {
                whole.push_str(&value(name)?);
                rest = after;
            }
            None => {
                whole.push_str("${");
                rest = after;
            }
        }
    }
    whole.push_str(rest);
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_become_values_where_they_are_meant() {
        let variables = BTreeMap::from([("A".to_owned(), "x".to_owned()), ("B_1".to_owned(), "y".to_owned())]);
        let given = json!({
            "whole": "$A", "part": "http://${A}/${B_1}", "price": "5$A", "brace": "${not a name}", "n": 1,
            "list": ["$A", 2], "code": "`${A}`", "$A": {"deep": "$B_1"},
        });
        let expected = json!({
            "whole": "x", "part": "http://x/y", "price": "5$A", "brace": "${not a name}", "n": 1,
            "list": ["x", 2], "code": "`${A}`", "x": {"deep": "y"},
        });
        assert_eq!(filled(&Node::root("m", &given), &variables).unwrap(), expected);
        let given = json!({"packages": {"p": {"inputs": {"i": "$C"}}}});
        let error = filled(&Node::root("m", &given), &variables).unwrap_err();
        assert_eq!(error.to_string(), "m: packages.p.inputs.i: the variable C is not set");
    }
}
