//! From messages to the event of an invocation, and from the function's answer to what becomes of the messages.
//! Source: "Using Lambda with Amazon SQS" and "Implementing partial batch responses" of the Lambda developer guide.

use std::collections::HashSet;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use sonagi_ports::Message;
use sonagi_triggers::Pattern;

use crate::sqs::{QueueName, ReceivedQueue};

/// A message with its record in the event.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) message: Message,
    pub(super) record: Value,
}

/// The record of a message.
pub(super) fn record(queue: &ReceivedQueue<'_>, name: &QueueName, message: &Message) -> Value {
    let mut attributes = Map::new();
    for (name, attribute) in queue.attributes(message) {
        let mut shown = json!({ "stringListValues": [], "binaryListValues": [], "dataType": attribute.data_type });
        if attribute.is_binary() {
            shown["binaryValue"] = json!(attribute.binary_value);
        } else {
            shown["stringValue"] = json!(attribute.string_value);
        }
        attributes.insert(name, shown);
    }
    let mut record = json!({
        "messageId": message.id,
        "receiptHandle": queue.handle(message),
        "body": String::from_utf8_lossy(&message.body),
        "attributes": queue.system_attributes(message),
        "messageAttributes": attributes,
        "md5OfBody": queue.md5_of_body(message),
        "eventSource": "aws:sqs",
        "eventSourceARN": name.arn(),
        "awsRegion": name.place.region,
    });
    if let Some(sum) = queue.md5_of_attributes(message) {
        record["md5OfMessageAttributes"] = json!(sum);
    }
    record
}

/// The event of an invocation.
pub(super) fn event(items: &[Item]) -> Bytes {
    let records: Vec<&Value> = items.iter().map(|item| &item.record).collect();
    Bytes::from(json!({ "Records": records }).to_string())
}

/// Whether a record is meant by one of the patterns. A body that is JSON is matched as such.
pub(super) fn is_meant(patterns: &[Pattern], record: &Value) -> bool {
    if patterns.is_empty() {
        return true;
    }
    let mut looked_at = record.clone();
    let body = record["body"]
        .as_str()
        .and_then(|body| serde_json::from_str::<Value>(body).ok());
    if let Some(body) = body.filter(|body| body.is_object() || body.is_array()) {
        looked_at["body"] = body;
    }
    patterns.iter().any(|pattern| pattern.matches(&looked_at))
}

/// Which messages of a batch the function has dealt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All.
    All,
    /// None: the answer makes no sense.
    None(&'static str),
    /// All but these, by their ids.
    Except(HashSet<String>),
}

/// Reads the answer of a function that names what failed.
pub(super) fn verdict(answer: &[u8], ids: &HashSet<String>) -> Verdict {
    if answer.is_empty() {
        return Verdict::All;
    }
    let Ok(answer) = serde_json::from_slice::<Value>(answer) else {
        return Verdict::None("the answer is no JSON");
    };
    let failures = match &answer {
        Value::Object(fields) => match fields.get("batchItemFailures") {
            None | Some(Value::Null) => return Verdict::All,
            Some(Value::Array(failures)) => failures,
            Some(_) => return Verdict::None("batchItemFailures is no list"),
        },
        Value::Null | Value::Array(_) | Value::String(_) | Value::Bool(_) | Value::Number(_) => return Verdict::All,
    };
    let mut failed = HashSet::new();
    for failure in failures {
        match failure.get("itemIdentifier").and_then(Value::as_str) {
            Some(id) if ids.contains(id) => {
                failed.insert(id.to_owned());
            }
            Some(_) => return Verdict::None("an itemIdentifier is none of the batch"),
            None => return Verdict::None("an entry of batchItemFailures has no itemIdentifier"),
        }
    }
    if failed.is_empty() {
        Verdict::All
    } else {
        Verdict::Except(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_what_failed() {
        let ids: HashSet<String> = ["a", "b"].map(str::to_owned).into();
        for all in [
            "",
            "null",
            "{}",
            "[]",
            "\"\"",
            r#"{"batchItemFailures":[]}"#,
            r#"{"batchItemFailures":null}"#,
        ] {
            assert_eq!(verdict(all.as_bytes(), &ids), Verdict::All, "{all}");
        }
        let some = verdict(br#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#, &ids);
        assert_eq!(some, Verdict::Except(["b".to_owned()].into()));
        for none in [
            "{",
            r#"{"batchItemFailures":[{"itemIdentifier":"c"}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifer":"a"}]}"#,
            r#"{"batchItemFailures":[1]}"#,
            r#"{"batchItemFailures":{}}"#,
        ] {
            assert!(matches!(verdict(none.as_bytes(), &ids), Verdict::None(_)), "{none}");
        }
    }

    #[test]
    fn patterns_look_into_bodies_that_are_json() {
        let pattern = |text: &str| vec![Pattern::parse(text).unwrap()];
        let with = |body: &str| json!({ "body": body, "attributes": { "SenderId": "x" } });
        let kind = pattern(r#"{"body":{"kind":["a",{"prefix":"b"}]}}"#);
        for (body, is) in [
            (r#"{"kind":"a"}"#, true),
            (r#"{"kind":"bc"}"#, true),
            (r#"{"kind":"c"}"#, false),
            ("a", false),
        ] {
            assert_eq!(is_meant(&kind, &with(body)), is, "{body}");
        }
        assert!(is_meant(&pattern(r#"{"body":["plain"]}"#), &with("plain")));
        assert!(is_meant(&[], &with("anything")));
    }
}
