//! What is answered for a web action's result.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value};
use sonagi_wire::Body;

use super::Extension;
use super::request::Media;
use crate::errors::{WhiskError, pretty};

/// The answer for a result.
///
/// # Errors
/// 400 for a result that is not what the extension asks for, 404 where it lacks it.
pub(super) fn of(result: Value, extension: Extension) -> Result<Response<Body>, WhiskError> {
    match extension {
        Extension::Http => http(result),
        Extension::Json => json(&result),
        Extension::Html => markup(result, "html", "text/html; charset=UTF-8"),
        Extension::Svg => markup(result, "svg", "image/svg+xml"),
        Extension::Text => text(result),
    }
}

fn typed(body: String, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(sonagi_wire::full(body));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn invalid(kind: &str) -> WhiskError {
    WhiskError::bad(format!("Response is not valid '{kind}'."))
}

fn json(result: &Value) -> Result<Response<Body>, WhiskError> {
    match result {
        Value::Object(_) | Value::Array(_) => Ok(typed(pretty(result), "application/json")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Err(invalid("application/json")),
    }
}

/// The part of a result that an extension shows: `body`, else a member of its name, else a result that is no object.
fn projected(result: Value, name: &str) -> Option<Value> {
    match result {
        Value::Object(mut members) => members.shift_remove("body").or_else(|| members.shift_remove(name)),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => Some(other),
    }
}

fn markup(result: Value, name: &str, kind: &'static str) -> Result<Response<Body>, WhiskError> {
    match projected(result, name) {
        Some(Value::String(text)) => Ok(typed(text, kind)),
        Some(_) | None => Err(invalid(kind.split(';').next().unwrap_or(kind))),
    }
}

fn text(result: Value) -> Result<Response<Body>, WhiskError> {
    let text = match projected(result, "text") {
        None => {
            return Err(WhiskError::new(
                StatusCode::NOT_FOUND,
                "Response does not include requested property.",
            ));
        }
        Some(Value::String(text)) => text,
        Some(value @ (Value::Object(_) | Value::Array(_))) => pretty(&value),
        Some(value @ (Value::Null | Value::Bool(_) | Value::Number(_))) => value.to_string(),
    };
    Ok(typed(text, "text/plain; charset=UTF-8"))
}

fn http(result: Value) -> Result<Response<Body>, WhiskError> {
    let wrong = || invalid("message/http");
    let mut members = match result {
        Value::Object(members) => members,
        // Upstream cannot answer an array at all; as JSON it can be read.
        Value::Array(items) => Map::from_iter([("body".to_owned(), Value::Array(items))]),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Err(wrong()),
    };
    let mut headers = match members.shift_remove("headers") {
        None | Some(Value::Null) => HeaderMap::new(),
        Some(Value::Object(given)) => headers(&given).ok_or_else(wrong)?,
        Some(_) => return Err(wrong()),
    };
    let status = match members.shift_remove("statusCode") {
        None | Some(Value::Null) => None,
        Some(given) => Some(status(&given).ok_or_else(wrong)?),
    };
    let kind = headers.remove(header::CONTENT_TYPE);
    let kind = match &kind {
        None => None,
        Some(kind) => Some(
            kind.to_str()
                .ok()
                .filter(|kind| is_media_type(kind))
                .ok_or_else(|| WhiskError::bad("Response did not specify a known content-type."))?,
        ),
    };
    let (bytes, kind) = match members.shift_remove("body") {
        None | Some(Value::Null) => (Vec::new(), None),
        Some(Value::String(text)) if text.is_empty() => (Vec::new(), None),
        Some(Value::String(text)) => from_text(text, kind)?,
        Some(value) => from_json(&value, kind)?,
    };
    let standard = if kind.is_some() {
        StatusCode::OK
    } else {
        StatusCode::NO_CONTENT
    };
    let mut response = Response::new(sonagi_wire::full(bytes));
    *response.status_mut() = status.unwrap_or(standard);
    if let Some(kind) = kind
        && let Ok(kind) = HeaderValue::try_from(kind)
    {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    // The platform writes these itself.
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::CONNECTION);
    *response.headers_mut() = headers;
    Ok(response)
}

fn mismatch() -> WhiskError {
    WhiskError::bad("Response type in header did not match generated content type.")
}

/// A body that is a text: as it is, or base64 of bytes where the type is one of bytes.
fn from_text(text: String, kind: Option<&str>) -> Result<(Vec<u8>, Option<String>), WhiskError> {
    let Some(kind) = kind else {
        return Ok((text.into_bytes(), Some("text/html; charset=UTF-8".to_owned())));
    };
    let is_svg = kind.to_ascii_lowercase().starts_with("image/svg+xml");
    match Media::of(kind) {
        Media::Text | Media::Form if !is_svg => Ok((text.into_bytes(), Some(with_charset(kind)))),
        Media::Json | Media::Text | Media::Form => {
            let bytes = STANDARD.decode(text.trim()).unwrap_or_else(|_| text.into_bytes());
            Ok((bytes, Some(kind.to_owned())))
        }
        Media::Binary => {
            let bytes = STANDARD.decode(text.trim()).map_err(|_| mismatch())?;
            Ok((bytes, Some(kind.to_owned())))
        }
    }
}

/// A body that is JSON, for types that are.
fn from_json(value: &Value, kind: Option<&str>) -> Result<(Vec<u8>, Option<String>), WhiskError> {
    let kind = kind.unwrap_or("application/json");
    match Media::of(kind) {
        Media::Json => Ok((value.to_string().into_bytes(), Some(kind.to_owned()))),
        Media::Form | Media::Text | Media::Binary => Err(mismatch()),
    }
}

fn with_charset(kind: &str) -> String {
    if kind.to_ascii_lowercase().contains("charset") || !kind.starts_with("text/") {
        kind.to_owned()
    } else {
        format!("{kind}; charset=UTF-8")
    }
}

/// Whether a text has the form of a media type.
/// Source: RFC 9110, 8.3.1.
fn is_media_type(text: &str) -> bool {
    let token = |text: &str| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !text.is_empty() && text.bytes().all(letter)
    };
    let kind = text.split(';').next().unwrap_or_default().trim();
    kind.split_once('/')
        .is_some_and(|(kind, sub)| token(kind) && token(sub))
}

fn status(value: &Value) -> Option<StatusCode> {
    let number = match value {
        Value::Number(number) => number.as_u64()?,
        Value::String(text) => text.trim().parse().ok()?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let status = StatusCode::from_u16(u16::try_from(number).ok()?).ok()?;
    // One of those would have to be followed by another answer.
    (!status.is_informational()).then_some(status)
}

fn headers(given: &Map<String, Value>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let name = HeaderName::try_from(name.as_str()).ok()?;
        let values = match value {
            Value::Array(values) => values.as_slice(),
            one @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
                std::slice::from_ref(one)
            }
        };
        for value in values {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                Value::Null | Value::Array(_) | Value::Object(_) => return None,
            };
            headers.append(name.clone(), HeaderValue::try_from(text).ok()?);
        }
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use serde_json::json;

    use super::*;

    async fn shown(result: Value, extension: Extension) -> (u16, Option<String>, String) {
        let response = match of(result, extension) {
            Ok(response) => response,
            Err(error) => return (error.status.as_u16(), None, error.text),
        };
        let kind = response.headers().get("content-type");
        let kind = kind.map(|kind| kind.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, kind, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn http_results_are_mapped() {
        let check = async |result: Value, status: u16, kind: Option<&str>, body: &str| {
            let expected = (status, kind.map(str::to_owned), body.to_owned());
            assert_eq!(shown(result.clone(), Extension::Http).await, expected, "{result}");
        };
        let typed = |kind: &str, body: Value| json!({ "headers": { "Content-Type": kind }, "body": body });
        check(json!({}), 204, None, "").await;
        check(typed("text/plain", json!("")), 204, None, "").await;
        check(json!({ "statusCode": 444 }), 444, None, "").await;
        check(
            json!({ "statusCode": "201", "body": "x" }),
            201,
            Some("text/html; charset=UTF-8"),
            "x",
        )
        .await;
        check(
            json!({ "body": { "a": 1 } }),
            200,
            Some("application/json"),
            "{\"a\":1}",
        )
        .await;
        check(
            typed("text/plain", json!("aGk=")),
            200,
            Some("text/plain; charset=UTF-8"),
            "aGk=",
        )
        .await;
        check(typed("image/png", json!("aGk=")), 200, Some("image/png"), "hi").await;
        check(
            typed("application/json", json!("aGk=")),
            200,
            Some("application/json"),
            "hi",
        )
        .await;
        check(
            typed("application/json", json!("{}")),
            200,
            Some("application/json"),
            "{}",
        )
        .await;
        let mismatch = "Response type in header did not match generated content type.";
        check(typed("image/png", json!("é")), 400, None, mismatch).await;
        check(typed("text/plain", json!([1])), 400, None, mismatch).await;
        check(
            typed("x", json!("y")),
            400,
            None,
            "Response did not specify a known content-type.",
        )
        .await;
        let invalid = "Response is not valid 'message/http'.";
        check(json!("x"), 400, None, invalid).await;
        check(json!({ "statusCode": "x" }), 400, None, invalid).await;
        check(json!({ "headers": { "a": { "b": 1 } } }), 400, None, invalid).await;
    }

    #[tokio::test]
    async fn other_extensions_project() {
        let text = Some("text/plain; charset=UTF-8".to_owned());
        assert_eq!(
            shown(json!({ "text": 1 }), Extension::Text).await,
            (200, text.clone(), "1".to_owned())
        );
        assert_eq!(
            shown(json!({ "body": "b" }), Extension::Text).await,
            (200, text, "b".to_owned())
        );
        assert_eq!(shown(json!({ "x": 1 }), Extension::Text).await.0, 404);
        let html = Some("text/html; charset=UTF-8".to_owned());
        assert_eq!(
            shown(json!({ "html": "<b>" }), Extension::Html).await,
            (200, html, "<b>".to_owned())
        );
        assert_eq!(shown(json!({ "html": 1 }), Extension::Html).await.0, 400);
        assert_eq!(shown(json!([1]), Extension::Json).await.2, "[\n  1\n]");
        assert_eq!(
            shown(json!("x"), Extension::Json).await.2,
            "Response is not valid 'application/json'."
        );
    }
}
