//! What a web action is given of its request.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use serde_json::{Map, Value};

use super::WebCall;
use crate::api::Query;
use crate::errors::{NOT_ALLOWED, WhiskError};
use crate::estate::Callable;

/// Keys that describe the request; nobody else may set them.
const RESERVED: [&str; 6] = [
    "__ow_method",
    "__ow_headers",
    "__ow_path",
    "__ow_user",
    "__ow_query",
    "__ow_body",
];

/// How a body is read, by its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    Form,
    Text,
    Binary,
}

impl Media {
    /// The kind of a media type.
    pub(super) fn of(kind: &str) -> Self {
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "application/json" => Self::Json,
            "application/x-www-form-urlencoded" => Self::Form,
            "application/javascript" | "application/xml" | "application/graphql" | "application/x-ndjson" => Self::Text,
            _ if kind.ends_with("+json") => Self::Json,
            _ if kind.starts_with("text/") || kind.ends_with("+xml") => Self::Text,
            _ => Self::Binary,
        }
    }
}

/// A request's headers, names in lower case, repeated ones joined.
pub(crate) fn headers_of(headers: &HeaderMap) -> Value {
    let mut all: HashMap<&str, String> = HashMap::new();
    let mut order = Vec::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        all.entry(name.as_str())
            .and_modify(|known| {
                known.push_str(", ");
                known.push_str(&value);
            })
            .or_insert_with(|| {
                order.push(name.as_str());
                value.clone().into_owned()
            });
    }
    let named = order.into_iter().map(|name| {
        let value = all.remove(name).unwrap_or_default();
        (name.to_owned(), Value::String(value))
    });
    Value::Object(named.collect())
}

/// The arguments of a call: what describes the request, its query, its body.
///
/// # Errors
/// 400 for a body that is not what it says, or for a key that is reserved.
pub(super) fn arguments(call: &WebCall<'_>, body: &[u8], raw: bool) -> Result<Map<String, Value>, WhiskError> {
    let parts = call.parts;
    let mut arguments = Map::new();
    let mut set = |name: &str, value: Value| arguments.insert(name.to_owned(), value);
    set("__ow_method", Value::String(parts.method.as_str().to_lowercase()));
    set("__ow_headers", headers_of(&parts.headers));
    set("__ow_path", Value::String(call.rest.to_owned()));
    if let Some(user) = call.user {
        set("__ow_user", Value::String(user.namespace.clone()));
    }
    let kind = parts.headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    if raw {
        set("__ow_query", Value::String(query.raw));
        let text = match Media::of(kind) {
            _ if body.is_empty() => String::new(),
            Media::Text | Media::Form => String::from_utf8_lossy(body).into_owned(),
            Media::Json | Media::Binary => STANDARD.encode(body),
        };
        set("__ow_body", Value::String(text));
        return Ok(arguments);
    }
    let mut given: Map<String, Value> = Map::new();
    for (name, value) in query.pairs {
        given.insert(name, Value::String(value));
    }
    let mut whole = None;
    match Media::of(kind) {
        _ if body.is_empty() => {}
        Media::Json => match serde_json::from_slice(body).map_err(WhiskError::malformed)? {
            Value::Object(members) => given.extend(members),
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                whole = Some(other);
            }
        },
        Media::Form => {
            let text = String::from_utf8_lossy(body);
            for (name, value) in crate::api::Query::parse(&text).pairs {
                given.insert(name, Value::String(value));
            }
        }
        Media::Text => whole = Some(Value::String(String::from_utf8_lossy(body).into_owned())),
        Media::Binary => whole = Some(Value::String(STANDARD.encode(body))),
    }
    if given.keys().any(|key| RESERVED.contains(&key.as_str())) {
        return Err(WhiskError::bad(NOT_ALLOWED));
    }
    arguments.extend(given);
    if let Some(whole) = whole {
        arguments.insert("__ow_body".to_owned(), whole);
    }
    Ok(arguments)
}

/// Whether a request sets a parameter of an action whose parameters are protected.
pub(super) fn redefines(arguments: &Map<String, Value>, callable: &Callable) -> bool {
    let protected = |key: &String| callable.parameters.get(key).is_some_and(|value| !value.is_null());
    arguments.keys().any(protected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_by_their_type() {
        for (kind, expected) in [
            ("application/json", Media::Json),
            ("application/vnd.api+JSON; charset=utf-8", Media::Json),
            ("application/x-www-form-urlencoded", Media::Form),
            ("text/plain", Media::Text),
            ("application/xml", Media::Text),
            ("image/png", Media::Binary),
            ("", Media::Binary),
        ] {
            assert_eq!(Media::of(kind), expected, "{kind}");
        }
    }

    #[test]
    fn repeated_headers_are_joined() {
        let mut headers = HeaderMap::new();
        headers.append("X-A", "1".parse().unwrap());
        headers.append("x-b", "2".parse().unwrap());
        headers.append("x-a", "3".parse().unwrap());
        assert_eq!(headers_of(&headers), serde_json::json!({ "x-a": "1, 3", "x-b": "2" }));
    }
}
