//! Which headers go to a function, and which come back.
//! Source: fnproject/docs (June 2026), "FDK contract"; fnproject/fn 0.3.753, `runner_httptrigger.go`; observed.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use sonagi_wire::strip_hop_by_hop;

/// What stands before the names of a gateway's headers.
const WRAPPED: &str = "fn-http-h-";
/// What stands before the names of what only the gateway says.
const GATEWAY: &str = "fn-http-";
const INTENT: &str = "fn-intent";
const METHOD: &str = "fn-http-method";
const URL: &str = "fn-http-request-url";
const STATUS: &str = "fn-http-status";

/// Headers that the session writes itself.
const SESSIONS: [HeaderName; 2] = [header::HOST, header::CONTENT_LENGTH];

/// Headers of a call by id: the caller's own. What only the gateway may say is left out, and the token, which is the
/// account's and none of the function's business.
pub(super) fn of_call(given: &HeaderMap) -> HeaderMap {
    let mut headers = given.clone();
    strip_hop_by_hop(&mut headers);
    headers.remove(header::AUTHORIZATION);
    for name in SESSIONS {
        headers.remove(name);
    }
    let gateways: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(GATEWAY) || name.as_str() == INTENT)
        .cloned()
        .collect();
    for name in gateways {
        headers.remove(name);
    }
    headers
}

/// Headers of a call by a trigger: the caller's own, wrapped, and what the gateway says. `base` is the beginning of the
/// address that the caller asked.
pub(super) fn of_gateway(parts: &Parts, base: &str) -> HeaderMap {
    let mut given = parts.headers.clone();
    strip_hop_by_hop(&mut given);
    given.remove(header::HOST);
    let mut headers = HeaderMap::new();
    for (name, value) in &given {
        if name == header::CONTENT_TYPE {
            headers.append(name, value.clone());
        } else if let Ok(name) = format!("{WRAPPED}{name}").parse::<HeaderName>() {
            headers.append(name, value.clone());
        }
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    for (name, text) in [
        (INTENT, "httprequest"),
        (METHOD, parts.method.as_str()),
        (URL, &format!("{base}{path}")),
    ] {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers
}

/// Status and headers of the answer of a trigger; none for a status that HTTP does not have.
pub(super) fn of_answer(head: &HeaderMap) -> Option<(StatusCode, HeaderMap)> {
    let wanted = head
        .get(STATUS)
        .and_then(|value| value.to_str().ok()?.trim().parse::<i64>().ok())
        .filter(|status| *status > 0);
    let status = match wanted {
        Some(status) => StatusCode::from_u16(u16::try_from(status).ok()?).ok()?,
        None => StatusCode::OK,
    };
    if status.is_informational() {
        return None;
    }
    let mut headers = HeaderMap::new();
    for (name, value) in head {
        if name == header::CONTENT_TYPE {
            headers.append(name, value.clone());
        } else if let Some(inner) = name.as_str().strip_prefix(WRAPPED)
            && let Ok(name) = inner.parse::<HeaderName>()
        {
            headers.append(name, value.clone());
        }
    }
    strip_hop_by_hop(&mut headers);
    headers.remove(header::CONTENT_LENGTH);
    Some((status, headers))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_caller_cannot_say_what_the_gateway_says() {
        let given = [
            ("host", "h"),
            ("content-length", "3"),
            ("connection", "x-gone"),
            ("x-gone", "1"),
            ("authorization", "Bearer t"),
            ("fn-intent", "httprequest"),
            ("fn-http-status", "201"),
            ("fn-http-h-x", "y"),
            ("fn-other", "stays"),
            ("content-type", "text/plain"),
            ("accept", "a"),
            ("accept", "b"),
        ];
        let expected = [
            ("fn-other", "stays"),
            ("content-type", "text/plain"),
            ("accept", "a"),
            ("accept", "b"),
        ];
        assert_eq!(of_call(&map(&given)), map(&expected));
    }

    #[test]
    fn the_gateway_wraps_what_it_is_given() {
        let mut request = Request::new(());
        *request.uri_mut() = "/t/app/a%20b?x=1&x=2".parse().unwrap();
        *request.headers_mut() = map(&[
            ("host", "h"),
            ("content-type", "a/b"),
            ("content-length", "3"),
            ("x-one", "1"),
        ]);
        let (parts, ()) = request.into_parts();
        let expected = [
            ("content-type", "a/b"),
            ("fn-http-h-content-length", "3"),
            ("fn-http-h-x-one", "1"),
            ("fn-intent", "httprequest"),
            ("fn-http-method", "GET"),
            ("fn-http-request-url", "http://h/t/app/a%20b?x=1&x=2"),
        ];
        assert_eq!(of_gateway(&parts, "http://h"), map(&expected));
    }

    #[test]
    fn only_wrapped_headers_leave_the_gateway() {
        let head = [
            ("fn-http-status", "418"),
            ("fn-http-h-return", "one"),
            ("fn-http-h-return", "two"),
            ("fn-http-h-connection", "close"),
            ("fn-http-h-content-length", "99"),
            ("fn-fdk-version", "x"),
            ("content-type", "text/plain"),
            ("x-inner", "1"),
        ];
        let (status, headers) = of_answer(&map(&head)).unwrap();
        let expected = [("return", "one"), ("return", "two"), ("content-type", "text/plain")];
        assert_eq!((status.as_u16(), headers), (418, map(&expected)));
        for (text, expected) in [
            ("0", Some(200)),
            ("-1", Some(200)),
            ("x", Some(200)),
            ("100", None),
            ("70000", None),
        ] {
            let status = of_answer(&map(&[("fn-http-status", text)])).map(|(status, _)| status.as_u16());
            assert_eq!(status, expected, "{text}");
        }
        assert_eq!(of_answer(&HeaderMap::new()).unwrap().0, 200);
    }
}
