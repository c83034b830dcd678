//! The event of payload format 2.0, written straight into a buffer.

use std::cell::RefCell;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Version, header};
use percent_encoding::percent_decode;
use sonagi_model::{InvocationId, Timestamp};

use super::UrlRoute;
use crate::auth::Caller;

/// Headers that we vouch for, or that belong to one connection: what a client sends under these names is not passed on.
const OURS: &[&str] = &[
    "x-forwarded-for",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-host",
    "forwarded",
    "x-amzn-trace-id",
    "x-amzn-tls-version",
    "x-amzn-tls-cipher-suite",
    "x-amzn-requestid",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What an event is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) route: &'a UrlRoute,
    pub(super) parts: &'a Parts,
    /// The path that the function sees, percent-encoding kept.
    pub(super) path: &'a str,
    pub(super) body: &'a Bytes,
    pub(super) peer: IpAddr,
    pub(super) port: u16,
    pub(super) scheme: &'static str,
    pub(super) invocation: InvocationId,
    pub(super) trace: &'a str,
    pub(super) now: Timestamp,
    /// Who signed, behind `AWS_IAM`.
    pub(super) caller: Option<&'a Caller>,
}

/// Writes the event.
pub(super) fn write(source: &Source<'_>) -> Vec<u8> {
    let mut event = Event(Vec::with_capacity(1536 + source.body.len() + source.body.len() / 2));
    let raw_query = source.parts.uri.query().unwrap_or_default();
    event.raw("{\"version\":\"2.0\",\"routeKey\":\"$default\",\"rawPath\":");
    event.text(source.path);
    event.raw(",\"rawQueryString\":");
    event.text(raw_query);
    cookies(&mut event, &source.parts.headers);
    headers(&mut event, source);
    query(&mut event, raw_query);
    context(&mut event, source);
    body(&mut event, source);
    event.raw("}");
    event.0
}

/// A JSON document that grows.
struct Event(Vec<u8>);

impl Event {
    fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn text(&mut self, text: &str) {
        serde_json::to_writer(&mut self.0, text).expect("a vector takes every byte");
    }

    fn member(&mut self, separator: &mut &'static str, name: &str, value: &str) {
        self.raw(std::mem::replace(separator, ","));
        self.text(name);
        self.raw(":");
        self.text(value);
    }
}

/// A header's values, joined; one that is not ASCII is read byte by byte, as HTTP has it.
fn joined(headers: &HeaderMap, name: &header::HeaderName, by: &str) -> String {
    let mut text = String::new();
    for (index, value) in headers.get_all(name).iter().enumerate() {
        if index > 0 {
            text.push_str(by);
        }
        match std::str::from_utf8(value.as_bytes()) {
            Ok(value) => text.push_str(value),
            Err(_) => text.extend(value.as_bytes().iter().map(|byte| char::from(*byte))),
        }
    }
    text
}

fn cookies(event: &mut Event, headers: &HeaderMap) {
    if !headers.contains_key(header::COOKIE) {
        return;
    }
    let all = joined(headers, &header::COOKIE, "; ");
    let mut separator = ",\"cookies\":[";
    for cookie in all.split(';').map(str::trim).filter(|cookie| !cookie.is_empty()) {
        event.raw(std::mem::replace(&mut separator, ","));
        event.text(cookie);
    }
    if separator == "," {
        event.raw("]");
    }
}

fn headers(event: &mut Event, source: &Source<'_>) {
    let given = &source.parts.headers;
    event.raw(",\"headers\":{");
    let mut separator = "";
    for name in given.keys().filter(|name| !OURS.contains(&name.as_str())) {
        let by = if name == header::COOKIE { "; " } else { "," };
        event.member(&mut separator, name.as_str(), &joined(given, name, by));
    }
    if !given.contains_key(header::HOST)
        && let Some(authority) = source.parts.uri.authority()
    {
        event.member(&mut separator, "host", authority.as_str());
    }
    event.member(&mut separator, "x-amzn-trace-id", source.trace);
    event.member(&mut separator, "x-forwarded-for", &source.peer.to_string());
    event.member(&mut separator, "x-forwarded-port", &source.port.to_string());
    event.member(&mut separator, "x-forwarded-proto", source.scheme);
    event.raw("}");
}

/// Decoded as a form is: `+` is a space. Repeated keys are joined in order.
fn query(event: &mut Event, raw: &str) {
    if raw.is_empty() {
        return;
    }
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_decode(spaced.as_bytes()).decode_utf8_lossy().into_owned()
    };
    let mut pairs: Vec<(String, String)> = Vec::new();
    for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (key, value) = (decode(key), decode(value));
        match pairs.iter_mut().find(|(other, _)| *other == key) {
            Some((_, values)) => {
                values.push(',');
                values.push_str(&value);
            }
            None => pairs.push((key, value)),
        }
    }
    event.raw(",\"queryStringParameters\":{");
    let mut separator = "";
    for (key, value) in &pairs {
        event.member(&mut separator, key, value);
    }
    event.raw("}");
}

