//! The part of JSONPath that input paths use: `$`, `.name`, `['name']`, `[0]`, `[*]`.
//! Source: "Transforming target input" of the EventBridge user guide.

use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    At(usize),
    Each,
}

/// A path, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

impl Path {
    /// Reads a path; `None`: it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut left = text.strip_prefix('$')?;
        let mut steps = Vec::new();
        while !left.is_empty() {
            let (step, rest) = if let Some(rest) = left.strip_prefix('.') {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                let (name, rest) = rest.split_at(end);
                (Step::Name((!name.is_empty()).then(|| name.to_owned())?), rest)
            } else {
                let (inner, rest) = left.strip_prefix('[')?.split_once(']')?;
                let quoted = |quote| inner.strip_prefix(quote)?.strip_suffix(quote);
                let step = match quoted('\'').or_else(|| quoted('"')) {
                    Some(name) => Step::Name(name.to_owned()),
                    None if inner == "*" => Step::Each,
                    None => Step::At(inner.parse().ok()?),
                };
                (step, rest)
            };
            steps.push(step);
            left = rest;
        }
        Some(Self(steps))
    }

    /// What lies there; `None`: nothing.
    pub(super) fn of(&self, value: &Value) -> Option<Value> {
        follow(value, &self.0)
    }
}

fn follow(value: &Value, steps: &[Step]) -> Option<Value> {
    let Some((step, rest)) = steps.split_first() else {
        return Some(value.clone());
    };
    match step {
        Step::Name(name) => follow(value.get(name)?, rest),
        Step::At(at) => follow(value.get(at)?, rest),
        Step::Each => {
            let items = value.as_array()?.iter();
            Some(Value::Array(items.filter_map(|item| follow(item, rest)).collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_into_documents() {
        let event = json!({ "detail": { "a b": 1, "list": [{ "x": 1 }, { "x": 2 }, {}] }, "id": "i" });
        let cases = [
            ("$", Some(event.clone())),
            ("$.id", Some(json!("i"))),
            ("$.detail['a b']", Some(json!(1))),
            ("$.detail.list[1].x", Some(json!(2))),
            ("$.detail.list[*].x", Some(json!([1, 2]))),
            ("$.detail.none", None),
            ("$.detail.list[9]", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Path::parse(text).unwrap().of(&event), expected, "{text}");
        }
        for bad in ["", "id", "$.", "$..x", "$[", "$[x]", "$x"] {
            assert_eq!(Path::parse(bad), None, "{bad}");
        }
    }
}
