//! From a function's result to an HTTP answer.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use sonagi_wire::{Body, safe_header, strip_hop_by_hop};

use crate::json::{self, Text};

/// Headers of an answer at most, and all their bytes together.
const HEADERS_MAX: usize = 100;
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// A result that cannot be made an answer; why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the function's answer cannot be sent: {0}")]
pub(super) struct Unreadable(pub(super) String);

/// A structured result.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Structured<'a> {
    pub(super) status_code: Option<Status>,
    #[serde(borrow)]
    pub(super) headers: Option<Headers<'a>>,
    #[serde(borrow)]
    pub(super) cookies: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    pub(super) body: Option<Text<'a>>,
    pub(super) is_base64_encoded: Option<bool>,
}

/// Whether an object has a `statusCode` at all, whatever else is in it.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Marked {
    status_code: Option<IgnoredAny>,
}

/// A status: a number, or digits in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status(pub(super) StatusCode);

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Status;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status from 200 to 599")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Status, E> {
                let status = u16::try_from(number).ok().filter(|number| (200..600).contains(number));
                let status = status.and_then(|number| StatusCode::from_u16(number).ok());
                status
                    .map(Status)
                    .ok_or_else(|| E::custom(format!("status {number} is not from 200 to 599")))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Status, E> {
                self.visit_u64(u64::try_from(number).unwrap_or_default())
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Status, E> {
                let whole = number.fract() == 0.0 && (0.0..1000.0).contains(&number);
                self.visit_u64(if whole { number as u64 } else { 0 })
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Status, E> {
                self.visit_u64(text.parse().unwrap_or_default())
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

/// Headers of a result, in order. Values may be texts, numbers or booleans.
#[derive(Debug, Default)]
pub(super) struct Headers<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

struct Value<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Value<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number or a boolean")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Value<'de>, E> {
                Ok(Value(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Value<'de>, E> {
                Ok(Value(Cow::Owned(text.to_owned())))
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value<'de>, E> {
                Ok(Value(Cow::Borrowed(if value { "true" } else { "false" })))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value<'de>, E> {
                Ok(Value(Cow::Owned(value.to_string())))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value<'de>, E> {
                Ok(Value(Cow::Owned(value.to_string())))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value<'de>, E> {
                Ok(Value(Cow::Owned(value.to_string())))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Headers<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Headers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of headers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers<'de>, A::Error> {
                let mut headers = Vec::new();
                while let Some((Text(name), Value(value))) = map.next_entry::<Text<'de>, Value<'de>>()? {
                    if headers.len() == HEADERS_MAX {
                        return Err(de::Error::custom(format!("more than {HEADERS_MAX} headers")));
                    }
                    headers.push((name, value));
                }
                Ok(Headers(headers))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

/// The answer to a buffered call, from the function's result.
///
/// # Errors
/// [`Unreadable`].
pub(super) fn buffered(result: &Bytes) -> Result<Response<Body>, Unreadable> {
    let wrong = |error: serde_json::Error| Unreadable(error.to_string());
    match result.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => {}
        Some(b'"') => {
            let Text(text) = serde_json::from_slice(result).map_err(wrong)?;
            return Ok(plain_json(own(result, text)));
        }
        Some(_) | None => return raw(result),
    }
    match serde_json::from_slice::<Structured<'_>>(result) {
        Ok(structured) if structured.status_code.is_some() => structured_answer(result, structured),
        Ok(_) => raw(result),
        Err(error) => match serde_json::from_slice::<Marked>(result) {
            Ok(Marked { status_code: None }) => raw(result),
            Ok(Marked { status_code: Some(_) }) | Err(_) => Err(wrong(error)),
        },
    }
}

/// A value that is no structured answer is the body itself.
fn raw(result: &Bytes) -> Result<Response<Body>, Unreadable> {
    json::check(result).map_err(Unreadable)?;
    let body = match json::compact(result) {
        Cow::Borrowed(_) => result.clone(),
        Cow::Owned(compacted) => Bytes::from(compacted),
    };
    Ok(plain_json(body))
}

fn plain_json(body: Bytes) -> Response<Body> {
    let mut response = Response::new(sonagi_wire::full(body));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A text of the result as bytes, without a copy where it is a part of the result as it stands.
fn own(result: &Bytes, text: Cow<'_, str>) -> Bytes {
    match text {
        Cow::Borrowed(text) if !text.is_empty() => result.slice_ref(text.as_bytes()),
        Cow::Borrowed(_) => Bytes::new(),
        Cow::Owned(text) => Bytes::from(text),
    }
}

fn structured_answer(result: &Bytes, structured: Structured<'_>) -> Result<Response<Body>, Unreadable> {
    let status = structured.status_code.map_or(StatusCode::OK, |Status(status)| status);
    let headers = headers_of(&structured, HeaderValue::from_static("application/json"))?;
    let body = structured.body.map_or_else(Bytes::new, |Text(text)| own(result, text));
    let body = match structured.is_base64_encoded {
        Some(true) => Bytes::from(
            STANDARD
                .decode(&body)
                .map_err(|error| Unreadable(format!("body: {error}")))?,
        ),
        Some(false) | None => body,
    };
    let mut response = Response::new(sonagi_wire::full(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// The headers of a structured answer, checked; what belongs to a connection or to us is left out.
///
/// # Errors
/// [`Unreadable`].
pub(super) fn headers_of(structured: &Structured<'_>, content_type: HeaderValue) -> Result<HeaderMap, Unreadable> {
    let mut headers = HeaderMap::new();
    let mut bytes = 0;
    let cookies = structured
        .cookies
        .iter()
        .flatten()
        .map(|Text(cookie)| ("set-cookie", cookie.as_ref()));
    let given = structured.headers.iter().flat_map(|headers| &headers.0);
    let given = given.map(|(name, value)| (name.as_ref(), value.as_ref()));
    for (index, (name, value)) in given.chain(cookies).enumerate() {
        bytes += name.len() + value.len();
        if index >= HEADERS_MAX || bytes > HEADER_BYTES_MAX {
            return Err(Unreadable(format!(
                "more than {HEADERS_MAX} headers or {HEADER_BYTES_MAX} bytes of them"
            )));
        }
        let (name, value) = safe_header(name, value).map_err(|problem| Unreadable(problem.to_string()))?;
        if name == header::SET_COOKIE {
            headers.append(name, value);
        } else {
            headers.insert(name, value);
        }
    }
    strip_hop_by_hop(&mut headers);
    for ours in ["content-length", "date", "x-amzn-requestid", "x-amzn-trace-id"] {
        headers.remove(ours);
    }
    headers.entry(header::CONTENT_TYPE).or_insert(content_type);
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn shown(result: &str) -> Result<(u16, HeaderMap, String), Unreadable> {
        let (parts, body) = buffered(&Bytes::from(result.to_owned()))?.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Ok((
            parts.status.as_u16(),
            parts.headers,
            String::from_utf8_lossy(&body).into_owned(),
        ))
    }

    #[tokio::test]
    async fn results_become_answers() {
        let cases = [
            (r#"{"statusCode":201,"body":"a"}"#, 201, "a"),
            (r#"{"statusCode":"418"}"#, 418, ""),
            (r#"{"statusCode":200.0,"body":"a\nb"}"#, 200, "a\nb"),
            (r#"{"statusCode":200,"body":"aGk=","isBase64Encoded":true}"#, 200, "hi"),
            (
                r#"{"statusCode":200,"body":null,"headers":null,"cookies":null,"more":[1]}"#,
                200,
                "",
            ),
            (r#""text""#, 200, "text"),
            (r#""with \"quotes\"""#, 200, "with \"quotes\""),
            (r#"{ "a" : [1, 2] }"#, 200, r#"{"a":[1,2]}"#),
            (r#"{"body":{"not":"text"}}"#, 200, r#"{"body":{"not":"text"}}"#),
            ("[1, 2]", 200, "[1,2]"),
            ("3.5", 200, "3.5"),
            ("true", 200, "true"),
            ("null", 200, "null"),
        ];
        for (result, status, body) in cases {
            let (found, headers, text) = shown(result).await.unwrap();
            assert_eq!((found, text.as_str()), (status, body), "{result}");
            assert_eq!(headers["content-type"], "application/json", "{result}");
        }
    }

    #[tokio::test]
    async fn headers_and_cookies_are_checked_and_sent() {
        let result = r#"{"statusCode":200,"headers":{"Content-Type":"text/plain","X-N":7,"X-B":true,"Connection":"close",
            "Content-Length":"99","Transfer-Encoding":"chunked"},"cookies":["a=1","b=2"],"body":"x"}"#;
        let (_, headers, _) = shown(result).await.unwrap();
        assert_eq!(
            (&headers["content-type"], &headers["x-n"], &headers["x-b"]),
            (
                &HeaderValue::from_static("text/plain"),
                &HeaderValue::from_static("7"),
                &HeaderValue::from_static("true")
            )
        );
        assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
        for gone in ["connection", "content-length", "transfer-encoding"] {
            assert!(!headers.contains_key(gone), "{gone}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_sent_is_refused() {
        let many = format!(
            r#"{{"statusCode":200,"headers":{{{}"z":"1"}}}}"#,
            (0..100).map(|i| format!("\"a{i}\":\"1\",")).collect::<String>()
        );
        let cases = [
            "",
            "not json",
            "{\"statusCode\":200",
            r#"{"statusCode":99}"#,
            r#"{"statusCode":101}"#,
            r#"{"statusCode":"x"}"#,
            r#"{"statusCode":200,"body":{}}"#,
            r#"{"statusCode":200,"body":"!","isBase64Encoded":true}"#,
            r#"{"statusCode":200,"headers":{"a\r\nb":"1"}}"#,
            r#"{"statusCode":200,"headers":{"a":"x\r\nSet-Cookie: y"}}"#,
            r#"{"statusCode":200,"headers":{"a":[1]}}"#,
            r#"{"statusCode":200,"cookies":["a\n"]}"#,
            many.as_str(),
        ];
        for result in cases {
            assert!(shown(result).await.is_err(), "{result}");
        }
    }
}