fn context(event: &mut Event, source: &Source<'_>) {
    let route = source.route;
    event.raw(",\"requestContext\":{");
    let mut separator = "";
    let account = source
        .caller
        .map_or("anonymous", |caller| caller.place.account.as_str());
    event.member(&mut separator, "accountId", account);
    event.member(&mut separator, "apiId", &route.id);
    if let Some(caller) = source.caller {
        authorizer(event, caller);
    }
    event.member(&mut separator, "domainName", &route.host);
    event.member(&mut separator, "domainPrefix", &route.id);
    event.raw(",\"http\":{");
    let mut inner = "";
    event.member(&mut inner, "method", source.parts.method.as_str());
    event.member(&mut inner, "path", source.path);
    event.member(&mut inner, "protocol", protocol(source.parts.version));
    event.member(&mut inner, "sourceIp", &source.peer.to_string());
    event.member(
        &mut inner,
        "userAgent",
        &joined(&source.parts.headers, &header::USER_AGENT, ","),
    );
    event.raw("}");
    event.member(&mut separator, "requestId", &source.invocation.to_string());
    event.member(&mut separator, "routeKey", "$default");
    event.member(&mut separator, "stage", "$default");
    SECOND.with_borrow_mut(|second| event.member(&mut separator, "time", second.text(source.now)));
    event.raw(",\"timeEpoch\":");
    event.raw(&source.now.as_millis().to_string());
    event.raw("}");
}

thread_local! {
    static SECOND: RefCell<Second> = const { RefCell::new(Second { at: i64::MIN, text: String::new() }) };
}

/// The text of the second at hand: writing it costs more than the rest of a small event.
struct Second {
    at: i64,
    text: String,
}

impl Second {
    /// `11/Jan/2023:11:45:34 +0000`.
    fn text(&mut self, now: Timestamp) -> &str {
        if self.at != now.as_secs() {
            let time = jiff::Timestamp::from_second(now.as_secs()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            self.text = time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string();
            self.at = now.as_secs();
        }
        &self.text
    }
}

fn authorizer(event: &mut Event, caller: &Caller) {
    let (account, arn) = (caller.place.account.as_str(), caller.arn());
    event.raw(",\"authorizer\":{\"iam\":{");
    let mut separator = "";
    event.member(&mut separator, "accessKey", &caller.access_key);
    event.member(&mut separator, "accountId", account);
    event.member(&mut separator, "callerId", account);
    event.raw(",\"cognitoIdentity\":null,\"principalOrgId\":null");
    event.member(&mut separator, "userArn", &arn);
    event.member(&mut separator, "userId", account);
    event.raw("}}");
}

fn protocol(version: Version) -> &'static str {
    if version == Version::HTTP_2 {
        "HTTP/2.0"
    } else if version == Version::HTTP_10 {
        "HTTP/1.0"
    } else {
        "HTTP/1.1"
    }
}

fn body(event: &mut Event, source: &Source<'_>) {
    if source.body.is_empty() {
        event.raw(",\"isBase64Encoded\":false");
        return;
    }
    event.raw(",\"body\":");
    let text = is_text(&source.parts.headers)
        .then(|| std::str::from_utf8(source.body).ok())
        .flatten();
    match text {
        Some(text) => {
            event.text(text);
            event.raw(",\"isBase64Encoded\":false");
        }
        None => {
            event.raw("\"");
            let from = event.0.len();
            event.0.resize(from + source.body.len().div_ceil(3) * 4, 0);
            let written = STANDARD
                .encode_slice(source.body, &mut event.0[from..])
                .expect("the space was reserved");
            event.0.truncate(from + written);
            event.raw("\",\"isBase64Encoded\":true");
        }
    }
}

