//! Cross-origin rules of function URLs: preflights answered here, and the headers of ordinary answers.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use sonagi_wire::Body;

use crate::records::Cors;

/// Whether a request asks what a browser may do, rather than doing it.
pub(super) fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(ORIGIN)
        && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight. An origin that does not match gets no permission.
pub(super) fn preflight(cors: &Cors, parts: &Parts) -> Response<Body> {
    let mut response = Response::new(sonagi_wire::empty());
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = allowed_origin(cors, &parts.headers) else {
        return response;
    };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    let lists = [
        (
            ACCESS_CONTROL_ALLOW_METHODS,
            &cors.allow_methods,
            ACCESS_CONTROL_REQUEST_METHOD,
        ),
        (
            ACCESS_CONTROL_ALLOW_HEADERS,
            &cors.allow_headers,
            ACCESS_CONTROL_REQUEST_HEADERS,
        ),
    ];
    for (name, list, asked) in lists {
        let Some(list) = list else { continue };
        // With credentials a browser takes `*` for a name, so whatever it asks for is named instead.
        let everything = list.iter().any(|item| item == "*");
        let value = if everything {
            parts.headers.get(asked).cloned()
        } else {
            joined(list)
        };
        headers.extend(value.map(|value| (name, value)));
    }
    if let Some(age) = cors.max_age {
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(age));
    }
    credentials(cors, headers);
    response
}

/// Puts the configured headers in place of those that the function sent.
pub(super) fn decorate(cors: &Cors, request: &HeaderMap, answer: &mut HeaderMap) {
    let own: Vec<HeaderName> = answer
        .keys()
        .filter(|name| name.as_str().starts_with("access-control-"))
        .cloned()
        .collect();
    for name in own {
        answer.remove(name);
    }
    answer.append(VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = allowed_origin(cors, request) else {
        return;
    };
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    let exposed = cors.expose_headers.as_deref().and_then(joined);
    answer.extend(exposed.map(|value| (ACCESS_CONTROL_EXPOSE_HEADERS, value)));
    credentials(cors, answer);
}

fn credentials(cors: &Cors, headers: &mut HeaderMap) {
    if cors.allow_credentials == Some(true) {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}

/// The origin itself when it is listed or credentials are on, `*` when everybody is allowed.
fn allowed_origin(cors: &Cors, request: &HeaderMap) -> Option<HeaderValue> {
    let origin = request.get(ORIGIN)?;
    let origins = cors.allow_origins.as_deref().unwrap_or_default();
    if origins
        .iter()
        .any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes()))
    {
        return Some(origin.clone());
    }
    let everybody = origins.iter().any(|allowed| allowed == "*");
    everybody.then(|| match cors.allow_credentials {
        Some(true) => origin.clone(),
        Some(false) | None => HeaderValue::from_static("*"),
    })
}

fn joined(list: impl AsRef<[String]>) -> Option<HeaderValue> {
    let list = list.as_ref();
    (!list.is_empty())
        .then(|| HeaderValue::from_str(&list.join(",")).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str], credentials: bool) -> Cors {
        let list = |items: &[&str]| Some(items.iter().map(|item| (*item).to_owned()).collect());
        Cors {
            allow_origins: list(origins),
            allow_methods: list(&["GET", "POST"]),
            allow_headers: list(&["*"]),
            expose_headers: list(&["x-a", "x-b"]),
            max_age: Some(60),
            allow_credentials: credentials.then_some(true),
        }
    }

    fn ask(origin: &str) -> Parts {
        let request = http::Request::builder()
            .method("OPTIONS")
            .header("origin", origin)
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "x-c,x-d");
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn preflights_are_answered_by_the_configuration() {
        let get = |response: &Response<Body>, name: &str| {
            response
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let answer = preflight(&cors(&["https://a.example"], true), &ask("https://a.example"));
        assert!(is_preflight(&ask("x")));
        assert_eq!(
            get(&answer, "access-control-allow-origin").as_deref(),
            Some("https://a.example")
        );
        assert_eq!(
            get(&answer, "access-control-allow-methods").as_deref(),
            Some("GET,POST")
        );
        assert_eq!(get(&answer, "access-control-allow-headers").as_deref(), Some("x-c,x-d"));
        assert_eq!(get(&answer, "access-control-max-age").as_deref(), Some("60"));
        assert_eq!(
            get(&answer, "access-control-allow-credentials").as_deref(),
            Some("true")
        );
        let refused = preflight(&cors(&["https://a.example"], true), &ask("https://b.example"));
        assert_eq!(get(&refused, "access-control-allow-origin"), None);
        assert_eq!(get(&refused, "access-control-allow-methods"), None);
    }

    #[test]
    fn configured_headers_replace_the_functions_own() {
        let request = ask("https://b.example").headers;
        let mut answer = HeaderMap::new();
        answer.insert("access-control-allow-origin", "https://evil".parse().unwrap());
        answer.insert("access-control-allow-methods", "TRACE".parse().unwrap());
        decorate(&cors(&["*"], false), &request, &mut answer);
        assert_eq!(answer["access-control-allow-origin"], "*");
        assert_eq!(answer["access-control-expose-headers"], "x-a,x-b");
        assert!(!answer.contains_key("access-control-allow-methods"));
        assert_eq!(answer["vary"], "Origin");
        let mut answer = HeaderMap::new();
        decorate(&cors(&["*"], true), &request, &mut answer);
        assert_eq!(answer["access-control-allow-origin"], "https://b.example");
    }
}
