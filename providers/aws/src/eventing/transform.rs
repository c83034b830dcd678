//! What a target gets of an event: the whole of it, a part, a constant, or a template that is filled in.
//! Source: "Transforming target input" of the EventBridge user guide.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::path::Path;

/// The fields of a target that say so.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Shaping {
    pub(super) input: Option<String>,
    pub(super) input_path: Option<String>,
    pub(super) input_transformer: Option<Transformer>,
}

/// `InputTransformer`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Transformer {
    #[serde(default)]
    pub(super) input_paths_map: BTreeMap<String, String>,
    pub(super) input_template: String,
}

/// Of which rule, for the variables that every template has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule<'a> {
    pub(super) name: &'a str,
    pub(super) arn: &'a str,
    /// When the event was taken in.
    pub(super) taken: &'a str,
}

/// Longest list of input paths. Source: "InputTransformer" of the API reference.
const PATHS_MAX: usize = 100;

impl Shaping {
    /// Says what is wrong, in the words of the service.
    pub(super) fn check(&self) -> Result<(), String> {
        let given = [
            self.input.is_some(),
            self.input_path.is_some(),
            self.input_transformer.is_some(),
        ];
        if given.into_iter().filter(|given| *given).count() > 1 {
            return Err("Only one of Input, InputPath, or InputTransformer must be provided".to_owned());
        }
        if let Some(input) = &self.input
            && serde_json::from_str::<serde::de::IgnoredAny>(input).is_err()
        {
            return Err("JSON syntax error in input".to_owned());
        }
        if let Some(path) = &self.input_path
            && Path::parse(path).is_none()
        {
            return Err(format!("InputPath {path} is not valid"));
        }
        let Some(transformer) = &self.input_transformer else {
            return Ok(());
        };
        if transformer.input_paths_map.len() > PATHS_MAX {
            return Err(format!("InputPathsMap has more than {PATHS_MAX} entries"));
        }
        for (name, path) in &transformer.input_paths_map {
            if name.starts_with("aws.") || name.starts_with("AWS") || Path::parse(path).is_none() {
                return Err(format!("InputPathsMap entry {name} with the path {path} is not valid"));
            }
        }
        Ok(())
    }

    /// What a target gets of an event, as JSON text.
    pub(super) fn shape(&self, event: &Value, rule: Rule<'_>) -> String {
        if let Some(input) = &self.input {
            return input.clone();
        }
        if let Some(path) = &self.input_path {
            let found = Path::parse(path).and_then(|path| path.of(event));
            return found.unwrap_or(Value::Null).to_string();
        }
        match &self.input_transformer {
            Some(transformer) => transformer.fill(event, rule),
            None => event.to_string(),
        }
    }
}

impl Transformer {
    fn value(&self, name: &str, event: &Value, rule: Rule<'_>) -> Option<Value> {
        Some(match name {
            "aws.events.rule-arn" => rule.arn.into(),
            "aws.events.rule-name" => rule.name.into(),
            "aws.events.event.ingestion-time" => rule.taken.into(),
            "aws.events.event.json" => event.clone(),
            "aws.events.event" => {
                let mut event = event.clone();
                if let Some(event) = event.as_object_mut() {
                    event.shift_remove("detail");
                }
                event
            }
            name => {
                let path = self.input_paths_map.get(name)?;
                Path::parse(path).and_then(|path| path.of(event)).unwrap_or(Value::Null)
            }
        })
    }

    /// Fills the template in: within a JSON string a variable is its text, elsewhere its JSON. A result that is no JSON
    /// becomes a JSON string.
    fn fill(&self, event: &Value, rule: Rule<'_>) -> String {
        let template = self.input_template.as_str();
        let (mut filled, mut left) = (String::with_capacity(template.len()), template);
        let (mut quoted, mut escaped) = (false, false);
        while let Some(character) = left.chars().next() {
            let variable = (character == '<').then(|| variable(left)).flatten();
            if let Some((name, rest)) = variable
                && let Some(value) = self.value(name, event, rule)
            {
                put(&mut filled, &value, quoted);
                left = rest;
                continue;
            }
            quoted ^= character == '"' && !escaped;
            escaped = character == '\\' && !escaped;
            filled.push(character);
            left = &left[character.len_utf8()..];
        }
        if serde_json::from_str::<serde::de::IgnoredAny>(&filled).is_ok() {
            return filled;
        }
        Value::String(filled).to_string()
    }
}

/// `<name>` at the beginning of a text, and what follows.
fn variable(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.strip_prefix('<')?.split_once('>')?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (!name.is_empty() && name.bytes().all(allowed)).then_some((name, rest))
}

fn put(filled: &mut String, value: &Value, quoted: bool) {
    if !quoted {
        filled.push_str(&value.to_string());
        return;
    }
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    let quoted = Value::String(text).to_string();
    filled.push_str(&quoted[1..quoted.len() - 1]);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shaped(shaping: Value) -> String {
        let shaping: Shaping = serde_json::from_value(shaping).unwrap();
        shaping.check().unwrap();
        let event = json!({ "id": "1", "detail": { "name": "a\"b", "n": 3, "o": { "x": 1 } } });
        let rule = Rule {
            name: "r",
            arn: "arn:r",
            taken: "2026-11-24T12:00:00Z",
        };
        shaping.shape(&event, rule)
    }

    fn template(template: &str) -> String {
        let paths = json!({ "name": "$.detail.name", "n": "$.detail.n", "o": "$.detail.o", "none": "$.detail.none" });
        shaped(json!({ "InputTransformer": { "InputPathsMap": paths, "InputTemplate": template } }))
    }

    #[test]
    fn inputs_are_whole_parts_constants_or_templates() {
        assert_eq!(shaped(json!({ "InputPath": "$.detail.n" })), "3");
        assert_eq!(shaped(json!({ "InputPath": "$.none" })), "null");
        assert_eq!(shaped(json!({ "Input": "{\"a\": 1}" })), "{\"a\": 1}");
        assert!(shaped(json!({})).starts_with("{\"id\":\"1\""));
        assert_eq!(
            template(r#"{"k": <name>, "n": <n>, "o": <o>}"#),
            r#"{"k": "a\"b", "n": 3, "o": {"x":1}}"#
        );
        assert_eq!(template(r#""Hi <name>, <n>""#), r#""Hi a\"b, 3""#);
        assert_eq!(template(r#"{"t": "<o> \" <none>|"}"#), r#"{"t": "{\"x\":1} \" |"}"#);
        assert_eq!(template("Hi <name>"), "\"Hi \\\"a\\\\\\\"b\\\"\"");
        assert_eq!(
            template(r#"{"r": "<aws.events.rule-name>", "e": <aws.events.event>}"#),
            r#"{"r": "r", "e": {"id":"1"}}"#
        );
        assert_eq!(template("\"<unknown> < n\""), "\"<unknown> < n\"");
    }

    #[test]
    fn wrong_inputs_are_explained() {
        for (wrong, text) in [
            (json!({ "Input": "{", "InputPath": "$" }), "Only one of"),
            (json!({ "Input": "{" }), "JSON syntax error"),
            (json!({ "InputPath": "detail" }), "InputPath detail"),
            (
                json!({ "InputTransformer": { "InputPathsMap": { "aws.x": "$" }, "InputTemplate": "x" } }),
                "InputPathsMap entry aws.x",
            ),
        ] {
            let shaping: Shaping = serde_json::from_value(wrong).unwrap();
            assert!(shaping.check().unwrap_err().starts_with(text));
        }
    }
}
