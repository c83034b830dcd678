//! CloudEvents in requests: binary, structured, batched.
//! Source: "HTTP Protocol Binding for CloudEvents", version 1.0.2.

use bytes::Bytes;
use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::cloudevent::{CloudEvent, CloudEventError, EventData};

/// Events of one batch, at most.
pub const BATCH_MAX: usize = 100;

const PREFIX: &str = "ce-";

fn format<T>(text: impl Into<String>) -> Result<T, CloudEventError> {
    Err(CloudEventError::Format(text.into()))
}

/// Reads the events of a request.
///
/// # Errors
/// [`CloudEventError`]: the request is none of the three forms, or one of its events is not valid.
pub fn read_request(headers: &HeaderMap, body: &Bytes) -> Result<Vec<CloudEvent>, CloudEventError> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = content_type.unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media.as_str() {
        "application/cloudevents-batch+json" => match json(body)? {
            Value::Array(events) if events.len() > BATCH_MAX => {
                format(format!("a batch has {} events, more than {BATCH_MAX}", events.len()))
            }
            Value::Array(events) => events.into_iter().map(CloudEvent::of_document).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                format("a batch is a JSON array")
            }
        },
        "application/cloudevents+json" => Ok(vec![CloudEvent::of_document(json(body)?)?]),
        other if other.starts_with("application/cloudevents") => {
            format(format!("events in the format {other} are not read; JSON is"))
        }
        _ if headers.contains_key("ce-specversion") => Ok(vec![binary(headers, content_type, &media, body)?]),
        _ => format(
            "the request is no CloudEvent: it has neither the header ce-specversion nor the type \
             application/cloudevents+json",
        ),
    }
}

fn json(body: &[u8]) -> Result<Value, CloudEventError> {
    serde_json::from_slice(body).or_else(|error| format(format!("the body is no JSON: {error}")))
}

fn binary(
    headers: &HeaderMap,
    content_type: Option<&str>,
    media: &str,
    body: &Bytes,
) -> Result<CloudEvent, CloudEventError> {
    let mut attributes = Map::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(PREFIX) else {
            continue;
        };
        let text = value.to_str().ok().and_then(|text| {
            let text = text
                .strip_prefix('"')
                .and_then(|text| text.strip_suffix('"'))
                .unwrap_or(text);
            percent_decode_str(text).decode_utf8().ok()
        });
        let text = text.ok_or_else(|| CloudEventError::Attribute {
            name: name.to_owned(),
            why: "its header is no text",
        })?;
        attributes.insert(name.to_owned(), Value::String(text.into_owned()));
    }
    if let Some(content_type) = content_type {
        attributes.insert("datacontenttype".to_owned(), Value::from(content_type));
    }
    let is_json = media.is_empty() || media == "application/json" || media.ends_with("+json") || media == "text/json";
    let data = match body {
        body if body.is_empty() => None,
        body if is_json => Some(EventData::Json(json(body)?)),
        body if media.starts_with("text/") => match std::str::from_utf8(body) {
            Ok(text) => Some(EventData::Json(Value::from(text))),
            Err(_) => Some(EventData::Binary(body.clone())),
        },
        body => Some(EventData::Binary(body.clone())),
    };
    CloudEvent::checked(attributes, data)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn read(pairs: &[(&'static str, &'static str)], body: &str) -> Result<Vec<Value>, String> {
        let events = read_request(&headers(pairs), &Bytes::copy_from_slice(body.as_bytes()));
        events
            .map(|events| events.iter().map(CloudEvent::document).collect())
            .map_err(|error| error.to_string())
    }

    const BINARY: [(&str, &str); 4] = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
    ];

    #[test]
    fn the_three_forms_are_read() {
        let with = |more: &[(&'static str, &'static str)]| [&BINARY, more].concat();
        let base = json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": "t" });
        let expect = |more: Value| {
            let mut event = base.clone();
            event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            Ok(vec![event])
        };
        assert_eq!(read(&BINARY, ""), expect(json!({})));
        assert_eq!(
            read(
                &with(
                    &[
                        ("content-type", "application/json"),
                        ("ce-subject", "a%20b"),
                        ("ce-ext", "é%22")
                    ][..2]
                ),
                r#"{"a":1}"#
            ),
            expect(json!({ "subject": "a b", "datacontenttype": "application/json", "data": { "a": 1 } }))
        );
        assert_eq!(
            read(&with(&[("content-type", "text/plain")]), "hi"),
            expect(json!({ "datacontenttype": "text/plain", "data": "hi" }))
        );
        assert_eq!(
            read(&with(&[("content-type", "image/png")]), "hi"),
            expect(json!({ "datacontenttype": "image/png", "data_base64": "aGk=" }))
        );
        let structured = [("content-type", "application/cloudevents+json; charset=utf-8")];
        assert_eq!(read(&structured, &base.to_string()), Ok(vec![base.clone()]));
        let batch = [("content-type", "application/cloudevents-batch+json")];
        assert_eq!(
            read(&batch, &json!([base, base]).to_string()),
            Ok(vec![base.clone(), base.clone()])
        );
        assert_eq!(read(&batch, "[]"), Ok(vec![]));
    }

    #[test]
    fn what_is_no_event_is_refused_with_the_reason() {
        let structured = [("content-type", "application/cloudevents+json")];
        let cases = [
            (
                r#"{"specversion":"1.0","id":"1","source":"s"}"#,
                "attribute type is missing or empty",
            ),
            (
                r#"{"specversion":"0.3","id":"1","source":"s","type":"t"}"#,
                "specversion \"0.3\" is not 1.0",
            ),
            (
                r#"{"specversion":"1.0","id":"1","source":"s","type":"t","Bad":1}"#,
                "attribute \"Bad\" is not valid: names are lower-case letters and digits, at most 64",
            ),
            (
                r#"{"specversion":"1.0","id":"1","source":"s","type":"t","time":"now"}"#,
                "attribute \"time\" is not valid: it is a time such as 2026-11-24T12:00:00Z",
            ),
            (
                r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":1,"data_base64":""}"#,
                "an event has data or data_base64, not both",
            ),
            ("[]", "an event is a JSON object"),
        ];
        for (body, expected) in cases {
            assert_eq!(read(&structured, body), Err(expected.to_owned()), "{body}");
        }
        assert!(read(&structured, "{").unwrap_err().starts_with("the body is no JSON"));
        assert!(
            read(&[("content-type", "application/json")], "{}")
                .unwrap_err()
                .starts_with("the request is no CloudEvent")
        );
        assert!(read(&[("content-type", "application/cloudevents+avro")], "").is_err());
        let many = Value::from(vec![json!({}); BATCH_MAX + 1]).to_string();
        assert!(
            read(&[("content-type", "application/cloudevents-batch+json")], &many)
                .unwrap_err()
                .contains("more than 100")
        );
    }
}