/// Whether a body of this kind is passed on as text.
fn is_text(headers: &HeaderMap) -> bool {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return false;
    }
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let Ok(kind) = kind.to_str() else { return false };
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.is_empty()
        || essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || matches!(
            essence.as_str(),
            "application/json" | "application/xml" | "application/javascript" | "application/x-www-form-urlencoded"
        )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use sonagi_model::FunctionId;

    use super::*;
    use crate::auth::Principal;
    use crate::place::{AccountId, Place, Region};
    use crate::records::{UrlAuth, UrlMode};

    fn place() -> Place {
        Place {
            account: AccountId::parse("000000000000").unwrap(),
            region: Region::parse("us-east-1").unwrap(),
        }
    }

    fn event(request: http::request::Builder, path: &str, body: &'static [u8], caller: Option<&Caller>) -> Value {
        let route = UrlRoute {
            id: "id".to_owned(),
            function: FunctionId::generate(),
            place: place(),
            qualifier: None,
            arn: "arn".to_owned(),
            host: "id.lambda-url.us-east-1.localhost".to_owned(),
            auth: UrlAuth::None,
            mode: UrlMode::Buffered,
            cors: None,
            public: true,
            statements: Vec::new(),
        };
        let parts = request.body(()).unwrap().into_parts().0;
        let bytes = write(&Source {
            route: &route,
            parts: &parts,
            path,
            body: &Bytes::from_static(body),
            peer: "127.0.0.1".parse().unwrap(),
            port: 4747,
            scheme: "http",
            invocation: "67e55044-10b1-426f-9247-bb680e5fe0c8".parse().unwrap(),
            trace: "Root=1",
            now: Timestamp::from_millis(1_673_437_534_000),
            caller,
        });
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn an_event_has_the_shape_of_the_real_service() {
        let request = http::Request::post("/a%20b?q=1&q=2&e=a+b%26&n")
            .header("Host", "h:1")
            .header("X-Multi", "1")
            .header("X-Multi", "2")
            .header("Cookie", "a=1; b=2")
            .header("User-Agent", "test")
            .header("X-Forwarded-For", "6.6.6.6")
            .header("Connection", "close");
        let found = event(request, "/a%20b", b"{\"k\":\"\\u00e9\"}", None);
        let expected = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": "/a%20b", "rawQueryString": "q=1&q=2&e=a+b%26&n",
            "cookies": ["a=1", "b=2"],
            "headers": {
                "host": "h:1", "x-multi": "1,2", "cookie": "a=1; b=2", "user-agent": "test", "x-amzn-trace-id": "Root=1",
                "x-forwarded-for": "127.0.0.1", "x-forwarded-port": "4747", "x-forwarded-proto": "http",
            },
            "queryStringParameters": {"q": "1,2", "e": "a b&", "n": ""},
            "requestContext": {
                "accountId": "anonymous", "apiId": "id", "domainName": "id.lambda-url.us-east-1.localhost",
                "domainPrefix": "id",
                "http": {"method": "POST", "path": "/a%20b", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1",
                         "userAgent": "test"},
                "requestId": "67e55044-10b1-426f-9247-bb680e5fe0c8", "routeKey": "$default", "stage": "$default",
                "time": "11/Jan/2023:11:45:34 +0000", "timeEpoch": 1_673_437_534_000_i64,
            },
            "body": "{\"k\":\"\\u00e9\"}", "isBase64Encoded": false,
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn empty_parts_are_absent() {
        let found = event(http::Request::get("/"), "/", b"", None);
        for absent in ["cookies", "queryStringParameters", "body", "pathParameters"] {
            assert!(found.get(absent).is_none(), "{absent}");
        }
        assert_eq!(found["rawQueryString"], "");
        assert!(found["requestContext"].get("authorizer").is_none());
    }

    #[test]
    fn bodies_are_text_or_base64() {
        let cases: &[(Option<&str>, &'static [u8], &str, bool)] = &[
            (None, b"plain", "plain", false),
            (Some("application/json; charset=utf-8"), b"{}", "{}", false),
            (Some("application/problem+json"), b"{}", "{}", false),
            (Some("text/html"), b"\xff", "/w==", true),
            (Some("application/octet-stream"), b"abc", "YWJj", true),
            (Some("multipart/form-data; boundary=x"), b"a", "YQ==", true),
        ];
        for (kind, body, text, encoded) in cases {
            let mut request = http::Request::post("/");
            if let Some(kind) = kind {
                request = request.header("content-type", *kind);
            }
            let found = event(request, "/", body, None);
            assert_eq!(
                (found["body"].as_str().unwrap(), &found["isBase64Encoded"]),
                (*text, &json!(encoded)),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn a_signer_is_named() {
        let caller = Caller {
            place: place(),
            principal: Principal::Root,
            access_key: "AKIA".to_owned(),
        };
        let found = event(http::Request::get("/"), "/", b"", Some(&caller));
        let iam = &found["requestContext"]["authorizer"]["iam"];
        assert_eq!(iam["userArn"], "arn:aws:iam::000000000000:root");
        assert_eq!(
            (&iam["accessKey"], &iam["cognitoIdentity"]),
            (&json!("AKIA"), &Value::Null)
        );
        assert_eq!(found["requestContext"]["accountId"], "000000000000");
    }
}
